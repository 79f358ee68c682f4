//! [`Routes`]: who holds which slot, as a member knows it.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// A member that serves a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its id.
    pub id: Arc<str>,
    /// The epoch by which it became ready, or became the primary.
    pub token: u64,
}

/// The holders of each slot.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// The last change that is in it, with all those before; `None` before the first load.
    pub(super) epoch: Option<u64>,
    pub(super) slots: Vec<Row>,
}

/// The holders of one slot, as of an epoch. A change that one has made oneself may be known before those that came
/// before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) as_of: u64,
    pub(super) holders: Vec<Holder>,
}

impl Table {
    pub(super) fn new(slots: u16) -> Self {
        Self { epoch: None, slots: vec![Row::default(); usize::from(slots)] }
    }
}

/// A picture of who holds which slot; it does not change. Its age is [`age`](Self::age).
#[derive(Debug, Clone)]
pub struct Routes {
    pub(super) table: Arc<Table>,
    pub(super) confirmed: Instant,
}

impl Routes {
    /// Returns who serves a slot, the primary first.
    pub fn holders(&self, slot: u16) -> &[Holder] {
        self.table.slots.get(usize::from(slot)).map_or(&[], |row| &row.holders)
    }

    /// Returns the primary of a slot; `None` if nobody serves it.
    pub fn primary(&self, slot: u16) -> Option<&Holder> {
        self.holders(slot).first()
    }

    /// Returns the number of the last change that is in it.
    pub fn epoch(&self) -> u64 {
        self.table.epoch.unwrap_or_default()
    }

    /// Returns how long ago the configuration node has said that nothing else is true. It grows while that is away, and stays
    /// below a quarter of the timeout otherwise.
    pub fn age(&self) -> Duration {
        self.confirmed.elapsed()
    }
}
