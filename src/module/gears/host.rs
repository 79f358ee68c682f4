//! [`ServerHost`]: what this server does for the processes in which functions run.

use std::os::fd::OwnedFd;
use std::sync::Weak;

use super::started;
use crate::module::{config, python};
use crate::python::{Interpreter, PythonHost, StartedFlow, Worker, WorkerNumber};

/// The niceness of processes of functions, by which they give way to the server.
const NICE: i32 = 5;

/// This server, as processes of functions see it.
pub(super) struct ServerHost;

impl PythonHost for ServerHost {
    fn interpreter(&self) -> Interpreter {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Interpreter {
            program: text(config::python()),
            memory: config::python_memory(),
            user: text(config::python_user()),
            processes: config::python_processes(),
            nice: NICE,
        }
    }

    fn serve_calls(&self, worker: Weak<Worker>, socket: OwnedFd) {
        python::serve_calls(worker, socket);
    }

    fn worker_gone(&self, worker: WorkerNumber) {
        python::worker_gone(worker);
    }

    fn log(&self, level: &str, session: &str, text: &str) {
        python::log(level, session, text);
    }

    fn start_flow(&self, started: StartedFlow) {
        tokio::spawn(started::run(started));
    }
}
