//! [`StoreFigures`]: how a store is, as far as a process knows without asking anybody.

use super::Store;
use super::table::SlotState;

/// The state of a store in figures, by the table that was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreFigures {
    /// The number of the last change that is known.
    pub epoch: u64,
    /// The milliseconds for which the proxy may still serve without hearing from the configuration node or from most data nodes; 0 in a
    /// process that is no proxy.
    pub lease_ms: u64,
    /// The number of slots that have all their copies, and these are equal.
    pub slots_ok: u64,
    /// The number of slots whose copies may differ.
    pub slots_suspect: u64,
    /// The number of slots that have fewer copies than they should.
    pub slots_short: u64,
    /// The number of slots that have no copy with all their keys.
    pub slots_lost: u64,
    /// The number of writes of clients that went to another proxy, which orders their slots.
    pub writes_forwarded: u64,
    /// The number of writes of clients that were told that the outcome is unknown.
    pub writes_in_doubt: u64,
    /// The number of copies of slots that count no more, since their node failed.
    pub copies_dropped: u64,
    /// The number of nodes at which a proxy was fenced by this one.
    pub fences: u64,
    /// The number of slots that are to move, and whose writes are ordered here.
    pub moves_running: u64,
    /// The number of slots that were moved here.
    pub moves_done: u64,
    /// The number of attempts to move slots that failed.
    pub moves_failed: u64,
    /// The number of keys that were moved here.
    pub keys_moved: u64,
    /// The number of keys of which copies had something else than the first one.
    pub scrub_differences: u64,
}

impl Store {
    /// Returns how the store is by the table that was read last. `None` before there is one.
    pub fn figures(&self) -> Option<StoreFigures> {
        let table = self.shared.tables.current()?;
        let counts = self.shared.tables.counts();
        let mut figures = StoreFigures {
            epoch: table.epoch,
            lease_ms: self.shared.tables.lease().left().as_millis() as u64,
            slots_ok: 0,
            slots_suspect: 0,
            slots_short: 0,
            slots_lost: 0,
            writes_forwarded: counts.writes_forwarded.get(),
            writes_in_doubt: counts.writes_in_doubt.get(),
            copies_dropped: counts.copies_dropped.get(),
            fences: counts.fences.get(),
            moves_running: counts.moves_running.get(),
            moves_done: counts.moves_done.get(),
            moves_failed: counts.moves_failed.get(),
            keys_moved: counts.keys_moved.get(),
            scrub_differences: counts.scrub_differences.get(),
        };
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
