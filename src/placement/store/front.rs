//! [`StoreFront`]: links that know of copies. What only reads goes to any copy, writes go to the slot's sequencer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::node_links::NodeLinks;
use super::order::{Placed, Sequencer, SlotStep};
use super::rights::Rights;
use super::shared::Shared;
use super::table::{SlotState, SlotTable};
use super::whole;
use crate::command::CommandRef;
use crate::link::{Batch, Delivery, Failure, Link, LinkFront, LinkStats, Protocol};
use crate::peer::each_of;
use crate::reply::Reply;
use crate::topology::{Address, BoxFuture};

/// For how long a write that has been sent is followed. The request's own time is bounded by whoever waits for it.
const LONGEST: Duration = Duration::from_secs(60);

/// For how long a write that was not sent is tried again, and how long the pause is. A proxy that is gone is replaced by then.
const LONGEST_TRIES: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(20);

/// Puts a link that knows of copies before each link of one user.
pub(super) struct StoreFront {
    links: Arc<NodeLinks>,
    rights: Arc<Rights>,
    reads: AtomicUsize,
    itself: Weak<Self>,
}

impl StoreFront {
    pub(super) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            links: Arc::new(NodeLinks::new(shared)),
            rights: Arc::default(),
            reads: AtomicUsize::new(0),
            itself: itself.clone(),
        })
    }

    /// Returns the places of a slot's copies in the order in which they are to be asked: any first, where all are equal.
    fn to_ask(&self, table: &SlotTable, slot: u16) -> Result<Vec<usize>, String> {
        let entry = table.slot(slot)?;
        let mut copies = entry.copies.clone();
        match entry.state {
            SlotState::Ok => {
                let first = self.reads.fetch_add(1, Ordering::Relaxed) % copies.len();
                copies.rotate_left(first);
            }
            SlotState::Suspect | SlotState::Lost => copies.truncate(1),
        }
        Ok(copies)
    }
}

impl LinkFront for StoreFront {
    fn before(&self, address: &Address, link: Arc<dyn Link>) -> Arc<dyn Link> {
        self.links.keep(address.clone(), link.clone());
        match self.itself.upgrade() {
            Some(front) => Arc::new(CopiesLink { front, address: address.clone(), node: link }),
            None => link,
        }
    }
}

/// The link to a node that holds first copies, for all that is about their keys.
struct CopiesLink {
    front: Arc<StoreFront>,
    address: Address,
    /// Leads to the node itself.
    node: Arc<dyn Link>,
}

/// The copies to which a command goes.
enum CopyWay {
    /// To any copy of its slot.
    Read(u16),
    /// To all copies of its slot.
    Write(u16),
    /// To the node of the link.
    Node,
}

fn way(table: &SlotTable, command: CommandRef<'_>) -> CopyWay {
    /// They have a key for the way to take, and change nothing.
    const MESSAGES: [&[u8]; 2] = [b"PUBLISH", b"SPUBLISH"];
    let Some(key) = command.routing_key() else { return CopyWay::Node };
    let slot = table.slot_of(key);
    if command.is_read_only() {
        CopyWay::Read(slot)
    } else if MESSAGES.iter().any(|name| name.eq_ignore_ascii_case(command.name())) {
        CopyWay::Node
    } else {
        CopyWay::Write(slot)
    }
}

impl Link for CopiesLink {
    fn send(&self, batch: Batch) -> BoxFuture<'static, Delivery> {
        let Some(table) = self.front.links.shared().tables.current() else { return self.node.send(batch) };
        let ways: Vec<CopyWay> = batch.picked().map(|command| way(&table, command)).collect();
        if ways.iter().any(|way| matches!(way, CopyWay::Write(_))) {
            return Box::pin(write(self.front.clone(), self.node.clone(), batch, ways));
        }
        if ways.iter().all(|way| matches!(way, CopyWay::Node)) {
            return whole::send(&self.front.links, &self.address, &self.node, &table, batch);
        }
        Box::pin(read(self.front.clone(), self.node.clone(), table, batch, ways))
    }

    fn stats(&self) -> &LinkStats {
        self.node.stats()
    }

    fn drain_ready(&self, protocol: Protocol) {
        self.node.drain_ready(protocol);
    }

    fn on_timeout(&self, protocol: Protocol) {
        self.node.on_timeout(protocol);
    }
}

/// Runs the commands of a batch in order; those that write at all copies, and those that read at the first one, behind the
/// writes that stand before them.
async fn write(front: Arc<StoreFront>, node: Arc<dyn Link>, batch: Batch, ways: Vec<CopyWay>) -> Delivery {
    let until = Instant::now() + LONGEST;
    let Some(sequencer) = front.links.shared().sequencer() else {
        let why = Bytes::from_static(b"READONLY writes are taken by rmr-proxy, which orders them, and not here");
        return Delivery::of(vec![Reply::Error(why); ways.len()]);
    };
    let refusals = match front.rights.refusals(&front.links, &batch).await {
        Ok(refusals) => refusals,
        Err(failure) => return Delivery::failed(failure),
    };
    // What was not sent, since a proxy or a copy has just gone, may be tried again if nothing stands behind it.
    let tries_until = (ways.len() == 1).then(|| Instant::now() + LONGEST_TRIES);
    let mut waiting: Vec<Result<Placed, Reply>> = Vec::with_capacity(ways.len());
    for ((at, (command, way)), refusal) in batch.picked().zip(&ways).enumerate().zip(refusals) {
        if let Some(refusal) = refusal {
            waiting.push(Err(refusal));
            continue;
        }
        let (slot, reads) = match way {
            CopyWay::Write(slot) => (*slot, false),
            CopyWay::Read(slot) => (*slot, true),
            CopyWay::Node => {
                let alone = Batch { picks: vec![batch.picks[at]], ..batch.clone() };
                let delivery = node.send(alone).await;
                waiting.push(Err(match (delivery.replies.into_iter().next(), delivery.failure) {
                    (Some(reply), _) => reply,
                    (None, failure) => Reply::Error(failure_words(failure).into()),
                }));
                continue;
            }
        };
        let step = SlotStep::of(each_of(command), reads);
        if let Some(tries_until) = tries_until {
            return Delivery::of(vec![try_step(&sequencer, slot, step, until, tries_until).await]);
        }
        waiting.push(sequencer.place(slot, step, until).await.map_err(Reply::Error));
    }
    let mut replies = Vec::with_capacity(waiting.len());
    for placed in waiting {
        replies.push(match placed {
            Ok(placed) => told(sequencer.outcome(placed, until).await),
            Err(reply) => reply,
        });
    }
    Delivery::of(replies)
}

/// Runs a step, again and again if it was not sent.
async fn try_step(sequencer: &Sequencer, slot: u16, step: SlotStep, until: Instant, tries_until: Instant) -> Reply {
    loop {
        let outcome = match sequencer.place(slot, step.clone(), until).await {
            Ok(placed) => sequencer.outcome(placed, until).await,
            Err(words) => Err(words),
        };
        match outcome {
            Err(words) if words.starts_with(b"TRYAGAIN") && Instant::now() < tries_until => sleep(PAUSE).await,
            outcome => return told(outcome),
        }
    }
}

/// Returns what a client is told of a step.
fn told(outcome: Result<Vec<Reply>, Bytes>) -> Reply {
    match outcome {
        Ok(replies) => last_of(replies),
        Err(words) => Reply::Error(words),
    }
}

/// Returns the reply to the last of the commands of a step; to a transaction that was refused, with the reason.
fn last_of(mut replies: Vec<Reply>) -> Reply {
    let last = replies.pop().unwrap_or(Reply::Null);
    match (&last, replies.iter().find(|reply| matches!(reply, Reply::Error(_)))) {
        (Reply::Error(words), Some(Reply::Error(why))) => Reply::Error([&**words, b" ", &**why].concat().into()),
        _ => last,
    }
}

/// Reads each key at any copy of its slot; at another one if that fails.
async fn read(
    front: Arc<StoreFront>,
    node: Arc<dyn Link>,
    table: Arc<SlotTable>,
    batch: Batch,
    ways: Vec<CopyWay>,
) -> Delivery {
    let mut replies: Vec<Option<Reply>> = vec![None; ways.len()];
    let mut tries: Vec<Vec<usize>> = Vec::with_capacity(ways.len());
    for (at, way) in ways.iter().enumerate() {
        tries.push(match way {
            CopyWay::Read(slot) => front.to_ask(&table, *slot).unwrap_or_else(|why| {
                replies[at] = Some(Reply::Error(format!("RMRSLOTS {why}").into()));
                Vec::new()
            }),
            _ => Vec::new(),
        });
    }
    let mut failure = None;
    let mut round = 0;
    loop {
        // The commands that are still to be answered, by who is asked for them now.
        let mut shares: Vec<(Arc<dyn Link>, Vec<usize>)> = Vec::new();
        for at in (0..ways.len()).filter(|&at| replies[at].is_none()) {
            let link = match (&ways[at], tries[at].get(round)) {
                (CopyWay::Read(_), Some(&place)) => front.links.get(&table.nodes[place].address),
                (CopyWay::Read(_), None) => None,
                _ if round == 0 => Some(node.clone()),
                _ => None,
            };
            let Some(link) = link else { continue };
            match shares.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &link)) {
                Some((_, share)) => share.push(at),
                None => shares.push((link, vec![at])),
            }
        }
        if shares.is_empty() {
            break;
        }
        let sent = shares.iter().map(|(link, share)| {
            let picks = share.iter().map(|&at| batch.picks[at]).collect();
            link.send(Batch { picks, ..batch.clone() })
        });
        let deliveries = futures_util::future::join_all(sent).await;
        for ((_, share), delivery) in shares.into_iter().zip(deliveries) {
            for (at, reply) in share.into_iter().zip(delivery.replies) {
                replies[at] = Some(reply);
            }
            failure = delivery.failure.or(failure);
        }
        round += 1;
    }
    let all = replies.iter().all(Option::is_some);
    let failure = failure.filter(|_| !all);
    let words = failure_words(failure.clone());
    if !all && matches!(failure, Some(Failure::TooBig)) {
        return Delivery::failed(Failure::TooBig);
    }
    if replies.iter().all(Option::is_none) {
        return Delivery::failed(failure.unwrap_or_else(|| Failure::Unreachable("no copy can be reached".into())));
    }
    Delivery::of(replies.into_iter().map(|reply| reply.unwrap_or_else(|| Reply::Error(words.clone().into()))).collect())
}

fn failure_words(failure: Option<Failure>) -> String {
    match failure {
        Some(Failure::Unreachable(why) | Failure::Lost(why)) => format!("RMRNODE {why}"),
        other => format!("RMRNODE no copy has answered: {other:?}"),
    }
}
