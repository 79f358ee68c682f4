//! A connection that one conversation with a node has to itself: request and answer in turns, for as long as it takes.
//!
//! A node that hears its end takes the conversation for over, whatever was still under way; and whoever talks to a node that
//! dies hears of it at once, since nobody else's replies are on the way. The next request is only sent when the last one is
//! answered, so that a connection on which an answer is missing is good for nothing more.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::batch::Failure;
use super::budget::Budget;
use super::call::call_all;
use super::dial::{Dialler, Offer};
use super::pool::Links;
use super::stats::LinkStats;
use super::stream::Stream;
use crate::command::Command;
use crate::peer::{Envelope, Outcome};
use crate::reply::Reply;
use crate::resp::Protocol;
use crate::topology::Endpoint;

/// An open connection of its own. Dropped, it is closed.
pub(crate) struct Session {
    /// None from when a request has begun until it is answered.
    stream: Option<Box<dyn Stream>>,
    /// The inner command, if the node has it in our version.
    inner_command: Option<String>,
}

impl Links {
    /// Connects, and asks whether the node takes inner commands.
    pub(crate) async fn open_session(&self, endpoint: Endpoint, protocol: Protocol) -> Result<Session, Failure> {
        let offer = Arc::new(Offer::new(self.inner_command().map(str::to_owned)));
        let dialler = Dialler { inner: Some(offer.clone()), ..self.dialler(endpoint, protocol) };
        let stream = dialler.dial(&LinkStats::default()).await.map_err(Failure::Unreachable)?;
        let inner_command = offer.is_offered().then(|| offer.command().map(str::to_owned)).flatten();
        Ok(Session { stream: Some(stream), inner_command })
    }
}

impl Session {
    /// Returns whether the node takes inner commands of our version, as it said when the session was opened.
    pub(crate) fn offers_inner(&self) -> bool {
        self.inner_command.is_some()
    }

    /// Sends a command, and waits for the reply until the deadline. Given up or failed, the session is over: the node hears
    /// that it is closed, and each later call fails.
    pub(crate) async fn call(
        &mut self,
        command: &Command,
        budget: &Budget,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let lost = |why: &str| Failure::Lost(why.into());
        let mut stream = self.stream.take().ok_or_else(|| lost("the session is over"))?;
        let began = Instant::now();
        let called = tokio::time::timeout_at(deadline, call_all(&mut *stream, [command].into_iter(), budget)).await;
        let late = |_| Failure::Lost(format!("no answer within {} ms", began.elapsed().as_millis()));
        let reply = called.map_err(late)??.pop().ok_or_else(|| lost("the node did not answer"))?;
        self.stream = Some(stream);
        Ok(reply)
    }

    /// Sends an inner command, and waits for its end until the deadline. As [`call`](Self::call) otherwise.
    pub(crate) async fn ask(
        &mut self,
        envelope: &Envelope<'_>,
        budget: &Budget,
        deadline: Instant,
    ) -> Result<Outcome<Bytes>, Failure> {
        let Some(name) = &self.inner_command else {
            return Ok(Outcome::Declined("the node takes no inner commands of this version".into()));
        };
        let Ok(command) = envelope.command(name) else {
            return Ok(Outcome::Declined("the request cannot be encoded".into()));
        };
        Ok(Outcome::of_bytes(self.call(&command, budget, deadline).await?))
    }
}
