//! The messages between nodes that run the same module.
//!
//! There is one inner command, `RMR.INNER` (a module with reducers of its own names another):
//!
//! - Without arguments the node answers with its version of the protocol. A link asks for it when it connects.
//! - With a request, an [`Envelope`] of a [`Kind`], the node does what that asks for; the reply is an [`Outcome`].
//!
//! Nodes with another version decline, and are asked by plain commands.
//!
//! This floor knows the words only. [`crate::link`] sends them, and the module serves them.

#![cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server is asked to reduce"))]

mod envelope;
mod forward;
mod outcome;
mod reduce;
mod reduction;

use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use envelope::{Envelope, Kind};
pub(crate) use forward::{FORWARD, Forwarded, UNLESS_WRITTEN, together};
#[cfg(feature = "placement")]
pub(crate) use forward::{ForwardedStep, each_of, taken_apart};
pub(crate) use outcome::Outcome;
pub(crate) use reduce::ReduceRequest;
pub use reduction::{ReducedShare, Reduction};

/// The version of requests and answers. A node that has another declines.
pub(crate) const VERSION: u8 = 4;

/// Returns a word that nobody guesses.
pub(crate) fn secret_word() -> String {
    // Each has keys of its own, which the operating system has given.
    let half = || std::hash::RandomState::new().hash_one(next_id());
    format!("{:016x}{:016x}", half(), half())
}

/// Returns an id that no other request has, here or, as good as surely, on another node.
pub(crate) fn next_id() -> u64 {
    static FIRST: LazyLock<u64> = LazyLock::new(|| std::hash::RandomState::new().hash_one(std::process::id()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    FIRST.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed))
}
