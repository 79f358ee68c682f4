//! Failures that have burned other distributed commands, one test each for `RMR.EXEC` and its kin: `f13_...` is the thirteenth of
//! a list of such failures. Those that are the links' own, whatever command they carry, are tested elsewhere.

mod merging;
mod nodes;
mod process;
mod rights;
