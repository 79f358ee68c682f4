//! The cluster changes while distributed commands run: slots move, primaries change, nodes come and are lost. Every
//! answer is true, or an error that says why.
//!
//! `RMR.EXEC` has such tests of its own, in `tests/exec_chaos/`: they are long, and run alone.

#[path = "../common/mod.rs"]
mod common;

mod churn;
mod events;
mod failover;
mod patterns;
mod resharding;
