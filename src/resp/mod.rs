//! The wire format of Redis, RESP2 and RESP3: reading replies, writing commands.

mod error;
mod protocol;
mod read;
mod write;

pub(crate) use error::code as error_code;
pub use error::{Retry, ServerError, ServerErrorKind};
pub use protocol::Protocol;
#[cfg(feature = "module")]
pub(crate) use read::bulk;
pub(crate) use read::{ELEMENT_COST, ProtocolError, Scanner, decode, decode_whole};
pub(crate) use write::{ArgBuffer, Arguments, push_array_header, push_bulk, push_bulk_header};
