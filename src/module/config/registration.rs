//! The settings as the server has them: `CONFIG GET`, `CONFIG SET` and `CONFIG REWRITE`.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_longlong, c_uint, c_void};
use std::panic::catch_unwind;
use std::sync::atomic::Ordering::Relaxed;

use redis_module::raw;

use super::apply_all;
use super::setting::{Choice, Number, Text};
use crate::module::server::api::{Ctx, OwnedString, required, string_bytes};

fn registered(name: &str, status: c_int) -> Result<(), String> {
    if status == raw::REDISMODULE_OK as c_int {
        Ok(())
    } else {
        Err(format!("the setting rmr.{name} cannot be registered"))
    }
}

fn privdata<T>(setting: &'static T) -> *mut c_void {
    std::ptr::from_ref(setting).cast_mut().cast()
}

pub(super) fn register_number(ctx: Ctx, number: &'static Number) -> Result<(), String> {
    let name = CString::new(number.name).unwrap_or_default();
    // SAFETY: a context of OnLoad; the private data is a static `Number`, as the callbacks take it to be.
    let status = unsafe {
        required!(RedisModule_RegisterNumericConfig)(
            ctx.0,
            name.as_ptr(),
            number.get(),
            number.flags,
            number.min,
            number.max,
            Some(get_number),
            Some(set_number),
            Some(apply),
            privdata(number),
        )
    };
    registered(number.name, status)
}

pub(super) fn register_choice(ctx: Ctx, choice: &'static Choice) -> Result<(), String> {
    let name = CString::new(choice.name).unwrap_or_default();
    let words: Vec<CString> = choice.words.iter().map(|word| CString::new(*word).unwrap_or_default()).collect();
    let mut pointers: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
    let values: Vec<c_int> = (0..words.len() as c_int).collect();
    // SAFETY: a context of OnLoad; the private data is a static `Choice`; the server copies words and values.
    let status = unsafe {
        required!(RedisModule_RegisterEnumConfig)(
            ctx.0,
            name.as_ptr(),
            choice.value.load(Relaxed) as c_int,
            raw::REDISMODULE_CONFIG_DEFAULT as c_uint,
            pointers.as_mut_ptr(),
            values.as_ptr(),
            words.len() as c_int,
            Some(get_choice),
            Some(set_choice),
            Some(apply),
            privdata(choice),
        )
    };
    registered(choice.name, status)
}

pub(super) fn register_text(ctx: Ctx, text: &'static Text) -> Result<(), String> {
    let name = CString::new(text.name).unwrap_or_default();
    let default = CString::new(text.value().as_slice()).map_err(|_| format!("{} holds a zero byte", text.name))?;
    // SAFETY: a context of OnLoad; the private data is a static `Text`.
    let status = unsafe {
        required!(RedisModule_RegisterStringConfig)(
            ctx.0,
            name.as_ptr(),
            default.as_ptr(),
            text.flags,
            Some(get_text),
            Some(set_text),
            Some(apply),
            privdata(text),
        )
    };
    registered(text.name, status)
}

/// Sets what is registered to what the server's configuration says of it.
pub(super) fn load_values(ctx: Ctx) -> Result<(), String> {
    // SAFETY: a context of OnLoad.
    if unsafe { required!(RedisModule_LoadConfigs)(ctx.0) } != raw::REDISMODULE_OK as c_int {
        return Err("the settings in the configuration are not accepted".into());
    }
    Ok(())
}

unsafe extern "C" fn get_number(_: *const c_char, number: *mut c_void) -> c_longlong {
    // SAFETY: the private data of `register_number`.
    unsafe { &*number.cast::<Number>() }.get()
}

/// The server has checked the range.
unsafe extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    number: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the private data of `register_number`.
    unsafe { &*number.cast::<Number>() }.set(value);
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn get_choice(_: *const c_char, choice: *mut c_void) -> c_int {
    // SAFETY: the private data of `register_choice`.
    unsafe { &*choice.cast::<Choice>() }.value.load(Relaxed) as c_int
}

/// The server has checked that it is one of the values.
unsafe extern "C" fn set_choice(
    _: *const c_char,
    value: c_int,
    choice: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the private data of `register_choice`.
    unsafe { &*choice.cast::<Choice>() }.value.store(i64::from(value), Relaxed);
    raw::REDISMODULE_OK as c_int
}

thread_local! {
    /// What `CONFIG GET` was last answered with: the server copies it, and does not free it.
    static SHOWN: RefCell<Option<OwnedString>> = const { RefCell::new(None) };
}

unsafe extern "C" fn get_text(_: *const c_char, text: *mut c_void) -> *mut raw::RedisModuleString {
    // SAFETY: the private data of `register_text`.
    let text = unsafe { &*text.cast::<Text>() };
    let shown = OwnedString::new(&text.value());
    let pointer = shown.as_ptr();
    SHOWN.with_borrow_mut(|last| *last = Some(shown));
    pointer
}

unsafe extern "C" fn set_text(
    _: *const c_char,
    value: *mut raw::RedisModuleString,
    text: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the private data of `register_text`, and a string that lives for this call.
    let (text, value) = unsafe { (&*text.cast::<Text>(), string_bytes(value)) };
    match (text.check)(value) {
        Ok(()) => {
            *text.value() = value.to_vec();
            raw::REDISMODULE_OK as c_int
        }
        Err(why) => {
            // SAFETY: a place for a string, which the server frees.
            unsafe { refuse(error, &why) }
        }
    }
}

/// Called once after all settings of one `CONFIG SET`; a refusal puts the old values back.
unsafe extern "C" fn apply(
    _: *mut raw::RedisModuleCtx,
    _: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    match catch_unwind(apply_all).unwrap_or_else(|_| Err("internal error".into())) {
        Ok(()) => raw::REDISMODULE_OK as c_int,
        // SAFETY: a place for a string, which the server frees.
        Err(why) => unsafe { refuse(error, &why) },
    }
}

/// # Safety
/// `error` is null or a place for a string.
unsafe fn refuse(error: *mut *mut raw::RedisModuleString, why: &str) -> c_int {
    if !error.is_null() {
        // SAFETY: as the caller says. The string is handed over.
        unsafe { *error = OwnedString::new(why.as_bytes()).into_raw() };
    }
    raw::REDISMODULE_ERR as c_int
}
