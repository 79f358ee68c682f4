//! Fan-outs whose answer depends on keys: each slot is in the answer once, or the answer is an error.
//!
//! With its answer each node says which slots it had meanwhile. As long as all of that [covers](super::cover) each slot once,
//! it does not matter that the nodes have answered one after the other. Where it does not, only the nodes that this is
//! about are asked again, by a fresh topology, until it does or time is up. So answers are kept [apart](super::apart) until
//! then.
//!
//! Slots that move key by key are in no answer as a whole. Enumerations of keys go without them, and they are
//! [read apart](super::read_apart); any other command is asked again for a short while, in which the move may end.
//!
//! A command that may write is not sent again: that an answer does not hold is an error after the fact.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::apart::{Answer, Apart, Claim, Part};
use super::cover::owned;
use super::dependence::{Dependence, Enumeration};
use super::exchange::Exchange;
use super::findings::{Findings, View};
use super::options::Options;
use super::outcomes::{Gathered, Outcomes};
use super::read_apart::{ReadApart, Without, add_name};
use super::replies::{MissedSlots, ShardReply};
use super::request::Request;
use super::retry::{Backoff, SHORTEST_TRY};
use super::settle::TRANSIT;
use super::slot_set::SlotSet;
use super::snapshot::Snapshot;
use super::target::{Target, ToTargets};
use super::targets::slots_without_owner;
use super::units::{Unit, Units};
use crate::combine::AnyCombine;
use crate::command::{Command, CommandSet, printable};
use crate::error::Error;
use crate::topology::{OwnSlots, SlotRange, key_slot};

/// The time for which commands that cannot do without it wait for the end of a move.
const PATIENCE_WITH_MOVES: Duration = Duration::from_millis(500);

/// The number of times that a node is asked which does not say which slots it has, or is out of reach.
const MOST_TRIES: u8 = 3;

/// The check of a fan-out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    pub(super) dependence: Dependence,
    /// Does not ask again, but says what does not fit.
    pub(super) is_lenient: bool,
    /// Counts nodes without slots too.
    pub(super) keeps_empty: bool,
}

/// A checked fan-out under way.
pub(super) struct Exact<'a> {
    request: &'a Request,
    /// The one command.
    commands: Arc<CommandSet>,
    check: Check,
    options: &'a Options,
    combine: Option<Arc<dyn AnyCombine>>,
    snapshot: Arc<Snapshot>,
    units: Units,
    /// The number of times that nodes have been asked.
    round: u32,
    is_repaired: bool,
    backoff: Backoff,
    read_apart: ReadApart,
    /// The moments since which slots are seen to move, and since which some are nobody's.
    moving_since: Option<Instant>,
    nobodys_since: Option<Instant>,
    /// The notes that are given beside an answer that is not exact.
    notes: Vec<(SlotRange, Error)>,
}

impl<'a> Exact<'a> {
    pub(super) fn new(
        request: &'a Request,
        commands: CommandSet,
        check: Check,
        options: &'a Options,
        combine: Option<Arc<dyn AnyCombine>>,
        snapshot: Arc<Snapshot>,
        targets: Vec<Target>,
    ) -> Self {
        Self {
            request,
            commands: Arc::new(commands),
            check,
            options,
            combine,
            snapshot,
            units: Units::new(targets),
            round: 0,
            is_repaired: false,
            backoff: Backoff::default(),
            read_apart: ReadApart::default(),
            moving_since: None,
            nobodys_since: None,
            notes: Vec::new(),
        }
    }

    /// Does it all. Returns what counts of the replies, or what these come to.
    ///
    /// # Errors
    /// As of any step; [`Error::Slots`] if it cannot be had that each slot is in the answer once.
    pub(super) async fn run(mut self) -> Result<Gathered, Error> {
        let stats = &self.request.engine.stats;
        stats.slot_checks.fetch_add(1, Relaxed);
        self.ask((0..self.units.len() as u32).collect()).await?;
        // A failure is the answer, whatever slots there are.
        while (self.options.partial || !self.has_failed()) && !self.is_as_before() {
            self.units.merge();
            let findings = self.view().look();
            if findings.is_nothing() {
                self.remember();
                break;
            }
            if self.check.is_lenient {
                stats.inconsistent.fetch_add(1, Relaxed);
                let mut notes = self.view().notes(&findings);
                self.notes.append(&mut notes);
                break;
            }
            if !self.check.dependence.only_reads {
                stats.slots_unsettled.fetch_add(1, Relaxed);
                self.after_the_fact(&findings)?;
                break;
            }
            if !std::mem::replace(&mut self.is_repaired, true) {
                stats.slot_repairs.fetch_add(1, Relaxed);
            }
            // Boxed: what is rare takes no room in each request.
            if !Box::pin(self.repair(&findings)).await? {
                stats.slots_unsettled.fetch_add(1, Relaxed);
                self.give_up(&findings)?;
                break;
            }
        }
        if self.check.dependence.enumerates == Some(Enumeration::Names) && !self.read_apart.slots.is_empty() {
            let shown = self.units.counted_mut().flat_map(|unit| std::mem::take(&mut unit.shown)).collect();
            Box::pin(self.read_apart.drop_expired(self.request, &shown)).await?;
        }
        self.finish()
    }

    fn command(&self) -> Cow<'_, Command> {
        self.commands.at(0).command()
    }

    fn has_failed(&self) -> bool {
        self.units.counted().any(|(_, unit)| unit.error().is_some())
    }

    /// Tells whether all nodes say what they said when it was last found to be exact.
    fn is_as_before(&self) -> bool {
        let held: Option<Vec<&Arc<OwnSlots>>> = self.units.counted().map(|(_, unit)| unit.held()).collect();
        held.is_some_and(|held| self.request.engine.last_cover.is_same(held.into_iter()))
    }

    /// Remembers claims that are exact without allowances.
    fn remember(&self) {
        let held: Option<Vec<Arc<OwnSlots>>> = self.units.counted().map(|(_, unit)| unit.held().cloned()).collect();
        if let Some(held) = held.filter(|_| self.read_apart.slots.is_empty() && self.view().allowed().is_empty()) {
            self.request.engine.last_cover.remember(held);
        }
    }

    fn view(&self) -> View<'_> {
        let (topology, read_apart) = (&self.snapshot.topology, &self.read_apart.slots);
        View { units: &self.units, topology, read_apart, partial: self.options.partial }
    }

    /// Asks what has to be asked again. Returns whether something was; else there is no time left for it.
    async fn repair(&mut self, findings: &Findings) -> Result<bool, Error> {
        if !self.request.can_wait() || self.has_asked_in_vain(findings) {
            return Ok(false);
        }
        if findings.moving.is_empty() {
            self.moving_since = None;
        }
        if let Some(enumeration) = self.check.dependence.enumerates
            && !(findings.moving.is_empty() && findings.stranded.is_empty())
        {
            if self.request.time_left() <= SHORTEST_TRY {
                return Ok(false);
            }
            let commands = self.commands.clone();
            let (command, partial, stranded) = (commands.at(0).command(), self.options.partial, &findings.stranded);
            self.read_apart.forget(stranded);
            let mut slots = findings.moving.clone();
            slots.add(stranded);
            let missed = self.read_apart.read(self.request, &slots, enumeration, &command, partial).await?;
            self.notes.extend(missed);
            if stranded.is_empty() {
                return Ok(true);
            }
        }
        let mut again = findings.again();
        again.extend(self.view().of_moves(&findings.moving));
        // At first at once: most often one node has answered a moment before the other.
        let is_first = self.round == 1 && !findings.are_moves_only();
        let has_just_read = !again.is_empty() && again.iter().eq(&findings.uncorrected);
        let pause = if is_first || has_just_read { Duration::ZERO } else { self.backoff.next_pause() };
        let mut end = self.request.deadline.at;
        if findings.are_moves_only() {
            end = end.min(*self.moving_since.get_or_insert_with(Instant::now) + PATIENCE_WITH_MOVES);
        }
        if Instant::now() + pause + SHORTEST_TRY >= end {
            return Ok(false);
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if !findings.cover.missing.is_empty() || !findings.open.is_empty() {
            self.request.refreshed(&mut self.snapshot).await;
        }
        self.find_missing(&findings.cover.missing, &mut again)?;
        self.ask(again.into_iter().collect()).await?;
        Ok(true)
    }

    /// Tells whether a node has been asked too often for which slots it has.
    fn has_asked_in_vain(&self, findings: &Findings) -> bool {
        findings.unsaid.iter().any(|&number| self.units.at(number).failures >= MOST_TRIES)
    }

    /// Finds the units that have the slots that nobody has answered for: their owners by the topology, which may be new.
    /// Where an owner goes on saying that it is none, the topology is behind, and anybody may be it.
    ///
    /// # Errors
    /// That slots have no owner, if that lasts.
    fn find_missing(&mut self, missing: &SlotSet, again: &mut BTreeSet<u32>) -> Result<(), Error> {
        let snapshot = self.snapshot.clone();
        let (topology, mut nobodys, mut is_behind) = (&snapshot.topology, SlotSet::default(), false);
        let mut last = None;
        for slot in missing.iter() {
            let Some(position) = topology.owner_at(slot) else {
                nobodys.insert(slot);
                continue;
            };
            if last.replace(position) == Some(position) {
                continue;
            }
            let shard = &topology.shards()[position];
            let is_it = |unit: &Unit| unit.target.find(topology).is_ok_and(|node| Arc::ptr_eq(node, &shard.primary));
            let at = self.units.counted().find(|(_, unit)| is_it(unit)).map(|(number, _)| number);
            match at {
                Some(number) => {
                    let unit = self.units.at(number);
                    is_behind |= unit.asked > 1 && unit.held().is_some_and(|own| own.id == shard.primary.id);
                    again.insert(number);
                }
                None => {
                    again.insert(self.units.add(Target::owner_of(slot, shard.primary.clone())));
                }
            }
        }
        if is_behind {
            again.extend(self.units.counted().map(|(number, _)| number).collect::<Vec<_>>());
        }
        if nobodys.is_empty() || self.options.partial {
            self.nobodys_since = None;
            return Ok(());
        }
        let since = *self.nobodys_since.get_or_insert_with(Instant::now);
        if snapshot.is_in_transit() || since.elapsed() < TRANSIT {
            return Ok(());
        }
        Err(slots_without_owner(&nobodys.ranges()))
    }

    /// Asks units, and takes what they answer in the place of what they have answered before.
    async fn ask(&mut self, numbers: Vec<u32>) -> Result<(), Error> {
        self.round += 1;
        for &number in &numbers {
            self.units.at_mut(number).asked = self.round;
        }
        if numbers.is_empty() {
            return Ok(());
        }
        if !self.read_apart.slots.is_empty() {
            return self.ask_without(numbers).await;
        }
        let nodes = numbers.iter().map(|&number| self.units.at(number).target.clone()).collect();
        // The places of a later round are not those of the whole fan-out.
        let combine = self.combine.clone().filter(|_| self.round == 1);
        let outcomes = Outcomes::Apart(Apart::new(numbers.len(), combine));
        let exchange =
            Exchange::of_shared(self.request, ToTargets { nodes }, self.commands.clone(), outcomes, self.options);
        let parts = exchange.complete(self.snapshot.clone()).await?.into_parts();
        for (number, part) in numbers.into_iter().zip(parts) {
            let unit = self.units.at_mut(number);
            unit.failures += u8::from(matches!(&part, None | Some(Part { claim: Claim::Unsaid(_), .. })));
            unit.part = part;
            unit.left_out = Vec::new();
        }
        Ok(())
    }

    /// Asks units for their answers without the slots that are read apart.
    async fn ask_without(&mut self, numbers: Vec<u32>) -> Result<(), Error> {
        let Some(enumeration) = self.check.dependence.enumerates else { return Ok(()) };
        let topology = &self.snapshot.topology;
        let nodes = numbers.iter().map(|&number| self.units.at(number).target.find(topology).cloned());
        let nodes = nodes.collect::<Result<Vec<_>, Error>>()?;
        let said = self.read_apart.ask_without(self.request, nodes.clone(), enumeration, &self.command()).await?;
        for ((number, node), said) in numbers.into_iter().zip(nodes).zip(said) {
            let unit = self.units.at_mut(number);
            let part = |answer, claim| Some(Part { node: node.clone(), answer: Answer::Reply(answer), claim });
            unit.left_out = Vec::new();
            unit.part = match said {
                Without::Said { reply, own, left_out, shown } => {
                    (unit.left_out, unit.shown) = (left_out, shown);
                    part(Ok(reply), Claim::Held(Arc::new(own)))
                }
                Without::NotNow(_) if unit.failures + 1 < MOST_TRIES => None,
                Without::NotNow(error) | Without::Failed(error) => part(Err(error), Claim::nothing()),
            };
            unit.failures += u8::from(unit.part.is_none());
        }
        let failed = self.units.counted().find_map(|(_, unit)| unit.error());
        match failed.filter(|_| !self.options.partial && self.options.on_failure.fails_request()) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Ends a step for whose answers there is no time to be exact. With partial results the nodes that this is about have
    /// failed.
    fn give_up(&mut self, findings: &Findings) -> Result<(), Error> {
        let view = self.view();
        let why = Error::Slots(format!("{}; INCONSISTENT gives the answer as it is", view.said(findings)));
        if !self.options.partial {
            return Err(why);
        }
        let (failed, mut notes) = (view.concerned(findings), view.notes(findings));
        self.notes.append(&mut notes);
        failed.into_iter().for_each(|number| self.units.at_mut(number).fail(why.clone()));
        Ok(())
    }

    /// Ends a step that may have written, and cannot be sent again.
    fn after_the_fact(&mut self, findings: &Findings) -> Result<(), Error> {
        let view = self.view();
        if self.options.partial {
            let mut notes = view.notes(findings);
            self.notes.append(&mut notes);
            return Ok(());
        }
        let (asked, name) = (self.units.counted().count(), printable(self.command().name()));
        let said = view.said(findings);
        let why = format!("{said}; '{name}' has run all the same, and keys may have come to a node after it ran there");
        Err(Error::Incomplete { cause: Box::new(Error::Slots(why)), done: asked, asked })
    }

    /// Adds each key that was read apart to the reply of its slot's owner; to another one where no node says that it is the
    /// owner.
    fn add_names(&mut self) {
        if self.read_apart.slots.is_empty() {
            return;
        }
        let mut owners = Vec::new();
        for unit in self.units.counted_mut() {
            let slots = unit.held().map(|own| owned(own)).filter(|slots| !slots.is_empty());
            if let (Some(slots), Some(Part { answer: Answer::Reply(Ok(reply)), .. })) = (slots, &mut unit.part) {
                owners.push((slots, reply));
            }
        }
        for name in self.read_apart.take_names() {
            let slot = key_slot(&name);
            let at = owners.iter().position(|(slots, _)| slots.contains(slot)).unwrap_or(0);
            owners.get_mut(at).into_iter().for_each(|(_, reply)| add_name(reply, name.clone()));
        }
    }

    /// Puts together what counts.
    fn finish(mut self) -> Result<Gathered, Error> {
        self.add_names();
        let uncovered = match self.snapshot.topology.uncovered() {
            [] => Vec::new(),
            uncovered => {
                let mut uncovered = SlotSet::of(uncovered);
                self.units.held().for_each(|(_, own)| uncovered.remove(&owned(own)));
                uncovered.ranges()
            }
        };
        let mut outcomes = Outcomes::of(self.units.len(), self.combine);
        for (number, unit) in self.units.into_counted() {
            let counts = match unit.held() {
                Some(own) => own.is_primary && (!own.owned.is_empty() || self.check.keeps_empty),
                None => true,
            };
            let Some(Part { node, answer, .. }) = unit.part.filter(|_| counts) else { continue };
            match answer {
                Answer::Reply(result) => outcomes.put(number, ShardReply { node, result }),
                Answer::Reduced(share) => drop(outcomes.put_partial(&node, &[number], share)),
            }
        }
        let mut gathered = outcomes.finish()?;
        gathered.0.set_missed(MissedSlots { uncovered, unsettled: self.notes });
        Ok(gathered)
    }
}
