//! Steps of slots that another proxy orders: they go there, over one connection, and are answered in their order.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::Sequencer;
use super::check::KeyCheck;
use super::hand_over::HandedOver;
use super::in_flight::StepInFlight;
use super::lane::words_of;
use super::link::OrderedLink;
use super::peer_lane::{PeerLane, PeerUse};
use super::refusal::not_now;
use super::step::{PlacedThere, SlotStep};
use crate::command::Command;
use crate::link::{Budget, Failure, Protocol, Session};
use crate::peer::{FORWARD, ForwardedStep, taken_apart, together};
use crate::placement::store::table::SlotTable;
use crate::reply::Reply;
use crate::topology::{Address, Node};

/// The time in which a connection to another proxy has to stand.
const DIAL_LIMIT: Duration = Duration::from_secs(1);

/// The time for which another proxy may be silent while it has something to answer. By then its lease is over, and it is taken for dead.
const PATIENCE: Duration = Duration::from_secs(8);

/// The longest time for which a step of another proxy is followed.
const LONGEST: Duration = Duration::from_secs(60);

impl Sequencer {
    /// Sends a step to the proxy that orders its slot.
    ///
    /// # Errors
    /// The error says why it cannot be sent, in the words for the client.
    pub(super) async fn forward(&self, table: &SlotTable, slot: u16, step: &SlotStep) -> Result<PlacedThere, Bytes> {
        let Some(proxy) = table.slots()[usize::from(slot)].sequencer.clone() else {
            return Err(not_now(slot, "no proxy orders its writes yet"));
        };
        let why = |why| not_now(slot, &format!("{proxy}, which orders its writes: {why}"));
        let link = self.peer_link(table, &proxy, PeerUse::Steps).await.map_err(why)?;
        let settled = StepInFlight::send([&*link].into_iter(), &[frame(slot, step)], None, |_| {});
        self.tables.counts().writes_forwarded.add(u64::from(!step.reads));
        Ok(PlacedThere { proxy, settled })
    }

    /// Sends to a proxy what concerns many slots, apart from steps, whose replies would wait for its reply.
    ///
    /// # Errors
    /// The words of the other proxy, or why they cannot be known, for the client.
    pub(super) async fn ask_peer(
        &self,
        table: &SlotTable,
        proxy: &Arc<str>,
        way: PeerUse,
        frame: &Command,
    ) -> Result<Vec<Reply>, Bytes> {
        let why = |why| Bytes::from(format!("TRYAGAIN {proxy}: {why}; nothing was sent"));
        let link = self.peer_link(table, proxy, way).await.map_err(why)?;
        let settled = StepInFlight::send([&*link].into_iter(), std::slice::from_ref(frame), None, |_| {});
        self.outcome_there(PlacedThere { proxy: proxy.clone(), settled }).await
    }

    /// Returns the connection to another proxy that is for this.
    async fn peer_link(&self, table: &SlotTable, proxy: &Arc<str>, way: PeerUse) -> Result<Arc<OrderedLink>, String> {
        let known = (proxy.clone(), way);
        let peer = self.peers.lock().unwrap_or_else(PoisonError::into_inner).entry(known).or_default().clone();
        match peer.open_link() {
            Some(link) => Ok(link),
            None => self.connect_peer(&peer, proxy, &table.settings.secret).await,
        }
    }

    /// Waits for what the other proxy says.
    ///
    /// # Errors
    /// The error is what the client is told.
    pub(super) async fn outcome_there(&self, placed: PlacedThere) -> Result<Vec<Reply>, Bytes> {
        let PlacedThere { proxy, settled } = placed;
        let unknown = |why: &str| {
            Bytes::from(format!("RMRNODE {proxy}: {why}; the command was sent to it, its outcome is unknown"))
        };
        let settled = settled.await.map_err(|_| unknown("nothing was heard"))?;
        if let Some(failed) = settled.failed.first() {
            return Err(match failed.is_unknown {
                true => unknown(&failed.why),
                false => format!("TRYAGAIN {proxy}: {}; nothing was sent", failed.why).into(),
            });
        }
        match settled.replies.unwrap_or_default().pop() {
            Some(Reply::Array(replies)) => Ok(replies),
            Some(Reply::Error(words)) => Err(words),
            other => Err(unknown(&format!("it has answered {other:?}"))),
        }
    }

    async fn connect_peer(&self, peer: &PeerLane, proxy: &str, secret: &str) -> Result<Arc<OrderedLink>, String> {
        let _opening = peer.opening.lock().await;
        if let Some(link) = peer.open_link() {
            return Ok(link);
        }
        let session = self.open_peer(proxy, secret).await?;
        let stream = session.into_stream().ok_or_else(|| "the connection has ended".to_owned())?;
        let link = Arc::new(OrderedLink::over(stream, PATIENCE, |_, _| {}));
        *peer.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
        Ok(link)
    }

    /// Opens a connection to another proxy on which it takes what proxies forward.
    ///
    /// # Errors
    /// The error says why it cannot be had.
    pub(super) async fn open_peer(&self, proxy: &str, secret: &str) -> Result<Session, String> {
        let address = proxy.split('/').next().unwrap_or_default();
        let address = Address::parse(address).map_err(|error| error.to_string())?;
        let words = |failure: Failure| words_of(&failure);
        let opened = async {
            let endpoint = Node::new(address).endpoint();
            let mut session = self.links.open_session(endpoint, Protocol::Resp3).await.map_err(words)?;
            let hello = Command::new(FORWARD).arg(secret);
            match session.call(&hello, &Budget::new(1 << 16), Instant::now() + DIAL_LIMIT).await.map_err(words)? {
                Reply::Error(refusal) => Err(String::from_utf8_lossy(&refusal).into_owned()),
                _ => Ok(session),
            }
        };
        timeout(DIAL_LIMIT, opened).await.map_err(|_| "no connection within a second".to_owned())?
    }

    /// Takes a step of another proxy: it has its place when this is ready.
    pub(in crate::placement::store) async fn take_forwarded(&self, step: &Command) -> ForwardedStep {
        let until = Instant::now() + LONGEST;
        if let Some(check) = KeyCheck::unframe(step) {
            return self.take_check(check);
        }
        if let Some(handed) = HandedOver::unframe(step) {
            return ForwardedStep::answered(self.hears_of(&handed));
        }
        if let Some(taken) = self.take_apart(step) {
            return taken;
        }
        let Some((slot, step)) = unframe(step) else {
            return ForwardedStep::answered(Reply::Error("ERR this is no step of a slot".into()));
        };
        let is_own = |table: &SlotTable| {
            table.slots().get(usize::from(slot)).is_some_and(|entry| entry.is_ordered_by(&self.name))
        };
        if !self.tables.current().is_some_and(|table| is_own(&table)) {
            let why = format!("{} does not order its writes, or does not know it yet", self.name);
            return ForwardedStep::answered(Reply::Error(not_now(slot, &why)));
        }
        // Wherever it has its place by now: what has one must not be called unsent.
        match (self.place(slot, step, until).await, self.itself.upgrade()) {
            (Ok(placed), Some(itself)) => ForwardedStep(Box::pin(async move {
                match itself.outcome(placed, until).await {
                    Ok(replies) => Reply::Array(replies),
                    Err(words) => Reply::Error(words),
                }
            })),
            (Err(words), _) => ForwardedStep::answered(Reply::Error(words)),
            (Ok(_), None) => {
                let words = "RMRNODE the proxy ends; the command was sent, its outcome is unknown";
                ForwardedStep::answered(Reply::Error(words.into()))
            }
        }
    }
}

/// Makes of a step what is sent: the slot, whether it only reads, and its commands.
fn frame(slot: u16, step: &SlotStep) -> Command {
    let frame = Command::new("STEP").arg(u64::from(slot)).arg(if step.reads { "reads" } else { "writes" });
    together(&step.commands).words().fold(frame, |frame, word| frame.arg(word))
}

fn unframe(frame: &Command) -> Option<(u16, SlotStep)> {
    let mut words = frame.args();
    let slot = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let reads = words.next()? == b"reads";
    Some((slot, SlotStep { commands: taken_apart(words.next()?, words)?, reads }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_arrives_as_it_was_sent() {
        let commands = vec![Command::new("SET").arg("a b").arg(""), Command::new("GET").arg("\r\n")];
        let step = SlotStep::of(commands, true);
        assert_eq!(unframe(&frame(7, &step)), Some((7, step)));
        assert_eq!(unframe(&Command::new("STEP").arg(7).arg("writes")), None);
    }
}
