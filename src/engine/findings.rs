//! [`Findings`]: what keeps the answers to a fan-out from being exact, in units to be asked again and in words.

use std::collections::BTreeSet;

use super::apart::{Claim, Part};
use super::cover::{Cover, each_range, owned, touched};
use super::slot_set::SlotSet;
use super::units::{Unit, Units};
use crate::error::Error;
use crate::link::SlotsAround;
use crate::topology::{OwnSlots, SlotRange, Topology};

/// The findings that keep answers from being exact.
#[derive(Default)]
pub(super) struct Findings {
    /// Units without an answer.
    pub(super) open: Vec<u32>,
    /// Units whose slots have changed while they answered.
    pub(super) changed: Vec<u32>,
    /// Units that have not said which slots they have.
    pub(super) unsaid: Vec<u32>,
    /// Units whose answers count keys that are read apart.
    pub(super) uncorrected: Vec<u32>,
    /// Slots of which keys are elsewhere than their owner says, and the units that this is about.
    pub(super) stranded: SlotSet,
    pub(super) stranding: Vec<u32>,
    pub(super) cover: Cover,
    /// Slots that move, and are not read apart.
    pub(super) moving: SlotSet,
}

/// The facts that answers are compared with.
pub(super) struct View<'a> {
    pub(super) units: &'a Units,
    pub(super) topology: &'a Topology,
    pub(super) read_apart: &'a SlotSet,
    /// Shards that have failed may be missing, and slots that are nobody's.
    pub(super) partial: bool,
}

impl View<'_> {
    /// Looks at what has been answered.
    pub(super) fn look(&self) -> Findings {
        let mut findings = Findings::default();
        for (number, unit) in self.units.counted().filter(|(_, unit)| unit.error().is_none()) {
            match unit.part.as_ref().map(|part| &part.claim) {
                None => findings.open.push(number),
                Some(Claim::Changed(_)) => findings.changed.push(number),
                Some(Claim::Unsaid(_)) => findings.unsaid.push(number),
                Some(Claim::Held(_)) if unit.leaves_out(self.read_apart) => {}
                Some(Claim::Held(_)) => findings.uncorrected.push(number),
            }
        }
        self.find_stranded(&mut findings);
        findings.cover = Cover::of(self.units.held(), self.read_apart);
        findings.cover.missing.remove(&self.allowed());
        findings.cover.missing.remove(&self.asked_again(&findings));
        findings.moving = findings.cover.moving().without(self.read_apart);
        findings
    }

    /// Finds keys of slots that are read apart at nodes that these slots' owners do not send to, as after a failover in the
    /// middle of a move, of which the new primary knows nothing. Nobody lists such keys.
    fn find_stranded(&self, findings: &mut Findings) {
        for slot in self.read_apart.iter() {
            let owners = self.units.held().filter(|(_, own)| owned(own).contains(slot));
            for (owner, own) in owners {
                let sends_to =
                    |id: &str| own.moving.iter().any(|move_| move_.slot == slot && move_.leaves && move_.peer == id);
                let is_elsewhere = |unit: &Unit| unit.left_out.iter().any(|&(known, keys)| known == slot && keys > 0);
                let elsewhere = self.units.counted().filter(|(number, unit)| {
                    let id = unit.held().map(|own| own.id.as_str());
                    *number != owner && is_elsewhere(unit) && id.is_some_and(|id| !sends_to(id))
                });
                for (number, _) in elsewhere {
                    findings.stranded.insert(slot);
                    findings.stranding.extend([owner, number]);
                }
            }
        }
    }

    /// Returns the slots that may be missing.
    pub(super) fn allowed(&self) -> SlotSet {
        let mut allowed = SlotSet::default();
        if self.partial {
            allowed.add(&SlotSet::of(self.topology.uncovered()));
            let failed = self.units.counted().filter(|(_, unit)| unit.error().is_some());
            failed.for_each(|(_, unit)| allowed.add(&unit.slots_by(self.topology)));
        }
        allowed
    }

    /// Returns the slots of units that are asked again anyhow.
    fn asked_again(&self, findings: &Findings) -> SlotSet {
        let mut slots = SlotSet::default();
        for &number in findings.open.iter().chain(&findings.unsaid) {
            slots.add(&self.units.at(number).slots_by(self.topology));
        }
        for (_, around) in self.changed(findings) {
            slots.add(&owned(&around.before));
            slots.add(&owned(&around.after));
        }
        slots
    }

    fn changed(&self, findings: &Findings) -> impl Iterator<Item = (&Unit, &SlotsAround)> {
        let units = findings.changed.iter().map(|&number| self.units.at(number)).collect::<Vec<_>>();
        units.into_iter().filter_map(|unit| match &unit.part {
            Some(Part { claim: Claim::Changed(around), .. }) => Some((unit, around)),
            _ => None,
        })
    }

    /// Says in words what keeps the answer from being exact.
    pub(super) fn said(&self, findings: &Findings) -> String {
        let cover = &findings.cover;
        let name = |number: u32| self.units.at(number).name();
        let mut said = Vec::new();
        if !cover.twice.is_empty() {
            let nodes = cover.overlapping.iter().map(|&number| name(number)).collect::<Vec<_>>();
            said.push(format!("{} nodes answer for {}: {}", nodes.len(), cover.twice, nodes.join(" and ")));
        }
        if !cover.missing.is_empty() {
            said.push(format!("no node answers for {}", cover.missing));
        }
        for (unit, around) in self.changed(findings) {
            let slots = changed_slots(&around.before, &around.after);
            said.push(format!("{slots} changed at {} while it answered", unit.name()));
        }
        for &number in &findings.unsaid {
            if let Some(Part { claim: Claim::Unsaid(why), .. }) = &self.units.at(number).part {
                said.push(format!("{} does not say which slots it has: {why}", name(number)));
            }
        }
        for known in &cover.moves {
            let moves = known.slots.without(self.read_apart);
            if !moves.is_empty() {
                let verb = if moves.is_one() { "moves" } else { "move" };
                said.push(format!("{moves} {verb} from {} to {}", self.named(&known.from), self.named(&known.to)));
            }
        }
        if !findings.stranded.is_empty() {
            said.push(format!("keys of {} are at a node that its owner does not send to", findings.stranded));
        }
        let late = findings.open.iter().chain(&findings.uncorrected);
        said.extend(late.map(|&number| format!("{} was not asked again in time", name(number))));
        said.join("; ")
    }

    /// Says of ranges of slots why they may be wrong in an answer that stands as it is.
    pub(super) fn notes(&self, findings: &Findings) -> Vec<(SlotRange, Error)> {
        let mut notes = Vec::new();
        let mut note = |slots: &SlotSet, why: &str| notes.extend(each_range(slots, &Error::Slots(why.into())));
        note(&findings.cover.twice, "several nodes have answered for it");
        note(&findings.cover.missing, "no node has answered for it");
        note(&findings.moving, "its keys move from one node to another");
        note(&findings.stranded, "it has keys at a node that its owner does not send to");
        for (_, around) in self.changed(findings) {
            note(&changed_slots(&around.before, &around.after), "it changed hands meanwhile");
        }
        for &number in &findings.unsaid {
            let slots = self.units.at(number).slots_by(self.topology);
            note(&slots, "its node does not say which slots it has");
        }
        notes
    }

    /// Returns the units whose answers are not exact.
    pub(super) fn concerned(&self, findings: &Findings) -> BTreeSet<u32> {
        let mut concerned = findings.again();
        concerned.extend(self.of_moves(&findings.moving));
        concerned
    }

    /// Returns the units between which slots move.
    pub(super) fn of_moves<'s>(&'s self, moving: &'s SlotSet) -> impl Iterator<Item = u32> + 's {
        let moves = |own: &OwnSlots| !touched(own).common(moving).is_empty();
        self.units.held().filter(move |(_, own)| moves(own)).map(|(number, _)| number)
    }

    /// Names the node of an id.
    fn named(&self, id: &str) -> String {
        self.topology.node(id).map_or_else(|| id.to_owned(), |node| node.to_string())
    }
}

impl Findings {
    /// Tells whether the answers are exact.
    pub(super) fn is_nothing(&self) -> bool {
        self.are_moves_only() && self.moving.is_empty()
    }

    /// Tells whether nothing is in the way but slots that move.
    pub(super) fn are_moves_only(&self) -> bool {
        self.again().is_empty() && self.cover.missing.is_empty()
    }

    /// Returns the units that have to be asked again, whatever moves.
    pub(super) fn again(&self) -> BTreeSet<u32> {
        let units = [&self.open, &self.changed, &self.unsaid, &self.uncorrected, &self.stranding];
        units.into_iter().chain([&self.cover.overlapping]).flatten().copied().collect()
    }
}

/// Returns the slots that a node has got, lost, or begun or ended to move; all of them if they have only been elsewhere
/// meanwhile.
fn changed_slots(before: &OwnSlots, after: &OwnSlots) -> SlotSet {
    let (old, new) = (owned(before), owned(after));
    let mut changed = old.without(&new);
    changed.add(&new.without(&old));
    let moves = |own: &OwnSlots, other: &OwnSlots| {
        own.moving.iter().filter(|known| !other.moving.contains(known)).map(|known| known.slot).collect::<Vec<_>>()
    };
    moves(before, after).into_iter().chain(moves(after, before)).for_each(|slot| changed.insert(slot));
    if changed.is_empty() {
        changed.add(&old);
        changed.add(&new);
    }
    changed
}
