//! [`RemoteLeaf`]: a share of a flow that runs on another node, over a connection of its own.
//!
//! When the connection breaks, the node ends the share, and we hear at once that the node has died.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_bytes::Bytes as Body;
use tokio::time::Instant;

use super::messages::{self, NextReport, Report, RunShare};
use super::requests::FlowRequests;
use crate::error::Error;
use crate::link::{Budget, Failure, Protocol, Session};
use crate::peer::{self, Envelope, Kind, Outcome};
use crate::topology::Node;

/// A share that runs on another node. Dropped, it is cancelled.
pub(super) struct RemoteLeaf {
    session: Session,
    /// The id of the share, which all questions about it carry too.
    id: u64,
    node: Arc<Node>,
    requests: FlowRequests,
    /// The most memory that a report may take, in bytes.
    memory: usize,
    may_write: bool,
}

impl RemoteLeaf {
    /// Returns the id of its node.
    pub(super) fn node(&self) -> &str {
        &self.node.id
    }

    /// Begins a share on its node. Returns [`None`] if the node takes none: then nothing of it has run.
    ///
    /// # Errors
    /// That it is open how much has run; that the caller may not do this there.
    pub(super) async fn begin(
        node: &Arc<Node>,
        share: &RunShare,
        requests: &FlowRequests,
    ) -> Result<Option<Self>, Error> {
        match Self::session(node, requests).await {
            None => Ok(None),
            Some(session) => Ok(Self::begin_over(session, node, share, requests).await?.ok()),
        }
    }

    /// Opens the connection for a share; [`None`] if the node takes none, or is out of reach: whether it has a successor is
    /// found out by plain commands.
    pub(super) async fn session(node: &Arc<Node>, requests: &FlowRequests) -> Option<Session> {
        requests.begin().session(node).await.ok().filter(Session::offers_inner)
    }

    /// Begins a share over its connection. The inner error says why the node takes none: then nothing of it has run.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(super) async fn begin_over(
        session: Session,
        node: &Arc<Node>,
        share: &RunShare,
        requests: &FlowRequests,
    ) -> Result<Result<Self, String>, Error> {
        let mut leaf = Self {
            session,
            id: peer::next_id(),
            node: node.clone(),
            requests: requests.clone(),
            memory: usize::try_from(share.memory).unwrap_or(usize::MAX),
            may_write: !share.plan.only_reads(),
        };
        let message = messages::encode(share)?;
        match leaf.ask(Kind::RunFlow(Body::new(&message)), Duration::ZERO).await? {
            Outcome::Done(_) => Ok(Ok(leaf)),
            Outcome::Declined(why) => Ok(Err(why)),
            other => Err(leaf.refused(other)),
        }
    }

    /// Asks for the next report.
    ///
    /// # Errors
    /// That the node has died, or says nothing.
    pub(super) async fn next(&mut self, next: NextReport) -> Result<Report, Error> {
        let message = messages::encode(&next)?;
        match self.ask(Kind::NextReport(Body::new(&message)), Duration::from_millis(next.wait_ms)).await? {
            Outcome::Done(report) => messages::decode(&report).map_err(|error| self.bad_reply(&error)),
            other => Err(self.refused(other)),
        }
    }

    /// Asks the node something, to which it answers after `wait` at the latest; what that takes longer has the time of any
    /// request.
    async fn ask(&mut self, kind: Kind<'_>, wait: Duration) -> Result<Outcome<Bytes>, Error> {
        let patience = wait + self.requests.patience();
        let envelope = Envelope::new(self.id, patience, self.memory, Protocol::Resp3, kind);
        let budget = Budget::new(self.memory.saturating_mul(2));
        let asked = self.session.ask(&envelope, &budget, Instant::now() + patience).await;
        asked.map_err(|failure| match failure {
            Failure::TooBig => self.too_big(),
            Failure::Lost(cause) | Failure::Unreachable(cause) => self.lost(cause),
            other => self.lost(format!("{other:?}")),
        })
    }

    fn lost(&self, cause: String) -> Error {
        Error::Node { node: self.node.to_string(), cause, outcome_unknown: self.may_write }
    }

    fn too_big(&self) -> Error {
        Error::FlowMemory { limit: self.memory as u64, node: self.node.to_string() }
    }

    fn bad_reply(&self, error: &Error) -> Error {
        Error::BadReply { node: self.node.to_string(), why: format!("has sent no report: {error}") }
    }

    fn refused(&self, outcome: Outcome<Bytes>) -> Error {
        match outcome {
            Outcome::TooBig => self.too_big(),
            Outcome::Failed(why) if why.starts_with("NOPERM") => {
                let why = why.trim_start_matches("NOPERM").trim_start();
                Error::NoPermission(format!("{}: {why}", self.node))
            }
            Outcome::Failed(why) | Outcome::Declined(why) => self.lost(why),
            Outcome::Done(_) => self.lost("it has answered to something else".into()),
        }
    }
}
