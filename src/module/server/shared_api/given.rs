//! The values besides objects that go to C and come from C: bytes, texts, and numbers that stand for an outcome.

use std::ffi::{CStr, c_char, c_int};

/// `RMR_API_VERSION`, the only one so far.
pub(super) const VERSION: c_int = 1;

/// `RMR_OK`.
pub(super) const OK: c_int = 0;

/// `RMR_ERR`.
pub(super) const ERR: c_int = 1;

/// Returns what C says in a pointer and a length; nothing for null.
///
/// # Safety
/// `bytes` is null, or points to as many bytes as `length` says, which stay as they are for `'a`.
pub(super) unsafe fn bytes_of<'a>(bytes: *const c_char, length: usize) -> &'a [u8] {
    // SAFETY: as the caller says.
    if bytes.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(bytes.cast(), length) } }
}

/// Returns a text of C; `None` for null, and for what is no UTF-8.
///
/// # Safety
/// `text` is null, or ends in zero and stays as it is for `'a`.
pub(super) unsafe fn text_of<'a>(text: *const c_char) -> Option<&'a str> {
    // SAFETY: as the caller says.
    if text.is_null() { None } else { unsafe { CStr::from_ptr(text) }.to_str().ok() }
}

/// Returns the name of a reducer or a step, if it is one.
pub(super) fn is_name<'a>(name: &'a CStr, of: &str) -> Result<&'a str, String> {
    let name = name.to_str().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(name);
    }
    Err(format!("the {of}'s name is '{}'; give 1 to 64 letters, digits, '-', '_' or '.'", name.escape_debug()))
}
