//! Functions in Python: the floor that speaks to the python3 processes in which code of users runs.
//!
//! The server itself never runs such code. It starts one *template* process, which imports everything once and forks
//! *workers*; a *session*, which is what one `RG.PYEXECUTE` has made, has one worker on each shard. `worker/` is the
//! program that these processes run, and `worker/PROTOCOL.md` says what goes over their sockets.
//!
//! - `marshal`, `frame`: what goes over the sockets, byte by byte

pub(crate) mod frame;
pub(crate) mod marshal;
