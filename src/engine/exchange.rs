//! Sending the parts of a request and gathering what comes back, up to the deadline.
//!
//! Maps and fan-outs differ in how they find nodes, and in where they go when a node does not serve them. What they
//! share stands here: units of work, one batch for each node, retries, and the outcome of each unit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::outcomes::{Gathered, Outcomes};
use super::plan::{Destination, Part, Route, place, plan};
use super::redirect::{Verdict, judge};
use super::replies::ShardReply;
use super::view::View;
use super::way::TRANSIT;
use super::{Deadline, Engine, Options, Scope};
use crate::command::printable;
use crate::command::{CommandRef, CommandSet};
use crate::error::Error;
use crate::link::{Batch, Budget, Delivery, Failure, Mode, leave_event_loop_if_long};
use crate::peer::Reduction;
use crate::reply::Reply;
use crate::resp::ServerErrorKind;
use crate::shard::key_slot;
use crate::topology::{Address, Node};

/// How many redirects of one unit are followed at once: twice what a sound cluster ever needs.
const QUICK_REDIRECTS: u8 = 6;

/// How often one unit may be sent elsewhere by redirects in all; after the quick ones it waits for a fresh topology.
const MOST_REDIRECTS: u8 = 16;

/// How often one unit is tried when its node cannot be reached, or is lost before a read was answered.
const MOST_FAILURES: u8 = 3;

/// The pause before a unit is tried again, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// With less time left nothing is tried again.
const SHORTEST_TRY: Duration = Duration::from_millis(10);

/// A request under way.
pub(super) struct Exchange<'a, R> {
    engine: &'a Engine,
    route: R,
    commands: Arc<CommandSet>,
    deadline: Deadline,
    budget: Arc<Budget>,
    options: &'a Options,
    outcomes: Outcomes,
    /// What has been tried of the units that did not succeed at once.
    tries: BTreeMap<u32, Tries>,
    /// Units for which the last topology has shown no way, and the next one may.
    adrift: Vec<(u32, Next)>,
}

#[derive(Default)]
struct Tries {
    redirects: u8,
    failures: u8,
    pauses: u8,
    /// Since when the unit waits for the node that it was sent to to be known.
    stranded: Option<Instant>,
    /// What the unit ends in when time is up.
    last: Option<ShardReply>,
}

/// What to do about a unit that has no outcome yet.
enum Next {
    To(Destination),
    /// To a node that the topology does not know, if a fresh one does, after a pause.
    Follow(Address, Mode),
    /// Wherever it belongs by a fresh topology, after a pause.
    Again,
}

impl Next {
    fn follow(engine: &Engine, view: &View, address: &Address, mode: Mode) -> Self {
        match Destination::at(engine, view, address, mode) {
            Some(destination) => Next::To(destination),
            None => Next::Follow(address.clone(), mode),
        }
    }
}

impl<'a, R: Route> Exchange<'a, R> {
    pub(super) fn new(
        engine: &'a Engine,
        route: R,
        commands: CommandSet,
        outcomes: Outcomes,
        options: &'a Options,
    ) -> Self {
        let deadline = engine.scope.deadline.unwrap_or_else(|| Deadline::after(Duration::ZERO));
        let budget = engine.scope.budget.clone().unwrap_or_else(|| Arc::new(Budget::new(usize::MAX)));
        let (commands, tries) = (Arc::new(commands), BTreeMap::new());
        Self { engine, route, commands, deadline, budget, options, outcomes, tries, adrift: Vec::new() }
    }

    /// Does it all. Gives one entry a unit, or what the replies come to and the failures. Errors only where the whole
    /// request cannot be done.
    pub(super) async fn run(mut self, view: Arc<View>) -> Result<Gathered, Error> {
        let mut view = view;
        let mut parts = self
            .engine
            .way(&mut view, |view| plan(self.engine, &self.route, &self.commands, self.outcomes.len(), view))
            .await?;
        if let Some((elsewhere, _)) = parts.iter().find(|(destination, _)| !destination.in_process) {
            self.may_leave(elsewhere)?;
        }
        parts.iter().try_for_each(|(destination, _)| self.means_database(&destination.node))?;
        loop {
            let mut unanswered = self.send(&view, parts).await;
            if let Some(late) = unanswered.late {
                self.give_up(late, Late::Sent);
                break;
            }
            unanswered.again.append(&mut self.adrift);
            if unanswered.again.is_empty() {
                break;
            }
            parts = match self.again(&mut view, unanswered.again).await {
                Some(parts) => parts,
                None => break,
            };
        }
        self.finish()
    }

    /// Whether something may be sent to another process.
    fn may_leave(&self, to: &Destination) -> Result<(), Error> {
        self.engine.scope.may_leave(&to.node)
    }

    /// Whether the database that the caller has selected leaves no doubt about which one is meant.
    fn means_database(&self, node: &Node) -> Result<(), Error> {
        match (self.engine.scope.database, node.database()) {
            (0, _) | (_, None) => Ok(()),
            (selected, Some(_)) => Err(Error::Refused(format!(
                "the list of nodes says which databases are meant, here {node}; database {selected} is selected, give SELECT 0"
            ))),
        }
    }

    fn command(&self, unit: u32) -> CommandRef<'_> {
        self.commands.at(self.route.command(unit) as usize)
    }

    /// Sends all parts, remote ones first so that they travel while the local share is served.
    async fn send(&mut self, view: &View, mut parts: Vec<Part>) -> Unanswered {
        parts.sort_by_key(|(destination, _)| destination.in_process);
        let mut answers: FuturesUnordered<_> = parts
            .iter()
            .enumerate()
            .map(|(index, (destination, units))| {
                let picks = units.iter().map(|&unit| self.route.command(unit)).collect();
                let (commands, budget) = (self.commands.clone(), self.budget.clone());
                let Scope { database, protocol, .. } = self.engine.scope;
                let database = destination.node.database().map_or(database, |listed| listed as i32);
                let reduction = self.reduction(destination, units);
                let batch = Batch { commands, picks, mode: destination.mode, protocol, database, budget, reduction };
                let sent = destination.link.send(batch);
                async move { (index, sent.await) }
            })
            .collect();

        let mut unanswered = Unanswered::default();
        let mut is_answered = vec![false; parts.len()];
        let deadline = self.deadline;
        let time_is_up = deadline.passed();
        tokio::pin!(time_is_up);
        let (protocol, mut has_looked) = (self.engine.scope.protocol, false);
        loop {
            let answer = tokio::select! {
                biased;
                answer = answers.next() => answer,
                () = &mut time_is_up, if !has_looked => {
                    // Links are read by the main thread, which may have been busy.
                    let late = parts.iter().zip(&is_answered).filter(|&(_, &is_answered)| !is_answered);
                    late.for_each(|((destination, _), _)| destination.link.drain_ready(protocol));
                    has_looked = true;
                    continue;
                }
                () = std::future::ready(()), if has_looked => break,
            };
            let Some((index, delivery)) = answer else { return unanswered };
            leave_event_loop_if_long(&self.budget).await;
            is_answered[index] = true;
            let (destination, units) = &parts[index];
            self.sort(view, destination, units, delivery, &mut unanswered.again);
        }
        let mut is_answered = is_answered.into_iter();
        parts.retain(|_| !is_answered.next().unwrap_or(false));
        drop(answers);
        parts.iter().for_each(|(destination, _)| destination.link.on_timeout(protocol));
        unanswered.late = Some(parts);
        unanswered
    }

    /// What a node is to make of its share.
    fn reduction(&self, destination: &Destination, units: &[u32]) -> Option<Reduction> {
        let combine = self.outcomes.combine().filter(|_| destination.reduces)?.clone();
        self.engine.stats().inner.fetch_add(u64::from(!destination.in_process), Relaxed);
        let time_left = self.deadline.at.saturating_duration_since(Instant::now());
        let places = if combine.needs_places() { units.to_vec() } else { Vec::new() };
        Some(Reduction { combine, places, time_left })
    }

    /// Sorts one node's delivery: outcomes here, the rest into `again`.
    fn sort(
        &mut self,
        view: &View,
        destination: &Destination,
        units: &[u32],
        delivery: Delivery,
        again: &mut Vec<(u32, Next)>,
    ) {
        if let Some(partial) = delivery.partial {
            for (unit, message) in self.outcomes.put_partial(&destination.node, units, partial) {
                again.extend(self.refused(view, destination, unit, message).map(|next| (unit, next)));
            }
            return;
        }
        if matches!(delivery.failure, Some(Failure::Declined)) {
            self.engine.stats().inner_declined.fetch_add(1, Relaxed);
            again.extend(units.iter().map(|&unit| (unit, Next::To(destination.plain()))));
            return;
        }
        let mut units = units.iter().copied();
        for (reply, unit) in delivery.replies.into_iter().zip(&mut units) {
            match reply {
                Reply::Error(message) => {
                    if let Some(next) = self.refused(view, destination, unit, message) {
                        again.push((unit, next));
                    }
                }
                reply => self.outcomes.put_reply(unit, &destination.node, reply),
            }
        }
        for unit in units {
            let failure = delivery.failure.clone().unwrap_or_else(|| Failure::Lost("the node sent too little".into()));
            if let Some(next) = self.failed(destination, unit, failure) {
                again.push((unit, next));
            }
        }
    }

    /// A node has answered with an error: an outcome, or a reason to go elsewhere.
    fn refused(&mut self, view: &View, at: &Destination, unit: u32, message: bytes::Bytes) -> Option<Next> {
        let stats = self.engine.stats();
        let slot = self.command(unit).routing_key().map(key_slot);
        let verdict = judge(&message, at.node.address.host(), slot);
        let message_is_tryagain = ServerErrorKind::of(&message) == ServerErrorKind::TryAgain;
        let key = self.command(unit).routing_key().map(printable);
        let error = outcome(at, Err(Error::Shard { node: at.node.to_string(), message: message.into(), key }));
        let follows = self.route.follows_redirects(view, unit);
        let follows_primary = self.route.follows_primary(view, unit);
        let tries = self.tries.entry(unit).or_default();
        let next = match &verdict {
            _ if self.options.tries_once => {
                self.outcomes.put(unit, error);
                return None;
            }
            Verdict::Moved(address) if follows && tries.redirects < MOST_REDIRECTS => {
                stats.moved.fetch_add(1, Relaxed);
                tries.redirects += 1;
                self.engine.hint_change();
                // Nodes that go on sending to each other do not agree yet.
                match tries.redirects {
                    ..=QUICK_REDIRECTS => Next::follow(self.engine, view, address, Mode::Plain),
                    _ => Next::Again,
                }
            }
            Verdict::Ask(address) if follows && tries.redirects < MOST_REDIRECTS => {
                stats.ask.fetch_add(1, Relaxed);
                tries.redirects += 1;
                Next::follow(self.engine, view, address, Mode::Asking)
            }
            Verdict::Elsewhere if at.in_process => Next::To(at.over_socket(self.engine)),
            Verdict::Elsewhere if at.reduces => Next::To(at.plain()),
            Verdict::Demoted if follows_primary && tries.failures < MOST_FAILURES => {
                stats.retries.fetch_add(1, Relaxed);
                tries.failures += 1;
                Next::Again
            }
            Verdict::Later if !(self.options.hands_back_tryagain && message_is_tryagain) => {
                stats.retries.fetch_add(1, Relaxed);
                Next::Again
            }
            _ => {
                if verdict != Verdict::Final {
                    self.engine.hint_change();
                }
                self.outcomes.put(unit, error);
                return None;
            }
        };
        tries.last = Some(error);
        Some(next)
    }

    /// A node has not answered: a retry where that is sound, else an outcome.
    fn failed(&mut self, at: &Destination, unit: u32, failure: Failure) -> Option<Next> {
        let node_error = |cause, outcome_unknown| Error::Node { node: at.node.to_string(), cause, outcome_unknown };
        let is_read = self.command(unit).is_read_only();
        let (error, may_retry) = match failure {
            Failure::TooBig => (Error::TooBig { limit: self.budget.limit() }, false),
            Failure::Unreachable(cause) => (node_error(cause, false), true),
            Failure::Lost(cause) => (node_error(cause, !is_read), is_read),
            Failure::Declined => (node_error("it declined to reduce its share".into(), false), true),
        };
        let tries = self.tries.entry(unit).or_default();
        tries.failures += 1;
        if may_retry && !self.options.tries_once && tries.failures < MOST_FAILURES {
            self.engine.stats().retries.fetch_add(1, Relaxed);
            tries.last = Some(outcome(at, Err(error)));
            return Some(Next::Again);
        }
        self.outcomes.put(unit, outcome(at, Err(error)));
        None
    }

    /// Finds the way of units that did not succeed, after a pause where one is due. `None` when time is up.
    async fn again(&mut self, view: &mut Arc<View>, again: Vec<(u32, Next)>) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        let mut following = Vec::new();
        let mut waiting = Vec::new();
        let mut pause = Duration::ZERO;
        for (unit, next) in again {
            if !matches!(next, Next::To(_)) {
                let tries = self.tries.entry(unit).or_default();
                pause = pause.max(LONGEST_PAUSE.min(FIRST_PAUSE * (1 << tries.pauses.min(8))));
                tries.pauses = tries.pauses.saturating_add(1);
            }
            match next {
                Next::To(destination) => join(&mut parts, destination, unit),
                Next::Follow(address, mode) => following.push((unit, address, mode)),
                Next::Again => waiting.push(unit),
            }
        }
        parts.retain(|(destination, units)| {
            let verdict = self.may_leave(destination);
            if let Err(error) = &verdict {
                for &unit in units {
                    self.outcomes.put(unit, outcome(destination, Err(error.clone())));
                }
            }
            verdict.is_ok()
        });
        if self.engine.scope.in_process.is_some() {
            // Nothing can be waited for: what there is, is the outcome.
            self.settle(following.into_iter().map(|(unit, ..)| unit).chain(waiting));
            return None;
        }
        if waiting.is_empty() && following.is_empty() {
            return Some(parts);
        }
        let pause_ends = Instant::now() + pause;
        if pause_ends + SHORTEST_TRY >= self.deadline.at {
            self.settle(following.into_iter().map(|(unit, ..)| unit).chain(waiting));
            return Some(parts).filter(|parts| !parts.is_empty());
        }
        tokio::time::sleep_until(pause_ends.into()).await;
        self.engine.look_again(view).await;
        if Instant::now() + SHORTEST_TRY >= self.deadline.at {
            // What is sent now is answered too late, and may run all the same.
            self.settle(following.into_iter().map(|(unit, ..)| unit).chain(waiting));
            self.give_up(parts, Late::Unsent);
            return None;
        }
        for (unit, address, mode) in following {
            let tries = self.tries.entry(unit).or_default();
            match Destination::at(self.engine, view, &address, mode) {
                Some(destination) => {
                    tries.stranded = None;
                    join(&mut parts, destination, unit);
                }
                None if tries.stranded.get_or_insert_with(Instant::now).elapsed() < TRANSIT => {
                    self.adrift.push((unit, Next::Follow(address, mode)));
                }
                None => self.settle([unit]),
            }
        }
        // Apart from those that follow a redirect, which may go to the same node in another mode.
        let mut placed = Vec::new();
        for unit in waiting {
            match place(self.engine, &self.route, view, unit, self.command(unit)) {
                Ok(destination) => join(&mut placed, destination, unit),
                Err(_) if view.is_in_transit() => self.adrift.push((unit, Next::Again)),
                // No way by the new topology: what the unit was told before says more.
                Err(_) => self.settle([unit]),
            }
        }
        parts.extend(placed);
        Some(parts)
    }

    /// Makes the last thing that units were told their outcome.
    fn settle(&mut self, units: impl IntoIterator<Item = u32>) {
        for unit in units {
            if let Some(last) = self.tries.get_mut(&unit).and_then(|tries| tries.last.take()) {
                self.outcomes.put(unit, last);
            }
        }
    }

    /// The deadline has passed: names the nodes that have not answered.
    fn give_up(&mut self, late: Vec<Part>, how: Late) {
        let waiting_on: Vec<String> = late.iter().map(|(destination, _)| destination.node.to_string()).collect();
        let answered = self.outcomes.nodes();
        let answered = answered.iter().filter(|node| !late.iter().any(|(at, _)| Arc::ptr_eq(&at.node, node))).count();
        let (timeout_ms, asked) = (self.deadline.timeout.as_millis() as u64, answered + late.len());
        let waiting_on = waiting_on.join(", ");
        for (destination, units) in late {
            for unit in units {
                let outcome_unknown = how == Late::Sent && !self.command(unit).is_read_only();
                let waiting_on = waiting_on.clone();
                let error = Error::Timeout { timeout_ms, answered, asked, waiting_on, outcome_unknown };
                self.outcomes.put(unit, outcome(&destination, Err(error)));
            }
        }
    }

    fn finish(mut self) -> Result<Gathered, Error> {
        // Units that were waiting for another try when time ran out.
        self.settle(self.outcomes.open());
        self.engine.stats().largest_replies.fetch_max(self.budget.used(), Relaxed);
        if let Some(first) = self.outcomes.first_failure() {
            if self.options.partial {
                self.engine.stats().partial.fetch_add(1, Relaxed);
            } else if !self.options.keeps_failures {
                return Err(first.clone());
            }
        }
        self.outcomes.finish()
    }
}

/// Whether what came too late has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Late {
    Sent,
    Unsent,
}

/// What of a round is not done.
#[derive(Default)]
struct Unanswered {
    again: Vec<(u32, Next)>,
    /// Set when the deadline has passed: the parts that nobody answered by then.
    late: Option<Vec<Part>>,
}

fn outcome(at: &Destination, result: Result<Reply, Error>) -> ShardReply {
    ShardReply { node: at.node.clone(), result }
}

/// Puts a unit to the part of its destination.
fn join(parts: &mut Vec<Part>, destination: Destination, unit: u32) {
    match parts.iter_mut().find(|(known, _)| known.is_same(&destination)) {
        Some((_, units)) => units.push(unit),
        None => parts.push((destination, vec![unit])),
    }
}
