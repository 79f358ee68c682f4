//! `RMR.EXEC` and `RMR.EXPLAIN` on real clusters: where commands go, how they are cut, what becomes of the replies, and
//! what is refused.

mod common;

#[path = "exec/explained.rs"]
mod explained;
#[path = "exec/grammar.rs"]
mod grammar;
#[path = "exec/keyed.rs"]
mod keyed;
#[path = "exec/keyless.rs"]
mod keyless;
#[path = "exec/scanned.rs"]
mod scanned;
