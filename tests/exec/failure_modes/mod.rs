//! What has burned other distributed commands, one test each for `RMR.EXEC` and its kin: `f13_...` is the thirteenth of a
//! list of such failures. Those that are the links' own, whatever command they carry, are tested elsewhere.

mod common;

#[path = "failure_modes/merging.rs"]
mod merging;
#[path = "failure_modes/nodes.rs"]
mod nodes;
#[path = "failure_modes/process.rs"]
mod process;
#[path = "failure_modes/rights.rs"]
mod rights;
