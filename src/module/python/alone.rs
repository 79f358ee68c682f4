//! `atomic()`: one worker has the server for itself, from its entering an atomic block to its leaving it.
//!
//! The main thread does nothing else meanwhile, within one context: no other client, script or worker comes between the
//! commands of the block, and what they write leaves as one `MULTI`. So there is a deadline, at which the worker is given up.

use std::time::Instant;

use super::call::BadCall;
use super::call_socket::Transfer;
use super::serving::{CallServer, Caller, Served, ServedFor};
use crate::module::server::socket::{self, Readiness};

/// The end of a worker's time alone with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AloneEnd {
    /// The worker has left the block, or come to the end of its event.
    HasLeft,
    /// The worker has closed its socket, as when it ends.
    IsGone,
    /// The deadline has passed, so it must end.
    TooLong,
    Bad(BadCall),
}

/// Serves this worker alone, whose call of this number wants that.
pub(super) fn serve_alone(caller: &mut Caller, id: u64, server: &mut impl CallServer, deadline: Instant) -> AloneEnd {
    caller.has_entered(id);
    serve_until_done(caller, ServedFor::Alone, server, deadline)
}

/// Serves a worker and nobody else until it has done what it is served for.
pub(super) fn serve_until_done(
    caller: &mut Caller,
    served_for: ServedFor,
    server: &mut impl CallServer,
    deadline: Instant,
) -> AloneEnd {
    loop {
        let served = caller.serve(server, served_for);
        match served {
            Served::All | Served::HasLeft | Served::EventHasEnded | Served::IsFull => {}
            Served::Bad(bad) => return AloneEnd::Bad(bad),
            Served::WasEnded => return AloneEnd::IsGone,
            // A call that cannot be done now cannot be done before this ends.
            Served::TimeIsUp | Served::NotNow | Served::WantsAlone { .. } => return AloneEnd::TooLong,
        }
        match send_all(caller, deadline) {
            Ok(true) if matches!(served, Served::HasLeft | Served::EventHasEnded) => return AloneEnd::HasLeft,
            Ok(true) if Instant::now() >= deadline => return AloneEnd::TooLong,
            Ok(true) if served == Served::IsFull => continue,
            Ok(true) => {}
            Ok(false) => return AloneEnd::TooLong,
            Err(IsGone) => return AloneEnd::IsGone,
        }
        match socket::wait(caller.socket.descriptor(), Readiness::Readable, deadline) {
            Ok(true) if caller.socket.read() != Transfer::Closed => {}
            Ok(false) => return AloneEnd::TooLong,
            Ok(true) | Err(_) => return AloneEnd::IsGone,
        }
    }
}

/// The worker has closed its end.
struct IsGone;

/// Sends all answers; `false` if the worker has not taken them at the deadline.
fn send_all(caller: &mut Caller, deadline: Instant) -> Result<bool, IsGone> {
    loop {
        match caller.socket.send() {
            Transfer::Done => return Ok(true),
            Transfer::Closed => return Err(IsGone),
            Transfer::Blocked => {
                let is_ready = socket::wait(caller.socket.descriptor(), Readiness::Writable, deadline);
                if !is_ready.map_err(|_| IsGone)? {
                    return Ok(false);
                }
            }
        }
    }
}
