//! The client of the library: what a program over plain servers relies on, much of it as the Python library rb has it.

mod common;

#[path = "client/batched.rs"]
mod batched;
#[path = "client/failures.rs"]
mod failures;
#[path = "client/fanned_out.rs"]
mod fanned_out;
#[path = "client/figures.rs"]
mod figures;
#[path = "client/listed.rs"]
mod listed;
#[path = "client/mapped.rs"]
mod mapped;
#[path = "client/routed.rs"]
mod routed;
