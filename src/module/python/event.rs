//! Events for which the main thread waits: the flow of a registration runs in its worker, and meanwhile the main thread
//! answers the calls of that event and does nothing else, until a deadline.

use std::cell::Cell;
use std::time::Instant;

use bytes::Bytes;

use super::alone::{AloneEnd, serve_until_done};
use super::serving::{CallServer, Caller, EventSaid, ServedFor};
use crate::module::config;

thread_local! {
    /// The moment when the innermost of the events has to be done that the main thread is in.
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Sets the moment when an event has to be done for which the main thread waits. Events within events have one deadline
/// together: an inner one has nine tenths of the time that is left, so that its caller can still make something of its
/// failure.
pub(super) struct EventDeadline {
    at: Instant,
    outer: Option<Instant>,
}

impl EventDeadline {
    /// Goes into one more event.
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        let outer = UNTIL.get();
        let at =
            outer.map_or(now + config::sync_timeout(), |outer| now + outer.saturating_duration_since(now) * 9 / 10);
        UNTIL.set(Some(at));
        Self { at, outer }
    }

    pub(super) fn at(&self) -> Instant {
        self.at
    }
}

impl Drop for EventDeadline {
    fn drop(&mut self) {
        UNTIL.set(self.outer);
    }
}

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
