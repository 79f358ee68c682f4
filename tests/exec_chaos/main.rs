//! `RMR.EXEC` and `RMR.SCAN` while the cluster changes under them: slots that move, primaries that change, nodes that
//! stand still. No answer is wrong, no write is lost or done twice.
//!
//! The loops are short here; `RMR_SOAK=10000` makes them as long as that many commands of each kind, as `make soak` does.

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod cursor;
mod half_moved;
mod load;
mod moving;
mod scan;
mod unsteady;
