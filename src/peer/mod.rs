//! What nodes that run the same module say to each other.
//!
//! There is one inner command, `RMR.INNER` (a module with reducers of its own names another):
//!
//! - Without arguments the node answers with its version of the protocol. A link asks for it when it connects.
//! - With a request ([`ReduceRequest`]) the node runs its share of the commands and reduces the replies; the reply is a
//!   [`ReduceOutcome`].
//! - With `GIVEUP` and the id of a request, sent over another connection, the node stops working on that request.
//!
//! This floor knows the words only. [`crate::link`] sends them, and the module serves them.

#![cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server is asked to reduce"))]

mod outcome;
mod reduce;
mod reduction;

use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use outcome::ReduceOutcome;
#[cfg(any(test, fuzzing))]
pub(crate) use reduce::ReduceAnswer;
pub(crate) use reduce::ReduceRequest;
pub use reduction::{ReducedShare, Reduction};

use crate::command::Command;

/// The version of requests and answers. A node that has another declines.
pub(crate) const VERSION: u8 = 3;

/// The word that ends a request before it is done.
pub(crate) const GIVE_UP: &str = "GIVEUP";

/// Returns the command that tells a node that nobody waits for the answer to this request any more.
pub(crate) fn give_up(inner_command: &str, id: u64) -> Command {
    Command::new(inner_command).arg(GIVE_UP).arg(id)
}

/// Returns an id that no other request has, here or, as good as surely, on another node.
pub(crate) fn next_id() -> u64 {
    static FIRST: LazyLock<u64> = LazyLock::new(|| std::hash::RandomState::new().hash_one(std::process::id()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    FIRST.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed))
}
