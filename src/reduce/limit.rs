//! Bounds the memory that one reducer's partial result takes.
//!
//! A reducer that would need more drops what it has, stays empty for good, and ends its request in an error: the server
//! goes on. The count is the same for the same content, so that it does not matter which node has reduced which part.

use crate::error::Error;

/// The most that a partial result may take, in bytes. Tests that go beyond it have no time for so much.
pub(super) const MOST_BYTES: usize = if cfg!(test) { 4 << 20 } else { 64 << 20 };

/// The memory that an entry of a map takes beside its own bytes: its length, a number, a word of the allocator, room in
/// the table.
pub(super) const ENTRY: usize = 64;

/// Returns the error of a reducer that needs more.
pub(super) fn too_big(reducer: &'static str) -> Error {
    Error::KeepsTooMuch { reducer, limit: MOST_BYTES }
}
