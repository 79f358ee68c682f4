//! The functions that other modules of the server may call: those of `include/rmr.h`, by `RM_ExportSharedAPI`.
//!
//! C calls in, and C is called back. Each function here takes what it is given apart, and hands it on to safe code
//! ([`guests`](crate::module::guests)); no panic leaves one. The `SAFETY` lines rest on the demands of rmr.h on its
//! callers: objects are those that were created here, each is used by one thread at a time, and is given away once; texts
//! end in zero, and there are as many bytes as are said. Where rmr.h allows null, so does the code.

pub(crate) mod foreign_reducer;
pub(crate) mod foreign_step;
mod given;
pub(crate) mod library;
mod reply;
mod request;

use std::ffi::{CStr, c_char, c_int, c_void};

use redis_module::raw;

use super::api::required;
use super::callback::guarded;
use super::context::Ctx;
use crate::module::guests::guest::Guest;
use crate::module::guests::registry;
use foreign_reducer::{ForeignReducer, RawReducer};
use foreign_step::{ForeignStep, RawStep};
use given::{ERR, OK, VERSION, text_of};
use library::PinnedLibrary;

/// Offers all functions to the modules of the server. While one that has asked for any is loaded, the server does not
/// unload this one.
///
/// # Errors
/// If another module has a function of such a name.
pub(crate) fn export(ctx: Ctx<'_>) -> Result<(), String> {
    macro_rules! export {
        ($($name:literal = $function:path;)*) => {
            $(
                let name: &'static CStr = $name;
                // SAFETY: invariants 1, 2, 5 and 6: a context of OnLoad, a name that stays, code that stays as long as
                // modules that use it are loaded.
                let status = unsafe {
                    required!(RedisModule_ExportSharedAPI)(ctx.as_ptr(), name.as_ptr(), $function as *mut c_void)
                };
                if status != raw::REDISMODULE_OK as c_int {
                    return Err(format!("another module offers a function {} already", name.to_string_lossy()));
                }
            )*
        };
    }
    export! {
        c"RMR_Enter" = enter;
        c"RMR_Leave" = leave;
        c"RMR_AddReducer" = add_reducer;
        c"RMR_AddFlowStep" = add_step;
        c"RMR_CreateRequest" = request::create;
        c"RMR_CreateFlowRequest" = request::create_flow;
        c"RMR_ReplyType" = reply::kind;
        c"RMR_ReplyInteger" = reply::integer;
        c"RMR_ReplyDouble" = reply::double;
        c"RMR_ReplyBytes" = reply::bytes;
        c"RMR_ReplyLength" = reply::length;
        c"RMR_ReplyElement" = reply::element;
        c"RMR_CreateNull" = reply::create_null;
        c"RMR_CreateInteger" = reply::create_integer;
        c"RMR_CreateDouble" = reply::create_double;
        c"RMR_CreateString" = reply::create_string;
        c"RMR_CreateError" = reply::create_error;
        c"RMR_CreateArray" = reply::create_array;
        c"RMR_CreateMapReply" = reply::create_map;
        c"RMR_Push" = reply::push;
        c"RMR_CopyReply" = reply::copy;
        c"RMR_FreeReply" = reply::free;
        c"RMR_Append" = foreign_reducer::append;
        c"RMR_AddCommand" = request::add_command;
        c"RMR_AddStrings" = request::add_strings;
        c"RMR_RecordCount" = foreign_step::count;
        c"RMR_RecordKey" = foreign_step::key;
        c"RMR_RecordReply" = foreign_step::reply;
        c"RMR_AddRecord" = foreign_step::add;
        c"RMR_SetKeyType" = request::set_key_type;
        c"RMR_SetLimit" = request::set_limit;
        c"RMR_AddStep" = request::add_step;
        c"RMR_SetTimeout" = request::set_timeout;
        c"RMR_SetPartial" = request::set_partial;
        c"RMR_ReduceWith" = request::reduce_with;
        c"RMR_MergeWith" = request::merge_with;
        c"RMR_Send" = request::send;
        c"RMR_SendTo" = request::send_to;
        c"RMR_FreeRequest" = request::free;
    }
    Ok(())
}

/// `RMR_Enter`.
unsafe extern "C" fn enter(
    ctx: *mut raw::RedisModuleCtx,
    version: c_int,
    module: *const c_char,
    code: *const c_void,
) -> c_int {
    // SAFETY: invariants 1 and 2: a context of the other module; a text that ends in zero, or null.
    let (ctx, module) = unsafe { (Ctx::new(ctx), text_of(module)) };
    answer(module.unwrap_or("a module"), Some(ctx), || {
        let name = module.filter(|name| !name.is_empty()).ok_or("RMR_Init was given no name")?;
        if version != VERSION {
            return Err(format!("it is built for version {version} of rmr.h; this rmr serves version {VERSION}"));
        }
        let library =
            PinnedLibrary::of(code).ok_or("rmr cannot hold its code in memory: it is no library of its own")?;
        registry::enter(Guest::new(name, library));
        Ok(())
    })
}

/// `RMR_Leave`.
unsafe extern "C" fn leave(module: *const c_char) -> c_int {
    // SAFETY: a text that ends in zero, or null.
    let module = unsafe { text_of(module) }.unwrap_or_default();
    answer(module, None, || registry::leave(module))
}

/// `RMR_AddReducer`.
unsafe extern "C" fn add_reducer(module: *const c_char, reducer: *const RawReducer) -> c_int {
    // SAFETY: a text that ends in zero, or null.
    let module = unsafe { text_of(module) }.unwrap_or_default();
    answer(module, None, || {
        let guest = registry::guest(module).ok_or("it has not called RMR_Init, or that has failed")?;
        // SAFETY: a reducer as rmr.h says, or null.
        registry::add_reducer(unsafe { ForeignReducer::of(reducer, guest) }?)
    })
}

/// `RMR_AddFlowStep`.
unsafe extern "C" fn add_step(module: *const c_char, step: *const RawStep) -> c_int {
    // SAFETY: a text that ends in zero, or null.
    let module = unsafe { text_of(module) }.unwrap_or_default();
    answer(module, None, || {
        let guest = registry::guest(module).ok_or("it has not called RMR_Init, or that has failed")?;
        // SAFETY: a step as rmr.h says, or null.
        registry::add_step(unsafe { ForeignStep::of(step, guest) }?)
    })
}

/// Does something for another module. The server's log says why that has failed.
fn answer(module: &str, ctx: Option<Ctx<'_>>, work: impl FnOnce() -> Result<(), String>) -> c_int {
    let result = guarded(work).unwrap_or_else(|| Err("internal error: rmr panicked".into()));
    let Err(why) = result else { return OK };
    let line = format!("{module}: {why}");
    match ctx {
        Some(ctx) => ctx.log(c"warning", &line),
        None => super::main_thread::log(c"warning", &line),
    }
    ERR
}
