//! Events for which the main thread waits: the flow of a registration runs in its worker, and meanwhile the main thread
//! answers the calls of that event and does nothing else, until a deadline.

use std::time::Instant;

use bytes::Bytes;

use super::alone::{IsGone, send_all};
use super::call::BadCall;
use super::call_socket::Transfer;
use super::serving::{CallServer, Caller, EventSaid, Served, ServedFor};
use crate::module::server::socket::{self, Readiness};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoEventEnd {
    /// The worker has closed its socket, as when it ends.
    IsGone,
    /// The deadline has passed, so it must end.
    TooLong,
    Bad(BadCall),
}

/// Has a worker run an event, and serves the calls of it alone. The number is that of its execution.
pub(super) fn run(
    caller: &mut Caller,
    number: u64,
    head: &[u8],
    sections: &[Bytes],
    server: &mut impl CallServer,
    deadline: Instant,
) -> Result<EventSaid, NoEventEnd> {
    let before = caller.begin_event(number, head, sections);
    let end = serve(caller, number, server, deadline);
    let said = caller.end_event(before);
    end.and_then(|()| said.ok_or(NoEventEnd::IsGone))
}

fn serve(caller: &mut Caller, number: u64, server: &mut impl CallServer, deadline: Instant) -> Result<(), NoEventEnd> {
    let gone = |_: IsGone| NoEventEnd::IsGone;
    loop {
        let served = caller.serve(server, ServedFor::Event(number));
        match served {
            Served::EventHasEnded => return Ok(()),
            Served::All | Served::IsFull => {}
            Served::Bad(bad) => return Err(NoEventEnd::Bad(bad)),
            // What cannot be done now cannot be done before this ends.
            Served::TimeIsUp | Served::NotNow | Served::WantsAlone { .. } | Served::HasLeft => {
                return Err(NoEventEnd::TooLong);
            }
        }
        if !send_all(caller, deadline).map_err(gone)? || Instant::now() >= deadline {
            return Err(NoEventEnd::TooLong);
        }
        if served == Served::IsFull {
            continue;
        }
        match socket::wait(caller.socket.descriptor(), Readiness::Readable, deadline) {
            Ok(true) if caller.socket.read() != Transfer::Closed => {}
            Ok(false) => return Err(NoEventEnd::TooLong),
            Ok(true) | Err(_) => return Err(NoEventEnd::IsGone),
        }
    }
}
