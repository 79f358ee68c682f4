//! Foreign code: shard functions, providers, reducers and callbacks are somebody else's, and may panic. A panic is an
//! error of the request, and of nothing else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;

/// Runs foreign code, `who` by name.
///
/// # Errors
/// Its own, or its panic.
pub(super) fn guarded<T>(who: &'static str, code: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|panic| Err(panicked(who, &*panic)))
}

/// Returns the error that a panic of foreign code is to the request.
pub(crate) fn panicked(who: &'static str, panic: &(dyn Any + Send)) -> Error {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::Panicked { who, message: message.unwrap_or("no message").to_owned() }
}
