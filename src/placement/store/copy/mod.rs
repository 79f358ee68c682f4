//! Keys from node to node: what a slot that moves, a copy that is made and a copy that is looked after have in common.
//!
//! - [`node`]: a conversation with one node
//! - [`scan`]: which keys a node has of some slots, and letting go of them
//! - [`carry`]: keys of a source to targets, each as it is at the source, TTL and all; none if the source has none
//! - [`value`]: values in pieces, by type, for those that are too large to be held in one reply
//! - [`compare`]: whether keys are the same at two nodes
//!
//! Nothing here knows of slots that are locked or of writes meanwhile. A key that is written while it is carried has to be
//! carried again; a key in pieces is only sound if nobody has written to it. The carrier knows both.
//!
//! No node is kept from others for more than some milliseconds: what is asked at once is bounded by bytes, and large values are
//! read and written a piece at a time.

pub(super) mod carry;
pub(super) mod compare;
pub(super) mod node;
pub(super) mod scan;
mod value;

#[cfg(test)]
mod tests;

/// Values that take more memory than this are carried and compared in pieces, which are about half as large.
const LARGE: u64 = 1 << 20;

/// The number of bytes that are asked for, or sent, at once.
const PIECE: usize = 512 * 1024;

/// The number of small keys that are asked for at once.
const KEYS_AT_ONCE: usize = 256;

/// The beginning of the names under which values are put together at a target, before they take the place of the key.
const UNFINISHED: &[u8] = b"rmr:carried:";

/// Returns the name under which the value of a key is put together.
fn unfinished(key: &[u8]) -> Vec<u8> {
    [UNFINISHED, key].concat()
}

/// Returns whether this is the name of a key of ours, and none of a client: it is in no slot, and nobody is shown it.
pub(super) fn is_ours(name: &[u8]) -> bool {
    name.starts_with(UNFINISHED) || (name.starts_with(b"rmr:") && name.ends_with(b":mark"))
}
