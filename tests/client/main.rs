//! The client of the library: what a program over plain servers relies on, much of it as the Python library rb has it.

#[path = "../common/mod.rs"]
mod common;

mod batched;
mod failures;
mod fanned_out;
mod figures;
mod flows;
mod listed;
mod mapped;
mod routed;
mod testing;
