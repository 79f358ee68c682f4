//! Calls of Python functions: `execute()`, `atomic()` and the rest of what code of users asks of the server while it runs.
//!
//! Each worker, a process in which such code runs, has a socket for calls that the server's main thread reads itself, without
//! a hop through the runtime: `call.rs` reads them, `call_socket.rs` has what comes and what leaves, `serving.rs` answers one
//! after the other, `execute.rs` runs commands, `alone.rs` gives one worker the server for itself, `callers.rs` is what the
//! event loop comes to.

mod alone;
mod call;
mod call_socket;
mod callers;
mod contexts;
mod execute;
mod hashtag;
mod script_log;
mod serving;
#[cfg(test)]
mod tests;
mod timers;

use std::os::fd::OwnedFd;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

use super::server::main_thread;
use crate::python::{Worker, WorkerNumber};
pub(in crate::module) use contexts::contexts;
pub(in crate::module) use script_log::log;

/// Whether all workers are ending, so that nobody has to be told of each.
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
