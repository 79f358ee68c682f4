//! Events for which the main thread waits: the flow of a registration runs in its worker, and meanwhile the main thread
//! answers the calls of that event and does nothing else, until a deadline.

use std::time::Instant;

use bytes::Bytes;

use super::alone::{AloneEnd, serve_until_done};
use super::serving::{CallServer, Caller, EventSaid, ServedFor};

/// Has a worker run an event, and serves the calls of it alone. The number is that of its execution. The error is why there is
/// no end.
pub(super) fn run(
    caller: &mut Caller,
    number: u64,
    head: &[u8],
    sections: &[Bytes],
    server: &mut impl CallServer,
    deadline: Instant,
) -> Result<EventSaid, AloneEnd> {
    let before = caller.begin_event(number, head, sections);
    let end = serve_until_done(caller, ServedFor::Event(number), server, deadline);
    let said = caller.end_event(before);
    match end {
        AloneEnd::HasLeft => said.ok_or(AloneEnd::IsGone),
        other => Err(other),
    }
}
