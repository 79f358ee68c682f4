//! All slots come to one proxy for a moment: what is done by all nodes has one place in the order of all writes then.
//!
//! The proxy that orders slot 0 asks the others for their slots, which they hand over as planned. When it is done, rendezvous
//! hashing gives all proxies their shares back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::Sequencer;
use super::hand_over::Movers;
use super::peer_lane::PeerUse;
use super::refusal::not_now;
use crate::command::Command;
use crate::peer::ForwardedStep;
use crate::placement::store::table::SlotTable;
use crate::reply::Reply;

/// The time that the others have to hand their slots over.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(20);

/// The slot whose proxy does what concerns all of them.
const FIRST_SLOT: u16 = 0;

/// Asks the proxy that orders the first slot to have all nodes do the command that follows.
const EVERYWHERE: &[u8] = b"EVERYWHERE";

/// Asks for all slots, for the proxy that is named.
const GIVE: &[u8] = b"GIVE";

impl Sequencer {
    /// Has all nodes do a command, behind all writes that have come and before all that come later. The proxy that orders the
    /// first slot does it.
    ///
    /// # Errors
    /// The error is what the client is told.
    pub(in crate::placement::store) async fn everywhere(&self, command: Command) -> Result<Reply, Bytes> {
        let until = Instant::now() + PATIENCE;
        loop {
            let table = self.table()?;
            if self.own(&table, FIRST_SLOT, false)?.is_some() {
                return self.gather_and_run(command).await;
            }
            let frame = command.words().fold(Command::new(EVERYWHERE), |frame, word| frame.arg(word));
            let Some(proxy) = table.slots()[usize::from(FIRST_SLOT)].sequencer.clone() else {
                return Err(not_now(FIRST_SLOT, "no proxy orders its writes yet"));
            };
            let asked = self.ask_peer(&table, &proxy, PeerUse::Long, &frame).await;
            match asked {
                Err(words) if words.starts_with(b"TRYAGAIN") && Instant::now() < until => sleep(PAUSE).await,
                Err(words) => return Err(words),
                Ok(mut replies) => return Ok(replies.pop().unwrap_or(Reply::Null)),
            }
        }
    }

    /// Does what another proxy asks for that concerns all slots; `None` if this is a step of one slot.
    pub(super) fn take_apart(&self, frame: &Command) -> Option<ForwardedStep> {
        let itself = self.itself.upgrade()?;
        let mut words = frame.args();
        if frame.name() == GIVE {
            let to = String::from_utf8_lossy(words.next()?).into_owned();
            return Some(ForwardedStep(Box::pin(async move {
                let given = itself.give(itself.all_own(&to), Movers::Run).await;
                Reply::Array(vec![Reply::Integer(given.unwrap_or_default() as i64)])
            })));
        }
        if frame.name() != EVERYWHERE {
            return None;
        }
        let command = Command::from_args(words)?;
        Some(ForwardedStep(Box::pin(async move {
            match itself.gather_and_run(command).await {
                Ok(reply) => Reply::Array(vec![reply]),
                Err(words) => Reply::Error(words),
            }
        })))
    }

    /// Returns the slots that are ordered here, each with this proxy.
    fn all_own(&self, to: &str) -> Vec<(u16, String)> {
        let Some(table) = self.tables.current() else { return Vec::new() };
        table.ordered_by(&self.name).map(|(slot, _)| (slot, to.to_owned())).collect()
    }

    /// Has all slots come here, and all nodes do a command.
    async fn gather_and_run(&self, command: Command) -> Result<Reply, Bytes> {
        let until = Instant::now() + PATIENCE;
        let _one = self.gathering.lock().await;
        let _keeps = Keeps::of(self);
        loop {
            let table = self.table()?;
            let first = self.own(&table, FIRST_SLOT, false)?;
            if first.is_none() {
                return Err(not_now(FIRST_SLOT, "another proxy orders its writes now"));
            }
            let others = self.others(&table);
            if others.is_empty() {
                return self.run_everywhere(command).await;
            }
            if Instant::now() >= until {
                let who = others.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
                return Err(format!(
                    "TRYAGAIN not all slots have come to one proxy, as slots that move do not: {who}; nothing was sent"
                )
                .into());
            }
            let frame = Command::new(GIVE).arg(&*self.name);
            let asked = join_all(others.iter().map(|proxy| self.ask_peer(&table, proxy, PeerUse::Long, &frame))).await;
            for why in asked.into_iter().filter_map(Result::err) {
                log::debug!("slots are not handed over: {}", String::from_utf8_lossy(&why));
            }
            if self.tables.load().await.is_ok_and(|table| !self.others(&table).is_empty()) {
                sleep(PAUSE).await;
            }
        }
    }

    /// Returns the other proxies that order slots.
    pub(super) fn others(&self, table: &SlotTable) -> BTreeSet<Arc<str>> {
        let names = table.slots().iter().filter_map(|entry| entry.sequencer.clone());
        names.filter(|name| *name != self.name).collect()
    }

    /// Returns whether slots stay here for a moment, whoever else ought to have them.
    pub(in crate::placement::store) fn keeps_slots(&self) -> bool {
        self.keeping.load(Ordering::Relaxed) > 0
    }
}

/// Keeps slots here while it lives.
struct Keeps<'a>(&'a Sequencer);

impl<'a> Keeps<'a> {
    fn of(sequencer: &'a Sequencer) -> Self {
        sequencer.keeping.fetch_add(1, Ordering::Relaxed);
        Self(sequencer)
    }
}

impl Drop for Keeps<'_> {
    fn drop(&mut self) {
        self.0.keeping.fetch_sub(1, Ordering::Relaxed);
    }
}
