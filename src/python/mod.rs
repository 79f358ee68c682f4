//! Functions in Python: the floor that speaks to the python3 processes in which code of users runs.
//!
//! The server itself never runs such code. It starts one *template* process, which imports everything once and forks
//! *workers*; a *session*, which is what one `RG.PYEXECUTE` has made, has one worker on each shard. `worker/` is the
//! program that these processes run, and `worker/PROTOCOL.md` says what goes over their sockets.
//!
//! - `sessions`: which sessions there are, and which worker each has; `warm`: workers that wait for the next one
//! - `start`, `worker`: a worker from its fork to its end, and what it can be asked
//! - `template`, `interpreter`, `program`: the process that forks workers, python3, and the program that it runs
//! - `requirements`, `package_sets`, `wheels`: packages that scripts need, fetched, installed and kept
//! - `channel`, `frame`, `marshal`: requests and answers, and what goes over the sockets byte by byte
//! - `output`, `exit`, `child`: what processes print, and how they end
//! - `stage`, `batch`: the stages of a flow, and their records as workers take them
//! - `events`, `event_ends`: the flows of registrations, run once for each event
//! - `contexts`: on whose behalf code runs
//! - `host`: what the server does for workers

mod batch;
mod channel;
mod child;
mod contexts;
mod event_ends;
pub(crate) mod events;
mod exit;
pub(crate) mod frame;
mod host;
mod interpreter;
pub(crate) mod marshal;
mod output;
mod package_sets;
mod program;
mod requirements;
mod sessions;
pub(crate) mod stage;
mod start;
mod template;
#[cfg(test)]
mod tests;
mod warm;
mod wheels;
mod worker;

pub(crate) use channel::{WorkerAnswer, WorkerError};
pub(crate) use contexts::{Context, ContextGuard, Contexts};
pub(crate) use host::PythonHost;
pub(crate) use interpreter::Interpreter;
pub(crate) use package_sets::{ListedPackages, PackageFolder};
pub(crate) use requirements::NOT_INSTALLED;
pub(crate) use sessions::{SessionHandle, Sessions};
pub(crate) use wheels::{Wheel, digest_of};
pub(crate) use worker::{StartedFlow, Worker, WorkerNumber, WorkerSettings};
