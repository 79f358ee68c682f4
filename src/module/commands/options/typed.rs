//! Arguments as tests type them.

use std::fmt::Debug;

use crate::error::Error;

/// Returns the words of a line.
pub(super) fn words(line: &str) -> Vec<&[u8]> {
    line.split_whitespace().map(str::as_bytes).collect()
}

/// Returns what the error says.
pub(super) fn error<T: Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}
