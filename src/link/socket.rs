//! A node on the other end of a socket.
//!
//! It has a [`Channel`] for each protocol, and knows whether the node takes inner commands. The link ends when its last
//! handle is dropped and what was asked has been answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::Link;
use super::batch::{Batch, Delivery, Failure};
use super::budget::Budget;
use super::channel::Channel;
use super::connection::EncodedBatch;
use super::cork;
use super::dial::{Dialler, Offer};
use super::options::LinkOptions;
use super::stats::LinkStats;
use super::watch::Watcher;
use crate::command::Command;
use crate::peer::{self, ReduceOutcome, ReduceRequest, Reduction};
use crate::resp::Protocol;
use crate::topology::{BoxFuture, Endpoint};

/// A link over TCP or TLS, with one connection for each protocol that is asked for.
pub(crate) struct SocketLink {
    resp2: Arc<Channel>,
    resp3: Arc<Channel>,
    inner: Arc<Offer>,
    stats: Arc<LinkStats>,
}

impl SocketLink {
    /// A link to this endpoint. Nothing is dialled before something is sent. Must be called within a tokio runtime.
    pub(crate) fn new(endpoint: Endpoint, options: Arc<LinkOptions>, watcher: Option<Arc<dyn Watcher>>) -> Self {
        let stats = Arc::new(LinkStats::default());
        let inner = Arc::new(Offer::new(options.clone()));
        let channel = |protocol| {
            let (endpoint, options, inner) = (endpoint.clone(), options.clone(), Some(inner.clone()));
            Channel::open(Dialler { endpoint, protocol, options, inner }, watcher.clone(), stats.clone())
        };
        Self { resp2: channel(Protocol::Resp2), resp3: channel(Protocol::Resp3), inner, stats }
    }

    fn channel(&self, protocol: Protocol) -> &Arc<Channel> {
        match protocol {
            Protocol::Resp2 => &self.resp2,
            Protocol::Resp3 => &self.resp3,
        }
    }
}

impl SocketLink {
    /// Hands a message to the connection for the protocol. What comes back counts as in flight until then.
    fn hand_over(
        &self,
        protocol: Protocol,
        encoded: EncodedBatch,
        answered: oneshot::Receiver<Delivery>,
    ) -> impl Future<Output = Delivery> + Send + use<> {
        let in_flight = InFlightGuard::enter(self.stats.clone());
        let is_open = cork::send(self.channel(protocol), encoded);
        async move {
            let _in_flight = in_flight;
            match answered.await {
                Ok(delivery) => delivery,
                Err(_) if is_open => Delivery::failed(Failure::Lost("the link was shut down".into())),
                Err(_) => Delivery::failed(Failure::Unreachable("the link was shut down".into())),
            }
        }
    }

    /// Has the node reduce its share.
    fn send_inner(&self, name: &str, batch: &Batch, reduction: Reduction) -> BoxFuture<'static, Delivery> {
        let id = peer::next_id();
        let (picks, reply_bytes) = (&batch.picks, batch.budget.left());
        let request = ReduceRequest::new(id, &batch.commands, picks, batch.protocol, reply_bytes, &reduction);
        let Ok(request) = request.encode() else {
            return Box::pin(std::future::ready(Delivery::failed(Failure::Declined)));
        };
        let (answer, answered) = oneshot::channel();
        let encoded = EncodedBatch::one(&Command::new(name).arg(&request), batch.budget.clone(), Some(answer));
        let answered = self.hand_over(batch.protocol, encoded, answered);
        // The connection of the request itself is not read before that is answered.
        let other = match batch.protocol {
            Protocol::Resp2 => &self.resp3,
            Protocol::Resp3 => &self.resp2,
        };
        let (channel, give_up) = (other.clone(), peer::give_up(name, id));
        let mut until_answered = GiveUp { channel, command: (batch.picks.len() > WORTH_GIVING_UP).then_some(give_up) };
        let (inner, commands) = (self.inner.clone(), batch.picks.len());
        Box::pin(async move {
            let Delivery { mut replies, failure, .. } = answered.await;
            until_answered.is_over();
            let outcome = match replies.pop() {
                Some(reply) => ReduceOutcome::of_reply(reply, &reduction, commands),
                None => return Delivery { failure, ..Delivery::default() },
            };
            match outcome {
                ReduceOutcome::Done(share) => Delivery::reduced(share),
                ReduceOutcome::Failed(why) => Delivery::failed(Failure::Lost(why)),
                ReduceOutcome::TooBig => Delivery::failed(Failure::TooBig),
                ReduceOutcome::Declined(_) => {
                    inner.learn(false);
                    Delivery::failed(Failure::Declined)
                }
            }
        })
    }
}

/// A share of so few commands is done before it could be given up.
const WORTH_GIVING_UP: usize = 256;

/// Tells the node that nobody waits for its answer any more, unless it has come.
struct GiveUp {
    channel: Arc<Channel>,
    command: Option<Command>,
}

impl GiveUp {
    fn is_over(&mut self) {
        self.command = None;
    }
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        if let Some(command) = self.command.take() {
            let encoded = EncodedBatch::one(&command, Arc::new(Budget::new(usize::MAX)), None);
            // A task that has ended has nobody to tell.
            let _ = self.channel.send(encoded);
        }
    }
}

impl Link for SocketLink {
    fn send(&self, mut batch: Batch) -> BoxFuture<'static, Delivery> {
        if let Some(reduction) = batch.reduction.take()
            && let Some(name) = self.inner.command()
        {
            return self.send_inner(name, &batch, reduction);
        }
        let (answer, answered) = oneshot::channel();
        let encoded = EncodedBatch::new(&batch, answer);
        Box::pin(self.hand_over(batch.protocol, encoded, answered))
    }

    fn reduces(&self) -> bool {
        self.inner.is_offered()
    }

    fn stats(&self) -> &LinkStats {
        &self.stats
    }

    fn drain_ready(&self, protocol: Protocol) {
        self.channel(protocol).drain_ready();
    }

    fn on_timeout(&self, protocol: Protocol) {
        self.channel(protocol).on_timeout();
    }
}

/// Counts a batch as in flight while it lives.
struct InFlightGuard(Arc<LinkStats>);

impl InFlightGuard {
    fn enter(stats: Arc<LinkStats>) -> Self {
        stats.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(stats)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
