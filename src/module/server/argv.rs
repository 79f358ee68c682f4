//! The arguments that the server calls a command with.

use std::ffi::c_int;

use redis_module::raw;

use super::string::string_bytes;

/// Arguments of a command that is running, as the server has them.
#[derive(Clone, Copy)]
pub(crate) struct Argv<'a>(&'a [*mut raw::RedisModuleString]);

impl<'a> Argv<'a> {
    /// Takes what a command was called with.
    ///
    /// # Safety
    /// `argv` points to `argc` strings, for which invariant 3 holds for `'a`.
    pub(super) unsafe fn new(argv: *mut *mut raw::RedisModuleString, argc: c_int) -> Self {
        // SAFETY: as the caller says.
        Self(unsafe { std::slice::from_raw_parts(argv, usize::try_from(argc).unwrap_or_default()) })
    }

    /// Returns the name of the command.
    pub(crate) fn name(self) -> &'a [u8] {
        // SAFETY: invariant 3, by `new`.
        self.0.first().map_or(&[], |&name| unsafe { string_bytes(name) })
    }

    /// Returns the arguments without the name of the command.
    pub(crate) fn without_name(self) -> Self {
        Self(self.0.get(1..).unwrap_or_default())
    }

    /// Returns the arguments as bytes.
    pub(crate) fn bytes(self) -> Vec<&'a [u8]> {
        // SAFETY: invariant 3, by `new`.
        self.0.iter().map(|&string| unsafe { string_bytes(string) }).collect()
    }
}
