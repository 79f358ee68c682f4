//! A node on the other end of a socket.
//!
//! It has a [`Lane`] for each protocol, and knows whether the node takes inner commands. The link ends when its last handle
//! is dropped and what was asked has been answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};

use super::connection::Message;
use super::dial::{Dialler, Offer};
use super::lane::Lane;
use super::outgoing::Outgoing;
use super::pool::LinkOptions;
use super::watch::Watcher;
use super::{Batch, Budget, Delivery, Failure, Link, Protocol, Status};
use crate::command::Command;
use crate::peer::{self, ReduceOutcome, ReduceRequest, Reduction};
use crate::topology::{BoxFuture, Endpoint};

/// A link over TCP or TLS, with one connection for each protocol that is asked for.
pub struct SocketLink {
    resp2: Arc<Lane>,
    resp3: Arc<Lane>,
    inner: Arc<Offer>,
    status: Arc<Status>,
}

impl SocketLink {
    /// A link to this endpoint. Nothing is dialled before something is sent. Must be called within a tokio runtime.
    pub fn new(endpoint: Endpoint, options: Arc<LinkOptions>, watcher: Option<Arc<dyn Watcher>>) -> Self {
        let status = Arc::new(Status::default());
        let inner = Arc::new(Offer::new(options.clone()));
        let lane = |protocol| {
            let (endpoint, options, inner) = (endpoint.clone(), options.clone(), Some(inner.clone()));
            Lane::open(Dialler { endpoint, protocol, options, inner }, watcher.clone(), status.clone())
        };
        Self { resp2: lane(Protocol::Resp2), resp3: lane(Protocol::Resp3), inner, status }
    }

    fn lane(&self, protocol: Protocol) -> &Arc<Lane> {
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
        outgoing: Outgoing,
        answered: oneshot::Receiver<Delivery>,
    ) -> impl Future<Output = Delivery> + Send + use<> {
        let in_flight = InFlight::enter(self.status.clone());
        let is_open = self.lane(protocol).send(outgoing);
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
        let outgoing = Outgoing::one(&Command::new(name).arg(&request), batch.budget.clone(), Some(answer));
        let answered = self.hand_over(batch.protocol, outgoing, answered);
        // The connection of the request itself is not read before that is answered.
        let other = match batch.protocol {
            Protocol::Resp2 => &self.resp3,
            Protocol::Resp3 => &self.resp2,
        };
        let (outbox, give_up) = (other.outbox.clone(), peer::give_up(name, id));
        let mut until_answered = GiveUp { outbox, command: (batch.picks.len() > WORTH_GIVING_UP).then_some(give_up) };
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
    outbox: mpsc::UnboundedSender<Message>,
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
            let outgoing = Outgoing::one(&command, Arc::new(Budget::new(usize::MAX)), None);
            // A driver that has gone has nobody to tell.
            let _ = self.outbox.send(Message::Send(outgoing));
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
        let outgoing = Outgoing::new(&batch, answer);
        Box::pin(self.hand_over(batch.protocol, outgoing, answered))
    }

    fn reduces(&self) -> bool {
        self.inner.is_offered()
    }

    fn status(&self) -> &Status {
        &self.status
    }

    fn look(&self, protocol: Protocol) {
        self.lane(protocol).look();
    }

    fn note_timeout(&self, protocol: Protocol) {
        self.lane(protocol).note_timeout();
    }
}

/// Counts a batch as in flight while it lives.
struct InFlight(Arc<Status>);

impl InFlight {
    fn enter(status: Arc<Status>) -> Self {
        status.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(status)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
