//! Sending the shares of a request and gathering what comes back, up to the deadline.
//!
//! Maps and fan-outs differ in how they find nodes, and in where they go when a node does not serve them. Their common
//! parts stand here: units of work, one batch for each node, retries, and the outcome of each unit.

mod ahead;
mod doubts;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::apart::Claim;
use super::deliveries::Deliveries;
use super::doubt::{Doubt, is_of_rmr};
use super::options::Options;
use super::outcomes::{Gathered, Outcomes};
use super::place::slot_of;
use super::redirect::{Verdict, judge, node_error};
use super::replies::ShardReply;
use super::request::Request;
use super::retry::{Allowed, Next, Onward, SHORTEST_TRY, Tries};
use super::route::{Destination, NodeShare, Route, Via, join, plan, plan_one};
use super::settle::TRANSIT;
use super::snapshot::Snapshot;
use super::stats::Stats;
use crate::command::{CommandRef, CommandSet, printable};
use crate::describe::special::may_run_code;
use crate::error::Error;
use crate::link::{Batch, Delivery, Failure, Mode, leave_event_loop_if_long};
use crate::peer::Reduction;
use crate::reply::Reply;
use crate::resp::ServerErrorKind;
use crate::topology::{Address, Node};

/// A step of a request under way.
pub(super) struct Exchange<'a, R> {
    request: &'a Request,
    route: R,
    commands: Arc<CommandSet>,
    options: &'a Options,
    outcomes: Outcomes,
    /// The attempts so far for the units that did not succeed at once.
    tries: BTreeMap<u32, Tries>,
    /// Units for which the last topology has shown no way, and the next one may.
    unrouted: Vec<(u32, Next)>,
}

impl<'a, R: Route> Exchange<'a, R> {
    pub(super) fn new(
        request: &'a Request,
        route: R,
        commands: CommandSet,
        outcomes: Outcomes,
        options: &'a Options,
    ) -> Self {
        Self::of_shared(request, route, Arc::new(commands), outcomes, options)
    }

    /// Makes an exchange of commands that others have too.
    pub(super) fn of_shared(
        request: &'a Request,
        route: R,
        commands: Arc<CommandSet>,
        outcomes: Outcomes,
        options: &'a Options,
    ) -> Self {
        let (tries, unrouted) = (BTreeMap::new(), Vec::new());
        Self { request, route, commands, options, outcomes, tries, unrouted }
    }

    /// Does it all. Returns one entry a unit, or what the replies come to and the failures. Errors only where the whole
    /// step cannot be done.
    pub(super) async fn run(self, snapshot: Arc<Snapshot>) -> Result<Gathered, Error> {
        self.complete(snapshot).await?.finish()
    }

    /// Does it all, and returns the outcomes as they stand.
    pub(super) async fn complete(mut self, mut snapshot: Arc<Snapshot>) -> Result<Outcomes, Error> {
        let mut shares = self
            .request
            .retry_while_unsettled(&mut snapshot, |snapshot| {
                plan(&self.request.engine, &self.route, &self.commands, self.outcomes.len(), snapshot)
            })
            .await?;
        self.check_reach(&shares)?;
        if let Some((destination, units, write)) = self.local_write(&shares) {
            // Apart from this future, which all requests pay for.
            Box::pin(self.ask_ahead(&snapshot, destination, units, write)).await?;
        }
        loop {
            let mut round = self.send(&snapshot, shares).await;
            if let Some(late) = round.late {
                self.give_up(late, Late::Sent);
                self.give_up_untried(round.open);
                break;
            }
            round.open.append(&mut self.unrouted);
            if round.open.is_empty() {
                break;
            }
            // Apart, since few requests need it, and all would carry its state.
            shares = match Box::pin(self.retry(&mut snapshot, round.open)).await {
                Some(shares) => shares,
                None => break,
            };
        }
        self.finish()
    }

    /// Lets the shares be sent if the caller may reach all their nodes, in the database that is selected.
    fn check_reach(&self, shares: &[NodeShare]) -> Result<(), Error> {
        if let Some((elsewhere, _)) = shares.iter().find(|(destination, _)| !destination.in_process) {
            self.request.may_leave(&elsewhere.node)?;
        }
        shares.iter().try_for_each(|(destination, _)| self.means_database(&destination.node))
    }

    /// Lets a node be asked if the database that the caller has selected leaves no doubt about which one is meant.
    fn means_database(&self, node: &Node) -> Result<(), Error> {
        match (self.request.selected_database(), node.database()) {
            (0, _) | (_, None) => Ok(()),
            (selected, Some(_)) => Err(Error::Refused(format!(
                "the list of nodes says which databases are meant, here {node}; database {selected} is selected, give SELECT 0"
            ))),
        }
    }

    fn command(&self, unit: u32) -> CommandRef<'_> {
        self.commands.at(self.route.command(unit) as usize)
    }

    fn stats(&self) -> &'a Stats {
        &self.request.engine.stats
    }

    /// Sends all shares, remote ones first so that they travel while the local one is served, and sorts what comes back
    /// until the deadline.
    async fn send(&mut self, snapshot: &Snapshot, mut shares: Vec<NodeShare>) -> Round {
        shares.sort_by_key(|(destination, _)| destination.in_process);
        if self.outcomes.combine().is_some_and(|combine| combine.needs_keys()) {
            shares.iter_mut().for_each(|(destination, units)| destination.reduces &= self.tell_keys(units));
        }
        let send = |index: usize, others: Option<Arc<AtomicUsize>>| {
            let (destination, units) = &shares[index];
            let sent = destination.link.send(Batch { others, ..self.batch(destination, units) });
            async move { (index, sent.await) }
        };
        let has_own_apart = self.outcomes.are_apart() && shares.last().is_some_and(|(last, _)| last.in_process);
        let others = shares.len() - usize::from(has_own_apart);
        let mut deliveries = Deliveries::of((0..others).map(|index| send(index, None)));
        if has_own_apart {
            let left = Arc::new(AtomicUsize::new(others));
            deliveries = deliveries.and_own(send(others, Some(left.clone())), left);
        }

        let mut round = Round::default();
        let mut is_answered = vec![false; shares.len()];
        let deadline = self.request.deadline;
        let time_is_up = deadline.passed();
        tokio::pin!(time_is_up);
        let (protocol, mut has_looked) = (self.request.protocol(), false);
        loop {
            let delivery = tokio::select! {
                biased;
                delivery = poll_fn(|context| deliveries.poll_next(context)) => delivery,
                () = &mut time_is_up, if !has_looked => {
                    // Links are read by the main thread, which may have been busy.
                    let late = shares.iter().zip(&is_answered).filter(|&(_, &is_answered)| !is_answered);
                    late.for_each(|((destination, _), _)| destination.link.drain_ready(protocol));
                    has_looked = true;
                    continue;
                }
                () = std::future::ready(()), if has_looked => break,
            };
            let Some((index, delivery)) = delivery else { return round };
            leave_event_loop_if_long(&self.request.budget).await;
            is_answered[index] = true;
            let (destination, units) = &shares[index];
            self.sort(snapshot, destination, units, delivery, &mut round.open);
        }
        let mut is_answered = is_answered.into_iter();
        shares.retain(|_| !is_answered.next().unwrap_or(false));
        drop(deliveries);
        shares.iter().for_each(|(destination, _)| destination.link.on_timeout(protocol));
        round.late = Some(shares);
        round
    }

    /// Builds what one node gets.
    fn batch(&self, destination: &Destination, units: &[u32]) -> Batch {
        let selected = self.request.selected_database();
        Batch {
            commands: self.commands.clone(),
            picks: units.iter().map(|&unit| self.route.command(unit)).collect(),
            mode: destination.mode,
            protocol: self.request.protocol(),
            database: destination.node.database().map_or(selected, |listed| listed as i32),
            caller: self.request.caller(),
            budget: self.request.budget.clone(),
            reduction: self.reduction(destination, units),
            reads: self.request.reads(),
            asks_own_slots: matches!(self.outcomes, Outcomes::Apart(_)),
            others: None,
        }
    }

    /// Tells whether a node sees the keys of units in their commands.
    fn tell_keys(&self, units: &[u32]) -> bool {
        self.outcomes.have_keys() && units.iter().all(|&unit| self.command(unit).around_key().is_some())
    }

    /// Builds what a node is to make of its share.
    fn reduction(&self, destination: &Destination, units: &[u32]) -> Option<Reduction> {
        let combine = self.outcomes.combine().filter(|_| destination.reduces)?.clone();
        self.stats().inner.fetch_add(u64::from(!destination.in_process), Relaxed);
        let places = if combine.needs_places() { units.to_vec() } else { Vec::new() };
        Some(Reduction { combine, places, time_left: self.request.time_left() })
    }

    /// Sorts one node's delivery: outcomes are kept, the rest goes into `open`.
    fn sort(
        &mut self,
        snapshot: &Snapshot,
        destination: &Destination,
        units: &[u32],
        delivery: Delivery,
        open: &mut Vec<(u32, Next)>,
    ) {
        let claim = self.outcomes.are_apart().then(|| Claim::of(&delivery));
        if let Some(partial) = delivery.partial {
            let refused = self.outcomes.put_partial(&destination.node, units, partial);
            self.outcomes.put_claim(units, claim);
            for (unit, message) in refused {
                open.extend(self.refused(snapshot, destination, unit, message).map(|next| (unit, next)));
            }
            return;
        }
        if matches!(delivery.failure, Some(Failure::Declined)) {
            self.stats().inner_declined.fetch_add(1, Relaxed);
            open.extend(units.iter().map(|&unit| (unit, Next::To(destination.unreduced()))));
            return;
        }
        let mut left = units.iter().copied();
        for (reply, unit) in delivery.replies.into_iter().zip(&mut left) {
            match reply {
                Reply::Error(message) => {
                    open.extend(self.refused(snapshot, destination, unit, message).map(|next| (unit, next)));
                }
                reply => self.outcomes.put_reply(unit, &destination.node, reply),
            }
        }
        self.outcomes.put_claim(units, claim);
        for unit in left {
            let failure = delivery.failure.clone().unwrap_or_else(|| Failure::Lost("the node sent too little".into()));
            open.extend(self.failed(destination, unit, failure).map(|next| (unit, next)));
        }
    }

    /// Takes an error that a node has answered with: an outcome, or a reason to go elsewhere.
    fn refused(&mut self, snapshot: &Snapshot, at: &Destination, unit: u32, message: bytes::Bytes) -> Option<Next> {
        let command = self.command(unit);
        let verdict = judge(&message, at.node.address.host(), slot_of(&snapshot.topology, command));
        let key = command.routing_key().map(printable);
        let is_certain = !may_run_code(command) || is_of_rmr(&message);
        let error = outcome(at, Err(Error::Shard { node: at.node.to_string(), message: message.clone().into(), key }));
        if !self.options.on_failure.retries() {
            self.outcomes.put(unit, error);
            return None;
        }
        if is_certain || matches!(verdict, Verdict::Final | Verdict::Elsewhere) {
            return self.onward(snapshot, at, unit, &verdict, &message, error);
        }
        if at.in_process || at.reduces {
            // In process a server does not refuse in words.
            self.outcomes.put(unit, error);
            return None;
        }
        Some(Next::Doubt(Box::new(Doubt { at: at.clone(), error })))
    }

    /// Finds out where a unit goes after a refusal. `None`: that is its outcome.
    fn onward(
        &mut self,
        snapshot: &Snapshot,
        at: &Destination,
        unit: u32,
        verdict: &Verdict,
        message: &[u8],
        error: ShardReply,
    ) -> Option<Next> {
        let is_tryagain = ServerErrorKind::of(message) == ServerErrorKind::TryAgain;
        let waits = self.options.on_failure.waits_on_tryagain() || may_run_code(self.command(unit));
        let mut allowed = Allowed {
            redirects: self.route.follows_redirects(&snapshot.topology, unit),
            other_primary: self.route.follows_primary(&snapshot.topology, unit),
            // A command that may block has waited already, and would wait as long again.
            waiting: (waits || !is_tryagain) && self.route.via() != Via::Dedicated,
        };
        let tries = self.tries.entry(unit).or_default();
        allowed.waiting &= !tries.is_unserved_for_good(message);
        let onward = tries.after_refusal(verdict, at, &allowed);
        if matches!(verdict, Verdict::Moved(_)) || (onward.is_none() && *verdict != Verdict::Final) {
            self.request.engine.refresher.hint();
        }
        let Some(onward) = onward else {
            self.outcomes.put(unit, error);
            return None;
        };
        if *verdict != Verdict::Elsewhere {
            tries.last = Some(error);
        }
        self.count(verdict);
        Some(match onward {
            Onward::Follow(address, mode) => self.follow(snapshot, address, mode),
            Onward::OverSocket => Next::To(at.over_socket(&self.request.engine)),
            Onward::Unreduced => Next::To(at.unreduced()),
            Onward::Retry => Next::Retry,
        })
    }

    /// Counts a refusal that a unit goes on after.
    fn count(&self, verdict: &Verdict) {
        let stats = self.stats();
        let counter = match verdict {
            Verdict::Moved(_) => &stats.moved,
            Verdict::Ask(_) => &stats.ask,
            Verdict::Later | Verdict::Demoted => &stats.retries,
            Verdict::Final | Verdict::Elsewhere => return,
        };
        counter.fetch_add(1, Relaxed);
    }

    fn follow(&self, snapshot: &Snapshot, address: Address, mode: Mode) -> Next {
        match Destination::redirected(&self.request.engine, &self.route, snapshot, &address, mode) {
            Some(destination) => Next::To(destination),
            None => Next::Follow(address, mode),
        }
    }

    /// Takes a node that has not answered: a retry where that is sound, else an outcome.
    fn failed(&mut self, at: &Destination, unit: u32, failure: Failure) -> Option<Next> {
        // A wait that is begun anew may miss what came meanwhile: `XREAD BLOCK` with `$`.
        let was_waiting = matches!(failure, Failure::Lost(_)) && self.route.via() == Via::Dedicated;
        let (error, may_retry) = node_error(failure, &at.node, self.command(unit).is_read_only(), &self.request.budget);
        let tries = self.tries.entry(unit).or_default();
        if tries.after_failure() && may_retry && !was_waiting && self.options.on_failure.retries() {
            tries.last = Some(outcome(at, Err(error)));
            self.stats().retries.fetch_add(1, Relaxed);
            return Some(Next::Retry);
        }
        self.outcomes.put(unit, outcome(at, Err(error)));
        None
    }

    /// Finds new destinations for units that did not succeed, after a pause where one is due. `None` when nothing is left
    /// to be sent.
    async fn retry(&mut self, snapshot: &mut Arc<Snapshot>, open: Vec<(u32, Next)>) -> Option<Vec<NodeShare>> {
        let open = self.resolve(snapshot, open).await;
        let (mut shares, waiting) = self.part(open);
        self.drop_unreachable(&mut shares);
        if waiting.is_empty() {
            return Some(shares);
        }
        let deadline = self.request.deadline.at;
        let pause_ends = Instant::now() + waiting.pause;
        if !self.request.can_wait() || pause_ends + SHORTEST_TRY >= deadline {
            // Nothing can be waited for: what there is, is the outcome.
            self.settle(waiting.units());
            return Some(shares).filter(|shares| !shares.is_empty());
        }
        tokio::time::sleep_until(pause_ends).await;
        self.request.refreshed(snapshot).await;
        if Instant::now() + SHORTEST_TRY >= deadline {
            // A batch that is sent now is answered too late, and may run all the same.
            self.settle(waiting.units());
            self.give_up(shares, Late::Unsent);
            return None;
        }
        self.find_redirected(snapshot, waiting.following, &mut shares);
        // Apart from those that follow a redirect, which may go to the same node in another mode.
        shares.extend(self.place_anew(snapshot, waiting.anew));
        Some(shares)
    }

    /// Parts units that can go on at once from those that wait, and says how long these do.
    fn part(&mut self, open: Vec<(u32, Next)>) -> (Vec<NodeShare>, Postponed) {
        let (mut shares, mut waiting) = (Vec::new(), Postponed::default());
        for (unit, next) in open {
            if !matches!(next, Next::To(_)) {
                waiting.pause = waiting.pause.max(self.tries.entry(unit).or_default().next_pause());
            }
            match next {
                Next::To(destination) => join(&mut shares, destination, unit),
                Next::Follow(address, mode) => waiting.following.push((unit, address, mode)),
                Next::Retry => waiting.anew.push(unit),
                Next::Doubt(doubt) => self.outcomes.put(unit, doubt.error),
            }
        }
        (shares, waiting)
    }

    /// Ends the units of shares that may not be sent where they would have to go.
    fn drop_unreachable(&mut self, shares: &mut Vec<NodeShare>) {
        shares.retain(|(destination, units)| {
            let verdict = if destination.in_process { Ok(()) } else { self.request.may_leave(&destination.node) };
            if let Err(error) = &verdict {
                for &unit in units {
                    self.outcomes.put(unit, outcome(destination, Err(error.clone())));
                }
            }
            verdict.is_ok()
        });
    }

    /// Finds the nodes that redirects name and that were not known so far.
    fn find_redirected(
        &mut self,
        snapshot: &Snapshot,
        following: Vec<(u32, Address, Mode)>,
        shares: &mut Vec<NodeShare>,
    ) {
        for (unit, address, mode) in following {
            let destination = Destination::redirected(&self.request.engine, &self.route, snapshot, &address, mode);
            let tries = self.tries.entry(unit).or_default();
            match destination {
                Some(destination) => {
                    tries.unknown_since = None;
                    join(shares, destination, unit);
                }
                None if tries.unknown_since.get_or_insert_with(Instant::now).elapsed() < TRANSIT => {
                    self.unrouted.push((unit, Next::Follow(address, mode)));
                }
                None => self.settle([unit]),
            }
        }
    }

    /// Places units by a fresh topology.
    fn place_anew(&mut self, snapshot: &Snapshot, units: Vec<u32>) -> Vec<NodeShare> {
        let mut shares = Vec::new();
        for unit in units {
            match plan_one(&self.request.engine, &self.route, snapshot, unit, self.command(unit)) {
                Ok(destination) => join(&mut shares, destination, unit),
                Err(_) if snapshot.is_in_transit() => self.unrouted.push((unit, Next::Retry)),
                // No way by the new topology: what the unit was told before says more.
                Err(_) => self.settle([unit]),
            }
        }
        shares
    }

    /// Makes the last thing that units were told their outcome.
    fn settle(&mut self, units: impl IntoIterator<Item = u32>) {
        for unit in units {
            if let Some(last) = self.tries.get_mut(&unit).and_then(|tries| tries.last.take()) {
                self.outcomes.put(unit, last);
            }
        }
    }

    /// Ends all units of late shares: the deadline has passed. The error names the nodes that have not answered.
    fn give_up(&mut self, late: Vec<NodeShare>, how: Late) {
        let waiting_on: Vec<String> = late.iter().map(|(destination, _)| destination.node.to_string()).collect();
        let answered = self.outcomes.nodes();
        let answered = answered.iter().filter(|node| !late.iter().any(|(at, _)| Arc::ptr_eq(&at.node, node))).count();
        let timeout_ms = self.request.deadline.timeout.as_millis() as u64;
        let (asked, waiting_on) = (answered + late.len(), waiting_on.join(", "));
        for (destination, units) in late {
            for unit in units {
                let outcome_unknown = how == Late::Sent && !self.command(unit).is_read_only();
                let waiting_on = waiting_on.clone();
                let error = Error::Timeout { timeout_ms, answered, asked, waiting_on, outcome_unknown };
                self.outcomes.put(unit, outcome(&destination, Err(error)));
            }
        }
    }

    /// Ends the units that were about to be sent for the first time, or elsewhere, when the deadline passed; those that have
    /// been told something end in that.
    fn give_up_untried(&mut self, open: Vec<(u32, Next)>) {
        let (mut shares, _) = self.part(open);
        for (_, units) in &mut shares {
            units.retain(|unit| self.tries.get(unit).is_none_or(|tries| tries.last.is_none()));
        }
        shares.retain(|(_, units)| !units.is_empty());
        self.give_up(shares, Late::Unsent);
    }

    fn finish(mut self) -> Result<Outcomes, Error> {
        // Units that were waiting for another try when time ran out.
        self.settle(self.outcomes.open());
        self.stats().largest_replies.fetch_max(self.request.budget.used(), Relaxed);
        if let Some(failure) = self.outcomes.main_failure() {
            if self.options.partial {
                self.stats().partial.fetch_add(1, Relaxed);
            } else if self.options.on_failure.fails_request() {
                return Err(failure.clone());
            }
        }
        Ok(self.outcomes)
    }
}

/// Tells whether the shares that are too late have left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Late {
    Sent,
    Unsent,
}

/// The part of a round that is not done.
#[derive(Default)]
struct Round {
    open: Vec<(u32, Next)>,
    /// Set when the deadline has passed: the shares that nobody answered by then.
    late: Option<Vec<NodeShare>>,
}

/// Units that wait for a fresh topology.
#[derive(Default)]
struct Postponed {
    following: Vec<(u32, Address, Mode)>,
    anew: Vec<u32>,
    pause: Duration,
}

impl Postponed {
    fn is_empty(&self) -> bool {
        self.following.is_empty() && self.anew.is_empty()
    }

    fn units(&self) -> Vec<u32> {
        self.following.iter().map(|(unit, ..)| *unit).chain(self.anew.iter().copied()).collect()
    }
}

fn outcome(at: &Destination, result: Result<Reply, Error>) -> ShardReply {
    ShardReply { node: at.node.clone(), result }
}
