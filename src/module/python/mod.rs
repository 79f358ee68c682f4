//! Calls of Python functions: `execute()`, `atomic()` and the rest of what code of users asks of the server while it runs.
//!
//! Each worker, a process in which such code runs, has a socket for calls that the server's main thread reads itself, without
//! a hop through the runtime: `call.rs` reads them, `call_socket.rs` has what comes and what leaves, `serving.rs` answers one
//! after the other, `execute.rs` runs commands, `alone.rs` gives one worker the server for itself, `event.rs` has it run an
//! event that the server waits for, `callers.rs` is what the event loop comes to.

mod alone;
mod call;
mod call_socket;
mod callers;
mod contexts;
mod event;
mod event_clients;
mod execute;
mod hashtag;
mod script_log;
mod serving;
#[cfg(test)]
mod tests;
mod timers;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::server::context::Ctx;
use super::server::main_thread;
use crate::python::events::{self, EventBatch, EventOutcome, EventsRun};
use crate::python::marshal::{self, Value};
use crate::python::{Worker, WorkerNumber};
pub(in crate::module) use contexts::contexts;
pub(in crate::module) use event_clients::{BoundClient, EventClient, NextCommand, bind};
pub(in crate::module) use hashtag::of_slot as hashtag_of_slot;
pub(in crate::module) use script_log::log;

/// Tells whether all workers are ending, so that nobody has to be told of each.
static IS_CLOSING: AtomicBool = AtomicBool::new(false);

/// Reads the calls of a worker from the server's end of its call socket, until it ends. From any thread.
pub(in crate::module) fn serve_calls(worker: Weak<Worker>, socket: OwnedFd) {
    IS_CLOSING.store(false, Ordering::Release);
    main_thread::post(move |_| {
        if let Err(error) = callers::add(&worker, socket)
            && let Some(worker) = worker.upgrade()
        {
            worker.kill(format!("its calls cannot be read: {error}"));
        }
    });
}

/// The end of an event that the server has waited for.
pub(in crate::module) enum SyncEnd {
    /// The event is done with.
    Done(EventOutcome),
    /// The event waits for a future or coroutine, and ends later.
    Waits,
}

/// Has a worker run an event, and waits for its end. On the main thread, which does nothing else meanwhile, for
/// `rmr.sync-timeout-ms` at most.
///
/// # Errors
/// The error says why it has not come to its end.
pub(in crate::module) fn run_event(
    ctx: Ctx<'_>,
    worker: &Arc<Worker>,
    run: &EventsRun<'_>,
    batch: &EventBatch,
) -> Result<SyncEnd, String> {
    let head = batch.head(run).to_marshal();
    let said = callers::run_event(ctx, worker, run.execution, &head, batch.sections())?;
    let broken = || "the Python process has answered to something else".to_owned();
    let head = marshal::read(&Bytes::from(said.head)).map_err(|_| broken())?;
    let Some([outcome, failure]) = head.items() else { return Err(broken()) };
    if let Some([_, text]) = failure.items() {
        return Err(text.as_text().map_or_else(broken, str::to_owned));
    }
    match outcome {
        Value::None => Ok(SyncEnd::Waits),
        outcome => events::outcome(outcome, &said.section).map(SyncEnd::Done).ok_or_else(broken),
    }
}

/// Lets go of what is held for a worker, which has ended. From any thread.
pub(in crate::module) fn worker_gone(worker: WorkerNumber) {
    // The server would come back to code that is not there any more.
    if !IS_CLOSING.load(Ordering::Acquire) {
        main_thread::post(move |_| callers::remove(worker));
    }
}

/// Hears that all workers will end, and [`close`] will be called then.
pub(in crate::module) fn expect_close() {
    IS_CLOSING.store(true, Ordering::Release);
}

/// Ends all this, once all workers have been told to end: the module is unloaded.
///
/// # Errors
/// If the server will come back to this code.
pub(in crate::module) fn close() -> Result<(), String> {
    callers::close()
}
