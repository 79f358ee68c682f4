//! `RMR.EXEC` and `RMR.SCAN` while the cluster changes under them: slots that move, primaries that change, nodes that
//! stand still. No answer is wrong, no write is lost or done twice.
//!
//! The loops are short here; `RMR_SOAK=10000` makes them as long as that many commands of each kind, as `make soak` does.

mod common;

#[path = "exec_chaos/clients.rs"]
mod clients;
#[path = "exec_chaos/cursor.rs"]
mod cursor;
#[path = "exec_chaos/half_moved.rs"]
mod half_moved;
#[path = "exec_chaos/load.rs"]
mod load;
#[path = "exec_chaos/moving.rs"]
mod moving;
#[path = "exec_chaos/scan.rs"]
mod scan;
#[path = "exec_chaos/unsteady.rs"]
mod unsteady;
