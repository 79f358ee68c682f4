//! The request that a node reduce its share of the replies, and the partial result that it answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::combine::{AnyCombine, AnyPartial};

/// A reducer for a node's share of the replies.
#[derive(Clone)]
pub struct Reduction {
    pub(crate) combine: Arc<dyn AnyCombine>,
    /// The place of each of the batch's commands in the whole request; none if the reducer needs no places.
    pub(crate) places: Vec<u32>,
    /// The time after which nobody waits for the answer any more.
    pub(crate) time_left: Duration,
}

impl Reduction {
    /// Returns the name of the reducer.
    pub fn name(&self) -> &'static str {
        self.combine.name()
    }
}

impl std::fmt::Debug for Reduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reduction").field(&self.name()).finish()
    }
}

/// The result of a node that has reduced its share of the replies.
pub struct ReducedShare {
    pub(crate) reduced: Box<dyn AnyPartial>,
    /// Commands that were answered with an error: their number in the batch, in ascending order, and the error.
    pub(crate) failed: Vec<(u32, Bytes)>,
    /// The first command whose reply the reducer cannot take, and what that was.
    pub(crate) mixed: Option<(u32, String)>,
}

impl std::fmt::Debug for ReducedShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { failed, mixed, .. } = self;
        f.debug_struct("ReducedShare").field("failed", failed).field("mixed", mixed).finish_non_exhaustive()
    }
}
