//! The settings as the server has them: `CONFIG GET`, `CONFIG SET` and `CONFIG REWRITE`.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_longlong, c_uint, c_void};
use std::sync::atomic::Ordering::Relaxed;

use redis_module::raw;

use super::api::required;
use super::callback::{guarded, stateless};
use super::context::Ctx;
use super::setting::{ChoiceSetting, NumberSetting, TextSetting};
use super::string::{OwnedString, string_bytes};
use super::thread;

/// A function that brings all values into use, or says why not.
pub(crate) trait Apply: Fn() -> Result<(), String> + Copy + 'static {}

impl<F: Fn() -> Result<(), String> + Copy + 'static> Apply for F {}

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

/// Registers a setting that is a number. The function is called after each `CONFIG SET`.
pub(crate) fn register_number<F: Apply>(ctx: Ctx<'_>, number: &'static NumberSetting, _: F) -> Result<(), String> {
    let name = CString::new(number.name).unwrap_or_default();
    // SAFETY: invariants 1, 2, 5 and 6; the private data is a static `NumberSetting`, as the callbacks take it to be.
    let status = unsafe {
        required!(RedisModule_RegisterNumericConfig)(
            ctx.as_ptr(),
            name.as_ptr(),
            number.get(),
            number.flags,
            number.min,
            number.max,
            Some(get_number),
            Some(set_number),
            Some(apply::<F>),
            privdata(number),
        )
    };
    registered(number.name, status)
}

/// Registers a setting that is a word. The function is called after each `CONFIG SET`.
pub(crate) fn register_choice<F: Apply>(ctx: Ctx<'_>, choice: &'static ChoiceSetting, _: F) -> Result<(), String> {
    let name = CString::new(choice.name).unwrap_or_default();
    let words: Vec<CString> = choice.words.iter().map(|word| CString::new(*word).unwrap_or_default()).collect();
    let mut pointers: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
    let values: Vec<c_int> = (0..words.len() as c_int).collect();
    // SAFETY: invariants 1, 2, 5 and 6; the private data is a static `ChoiceSetting`; the server copies words and values.
    let status = unsafe {
        required!(RedisModule_RegisterEnumConfig)(
            ctx.as_ptr(),
            name.as_ptr(),
            choice.value.load(Relaxed) as c_int,
            choice.flags as c_uint,
            pointers.as_mut_ptr(),
            values.as_ptr(),
            words.len() as c_int,
            Some(get_choice),
            Some(set_choice),
            Some(apply::<F>),
            privdata(choice),
        )
    };
    registered(choice.name, status)
}

/// Registers a setting that is a text. The function is called after each `CONFIG SET`.
pub(crate) fn register_text<F: Apply>(ctx: Ctx<'_>, text: &'static TextSetting, _: F) -> Result<(), String> {
    let name = CString::new(text.name).unwrap_or_default();
    let default = CString::new(text.value().as_slice()).map_err(|_| format!("{} holds a zero byte", text.name))?;
    // SAFETY: invariants 1, 2, 5 and 6; the private data is a static `TextSetting`.
    let status = unsafe {
        required!(RedisModule_RegisterStringConfig)(
            ctx.as_ptr(),
            name.as_ptr(),
            default.as_ptr(),
            text.flags,
            Some(get_text),
            Some(set_text),
            Some(apply::<F>),
            privdata(text),
        )
    };
    registered(text.name, status)
}

/// Sets what is registered to what the server's configuration says of it.
pub(crate) fn load_values(ctx: Ctx<'_>) -> Result<(), String> {
    // SAFETY: invariants 1 and 2.
    if unsafe { required!(RedisModule_LoadConfigs)(ctx.as_ptr()) } != raw::REDISMODULE_OK as c_int {
        return Err("the settings in the configuration are not accepted".into());
    }
    Ok(())
}

unsafe extern "C" fn get_number(_: *const c_char, number: *mut c_void) -> c_longlong {
    // SAFETY: the private data of `register_number`.
    unsafe { &*number.cast::<NumberSetting>() }.get()
}

/// Sets a number. The server has checked the range.
unsafe extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    number: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the private data of `register_number`.
    unsafe { &*number.cast::<NumberSetting>() }.set(value);
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn get_choice(_: *const c_char, choice: *mut c_void) -> c_int {
    // SAFETY: the private data of `register_choice`.
    unsafe { &*choice.cast::<ChoiceSetting>() }.value.load(Relaxed) as c_int
}

/// Sets a choice. The server has checked that it is one of the values.
unsafe extern "C" fn set_choice(
    _: *const c_char,
    value: c_int,
    choice: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the private data of `register_choice`.
    unsafe { &*choice.cast::<ChoiceSetting>() }.value.store(i64::from(value), Relaxed);
    raw::REDISMODULE_OK as c_int
}

thread_local! {
    /// The text that `CONFIG GET` was last answered with: the server copies it, and does not free it.
    static SHOWN: RefCell<Option<OwnedString>> = const { RefCell::new(None) };
}

unsafe extern "C" fn get_text(_: *const c_char, text: *mut c_void) -> *mut raw::RedisModuleString {
    // SAFETY: the private data of `register_text`.
    let text = unsafe { &*text.cast::<TextSetting>() };
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
    let (text, value) = unsafe { (&*text.cast::<TextSetting>(), string_bytes(value)) };
    match guarded(|| (text.check)(value)).unwrap_or_else(|| Err("internal error".into())) {
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
unsafe extern "C" fn apply<F: Apply>(
    _: *mut raw::RedisModuleCtx,
    _: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // The values may be set by any thread that holds the server's lock; what is made of them is the main thread's.
    let applied = guarded(|| {
        if thread::is_another() {
            return Err("the settings of rmr are set on the server's main thread, which this is not".into());
        }
        stateless::<F>()()
    });
    match applied.unwrap_or_else(|| Err("internal error".into())) {
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
