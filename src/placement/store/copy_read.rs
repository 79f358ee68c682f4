//! [`CopyRead`]: keys that are read at a copy of their slots, [at another one](super::reads) if that fails or is late.

use std::sync::Arc;

use super::copy_write::{failure_words, write};
use super::table::SlotTable;
use super::user_copies::{CopyWay, UserCopies};
use crate::link::{Batch, Delivery, Failure, Link};
use crate::reply::Reply;

/// A batch of which some commands read keys, and the others are about the node of the link.
pub(super) struct CopyRead {
    pub(super) copies: Arc<UserCopies>,
    /// Leads to the node of the link.
    pub(super) node: Arc<dyn Link>,
    pub(super) batch: Batch,
    pub(super) ways: Vec<CopyWay>,
}

impl CopyRead {
    /// Reads by a table, and again by a later one where a slot has got other copies meanwhile: a node that is no copy any more
    /// may have been emptied before it read.
    pub(super) async fn run(self, mut table: Arc<SlotTable>) -> Delivery {
        let mut replies: Vec<Option<Reply>> = vec![None; self.ways.len()];
        let mut failure;
        loop {
            failure = self.ask(&table, &mut replies).await;
            let tables = &self.copies.shared().tables;
            if !tables.lease().is_held() {
                return self.in_order(replies).await;
            }
            let Some(now) = tables.current().filter(|now| !Arc::ptr_eq(now, &table)) else { break };
            let mut has_changed = false;
            for (reply, way) in replies.iter_mut().zip(&self.ways) {
                if matches!(way, CopyWay::Read(slot) if table.copies_of(*slot).ne(now.copies_of(*slot))) {
                    *reply = None;
                    has_changed = true;
                }
            }
            if !has_changed {
                break;
            }
            table = now;
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
        let or_words = |reply: Option<Reply>| reply.unwrap_or_else(|| Reply::Error(words.clone().into()));
        Delivery::of(replies.into_iter().map(or_words).collect())
    }

    /// Reads again what was read while the lease ran out: who orders the slots' writes knows what counts.
    async fn in_order(self, mut replies: Vec<Option<Reply>>) -> Delivery {
        let is_read = |at: &usize| matches!(self.ways[*at], CopyWay::Read(_));
        let reads: Vec<usize> = (0..self.ways.len()).filter(is_read).collect();
        let ways = reads.iter().map(|&at| self.ways[at]).collect();
        let read = write(&self.copies, self.node.clone(), self.part(&reads), ways).await;
        for (at, reply) in reads.into_iter().zip(read.replies) {
            replies[at] = Some(reply);
        }
        match replies.into_iter().collect::<Option<Vec<Reply>>>() {
            Some(replies) => Delivery::of(replies),
            None => Delivery::failed(read.failure.unwrap_or_else(|| Failure::Unreachable("the node is gone".into()))),
        }
    }

    /// Returns the part of the batch with these commands.
    pub(super) fn part(&self, share: &[usize]) -> Batch {
        Batch { picks: share.iter().map(|&at| self.batch.picks[at]).collect(), ..self.batch.clone() }
    }
}
