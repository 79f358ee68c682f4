//! [`StoreFigures`]: how a store is, as far as a process knows without asking anybody.

use super::Store;
use super::table::SlotState;

/// The state of a store in figures, by the table that was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreFigures {
    /// The number of the last change that is known.
    pub epoch: u64,
    /// The number of slots that have all their copies, and these are equal.
    pub slots_ok: u64,
    /// The number of slots whose copies may differ.
    pub slots_suspect: u64,
    /// The number of slots that have fewer copies than they should.
    pub slots_short: u64,
    /// The number of slots that have no copy with all their keys.
    pub slots_lost: u64,
}

impl Store {
    /// Returns how the store is by the table that was read last. `None` before there is one.
    pub fn figures(&self) -> Option<StoreFigures> {
        let table = self.shared.tables.current()?;
        let mut figures =
            StoreFigures { epoch: table.epoch, slots_ok: 0, slots_suspect: 0, slots_short: 0, slots_lost: 0 };
        for slot in table.slots() {
            *match slot.state {
                SlotState::Lost => &mut figures.slots_lost,
                SlotState::Suspect => &mut figures.slots_suspect,
                SlotState::Ok if slot.copies.len() < table.settings.copies => &mut figures.slots_short,
                SlotState::Ok => &mut figures.slots_ok,
            } += 1;
        }
        Some(figures)
    }
}
