//! [`Outbox`]: what a leaf has for its coordinator, one batch at most. The leaf waits until that is taken.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_bytes::ByteBuf;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::left_open::LeftOpen;
use super::messages::{LeafEnd, LeafFailure, LeafProgress, NextReport, Report};
use super::records::Records;
use super::slots::ranges;
use super::work::StageWork;

/// The time that a leaf works on for a coordinator that asks for nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time that commands under way have when the leaf is cancelled.
const GRACE: Duration = Duration::from_millis(50);

/// Stands between a leaf's work and whoever asks for reports.
pub(super) struct Outbox {
    waiting: Mutex<Untaken>,
    /// Wakes whoever waits for a report.
    filled: Notify,
    /// Wakes the work that waits for its batch to be taken.
    taken: Notify,
    cancelled: watch::Sender<bool>,
    /// Somebody has asked for a report, so that all shares of the flow have begun.
    begun: watch::Sender<bool>,
}

/// The output that waits to be taken.
struct Untaken {
    report: Report,
    asked: Instant,
    /// Somebody waits for a report right now.
    is_asked: bool,
    /// The number of stages that had ended at the last report.
    stages_told: u32,
}

impl Outbox {
    pub(super) fn new(progress: LeafProgress) -> Self {
        let report = Report { progress, ..Report::default() };
        Self {
            waiting: Mutex::new(Untaken { report, asked: Instant::now(), is_asked: false, stages_told: 0 }),
            filled: Notify::new(),
            taken: Notify::new(),
            cancelled: watch::Sender::new(false),
            begun: watch::Sender::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Untaken> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes how far the work is on a stage, or on all of them, and what of it is no batch.
    pub(super) fn put_work(&self, work: &mut StageWork, stage: Option<usize>) {
        self.put_progress(&work.progress, stage);
        let report = &mut self.lock().report;
        report.elsewhere.append(&mut work.elsewhere);
        report.failures.merge(std::mem::take(&mut work.failures));
    }

    /// Takes errors that code has gone on from.
    pub(super) fn put_errors(&self, errors: Vec<Bytes>) {
        self.lock().report.errors.extend(errors.into_iter().map(|error| ByteBuf::from(Vec::from(error))));
    }

    /// Takes how long the steps of the code have taken.
    pub(super) fn put_took(&self, took: Vec<u64>) {
        if !took.is_empty() {
            self.lock().report.took = took;
        }
    }

    /// Takes how many nanoseconds were spent on reading.
    pub(super) fn put_read(&self, nanoseconds: u64) {
        let read = &mut self.lock().report.read;
        *read = read.saturating_add(nanoseconds);
    }

    /// Takes what was left open by what has read the keys.
    pub(super) fn put_open(&self, left: LeftOpen) {
        let report = &mut self.lock().report;
        report.unread.extend(ranges(left.unread));
        report.unsettled.extend(left.unsettled);
        if !left.elsewhere.is_empty() {
            report.elsewhere.push((0, left.elsewhere));
        }
    }

    /// Takes how far the work is on a stage, or on all of them.
    pub(super) fn put_progress(&self, done: &LeafProgress, stage: Option<usize>) {
        let mut waiting = self.lock();
        let report = &mut waiting.report;
        match stage {
            None => report.progress.clone_from(done),
            Some(stage) => {
                let stages_ended = report.progress.stages_ended;
                let (mut into, mut out) =
                    (std::mem::take(&mut report.progress.records_in), std::mem::take(&mut report.progress.records_out));
                into[stage] = done.records_in[stage];
                out[stage] = done.records_out[stage];
                if stage == 0 {
                    report.progress.clone_from(done);
                }
                let progress = &mut report.progress;
                (progress.records_in, progress.records_out, progress.stages_ended) = (into, out, stages_ended);
            }
        }
    }

    /// Says that so many stages have handed on all of their records.
    pub(super) fn put_stages_ended(&self, stages: usize) {
        let mut waiting = self.lock();
        let progress = &mut waiting.report.progress;
        progress.stages_ended = stages as u32;
        // With the last one comes the end of all.
        if stages < progress.records_in.len() {
            drop(waiting);
            self.filled.notify_one();
        }
    }

    /// Returns the memory that waits, in bytes.
    pub(super) fn memory(&self) -> u64 {
        let report = &self.lock().report;
        let elsewhere: usize = report.elsewhere.iter().map(|(_, records)| records.byte_len()).sum();
        let errors: usize = report.errors.iter().map(|error| error.len() + size_of::<ByteBuf>()).sum();
        (report.records.byte_len() + elsewhere + errors) as u64
    }

    /// Puts a batch in, once the one before has been taken. With `waits` it is reported with what follows at once, as the end.
    pub(super) async fn put_batch(&self, batch: Records, waits: bool) {
        loop {
            let taken = self.taken.notified();
            {
                let mut waiting = self.lock();
                if waiting.report.records.is_empty() {
                    waiting.report.records = batch;
                    break;
                }
            }
            taken.await;
        }
        if !waits {
            self.filled.notify_one();
        }
    }

    /// Says that nothing more comes.
    pub(super) fn put_end(&self, end: LeafEnd) {
        self.lock().report.end = Some(end);
        self.filled.notify_one();
    }

    /// Waits for a batch or the end, and returns it with all that was done meanwhile; the progress alone if neither comes in
    /// time.
    pub(super) async fn take(&self, NextReport { wait_ms, .. }: NextReport) -> Report {
        let until = Instant::now() + Duration::from_millis(wait_ms);
        self.lock().is_asked = true;
        self.begun.send_replace(true);
        loop {
            let filled = self.filled.notified();
            let is_ready = {
                let Untaken { report, stages_told, .. } = &*self.lock();
                let progress = &report.progress;
                let are_all = progress.stages_ended as usize >= progress.records_in.len();
                let is_news = progress.stages_ended > *stages_told && !are_all;
                report.end.is_some() || !report.records.is_empty() || is_news
            };
            if is_ready || tokio::time::timeout_at(until, filled).await.is_err() {
                break;
            }
        }
        let mut waiting = self.lock();
        (waiting.asked, waiting.is_asked) = (Instant::now(), false);
        let progress = waiting.report.progress.clone();
        waiting.stages_told = progress.stages_ended;
        // A leaf that has ended says so whenever it is asked.
        let end = waiting.report.end.clone();
        let report = std::mem::replace(&mut waiting.report, Report { progress, end, ..Report::default() });
        drop(waiting);
        self.taken.notify_one();
        report
    }

    /// Waits until the first report is asked for.
    pub(super) async fn begun(&self) {
        // The sender lives as long as the outbox does.
        let _ = self.begun.subscribe().wait_for(|has_begun| *has_begun).await;
    }

    /// Tells whether the coordinator has asked for nothing for so long that it has gone.
    pub(super) fn is_abandoned(&self) -> bool {
        let waiting = self.lock();
        !waiting.is_asked && waiting.asked.elapsed() > PATIENCE
    }

    /// Ends the work soon.
    pub(super) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Tells whether the work is to end.
    pub(super) fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Waits for some work. When the leaf is cancelled, what is under way has a moment to come to its end.
    pub(super) async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, LeafFailure> {
        if self.is_cancelled() {
            return Err(LeafFailure::Cancelled);
        }
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = self.cancelled() => {}
        }
        tokio::time::timeout(GRACE, work).await.map_err(|_| LeafFailure::Cancelled)
    }

    /// Waits until the work is to end, or nobody asks for it any more.
    pub(super) async fn cancelled(&self) {
        let mut cancelled = self.cancelled.subscribe();
        loop {
            let is_over = tokio::time::timeout(Duration::from_secs(1), cancelled.wait_for(|is| *is)).await.is_ok();
            if is_over || self.is_abandoned() {
                return;
            }
        }
    }
}
