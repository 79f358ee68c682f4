//! What the fuzzer runs, and the property tests with it: bytes of other nodes, read with every reducer there is.
//!
//! It stands at the root because it needs both what travels ([`crate::peer`]) and the reducers, which are above that.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::combine;
use crate::combine::Combine;
use crate::peer::{Envelope, Kind, Outcome, Reduction};
use crate::reduce::{Builtin, Prefix};
use crate::reply::Reply;

/// Reads bytes as the request and as the answer of an inner command: whatever they are, they do no harm.
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "only the fuzzer reaches it from outside"))]
pub fn fuzz_inner(bytes: &[u8]) {
    if let Ok(Envelope { kind: Kind::Reduce(request), .. }) = Envelope::decode(bytes) {
        let (commands, places) = (request.commands().len(), request.places().len());
        assert!(places == 0 || places == commands);
    }
    let reply = Reply::Bulk(Bytes::copy_from_slice(bytes));
    Builtin::ALL.into_iter().for_each(|reducer| read_with(reducer, &reply));
    Builtin::ALL.into_iter().for_each(|reducer| read_with(Prefix::new(":", reducer), &reply));
    let _ = Outcome::of_bytes(reply);
}

fn read_with(reducer: impl Combine + Clone, reply: &Reply) {
    let (places, time_left) = (vec![0, 7, 3], Duration::ZERO);
    let reduction = Reduction { combine: Arc::new(reducer.clone()), places, time_left };
    if let Outcome::Done(partial) = Outcome::of_share(reply, &reduction, 3) {
        // The result may be an error, as of a sum that is too large.
        let _ = combine::finish(&reducer, partial.reduced);
    }
}
