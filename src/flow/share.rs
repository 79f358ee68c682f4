//! [`Share`]: a share of a flow that has begun, wherever it runs, as its coordinator sees it.

use std::sync::Arc;

use super::leaf::Leaf;
use super::messages::{LeafFailure, NextReport, Report};
use super::plain::PlainKeyspace;
use super::remote::RemoteLeaf;
use crate::command::printable;
use crate::error::Error;
use crate::resp::ServerError;

/// A share that has begun. Dropped, it is cancelled.
pub(super) struct Share {
    name: String,
    at: Where,
}

/// The place where a share runs.
pub(super) enum Where {
    /// The share runs on the server that we live in.
    Home(Leaf),
    /// The share runs in this process, by plain commands to other servers.
    Plain(Leaf, Arc<PlainKeyspace>),
    /// The share runs on another node.
    Remote(Box<RemoteLeaf>),
}

/// The facts that errors of shares name, beside the share's own words.
#[derive(Clone, Copy)]
pub(super) struct FlowFacts {
    pub(super) memory: u64,
    pub(super) reducer: &'static str,
    pub(super) may_write: bool,
}

impl Share {
    pub(super) fn new(name: String, at: Where) -> Self {
        Self { name, at }
    }

    /// Returns the id of the other node that it runs on; [`None`] if it runs in this process.
    pub(super) fn node(&self) -> Option<&str> {
        match &self.at {
            Where::Home(_) | Where::Plain(..) => None,
            Where::Remote(leaf) => Some(leaf.node()),
        }
    }

    /// Returns the name of its node, or of what it reads.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether it runs in this process, so that waiting for its report can be given up.
    pub(super) fn is_here(&self) -> bool {
        self.node().is_none()
    }

    /// Waits for its next report.
    ///
    /// # Errors
    /// That its node has died, or says nothing.
    pub(super) async fn next(&mut self, next: NextReport) -> Result<Report, Error> {
        match &mut self.at {
            Where::Home(leaf) | Where::Plain(leaf, _) => Ok(leaf.next(next).await),
            Where::Remote(leaf) => leaf.next(next).await,
        }
    }

    /// Returns the error that its failure is.
    pub(super) fn error(&self, failure: LeafFailure, facts: FlowFacts) -> Error {
        let kept = match &self.at {
            Where::Home(leaf) => leaf.take_error(),
            Where::Plain(leaf, keyspace) => keyspace.take_failure().or_else(|| leaf.take_error()),
            Where::Remote(_) => None,
        };
        if let Some(error) = kept {
            return error;
        }
        let node = self.name.clone();
        match failure {
            LeafFailure::Key { key, error } => {
                Error::Shard { node, message: ServerError::new(error), key: Some(printable(&key)) }
            }
            LeafFailure::Memory => Error::FlowMemory { limit: facts.memory, node },
            LeafFailure::Cancelled => Error::Cancelled { outcome_unknown: facts.may_write },
            LeafFailure::Mixed { found } => Error::Mixed { reducer: facts.reducer, found, node },
            LeafFailure::NoPermission(why) => Error::NoPermission(why),
            LeafFailure::NotTaken => {
                let cause = "another shard takes no more records of this flow".into();
                Error::Node { node, cause, outcome_unknown: facts.may_write }
            }
            LeafFailure::Other(why) => Error::Refused(format!("{node}: {why}")),
        }
    }
}
