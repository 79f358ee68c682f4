//! Strings of the server.

use std::ptr::{self, NonNull};

use redis_module::raw;

use super::api::required;

/// A string that the server made for us; freed with this.
pub(super) struct OwnedString(NonNull<raw::RedisModuleString>);

impl OwnedString {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let create = required!(RedisModule_CreateString);
        // SAFETY: invariant 6; no context means that the string is ours to free.
        let string = unsafe { create(ptr::null_mut(), bytes.as_ptr().cast(), bytes.len()) };
        Self(NonNull::new(string).expect("the server is out of memory"))
    }

    /// Takes over a string; `None` for null.
    ///
    /// # Safety
    /// Invariant 4 holds for the string.
    pub(super) unsafe fn from_raw(string: *mut raw::RedisModuleString) -> Option<Self> {
        NonNull::new(string).map(Self)
    }

    pub(super) fn as_ptr(&self) -> *mut raw::RedisModuleString {
        self.0.as_ptr()
    }

    /// Hands the string over to the server.
    pub(super) fn into_raw(self) -> *mut raw::RedisModuleString {
        std::mem::ManuallyDrop::new(self).as_ptr()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: invariant 3: the string lives as long as `self`.
        unsafe { string_bytes(self.0.as_ptr()) }
    }
}

impl Drop for OwnedString {
    fn drop(&mut self) {
        // SAFETY: invariant 4: made without a context, or handed to us to free.
        unsafe { required!(RedisModule_FreeString)(ptr::null_mut(), self.0.as_ptr()) };
    }
}

/// Returns the bytes of a string.
///
/// # Safety
/// Invariant 3 holds for the string, for `'a`.
pub(super) unsafe fn string_bytes<'a>(string: *mut raw::RedisModuleString) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: the caller says that the string is live; the server gives a pointer and its length.
    unsafe {
        let start = required!(RedisModule_StringPtrLen)(string, &mut length);
        std::slice::from_raw_parts(start.cast(), length)
    }
}
