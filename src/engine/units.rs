//! [`Units`]: the nodes that a checked fan-out asks, and what each has answered last.

use std::sync::Arc;

use bytes::Bytes;

use super::apart::{Answer, Claim, Part};
use super::slot_set::SlotSet;
use super::target::Target;
use crate::error::Error;
use crate::topology::{OwnSlots, Topology};

/// A node that is asked, and what it has answered last.
pub(super) struct Unit {
    pub(super) target: Target,
    pub(super) part: Option<Part>,
    /// The slots that the answer leaves out, with the number of keys that the node has there.
    pub(super) left_out: Vec<(u16, i64)>,
    /// The names there that the node shows.
    pub(super) shown: Vec<Bytes>,
    /// The round in which the unit was last asked.
    pub(super) asked: u32,
    pub(super) failures: u8,
    /// Another unit is the same node.
    is_merged: bool,
}

impl Unit {
    pub(super) fn new(target: Target) -> Self {
        Self { target, part: None, left_out: Vec::new(), shown: Vec::new(), asked: 0, failures: 0, is_merged: false }
    }

    /// Returns the failure that stands in the place of an answer.
    pub(super) fn error(&self) -> Option<&Error> {
        match &self.part.as_ref()?.answer {
            Answer::Reply(result) => result.as_ref().err(),
            Answer::Reduced(_) => None,
        }
    }

    /// Returns the slots that the answer holds for.
    pub(super) fn held(&self) -> Option<&Arc<OwnSlots>> {
        match self.part.as_ref() {
            Some(Part { claim: Claim::Held(own), .. }) if self.error().is_none() => Some(own),
            _ => None,
        }
    }

    /// Tells whether the answer leaves these slots out.
    pub(super) fn leaves_out(&self, slots: &SlotSet) -> bool {
        slots.iter().all(|slot| self.left_out.iter().any(|&(known, _)| known == slot))
    }

    /// Puts a failure in the place of an answer.
    pub(super) fn fail(&mut self, error: Error) {
        let node = self.part.as_ref().map_or(&self.target.node, |part| &part.node).clone();
        self.part = Some(Part { node, answer: Answer::Reply(Err(error)), claim: Claim::nothing() });
    }

    /// Names the node.
    pub(super) fn name(&self) -> String {
        self.part.as_ref().map_or(&self.target.node, |part| &part.node).to_string()
    }

    /// Returns the slots that a topology says the node has.
    pub(super) fn slots_by(&self, topology: &Topology) -> SlotSet {
        let node = self.target.find(topology).ok();
        let shard = node.and_then(|node| topology.shards().iter().find(|shard| Arc::ptr_eq(&shard.primary, node)));
        shard.map(|shard| SlotSet::of(&shard.slots)).unwrap_or_default()
    }
}

/// The units of a fan-out, by their numbers.
pub(super) struct Units(Vec<Unit>);

impl Units {
    pub(super) fn new(targets: Vec<Target>) -> Self {
        Self(targets.into_iter().map(Unit::new).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the units that count, with their numbers.
    pub(super) fn counted(&self) -> impl Iterator<Item = (u32, &Unit)> + Clone {
        (0..).zip(&self.0).filter(|(_, unit)| !unit.is_merged)
    }

    /// Returns them with all that can be changed.
    pub(super) fn counted_mut(&mut self) -> impl Iterator<Item = &mut Unit> {
        self.0.iter_mut().filter(|unit| !unit.is_merged)
    }

    /// Gives up all units that count, with their numbers.
    pub(super) fn into_counted(self) -> impl Iterator<Item = (u32, Unit)> {
        (0..).zip(self.0).filter(|(_, unit)| !unit.is_merged)
    }

    /// Returns what answers hold for, of those of which that is known.
    pub(super) fn held(&self) -> impl Iterator<Item = (u32, &OwnSlots)> + Clone {
        self.counted().filter_map(|(number, unit)| Some((number, &**unit.held()?)))
    }

    pub(super) fn at(&self, number: u32) -> &Unit {
        &self.0[number as usize]
    }

    pub(super) fn at_mut(&mut self, number: u32) -> &mut Unit {
        &mut self.0[number as usize]
    }

    /// Adds a node. Returns the number of its unit.
    pub(super) fn add(&mut self, target: Target) -> u32 {
        self.0.push(Unit::new(target));
        self.0.len() as u32 - 1
    }

    /// Counts a node once that has been asked for two units, as a shard's new primary may be: the later answer counts.
    pub(super) fn merge(&mut self) {
        for at in 0..self.0.len() {
            let id = |unit: &Unit| unit.held().filter(|_| !unit.is_merged).map(|own| own.id.clone());
            let Some(own) = id(&self.0[at]) else { continue };
            let is_same = |(other, unit): &(usize, &Unit)| *other != at && id(unit).as_ref() == Some(&own);
            let is_later = |unit: &Unit| unit.asked >= self.0[at].asked;
            self.0[at].is_merged = self.0.iter().enumerate().any(|same| is_same(&same) && is_later(same.1));
        }
    }
}
