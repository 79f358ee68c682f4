//! Calls of Python functions: `execute()`, `atomic()` and the rest of what code of users asks of the server while it runs.
//!
//! Each worker, a process in which such code runs, has a socket for calls that the server's main thread reads itself, without
//! a hop through the runtime: `call.rs` reads them, `call_socket.rs` has what comes and what leaves, `serving.rs` answers one
//! after the other, `alone.rs` gives one worker the server for itself.

mod alone;
mod call;
mod call_socket;
mod hashtag;
mod serving;
#[cfg(test)]
mod tests;
