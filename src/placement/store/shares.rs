//! [`Shares`]: each proxy orders the writes of the slots for which rendezvous hashing ranks it first. Slots go to a proxy that has come.

use super::order::{Movers, Sequencer};
use super::shared::Shared;
use super::table::NOBODY;
use crate::error::Error;
use crate::placement::balance::{Balance, Candidate};
use crate::placement::slot::MAX_SLOTS;

/// Proxies that live and are not about to end, those that are gone, with the slots that they order, and the slots that nobody orders.
pub(super) type SlotsByProxy = (Vec<String>, Vec<(String, Vec<u16>)>, Vec<u16>);

/// Gives proxies their shares of the slots that are ordered here.
#[derive(Default)]
pub(super) struct Shares {
    /// The proxies that lived, and the epoch, when all had their shares.
    settled: Option<(Vec<String>, u64)>,
}

impl Shares {
    /// Gives slots to the proxies that rendezvous hashing ranks first. Returns whether any have gone.
    pub(super) async fn step(&mut self, shared: &Shared, live: &[String]) -> Result<bool, Error> {
        let sequencer = shared.sequencer();
        let Some(table) = shared.tables.current() else { return Ok(false) };
        if sequencer.keeps_slots()
            || self.settled.as_ref().is_some_and(|(known, epoch)| known == live && *epoch == table.epoch)
            || !live.iter().any(|name| name == sequencer.name())
        {
            return Ok(false);
        }
        let mut slots = own_slots(shared, &sequencer, live);
        slots.retain(|(_, to)| to != sequencer.name());
        let count = slots.len();
        let given = if slots.is_empty() { 0 } else { sequencer.give(slots, Movers::Run).await? };
        if given == count {
            let epoch = shared.tables.current().map_or(0, |table| table.epoch);
            self.settled = Some((live.to_vec(), epoch));
        }
        if given > 0 {
            log::info!("{given} slots are handed over to other proxies");
        }
        Ok(given > 0)
    }
}

/// Returns the slots that are ordered here, each with the proxy that rendezvous hashing ranks first; with nobody if no proxy lives.
pub(super) fn own_slots(shared: &Shared, sequencer: &Sequencer, live: &[String]) -> Vec<(u16, String)> {
    let Some(table) = shared.tables.current() else { return Vec::new() };
    let balance = Balance::new(MAX_SLOTS, 1, live.iter().map(Candidate::new));
    let to = |slot| balance.ranked(slot).next().unwrap_or(NOBODY).to_owned();
    table.ordered_by(sequencer.name()).map(|(slot, _)| (slot, to(slot))).collect()
}
