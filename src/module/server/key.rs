//! A string key, read in place through the key functions of the module API.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::NonNull;

use redis_module::raw;

use super::api::required;
use super::context::Ctx;
use super::string::OwnedString;

/// A string that is read in place, within the callback whose context has opened it.
pub(crate) struct StringKey<'c> {
    key: NonNull<raw::RedisModuleKey>,
    of: PhantomData<Ctx<'c>>,
}

impl<'c> StringKey<'c> {
    /// Looks a key up as a command that reads it does: it counts as used, and is gone if it has expired. `None` if there
    /// is none, or one of another type.
    pub(crate) fn open(ctx: Ctx<'c>, name: &[u8]) -> Option<Self> {
        let name = OwnedString::new(name);
        // SAFETY: a live context and a live string, of which the server keeps a reference of its own.
        let key =
            unsafe { required!(RedisModule_OpenKey)(ctx.as_ptr(), name.as_ptr(), raw::REDISMODULE_READ as c_int) };
        let key = Self { key: NonNull::new(key)?, of: PhantomData };
        // SAFETY: the key is open.
        let kind = unsafe { required!(RedisModule_KeyType)(key.key.as_ptr()) };
        (kind == raw::REDISMODULE_KEYTYPE_STRING as c_int).then_some(key)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let mut length = 0;
        // SAFETY: the key is open and holds a string; its bytes stay where they are until something is written, and
        // while this is borrowed nothing is.
        unsafe {
            let start =
                required!(RedisModule_StringDMA)(self.key.as_ptr(), &mut length, raw::REDISMODULE_READ as c_int);
            std::slice::from_raw_parts(start.cast(), length)
        }
    }
}

impl Drop for StringKey<'_> {
    fn drop(&mut self) {
        // SAFETY: the key is open, and not used any more.
        unsafe { required!(RedisModule_CloseKey)(self.key.as_ptr()) };
    }
}
