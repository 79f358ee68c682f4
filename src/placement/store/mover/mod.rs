//! Copies of slots go from node to node while all runs.
//!
//! Any handler [plans](plan) which node is to hold which slot, and writes it down as [records](record), one for each slot that is
//! to lose a node, get one, or both. The proxy that orders the writes of a slot [carries](carrier) its keys, since it knows what is
//! written meanwhile:
//!
//! | phase | what | whoever dies |
//! |---|---|---|
//! | planned | nothing yet | |
//! | copying | the keys that the source has, then those that were written meanwhile; at last, with writes waiting, the rest | what is at the target is wiped, and copied again |
//! | flipped | the table names the target in place of the source | forward only |
//! | | when all proxies go by that, the keys go at the source | goes on |
//!
//! A move that cannot be made any more, since a node of it has failed, is given up, and another one is planned.
//!
//! Reads go on all the time, and writes wait for milliseconds, one slot at a time.

mod by_hand;
mod carrier;
mod clean;
mod ends;
mod plan;
mod readmit;
mod record;
mod scripts;
mod words;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::copy::node::DataNode;
use super::order::Sequencer;
use super::shared::ProxyStage;
use super::table::SlotTable;
use super::tables::Tables;
use crate::error::Error;
use crate::link::Links;
pub(super) use by_hand::{AlikeMoves, MovePlan};
pub(super) use plan::Planner;
pub(super) use readmit::{LOOK_EVERY as WELCOME_EVERY, readmit};
use record::{CopyMove, Phase};
use scripts::MOVES;

/// The number of slots that are copied after one look at all keys of a node, at least.
const SLOTS_AT_ONCE: usize = 32;

/// The number of names that are kept at once, about, where so few slots have less: one look at a small node does for all its slots.
const NAMES_AT_ONCE: usize = 2_000_000;

/// The pause between two looks for moves, should no change be heard of.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The pause before a move is tried again after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// The pause before a node is tried again after a failure.
const RETRY: Duration = Duration::from_millis(100);

/// Moves the slots whose writes are ordered here.
pub(super) struct Mover {
    name: Arc<str>,
    tables: Arc<Tables>,
    sequencer: Arc<Sequencer>,
    links: Arc<Links>,
    /// Counts the failures so far.
    failures: AtomicUsize,
    stage: watch::Receiver<ProxyStage>,
}

impl Mover {
    /// Makes a mover for the slots that a proxy of this name orders the writes of.
    pub(super) fn new(
        name: Arc<str>,
        tables: Arc<Tables>,
        sequencer: Arc<Sequencer>,
        links: Arc<Links>,
        stage: watch::Receiver<ProxyStage>,
    ) -> Self {
        Self { name, tables, sequencer, links, failures: AtomicUsize::new(0), stage }
    }

    /// Returns whether no further move is to begin, since the proxy is about to end.
    fn is_to_stop(&self) -> bool {
        *self.stage.borrow() != ProxyStage::Serves
    }

    /// Moves what there is to move. Ends when the proxy is about to, once nothing of a move is under way.
    pub(super) async fn run(&self) {
        tokio::join!(self.again(|| self.copy_some()), self.again(|| self.clean_some()));
    }

    /// Does something again and again, and waits for a change where there was nothing to do.
    async fn again<F: Future<Output = Result<bool, Error>>>(&self, step: impl Fn() -> F) {
        let (mut tables, mut stage) = (self.tables.follow(), self.stage.clone());
        while !self.is_to_stop() {
            tables.mark_unchanged();
            match step().await {
                Ok(true) => continue,
                Ok(false) => {
                    let something = async {
                        tokio::select! {
                            _ = tables.changed() => {}
                            _ = stage.changed() => {}
                        }
                    };
                    let _ = timeout(LOOK_EVERY, something).await;
                }
                Err(error) => {
                    log::warn!("a slot does not move: {error}");
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Returns the table, and the moves of the slots whose writes are ordered here.
    async fn moves(&self) -> Result<Option<(Arc<SlotTable>, Vec<CopyMove>, bool)>, Error> {
        let Some(table) = self.tables.current() else { return Ok(None) };
        let (records, is_paused): (HashMap<String, String>, i64) = self.tables.run(&MOVES, &[]).await?;
        let mut moves = CopyMove::read_all(&records);
        let is_own = |slot: u16| {
            let entry = table.slots().get(usize::from(slot));
            entry.is_some_and(|entry| entry.is_ordered_by(&self.name))
        };
        moves.retain(|one| is_own(one.slot));
        let is_running = |one: &&CopyMove| matches!(one.phase, Phase::Planned | Phase::Copying);
        self.tables.counts().moves_running.set(moves.iter().filter(is_running).count() as u64);
        Ok((!moves.is_empty()).then_some((table, moves, is_paused == 1)))
    }

    /// Connects to a node, which has to be the process that was let in, as the user that is fenced when this proxy is taken over.
    async fn connect(&self, table: &SlotTable, name: &str) -> Result<DataNode, Error> {
        let mut node = DataNode::connect(&self.links, name).await?;
        if let Err(cause) = self.sequencer.login().log_in(name, node.session()).await {
            return Err(Error::Node { node: name.to_owned(), cause, outcome_unknown: false });
        }
        let known = table.nodes.iter().find(|known| known.address.to_string() == name);
        let run_id = node.run_id().await?;
        match known {
            Some(known) if known.run_id.is_empty() || known.run_id == run_id => Ok(node),
            _ => Err(node.odd("is not the process that was let in")),
        }
    }
}
