//! [`Driver`]: asks the shares of a flow for their reports until all have ended, and collects what they say.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::execution::Execution;
use super::failures::KeyFailures;
use super::messages::{LeafEnd, LeafFailure, NextReport, Report, StepsTook};
use super::records::Records;
use super::share::{FlowFacts, Share};
use super::slots::each;
use super::spec::{FlowAnswer, FlowSpec};
use crate::combine::{AnyCombine, AnyPartial};
use crate::error::Error;

/// The time after which a leaf answers with its progress alone, and hears whether the flow has ended.
const WAIT_MS: u64 = 40;

/// The time that shares have to come to their end when the flow has failed.
const GRACE: Duration = Duration::from_millis(90);

/// The same time for shares of code, which may have something to say before it ends.
const GRACE_OF_CODE: Duration = Duration::from_millis(1200);

/// The time between two looks whether a node waits for others.
const IDLE_CHECK: Duration = Duration::from_millis(50);

/// The number of places that each share has for its records: enough that no two records have the same place.
const PLACES: u32 = 1 << 24;

/// Asks for reports, and collects them.
pub(super) struct Driver<'a> {
    spec: &'a FlowSpec,
    until: Option<Instant>,
    execution: Arc<Execution>,
    collected: Mutex<Collected>,
    /// Says that the first stage has ended on all shares that there are.
    read: Notify,
    /// The number of stages behind the first one that get no more records.
    closed: watch::Sender<u32>,
    /// The number of shares that have been driven, and of those that have got places.
    driven: usize,
    placed: u32,
}

/// A failure of a share.
struct Failed {
    error: Error,
    /// The failure follows from the failure of another share.
    is_consequence: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, is_consequence: false }
    }
}

/// The reports of the shares, put together.
struct Collected {
    reduced: Option<Box<dyn AnyPartial>>,
    records: Records,
    failures: KeyFailures,
    errors: Vec<Bytes>,
    took: Vec<StepsTook>,
    /// The flow has failed: what code says that is told to end for that is no error of its own.
    has_failed: bool,
    open: Open,
    limit: Option<u64>,
    /// The first stage of no share gets more records.
    is_settled: bool,
    /// The number of stages that have handed on all of their records, for each share that runs.
    stages_ended: BTreeMap<usize, u32>,
    /// The shares that run in this process.
    here: HashSet<usize>,
    /// The moment when a share last had something to say.
    heard: Instant,
    has_idled: bool,
}

impl Collected {
    /// Returns how many stages have handed on all of their records everywhere.
    fn closed(&self) -> u32 {
        if self.is_settled { self.ended_everywhere() } else { 0 }
    }

    fn ended_everywhere(&self) -> u32 {
        self.stages_ended.values().copied().min().unwrap_or(0)
    }

    /// Tells whether a node waits for others: its share has done its part of a stage, or there is nothing to be done here.
    fn is_waiting(&self) -> bool {
        let closed = self.closed();
        let mut here = self.here.iter().filter_map(|number| self.stages_ended.get(number));
        let mut elsewhere = self.stages_ended.iter().filter(|(number, _)| !self.here.contains(number));
        here.all(|ended| *ended > closed) || elsewhere.any(|(_, ended)| *ended > closed)
    }
}

/// The part of their work that shares could not do.
#[derive(Default)]
pub(super) struct Open {
    /// Slots of which no key was read.
    pub(super) unread: Vec<u16>,
    /// Slots that changed hands meanwhile, with the hashes of the keys that were read.
    pub(super) unsettled: BTreeMap<u16, HashSet<u128>>,
    /// Records that wait for a step on another node.
    pub(super) elsewhere: BTreeMap<u32, Records>,
}

impl Collected {
    /// Returns the memory that it takes, in bytes, more or less.
    fn memory(&self) -> usize {
        let waiting: usize = self.open.elsewhere.values().map(Records::byte_len).sum();
        let reduced = self.reduced.as_ref().map_or(0, |reduced| reduced.memory());
        let errors: usize = self.errors.iter().map(|error| error.len() + size_of::<Bytes>()).sum();
        self.records.byte_len() + waiting + reduced + errors
    }
}

impl<'a> Driver<'a> {
    pub(super) fn new(spec: &'a FlowSpec, until: Option<Instant>, execution: Arc<Execution>) -> Self {
        let collected = Collected {
            reduced: spec.combine.clone().map(AnyCombine::open),
            records: Records::new(),
            failures: KeyFailures::default(),
            errors: Vec::new(),
            took: Vec::new(),
            has_failed: false,
            open: Open::default(),
            limit: spec.plan.limit(),
            is_settled: true,
            stages_ended: BTreeMap::new(),
            here: HashSet::new(),
            heard: Instant::now(),
            has_idled: false,
        };
        let (read, closed) = (Notify::new(), watch::Sender::new(0));
        Self { spec, until, execution, collected: Mutex::new(collected), read, closed, driven: 0, placed: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many records may yet pass the limit; [`None`] if there is none.
    pub(super) fn limit_left(&self) -> Option<u64> {
        self.lock().limit
    }

    /// Returns the place of the first record of the next share.
    pub(super) fn next_first_place(&mut self) -> u32 {
        let first = self.placed.wrapping_mul(PLACES);
        self.placed += 1;
        first
    }

    /// Takes what shares could not do.
    pub(super) fn take_open(&self) -> Open {
        std::mem::take(&mut self.lock().open)
    }

    /// Asks the shares until all have ended. When one fails, or time is up, all others are ended.
    ///
    /// # Errors
    /// The first failure.
    pub(super) async fn drive(&mut self, shares: Vec<Share>) -> Result<(), Error> {
        self.drive_with(shares, |_| Ok(Vec::new())).await
    }

    /// Drives the shares, and has others do the work that they leave open: once the first stage has ended on all of
    /// them, and before the second one is told so, `settle` begins shares that do it, or none if there is nothing to be
    /// done.
    ///
    /// # Errors
    /// As [`drive`](Self::drive); those of `settle`.
    pub(super) async fn drive_settling(
        &mut self,
        shares: Vec<Share>,
        settle: impl FnMut(Open) -> Result<Vec<Share>, Error>,
    ) -> Result<(), Error> {
        self.lock().is_settled = false;
        self.drive_with(shares, settle).await
    }

    async fn drive_with(
        &mut self,
        shares: Vec<Share>,
        mut settle: impl FnMut(Open) -> Result<Vec<Share>, Error>,
    ) -> Result<(), Error> {
        let first = self.driven;
        self.driven += shares.len();
        let mut late = 0;
        let this = &*self;
        let (stop, _) = watch::channel(false);
        let mut open: BTreeMap<usize, String> =
            (first..).zip(shares.iter().map(|share| share.name().to_owned())).collect();
        let mut asked = open.len();
        this.closed.send_replace(0);
        {
            let mut collected = this.lock();
            collected.stages_ended = open.keys().map(|number| (*number, 0)).collect();
            collected.here = (first..).zip(&shares).filter(|(_, share)| share.is_here()).map(|(at, _)| at).collect();
            collected.heard = Instant::now();
        }
        let drive_one = |number, share| this.drive_one(number, share, stop.subscribe());
        let mut driven: FuturesUnordered<_> =
            (first..).zip(shares).map(|(number, share)| drive_one(number, share)).collect();
        let mut failure: Option<(Failed, Instant)> = None;
        loop {
            let is_running = failure.is_none();
            let is_settling = is_running && !this.lock().is_settled;
            let over = tokio::select! {
                ended = driven.next() => match ended {
                    None if !is_settling => break,
                    None => None,
                    Some((number, Ok(()))) => {
                        open.remove(&number);
                        continue;
                    }
                    Some((_, Err(failed))) => Some(failed),
                },
                () = this.read.notified(), if is_settling => None,
                () = this.time_is_up(), if is_running => Some(this.timeout(this.spec.timeout, asked, &open).into()),
                idle = this.has_idled(), if is_running => Some(this.timeout(Some(idle), asked, &open).into()),
                () = this.execution.cancelled(), if is_running => {
                    Some(Error::Cancelled { outcome_unknown: this.may_write() }.into())
                }
                () = until(failure.as_ref().map(|(_, since)| *since + this.grace())) => break,
            };
            let over = match over {
                Some(over) => over,
                None => match settle(this.take_open()) {
                    Ok(shares) => {
                        let closed = {
                            let mut collected = this.lock();
                            collected.is_settled = shares.is_empty();
                            collected.closed()
                        };
                        this.closed.send_replace(closed);
                        for share in shares {
                            let number = first + asked;
                            (asked, late) = (asked + 1, late + 1);
                            let mut collected = this.lock();
                            collected.stages_ended.insert(number, 0);
                            collected.here.extend(share.is_here().then_some(number));
                            drop(collected);
                            open.insert(number, share.name().to_owned());
                            driven.push(drive_one(number, share));
                        }
                        continue;
                    }
                    Err(error) => error.into(),
                },
            };
            match &mut failure {
                None => {
                    let is_late = over.error.is_timeout() && this.until.is_some_and(|until| Instant::now() >= until);
                    let over = if is_late { this.timeout(this.spec.timeout, asked, &open).into() } else { over };
                    this.lock().has_failed = !matches!(over.error, Error::Cancelled { .. });
                    failure = Some((over, Instant::now()));
                    stop.send_replace(true);
                }
                // The node whose fault it was may be heard of later.
                Some((first, _))
                    if first.is_consequence
                        && !over.is_consequence
                        && !matches!(over.error, Error::Cancelled { .. }) =>
                {
                    *first = over;
                }
                Some(_) => {}
            }
        }
        drop(driven);
        let counts_keys = failure.as_ref().is_some_and(|(failed, _)| this.counts_keys(&failed.error));
        let done = this.execution.keys_done();
        self.driven += late;
        match failure {
            None => Ok(()),
            Some((failed, _)) if counts_keys => Err(Error::Stopped { cause: Box::new(failed.error), done }),
            Some((failed, _)) => Err(failed.error),
        }
    }

    /// Asks one share until it has ended.
    async fn drive_one(
        &self,
        number: usize,
        mut share: Share,
        stop: watch::Receiver<bool>,
    ) -> (usize, Result<(), Failed>) {
        let mut heard = self.closed.subscribe();
        let mut wait_ms = 1;
        loop {
            let cancels = *stop.borrow();
            let closed = *heard.borrow_and_update();
            // A share that has done its part of a stage waits for the word that all have. Where it can be told only when it
            // asks again that is soon, and less so the longer it takes.
            let is_waiting = self.lock().stages_ended.get(&number).is_some_and(|ended| *ended > closed);
            wait_ms = if is_waiting { (wait_ms * 2).min(WAIT_MS) } else { 1 };
            let is_here = share.is_here();
            let asks_ms = if is_waiting && !is_here { wait_ms } else { WAIT_MS };
            let next = share.next(NextReport { wait_ms: asks_ms, cancels, closed });
            let report = if is_here {
                tokio::select! {
                    report = next => report,
                    Ok(()) = heard.changed() => continue,
                }
            } else {
                next.await
            };
            match report.map_err(Failed::from).and_then(|report| self.collect(number, &share, report)) {
                Ok(false) => {}
                Ok(true) => return (number, Ok(())),
                Err(failed) => return (number, Err(failed)),
            }
        }
    }

    /// Takes a report. Returns whether it was the share's last one.
    fn collect(&self, number: usize, share: &Share, report: Report) -> Result<bool, Failed> {
        let mut collected = self.lock();
        let collected = &mut *collected;
        let mut progress = report.progress;
        collected.records.append(&report.records);
        collected.failures.merge(report.failures);
        let errors = if collected.has_failed { Vec::new() } else { report.errors };
        collected.errors.extend(errors.into_iter().map(|error| Bytes::from(error.into_vec())));
        if !report.took.is_empty() || report.read > 0 {
            let node = share.node().map(str::to_owned);
            collected.took.push(StepsTook { node, steps: report.took, read: report.read });
        }
        collected.open.unread.extend(each(&report.unread));
        for (slot, hashes) in report.unsettled {
            collected.open.unsettled.entry(slot).or_default().extend(hashes);
        }
        for (step, records) in report.elsewhere {
            collected.open.elsewhere.entry(step).or_default().append(&records);
        }
        if let Some(LeafEnd::Done { reduced }) = &report.end {
            if let (Some(so_far), Some(reduced)) = (&mut collected.reduced, reduced) {
                let damaged = |error| Error::BadReply {
                    node: share.name().to_owned(),
                    why: format!("has sent a partial result that cannot be read: {error}"),
                };
                so_far.combine_encoded(reduced).map_err(damaged)?;
            }
            collected.limit = collected.limit.map(|left| left.saturating_sub(progress.limited));
            // The slots that it has not read are another share's now.
            progress.slots = progress.slots_read;
        }
        if collected.memory() as u64 > self.spec.memory {
            return Err(Error::FlowMemory { limit: self.spec.memory, node: "this node".into() }.into());
        }
        match report.end {
            Some(_) => collected.stages_ended.remove(&number),
            None => collected.stages_ended.insert(number, progress.stages_ended),
        };
        self.closed.send_if_modified(|closed| std::mem::replace(closed, collected.closed()) != *closed);
        if !collected.is_settled && collected.ended_everywhere() > 0 {
            self.read.notify_one();
        }
        let is_further = self.execution.set_share(number, progress);
        if is_further || report.end.is_some() || !report.records.is_empty() {
            collected.heard = Instant::now();
        }
        match report.end {
            None => Ok(false),
            Some(LeafEnd::Done { .. }) => Ok(true),
            Some(LeafEnd::Failed(failure)) => {
                let reducer = self.spec.combine.as_ref().map_or("LIST", |combine| combine.name());
                let facts = FlowFacts { memory: self.spec.memory, reducer, may_write: self.may_write() };
                let is_consequence = failure == LeafFailure::NotTaken;
                Err(Failed { error: share.error(failure, facts), is_consequence })
            }
        }
    }

    /// Makes the answer.
    pub(super) fn finish(self) -> FlowAnswer {
        let Collected { reduced, records, failures, errors, took, has_idled, .. } =
            self.collected.into_inner().unwrap_or_else(PoisonError::into_inner);
        FlowAnswer { reduced, records, failures, errors, took, has_idled, error: None }
    }

    fn may_write(&self) -> bool {
        !self.spec.plan.only_reads()
    }

    /// Tells whether it matters how many keys were done before this error.
    fn counts_keys(&self, error: &Error) -> bool {
        let is_of_key = matches!(error, Error::Shard { key: Some(_), .. });
        is_of_key || (self.may_write() && self.spec.plan.code.is_none())
    }

    async fn time_is_up(&self) {
        until(self.until).await;
    }

    /// Waits until some node has waited for others for as long as it may, and none has got further. Returns how long that was.
    async fn has_idled(&self) -> Duration {
        let Some(most) = self.spec.idle else { return std::future::pending().await };
        loop {
            tokio::time::sleep(IDLE_CHECK.min(most)).await;
            let mut collected = self.lock();
            if !collected.is_waiting() {
                collected.heard = Instant::now();
            } else if collected.heard.elapsed() >= most {
                collected.has_idled = true;
                return most;
            }
        }
    }

    fn grace(&self) -> Duration {
        if self.spec.plan.code.is_some() { GRACE_OF_CODE } else { GRACE }
    }

    fn timeout(&self, most: Option<Duration>, asked: usize, open: &BTreeMap<usize, String>) -> Error {
        let names: Vec<&str> = open.values().map(String::as_str).collect();
        Error::Timeout {
            timeout_ms: most.unwrap_or_default().as_millis() as u64,
            answered: asked - open.len(),
            asked,
            waiting_on: names.join(", "),
            outcome_unknown: self.may_write(),
        }
    }
}

/// Waits for a moment, which may never come.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
