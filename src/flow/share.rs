//! [`Share`]: a share of a flow that has begun, wherever it runs, as its coordinator sees it.

use std::sync::Arc;

use super::leaf::Leaf;
use super::messages::{LeafFailure, NextReport, Report};
use super::plain::PlainKeyspace;
use crate::command::printable;
use crate::error::Error;
use crate::resp::ServerError;

/// A share that has begun. Dropped, it is cancelled.
pub(super) struct Share {
    name: String,
    leaf: Leaf,
    /// The keys that it reads by plain commands.
    plain: Option<Arc<PlainKeyspace>>,
}

impl Share {
    /// Makes one that runs in this process.
    pub(super) fn here(name: String, leaf: Leaf, plain: Option<Arc<PlainKeyspace>>) -> Self {
        Self { name, leaf, plain }
    }

    /// Returns the name of its node.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits for its next report.
    ///
    /// # Errors
    /// That its node has died, or says nothing.
    pub(super) async fn next(&self, wait_ms: u64) -> Result<Report, Error> {
        Ok(self.leaf.next(NextReport { wait_ms }).await)
    }

    /// Ends it soon.
    pub(super) fn cancel(&self) {
        self.leaf.cancel();
    }

    /// Returns the error that its failure is.
    pub(super) fn error(&self, failure: LeafFailure, memory: u64, reducer: &'static str, only_reads: bool) -> Error {
        if let Some(error) = self.plain.as_ref().and_then(|plain| plain.take_failure()) {
            return error;
        }
        if let Some(error) = self.leaf.take_error() {
            return error;
        }
        let node = self.name.clone();
        match failure {
            LeafFailure::Key { key, error } => {
                Error::Shard { node, message: ServerError::new(error), key: Some(printable(&key)) }
            }
            LeafFailure::Memory => Error::FlowMemory { limit: memory, node },
            LeafFailure::Cancelled => Error::Cancelled { outcome_unknown: !only_reads },
            LeafFailure::Mixed { found } => Error::Mixed { reducer, found, node },
            LeafFailure::NoPermission(why) => Error::NoPermission(why),
            LeafFailure::Other(why) => Error::Refused(format!("{node}: {why}")),
        }
    }
}
