//! A node on the other end of a socket.
//!
//! It has a [`Channel`] for each protocol and each [`Lane`], and knows whether the node takes inner commands. The link ends when its last
//! handle is dropped and what was asked has been answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Link;
use super::batch::{Batch, Delivery, Failure};
use super::budget::Budget;
use super::channel::{Channel, Lane};
use super::connection::{EncodedBatch, Marking};
use super::cork;
use super::dial::{Dialler, Offer};
use super::options::LinkOptions;
use super::own_slots::LatestOwnSlots;
use super::stats::LinkStats;
use super::watch::Watcher;
use crate::command::Command;
use crate::peer::{self, Envelope, Kind, Outcome, ReduceRequest, Reduction};
use crate::resp::Protocol;
use crate::topology::{BoxFuture, Endpoint};

/// A link over TCP or TLS, with one connection for each protocol that is asked for, one more each for code of others, and
/// one for what stops other requests. Those that nobody needs are not opened.
pub(crate) struct SocketLink {
    plain: ByProtocol,
    code: ByProtocol,
    control: ByProtocol,
    inner: Arc<Offer>,
    stats: Arc<LinkStats>,
    marking: Arc<Marking>,
}

impl SocketLink {
    /// Makes a link to this endpoint. Nothing is dialled before something is sent.
    pub(crate) fn new(endpoint: Endpoint, options: Arc<LinkOptions>, watcher: Option<Arc<dyn Watcher>>) -> Self {
        let shared_stats = options.stats_by_node.as_ref().map(|stats| stats.get(&endpoint.address));
        let (stats, marking) = (shared_stats.unwrap_or_default(), Arc::new(Marking::default()));
        let inner = Arc::new(Offer::new(options.reducing_command().map(str::to_owned)));
        let own_slots: Arc<LatestOwnSlots> = Arc::default();
        let channel = |lane, protocol| {
            let mut dialler = Dialler {
                endpoint: endpoint.clone(),
                protocol,
                options: options.clone(),
                inner: Some(inner.clone()).filter(|_| lane == Lane::Plain),
                patience: Duration::ZERO,
            };
            if lane == Lane::Control {
                // A node that is busy refuses to select a database, and what stops it needs none.
                dialler.endpoint.database = 0;
                dialler.patience = LONGEST_SILENCE;
            }
            Channel::open(lane, dialler, watcher.clone(), stats.clone(), marking.clone(), own_slots.clone())
        };
        let lane = |lane| [channel(lane, Protocol::Resp2), channel(lane, Protocol::Resp3)];
        let (plain, code, control) = (lane(Lane::Plain), lane(Lane::Code), lane(Lane::Control));
        Self { plain, code, control, inner, stats, marking }
    }

    fn channel(&self, lane: Lane, protocol: Protocol) -> &Arc<Channel> {
        let channels = match lane {
            Lane::Plain => &self.plain,
            Lane::Code => &self.code,
            Lane::Control => &self.control,
        };
        match protocol {
            Protocol::Resp2 => &channels[0],
            Protocol::Resp3 => &channels[1],
        }
    }

    fn lanes(&self, protocol: Protocol) -> impl Iterator<Item = &Arc<Channel>> {
        [Lane::Plain, Lane::Code, Lane::Control].into_iter().map(move |lane| self.channel(lane, protocol))
    }
}

/// A channel for RESP2 and one for RESP3.
type ByProtocol = [Arc<Channel>; 2];

/// The time for which a node that runs a script reads nothing before it begins to refuse, at its default setting, and a
/// second more.
const LONGEST_SILENCE: Duration = Duration::from_secs(6);

impl SocketLink {
    /// Hands a message to a connection. A message that comes back counts as in flight until then.
    fn hand_over(
        &self,
        channel: &Arc<Channel>,
        encoded: EncodedBatch,
        answered: oneshot::Receiver<Delivery>,
    ) -> impl Future<Output = Delivery> + Send + use<> {
        let in_flight = InFlightGuard::enter(self.stats.clone(), channel.clone());
        let is_open = cork::send(channel, encoded);
        async move {
            let mut in_flight = in_flight;
            let answered = answered.await;
            in_flight.is_answered = true;
            if let Ok(Delivery { failure: None, .. }) = &answered {
                in_flight.stats.round_trips.record(in_flight.began.elapsed());
            }
            match answered {
                Ok(delivery) => delivery,
                Err(_) if is_open => Delivery::failed(Failure::Lost("the link was shut down".into())),
                Err(_) => Delivery::failed(Failure::Unreachable("the link was shut down".into())),
            }
        }
    }

    /// Has the node reduce its share.
    fn send_inner(&self, name: &str, batch: &Batch, reduction: Reduction) -> BoxFuture<'static, Delivery> {
        let id = peer::next_id();
        let kind = Kind::Reduce(ReduceRequest::new(&batch.commands, &batch.picks, &reduction));
        let envelope = Envelope::new(id, reduction.time_left, batch.budget.left(), batch.protocol, kind);
        let (Ok(command), Ok(give_up)) = (envelope.command(name), Envelope::give_up(id).command(name)) else {
            return Box::pin(std::future::ready(Delivery::failed(Failure::Declined)));
        };
        let (answer, answered) = oneshot::channel();
        let encoded =
            EncodedBatch::one(&command, batch.budget.clone(), Some(answer)).asking_own_slots(batch.asks_own_slots);
        let answered = self.hand_over(self.channel(Lane::Plain, batch.protocol), encoded, answered);
        // The connection of the request itself is not read before that is answered.
        let channel = self.channel(Lane::Control, batch.protocol).clone();
        let mut until_answered = GiveUp { channel, command: (batch.picks.len() > WORTH_GIVING_UP).then_some(give_up) };
        let (inner, commands) = (self.inner.clone(), batch.picks.len());
        Box::pin(async move {
            let Delivery { mut replies, failure, own_slots, .. } = answered.await;
            until_answered.is_over();
            let outcome = match replies.pop() {
                Some(reply) => Outcome::of_share(&reply, &reduction, commands),
                None => return Delivery { failure, ..Delivery::default() },
            };
            match outcome {
                Outcome::Done(share) => Delivery { partial: Some(share), failure, own_slots, ..Delivery::default() },
                Outcome::Failed(why) => Delivery::failed(Failure::Lost(why)),
                Outcome::TooBig => Delivery::failed(Failure::TooBig),
                Outcome::Declined(_) => {
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
        let encoded = EncodedBatch::new(&batch, &self.marking, answer);
        Box::pin(self.hand_over(self.channel(Lane::of(&batch), batch.protocol), encoded, answered))
    }

    fn reduces(&self) -> bool {
        self.inner.is_offered()
    }

    fn stats(&self) -> &LinkStats {
        &self.stats
    }

    fn drain_ready(&self, protocol: Protocol) {
        self.lanes(protocol).for_each(|channel| channel.drain_ready());
    }

    fn on_timeout(&self, protocol: Protocol) {
        self.lanes(protocol).for_each(|channel| channel.on_timeout());
    }
}

/// Counts a batch as in flight while it lives, and tells its channel if it is given up.
struct InFlightGuard {
    stats: Arc<LinkStats>,
    channel: Arc<Channel>,
    began: Instant,
    is_answered: bool,
}

impl InFlightGuard {
    fn enter(stats: Arc<LinkStats>, channel: Arc<Channel>) -> Self {
        stats.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { stats, channel, began: Instant::now(), is_answered: false }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.stats.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.is_answered {
            self.channel.on_given_up();
        }
    }
}
