//! The server's event loop reads the replies of links: which sockets it watches, and the streams that are read that way.

pub(crate) mod registry;
pub(crate) mod socket;
