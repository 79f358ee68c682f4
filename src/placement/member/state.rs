//! [`State`]: what a member knows, and what follows from it. No connection, no clock of its own: it is given what has happened
//! and when, and says what the program has to be told.
//!
//! Each slot is looked at when its holders change, and all of them when the members do. A slot that was told is not told
//! again until it is settled, or has failed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::event::Event;
use super::options::Settings;
use super::scripts::{News, Standing};
use super::table::{Holder, Routes, Row, Table};
use crate::placement::balance::{Balance, Candidate};

/// The number of times that the pause after failures doubles at most.
const MOST_DOUBLINGS: u32 = 6;

/// The slots that a member ought to hold; `None` while there are too few members.
pub(super) type OwnTargets = Option<Vec<bool>>;

/// The news of a slot that the program was told and has not settled yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notice {
    Nothing,
    Missing,
    Redundant,
}

/// A slot that could not be served.
struct Setback {
    count: u32,
    pause: Duration,
    until: Instant,
    ready: Option<Instant>,
}

pub(super) struct State {
    settings: Settings,
    me: Arc<str>,
    incarnation: Option<u64>,
    members: BTreeMap<String, Standing>,
    table: Arc<Table>,
    targets: OwnTargets,
    told: Vec<Notice>,
    failures: HashMap<u16, Setback>,
    primaries: BTreeMap<u16, u64>,
    /// Slots that the program gives up just now.
    giving_up: HashSet<u16>,
    /// The moment when others may take this member for dead.
    lease_end: Instant,
    /// The lease has run out: others may be primaries.
    is_suspended: bool,
    confirmed: Instant,
    events: Option<UnboundedSender<Event>>,
}

impl State {
    pub(super) fn new(settings: Settings, events: UnboundedSender<Event>, now: Instant) -> Self {
        let slots = settings.slots.slots();
        Self {
            me: settings.id.as_str().into(),
            incarnation: None,
            members: BTreeMap::new(),
            table: Arc::new(Table::new(slots)),
            targets: None,
            told: vec![Notice::Nothing; usize::from(slots)],
            failures: HashMap::new(),
            primaries: BTreeMap::new(),
            giving_up: HashSet::new(),
            lease_end: now,
            is_suspended: true,
            confirmed: now,
            events: Some(events),
            settings,
        }
    }

    /// Returns who this member is at the configuration node; `None` while it is not let in.
    pub(super) fn incarnation(&self) -> Option<u64> {
        self.incarnation
    }

    /// Returns the last change that is known with all before it.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.table.epoch
    }

    pub(super) fn routes(&self) -> Routes {
        Routes { table: self.table.clone(), confirmed: self.confirmed }
    }

    pub(super) fn members(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// Returns the slots of which this member is the primary: none once others may have taken it for dead.
    pub(super) fn primaries(&self, now: Instant) -> BTreeMap<u16, u64> {
        if now < self.lease_end { self.primaries.clone() } else { BTreeMap::new() }
    }

    /// Returns the token of one slot.
    pub(super) fn primary_token(&self, slot: u16, now: Instant) -> Option<u64> {
        self.primaries.get(&slot).copied().filter(|_| now < self.lease_end)
    }

    pub(super) fn held(&self) -> Vec<u16> {
        self.slots().filter(|&slot| self.holds(slot)).collect()
    }

    /// Returns what ought to be held and is not, also what was told already.
    pub(super) fn missing(&self) -> Vec<u16> {
        self.slots().filter(|&slot| self.is_target(slot) == Some(true) && !self.holds(slot)).collect()
    }

    /// Returns what is held and need not be, also where nobody else serves it yet.
    pub(super) fn redundant(&self) -> Vec<u16> {
        self.slots().filter(|&slot| self.is_target(slot) == Some(false) && self.holds(slot)).collect()
    }

    /// Returns whether as many others hold each slot of this member as will do when it has left.
    pub(super) fn can_leave(&self) -> bool {
        let staying = self.members.iter().filter(|(id, member)| ***id != *self.me && !member.is_leaving).count();
        let wanted = self.settings.copies.min(staying);
        self.slots().all(|slot| !self.holds(slot) || self.others(slot) >= wanted)
    }

    /// Reckons what a member ought to hold. Apart from the rest, since that may take milliseconds.
    pub(super) fn targets_of(settings: &Settings, members: &BTreeMap<String, Standing>) -> OwnTargets {
        let staying: Vec<_> = members.iter().filter(|(_, member)| !member.is_leaving).collect();
        if staying.len() < settings.min_members {
            return None;
        }
        let candidate = |(id, member): (&String, &Standing)| {
            let candidate = Candidate::new(id.as_str()).weight(member.weight);
            member.zone.iter().fold(candidate, |candidate, zone| candidate.zone(zone.as_str()))
        };
        let balance = Balance::new(settings.slots.slots(), settings.copies, staying.into_iter().map(candidate));
        let balance = balance.order(settings.order);
        Some((0..settings.slots.slots()).map(|slot| balance.holders(slot).any(|id| id == settings.id)).collect())
    }

    /// Notes that the member was let in by a request that was sent at this time.
    pub(super) fn joined(&mut self, incarnation: u64, sent: Instant, now: Instant) {
        self.incarnation = Some(incarnation);
        self.renewed(sent, now);
    }

    /// Notes that the configuration node has heard from this member, by a request that was sent at this time.
    pub(super) fn renewed(&mut self, sent: Instant, now: Instant) {
        self.lease_end = self.lease_end.max(sent + self.settings.timeout);
        // The answer may have waited while this process was stopped.
        if self.is_suspended && now < self.lease_end {
            self.is_suspended = false;
            self.look_at_all(now, Vec::new());
        }
    }

    /// Notes that nothing has changed, as of a request that was sent at this time.
    pub(super) fn confirmed(&mut self, sent: Instant) {
        self.confirmed = self.confirmed.max(sent);
    }

    /// Forgets how recent the table is: the configuration node is another server now, and what is known may be undone.
    pub(super) fn forget_epoch(&mut self) {
        let table = Arc::make_mut(&mut self.table);
        table.epoch = None;
        table.slots.iter_mut().for_each(|row| row.as_of = 0);
    }

    /// Takes what has changed, and the targets if the members are among that. Returns false if this member is none any more.
    pub(super) fn take(&mut self, news: News, targets: OwnTargets, sent: Instant, now: Instant) -> bool {
        let News { epoch, is_all, members, slots } = news;
        if let Some(members) = &members
            && members.get(&*self.me).map(|member| member.incarnation) != self.incarnation
        {
            return false;
        }
        let mut lost = Vec::new();
        let mut changed = Vec::new();
        if is_all {
            let mut rows: HashMap<u16, Vec<Holder>> = slots.into_iter().collect();
            for slot in self.slots() {
                self.put(slot, epoch, rows.remove(&slot).unwrap_or_default(), &mut lost);
            }
        } else {
            for (slot, holders) in slots {
                self.put(slot, epoch, holders, &mut lost);
                changed.push(slot);
            }
            changed.sort_unstable();
            lost.sort_unstable();
        }
        Arc::make_mut(&mut self.table).epoch = Some(epoch);
        self.confirmed(sent);
        match members {
            Some(members) => {
                self.members = members;
                self.targets = targets;
                self.look_at_all(now, lost);
            }
            None => self.look_at(&changed, now, lost),
        }
        true
    }

    /// Takes what this member has changed itself, as the one of this incarnation.
    pub(super) fn changed(&mut self, incarnation: u64, slot: u16, epoch: u64, holders: Vec<Holder>, now: Instant) {
        if self.incarnation != Some(incarnation) {
            return;
        }
        let mut lost = Vec::new();
        self.put(slot, epoch, holders, &mut lost);
        if let Some(failure) = self.failures.get_mut(&slot)
            && self.table.slots[usize::from(slot)].holders.iter().any(|holder| holder.id == self.me)
        {
            failure.ready.get_or_insert(now);
        }
        self.look_at(&[slot], now, lost);
    }

    /// Notes that the program begins to give a slot up: that it is not held any more will be no news.
    pub(super) fn gives_up(&mut self, slot: u16) {
        self.giving_up.insert(slot);
    }

    /// Notes that the program has asked to give a slot up, and whether that was done.
    pub(super) fn has_given_up(&mut self, slot: u16, is_done: bool, now: Instant) {
        self.giving_up.remove(&slot);
        if is_done {
            self.look_at(&[slot], now, Vec::new());
        } else {
            self.failed(slot, now);
        }
    }

    /// Notes that the program could not do what it was told about a slot: it is told again later, and later each time.
    pub(super) fn failed(&mut self, slot: u16, now: Instant) {
        let first = self.settings.retry_pause;
        let failure = self.failures.entry(slot).or_insert(Setback { count: 0, pause: first, until: now, ready: None });
        // It was served for longer than the last pause: the next failure is a first one.
        if failure.ready.take().is_some_and(|ready| now.duration_since(ready) > failure.pause) {
            failure.count = 0;
        }
        failure.pause = first * 2_u32.pow(failure.count.min(MOST_DOUBLINGS));
        failure.count += 1;
        failure.until = now + failure.pause;
        self.told[usize::from(slot)] = Notice::Nothing;
    }

    /// Notes that this member was removed: it holds nothing, and has to join again.
    pub(super) fn removed(&mut self) {
        let held = self.held();
        self.incarnation = None;
        let no_more: Vec<u16> = std::mem::take(&mut self.primaries).into_keys().collect();
        self.giving_up.clear();
        self.targets = None;
        self.told.fill(Notice::Nothing);
        let me = self.me.clone();
        let table = Arc::make_mut(&mut self.table);
        table.slots.iter_mut().for_each(|row| row.holders.retain(|holder| holder.id != me));
        self.forget_epoch();
        if !held.is_empty() {
            self.tell(Event::Lost(held));
        }
        if !no_more.is_empty() {
            self.tell(Event::Primaries { gained: Vec::new(), lost: no_more });
        }
    }

    /// Tells what time brings: pauses are over, the lease has run out.
    pub(super) fn tick(&mut self, now: Instant) {
        if now >= self.lease_end && !self.is_suspended {
            self.is_suspended = true;
            let lost: Vec<u16> = std::mem::take(&mut self.primaries).into_keys().collect();
            if !lost.is_empty() {
                self.tell(Event::Primaries { gained: Vec::new(), lost });
            }
        }
        let is_due =
            |slot: u16, failure: &Setback| failure.until <= now && self.told[usize::from(slot)] == Notice::Nothing;
        let due = self.failures.iter().filter(|&(&slot, failure)| is_due(slot, failure)).map(|(&slot, _)| slot);
        let mut due: Vec<u16> = due.collect();
        due.sort_unstable();
        self.look_at(&due, now, Vec::new());
    }

    /// Returns when [`tick`](Self::tick) has something to tell.
    pub(super) fn next_tick(&self, now: Instant) -> Option<Instant> {
        let pauses = self.failures.values().map(|failure| failure.until).filter(|&until| until > now);
        let lease = (!self.is_suspended).then_some(self.lease_end);
        pauses.chain(lease).min()
    }

    /// Ends the events.
    pub(super) fn close(&mut self) {
        self.primaries.clear();
        self.incarnation = None;
        self.events = None;
    }

    fn slots(&self) -> std::ops::Range<u16> {
        0..self.settings.slots.slots()
    }

    fn is_target(&self, slot: u16) -> Option<bool> {
        self.targets.as_ref().map(|targets| targets[usize::from(slot)])
    }

    fn row(&self, slot: u16) -> &Row {
        &self.table.slots[usize::from(slot)]
    }

    fn holds(&self, slot: u16) -> bool {
        self.row(slot).holders.iter().any(|holder| holder.id == self.me)
    }

    /// Returns how many others hold a slot who mean to stay.
    fn others(&self, slot: u16) -> usize {
        let stays = |id: &str| self.members.get(id).is_some_and(|member| !member.is_leaving);
        self.row(slot).holders.iter().filter(|holder| holder.id != self.me && stays(&holder.id)).count()
    }

    /// Replaces the holders of a slot, unless later ones are known.
    fn put(&mut self, slot: u16, epoch: u64, holders: Vec<Holder>, lost: &mut Vec<u16>) {
        let Some(row) = self.table.slots.get(usize::from(slot)) else { return };
        if row.as_of > epoch {
            return;
        }
        let was_held = self.holds(slot);
        if self.row(slot).holders != holders {
            Arc::make_mut(&mut self.table).slots[usize::from(slot)].holders = holders;
        }
        Arc::make_mut(&mut self.table).slots[usize::from(slot)].as_of = epoch;
        if was_held && !self.holds(slot) && !self.giving_up.contains(&slot) {
            self.told[usize::from(slot)] = Notice::Nothing;
            lost.push(slot);
        }
    }

    fn look_at_all(&mut self, now: Instant, lost: Vec<u16>) {
        let all: Vec<u16> = self.slots().collect();
        self.look_at(&all, now, lost);
    }

    /// Tells what follows from the state of these slots.
    fn look_at(&mut self, slots: &[u16], now: Instant, lost: Vec<u16>) {
        if !lost.is_empty() {
            self.tell(Event::Lost(lost));
        }
        let (mut gained, mut no_more, mut missing, mut redundant) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for &slot in slots {
            let first = self.row(slot).holders.first().filter(|first| first.id == self.me);
            let token = first.filter(|_| self.incarnation.is_some() && !self.is_suspended).map(|first| first.token);
            match token {
                Some(token) if self.primaries.insert(slot, token) != Some(token) => gained.push((slot, token)),
                None if self.primaries.remove(&slot).is_some() => no_more.push(slot),
                _ => {}
            }
            let wish = self.wish(slot, now);
            let told = std::mem::replace(&mut self.told[usize::from(slot)], wish);
            match wish {
                Notice::Missing if told != wish => missing.push(slot),
                Notice::Redundant if told != wish => redundant.push(slot),
                _ => {}
            }
        }
        if !gained.is_empty() || !no_more.is_empty() {
            self.tell(Event::Primaries { gained, lost: no_more });
        }
        if !missing.is_empty() {
            self.tell(Event::Missing(missing));
        }
        if !redundant.is_empty() {
            self.tell(Event::Redundant(redundant));
        }
    }

    /// Returns what the program has to do about a slot.
    fn wish(&self, slot: u16, now: Instant) -> Notice {
        let is_paused = || self.failures.get(&slot).is_some_and(|failure| failure.until > now);
        match (self.is_target(slot), self.holds(slot)) {
            (Some(true), false) if !is_paused() => Notice::Missing,
            (Some(false), true) if self.others(slot) >= self.settings.copies && !is_paused() => Notice::Redundant,
            _ => Notice::Nothing,
        }
    }

    fn tell(&self, event: Event) {
        // A program that has dropped the receiver does not want to know.
        let _ = self.events.as_ref().map(|events| events.send(event));
    }
}
