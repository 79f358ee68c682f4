//! Slots go to other proxies while all run well: nothing of them is under way when they go, so their copies are not suspect.
//!
//! The configuration node decides; the proxy that gives slots away tells the others, which need not ask it before they go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::Sequencer;
use super::peer_lane::PeerUse;
use crate::command::Command;
use crate::error::Error;
use crate::placement::store::scripts::HAND_OVER;
use crate::placement::store::table::{NOBODY, SlotTable};
use crate::reply::Reply;

/// The number of slots that go with one change. Their writes wait meanwhile.
const SLOTS_AT_ONCE: usize = 256;

/// The time that writes which are under way have to end. Slots of which some have not ended stay.
const DRAIN: Duration = Duration::from_millis(500);

/// The time that other proxies have to hear of it from this one. Writes of the slots wait meanwhile; who has not heard by then reads
/// the table of the configuration node.
const TOLD: Duration = Duration::from_millis(50);

/// The name of the notice to other proxies.
const HANDED: &[u8] = b"HANDED";

/// The pause before the configuration node is asked again after a failure.
const PAUSE: Duration = Duration::from_millis(50);

/// Says whether this proxy still moves slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::placement::store) enum Movers {
    /// Slots stay that are to move.
    Run,
    /// Nothing of a move is under way.
    Idle,
}

/// Slots that have gone to other proxies with the change of an epoch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HandedOver {
    epoch: u64,
    /// Slots, each with the name of the proxy that orders it since, or - for nobody.
    gone: Vec<(u16, String)>,
}

impl HandedOver {
    /// Makes of it what is sent.
    fn frame(&self) -> Command {
        let frame = Command::new(HANDED).arg(self.epoch);
        self.gone.iter().fold(frame, |frame, (slot, to)| frame.arg(u64::from(*slot)).arg(to.as_str()))
    }

    /// Reads a notice of another proxy; `None` if it is none.
    pub(super) fn unframe(frame: &Command) -> Option<Self> {
        let words: Option<Vec<&str>> = frame.args().map(|word| std::str::from_utf8(word).ok()).collect();
        let words = words.filter(|_| frame.name() == HANDED)?;
        let (epoch, gone) = words.split_first()?;
        let gone = gone.chunks(2).map(|pair| match pair {
            [slot, to] => Some((slot.parse().ok()?, (*to).to_owned())),
            _ => None,
        });
        Some(Self { epoch: epoch.parse().ok()?, gone: gone.collect::<Option<_>>()? })
    }
}

impl Sequencer {
    /// Gives slots to other proxies: to each slot belongs the name of a proxy, or - for nobody. A slot stays if something of it is
    /// under way and does not end, or if who would get it has gone. Returns how many have gone.
    ///
    /// # Errors
    /// If the proxy ends meanwhile.
    pub(in crate::placement::store) async fn give(
        &self,
        slots: Vec<(u16, String)>,
        movers: Movers,
    ) -> Result<usize, Error> {
        let Some(itself) = self.itself.upgrade() else { return Ok(0) };
        let mut given = 0;
        for some in slots.chunks(SLOTS_AT_ONCE) {
            let (itself, some) = (itself.clone(), some.to_vec());
            // In a task of its own: once it is asked for, it has to be known who orders the slots before they are given back.
            let giving = tokio::spawn(async move { itself.give_some(&some, movers).await });
            given += giving.await.map_err(|ended| Error::Topology(format!("slots are not handed over: {ended}")))??;
        }
        Ok(given)
    }

    async fn give_some(&self, slots: &[(u16, String)], movers: Movers) -> Result<usize, Error> {
        let _several = self.several.lock().await;
        let began = Instant::now();
        let Some(table) = self.tables.current() else { return Ok(0) };
        self.end_broken(&table, slots).await;
        let until = Instant::now() + DRAIN;
        let turns = join_all(slots.iter().map(|(slot, _)| self.turns.alone(*slot, until))).await;
        let Some(table) = self.tables.current() else { return Ok(0) };
        let is_quiet = |slot: u16| {
            let entry = &table.slots()[usize::from(slot)];
            let is_heard = |&place: &usize| self.lane(&table.nodes[place]).is_heard();
            entry.is_ordered_by(&self.name) && entry.copies.iter().all(is_heard) && !self.turns.is_differing(slot)
        };
        let quiet = slots.iter().zip(&turns).filter(|((slot, _), turn)| turn.is_ok() && is_quiet(*slot));
        let words: Vec<(String, &str)> = quiet.map(|((slot, to), _)| (slot.to_string(), to.as_str())).collect();
        if words.is_empty() {
            return Ok(0);
        }
        // Another proxy counts what is written to them from now on.
        self.written.all_are_written();
        let drained = began.elapsed();
        let moves = if movers == Movers::Idle { "idle" } else { "run" };
        let arguments = [&*self.name, moves].into_iter().chain(words.iter().flat_map(|(slot, to)| [slot.as_str(), to]));
        let arguments: Vec<&str> = arguments.collect();
        let mut given = 0;
        while let Err(error) = async {
            let (epoch, gone): (u64, Vec<(u16, String)>) = self.tables.run(&HAND_OVER, &arguments).await?;
            given = given.max(gone.len());
            self.tables.handed_over(epoch, &gone).await?;
            self.tell_proxies(&table, HandedOver { epoch, gone }).await;
            Ok::<_, Error>(())
        }
        .await
        {
            log::warn!("it is not known whether slots are handed over: {error}");
            sleep(PAUSE).await;
        }
        drop(turns);
        log::debug!("{given} slots are handed over after {drained:?}, and were held for {:?} in all", began.elapsed());
        Ok(given)
    }

    /// Tells the other proxies which slots have gone, those that have got them among them.
    async fn tell_proxies(&self, table: &SlotTable, handed: HandedOver) {
        if handed.gone.is_empty() {
            return;
        }
        let mut others = self.others(table);
        others.extend(handed.gone.iter().filter(|(_, to)| to != NOBODY).map(|(_, to)| to.as_str().into()));
        let frame = handed.frame();
        let told = join_all(others.iter().map(|proxy| self.ask_peer(table, proxy, PeerUse::Notices, &frame)));
        if timeout(TOLD, told).await.is_err() {
            log::debug!("not all proxies have heard from this one which slots are handed over");
        }
    }

    /// Hears from another proxy which slots it has handed over.
    pub(super) fn hears_of(&self, handed: &HandedOver) -> Reply {
        let heard = self.tables.hears_of_hand_over(handed.epoch, &handed.gone);
        Reply::Array(vec![Reply::Integer(heard.is_some().into())])
    }

    /// Connects anew to copies of slots whose connections have broken, which ends those before at the nodes.
    async fn end_broken(&self, table: &Arc<SlotTable>, slots: &[(u16, String)]) {
        let copies = slots.iter().flat_map(|(slot, _)| table.slots()[usize::from(*slot)].copies.iter().copied());
        let copies: BTreeSet<usize> = copies.collect();
        let broken = copies.into_iter().filter(|&place| !self.lane(&table.nodes[place]).is_heard());
        join_all(broken.map(|place| async move {
            let node = &table.nodes[place];
            if let Err(why) = self.connect(table, &self.lane(node), node).await {
                log::debug!("slots at {} are not handed over: {why}", node.address);
            }
        }))
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_arrives_as_it_was_sent() {
        let gone = vec![(7, "a:1/5f".to_owned()), (1023, NOBODY.to_owned())];
        for handed in [HandedOver { epoch: 1 << 60, gone }, HandedOver { epoch: 0, gone: Vec::new() }] {
            assert_eq!(HandedOver::unframe(&handed.frame()), Some(handed));
        }
        assert_eq!(HandedOver::unframe(&Command::new("STEP").arg(7).arg("writes")), None);
        assert_eq!(HandedOver::unframe(&Command::new(HANDED).arg(7).arg(8)), None, "a slot without a proxy");
    }
}
