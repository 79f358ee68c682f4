//! [`Same`]: when two replies are the same one, for reducers that count how many differ.
//!
//! Strings of whatever kind are the same by their bytes, whether a node has sent them as a status or in bulk. All else is
//! the same if it is written alike in RESP3: sets and maps, too, element by element in their order.

use bytes::Bytes;

use crate::reply::Reply;

/// A reply as it is compared.
pub(super) enum Same {
    /// The bytes of a string.
    Text(Bytes),
    /// Any other reply, in RESP3.
    Wire(Vec<u8>),
}

impl Same {
    pub(super) fn of(reply: Reply) -> Self {
        match plain(reply) {
            Reply::Bulk(text) => Self::Text(text),
            other => {
                let mut wire = Vec::new();
                other.write_to(&mut wire);
                Self::Wire(wire)
            }
        }
    }
}

/// Returns the reply that stands for all that are the same.
fn plain(reply: Reply) -> Reply {
    let all = |elements: Vec<Reply>| elements.into_iter().map(plain).collect();
    match reply {
        Reply::Simple(text) | Reply::BigNumber(text) | Reply::Verbatim { text, .. } => Reply::Bulk(text),
        Reply::NullArray => Reply::Null,
        // 0.0 and -0.0 are equal, and there is one NaN.
        Reply::Double(double) if double.is_nan() => Reply::Double(f64::NAN),
        Reply::Double(double) => Reply::Double(double + 0.0),
        Reply::Attributed { reply, .. } => plain(*reply),
        Reply::Array(elements) => Reply::Array(all(elements)),
        Reply::Set(elements) => Reply::Set(all(elements)),
        Reply::Map(pairs) => Reply::Map(pairs.into_iter().map(|(key, value)| (plain(key), plain(value))).collect()),
        other => other,
    }
}
