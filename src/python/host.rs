//! The services of the server for workers. The floor above implements them.

use std::os::fd::OwnedFd;
use std::sync::Weak;

use super::interpreter::Interpreter;
use super::worker::{StartedFlow, Worker, WorkerNumber};

/// Is the server, as workers see it. All of it is called on threads of the runtime, and none of it may wait.
pub(crate) trait PythonHost: Send + Sync {
    /// Returns which interpreter runs functions now, and what workers may use.
    fn interpreter(&self) -> Interpreter;

    /// Takes the server's end of the call socket of a new worker, to read it on the main thread until it closes.
    fn serve_calls(&self, worker: Weak<Worker>, socket: OwnedFd);

    /// Notes that a worker has ended for certain; its call socket may seem open still, if a child of the server has a copy
    /// of the worker's end.
    fn worker_gone(&self, worker: WorkerNumber);

    /// Writes a line of a session to the server's log: `debug`, `verbose`, `notice` or `warning`. They come at a bounded
    /// rate. The session is empty for what concerns none.
    fn log(&self, level: &str, session: &str, text: &str);

    /// Starts a flow that a script awaits.
    fn start_flow(&self, started: StartedFlow);
}
