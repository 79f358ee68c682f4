//! The questions for a node's own slots on one connection, and the batches that wait for their answers.

use std::sync::Arc;

use super::in_flight::PendingBatch;
use crate::link::budget::Budget;
use crate::link::own_slots::{LatestOwnSlots, OwnSlotsWatch, QUESTION};
use crate::resp::{push_array_header, push_bulk};

/// The questions of a connection, and who waits for their answers.
pub(super) struct Questions {
    pub(super) watch: OwnSlotsWatch,
    /// A batch that wants to know has been queued behind the last question.
    pub(super) is_due: bool,
    /// The number of questions that have been queued and not been answered.
    pub(super) open: usize,
    /// The number of open questions that have left, wholly or in part.
    pub(super) left: usize,
    /// Batches that were answered, and wait for the answer to a question.
    pub(super) held: Vec<PendingBatch>,
    /// Questions take nothing from anybody's.
    budget: Arc<Budget>,
}

impl Questions {
    pub(super) fn new(of_node: Arc<LatestOwnSlots>) -> Self {
        let (watch, budget) = (OwnSlotsWatch::of(of_node), Arc::new(Budget::new(usize::MAX)));
        Self { watch, is_due: false, open: 0, left: 0, held: Vec::new(), budget }
    }

    /// Hears of a batch that is queued.
    pub(super) fn see_queued(&mut self, queued: &PendingBatch) {
        self.is_due |= queued.asks_own_slots();
    }

    /// Hears of a batch of which bytes have left.
    pub(super) fn see_left(&mut self, left: &PendingBatch) {
        self.left += usize::from(left.is_question());
    }

    /// Tells whether what the node says to the question before those that are queued next will do as what held before.
    pub(super) fn is_fresh(&self) -> bool {
        self.watch.is_fresh() && (self.open > 0 || self.watch.last().is_some())
    }

    /// Makes the next question.
    pub(super) fn next(&mut self) -> (Vec<u8>, PendingBatch) {
        let mut wire = Vec::with_capacity(32);
        push_array_header(&mut wire, QUESTION.len());
        QUESTION.iter().for_each(|word| push_bulk(&mut wire, word.as_bytes()));
        self.open += 1;
        self.watch.has_asked();
        (wire, PendingBatch::question(self.budget.clone()))
    }
}
