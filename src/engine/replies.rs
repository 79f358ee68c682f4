//! [`Replies`]: what a reducer sees, one entry for each command that was sent.

use std::sync::Arc;

use super::targets::slots_without_owner;
use crate::error::Error;
use crate::number::Number;
use crate::reply::Reply;
use crate::topology::{Node, SlotRange, SlotRanges};

/// Holds what one node answered to one command, or why it did not.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShardReply {
    /// The node that answered, or should have.
    pub node: Arc<Node>,
    /// The reply, or the failure: an error reply of the shard is [`Error::Shard`].
    pub result: Result<Reply, Error>,
}

/// The answers to a request: one entry for each command of a map, in the order of the commands; one for each node of
/// a fan-out, in slot order, and behind these of nodes that got slots meanwhile.
///
/// Unless the request asked for partial results, every entry is `Ok`: a request with a failure in it ends in that
/// failure.
#[derive(Debug, Clone, Default)]
pub struct Replies {
    entries: Vec<ShardReply>,
    missed: MissedSlots,
}

/// The slots that a fan-out has missed, or may have.
#[derive(Debug, Clone, Default)]
pub(super) struct MissedSlots {
    /// The slots that nobody owns.
    pub(super) uncovered: Vec<SlotRange>,
    /// The slots whose keys may be in the entries twice, in part or never, with the reasons.
    pub(super) unsettled: Vec<(SlotRange, Error)>,
}

impl Replies {
    /// Iterates over the entries, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, ShardReply> {
        self.entries.iter()
    }

    /// Returns the slots that nobody owns, of a fan-out to shards that allows failures: their keys are in no entry.
    pub fn uncovered(&self) -> &[SlotRange] {
        &self.missed.uncovered
    }

    /// Returns the slots whose keys may be in the entries twice, in part or not at all, of a fan-out to shards while
    /// slots move that allows failures: each range with the reason.
    pub fn unsettled(&self) -> &[(SlotRange, Error)] {
        &self.missed.unsettled
    }

    /// Returns both kinds of missed slots as failures, each range of slots by a name that stands in the place of a
    /// node's.
    pub(crate) fn missed_slots(&self) -> Vec<(String, Error)> {
        let missed = |range: &SlotRange| (format!("slots {}", SlotRanges(&[*range])), slots_without_owner(&[*range]));
        let unsettled =
            self.missed.unsettled.iter().map(|(range, why)| (format!("slots {}", SlotRanges(&[*range])), why.clone()));
        self.missed.uncovered.iter().map(missed).chain(unsettled).collect()
    }

    pub(super) fn set_missed(&mut self, missed: MissedSlots) {
        self.missed = missed;
    }

    pub(super) fn take_missed(&mut self) -> MissedSlots {
        std::mem::take(&mut self.missed)
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there are none, as after a map of no commands.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Iterates over the replies that arrived, in order.
    pub fn ok(&self) -> impl Iterator<Item = &Reply> {
        self.entries.iter().filter_map(|entry| entry.result.as_ref().ok())
    }

    /// Iterates over the replies that arrived, in order, and lets them be changed in place.
    pub(crate) fn ok_mut(&mut self) -> impl Iterator<Item = &mut Reply> {
        self.entries.iter_mut().filter_map(|entry| entry.result.as_mut().ok())
    }

    /// Iterates over the failures, in order.
    pub fn errors(&self) -> impl Iterator<Item = (&Node, &Error)> {
        self.entries.iter().filter_map(|entry| Some((&*entry.node, entry.result.as_ref().err()?)))
    }

    /// Iterates over the replies that are integers, or strings that say one; all others are passed over.
    pub fn integers(&self) -> impl Iterator<Item = i64> {
        self.ok().filter_map(Reply::integer)
    }

    /// Iterates over the replies that are numbers, or strings that say one; all others are passed over.
    pub fn numbers(&self) -> impl Iterator<Item = Number> {
        self.ok().filter_map(Reply::number)
    }

    /// Returns all replies, or the first failure.
    pub fn into_all(self) -> Result<Vec<Reply>, Error> {
        self.entries.into_iter().map(|entry| entry.result).collect()
    }
}

impl FromIterator<ShardReply> for Replies {
    fn from_iter<I: IntoIterator<Item = ShardReply>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect(), missed: MissedSlots::default() }
    }
}

impl IntoIterator for Replies {
    type Item = ShardReply;
    type IntoIter = std::vec::IntoIter<ShardReply>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'a> IntoIterator for &'a Replies {
    type Item = &'a ShardReply;
    type IntoIter = std::slice::Iter<'a, ShardReply>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
