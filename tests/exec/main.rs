//! `RMR.EXEC` and `RMR.EXPLAIN` on real clusters: where commands go, how they are cut, what becomes of the replies, and
//! what is refused.

#[path = "../common/mod.rs"]
mod common;

mod code;
mod explained;
mod failure_modes;
mod grammar;
mod keyed;
mod keyless;
mod moving_slots;
mod option_words;
mod refused;
mod run_once;
mod scanned;
