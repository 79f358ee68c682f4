//! Values in the form in which Python's `marshal` writes them, version 2: the heads of frames, and the records of flows.
//!
//! The format is Python's own, so that a worker reads a batch at the speed of C. It has no references between values
//! but those to names that a section repeats, and each value says its own length, so values can be strung together.

mod read;
mod reply;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub(crate) use read::{BadMarshal, read};
pub(crate) use reply::{WrittenReply, write_reply};
pub(crate) use value::Value;
pub(crate) use write::Writer;
