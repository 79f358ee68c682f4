//! [`Leaf`]: a node's share of a flow. Reads the keys, takes them through the steps, and has reports ready for the coordinator.
//!
//! A leaf runs by itself, as a task, until it is asked for nothing any more or is dropped. What it has made and nobody has
//! taken is one batch at most.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use serde_bytes::ByteBuf;

use super::keyspace::{KeySlice, KeySource, KeysWanted, Keyspace};
use super::messages::{LeafEnd, LeafFailure, NextReport, Report, RunShare};
use super::outbox::Outbox;
use super::plan::FlowReader;
use super::records::Records;
use super::registry::StepsAndReducers;
use super::work::{Work, WorkFailed};
use crate::engine::panicked;
use crate::error::Error;
use crate::topology::{BoxFuture, SlotRange};

/// How many keys are read at a time.
const SLICE: usize = 1000;

/// How large a batch of records is that is sent.
const BATCH_RECORDS: usize = 4096;
const BATCH_BYTES: usize = 256 * 1024;

/// How long a command that is under way has when the leaf is cancelled.
const GRACE: Duration = Duration::from_millis(50);

/// A share of a flow that runs here. Dropped, it is cancelled.
pub(crate) struct Leaf {
    outbox: Arc<Outbox>,
    /// The error that has ended it, which says more than what travels.
    error: Arc<Mutex<Option<Error>>>,
}

impl Leaf {
    /// Begins to work on a share. Must be called on the runtime.
    ///
    /// # Errors
    /// That this node does not know a step or the reducer, or that the plan is none.
    pub(crate) fn begin(
        share: RunShare,
        keyspace: Arc<dyn Keyspace>,
        registry: &dyn StepsAndReducers,
    ) -> Result<Self, Error> {
        let source = source(&share, &*keyspace);
        Self::begin_at(0, source, share, keyspace, registry)
    }

    /// Begins to take records through the steps from this one on, which are all that this share reads.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(super) fn of_records(
        step: u32,
        records: Records,
        share: RunShare,
        keyspace: Arc<dyn Keyspace>,
        registry: &dyn StepsAndReducers,
    ) -> Result<Self, Error> {
        Self::begin_at(step as usize, Box::new(Given { records }), share, keyspace, registry)
    }

    fn begin_at(
        first_step: usize,
        source: Box<dyn KeySource>,
        share: RunShare,
        keyspace: Arc<dyn Keyspace>,
        registry: &dyn StepsAndReducers,
    ) -> Result<Self, Error> {
        let mut work = Work::new(&share.plan, keyspace, registry, share.limit, share.first_place)?;
        let slots = share.slots.iter().flatten().map(|(first, last)| u32::from(*last - *first) + 1).sum();
        work.progress.slots = slots;
        let outbox = Arc::new(Outbox::new(work.progress.clone()));
        let error = Arc::new(Mutex::new(None));
        let task = LeafTask {
            source,
            first_step,
            memory: share.memory,
            work,
            outbox: outbox.clone(),
            unread: Vec::new(),
            unsettled: Vec::new(),
            batch: Records::new(),
        };
        // It ends by itself, so that a command that is under way need not be torn off.
        tokio::spawn(run(task, outbox.clone(), error.clone()));
        Ok(Self { outbox, error })
    }

    /// Waits for a batch or the end; returns the progress alone if neither comes in time.
    pub(crate) async fn next(&self, next: NextReport) -> Report {
        if next.cancels {
            self.outbox.cancel();
        }
        self.outbox.take(next).await
    }

    /// Ends the work soon: within 100 ms it says that it is over.
    pub(crate) fn cancel(&self) {
        self.outbox.cancel();
    }

    /// Takes the error that has ended it.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        self.outbox.cancel();
    }
}

/// Opens what the share's reader reads.
fn source(share: &RunShare, keyspace: &dyn Keyspace) -> Box<dyn KeySource> {
    match &share.plan.reader {
        FlowReader::Keys(filter) => {
            let (slots, filter) = (share.slots.clone(), filter.clone());
            keyspace.read(KeysWanted { slots, filter, memory: share.memory })
        }
        FlowReader::Names(names) => {
            let mut records = Records::new();
            names.iter().for_each(|name| records.push(name, &[]));
            Box::new(Given { records })
        }
        FlowReader::EachShard => {
            let mut records = Records::new();
            records.push(share.node.as_bytes(), &[]);
            Box::new(Given { records })
        }
    }
}

/// Records that are there from the start.
struct Given {
    records: Records,
}

impl KeySource for Given {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<KeySlice, Error>> {
        let records = self.records.take_first(most);
        let (keys_read, is_end) = (records.len() as u64, self.records.is_empty());
        Box::pin(async move { Ok(KeySlice { records, keys_read, is_end, ..KeySlice::default() }) })
    }

    fn memory(&self) -> u64 {
        self.records.byte_len() as u64
    }
}

/// Works until there is nothing more to do.
async fn run(mut task: LeafTask, outbox: Arc<Outbox>, error: Arc<Mutex<Option<Error>>>) {
    let ended = AssertUnwindSafe(task.work_to_the_end()).catch_unwind().await;
    let failed = match ended {
        Ok(Ok(end)) => {
            outbox.put_progress(&mut task.work);
            return outbox.put_end(end);
        }
        Ok(Err(failed)) => failed,
        Err(panic) => WorkFailed::from(panicked("step or the reducer", &*panic)),
    };
    *error.lock().unwrap_or_else(PoisonError::into_inner) = failed.error.map(|error| *error);
    outbox.put_progress(&mut task.work);
    outbox.put_end(LeafEnd::Failed(failed.failure));
}

/// The work of a leaf.
struct LeafTask {
    source: Box<dyn KeySource>,
    first_step: usize,
    memory: u64,
    work: Work,
    outbox: Arc<Outbox>,
    unread: Vec<u16>,
    unsettled: Vec<(u16, Vec<u128>)>,
    /// Records that are not yet a batch.
    batch: Records,
}

impl LeafTask {
    async fn work_to_the_end(&mut self) -> Result<LeafEnd, WorkFailed> {
        let outbox = self.outbox.clone();
        loop {
            let most = self.work.worth_reading(SLICE);
            if most == 0 || self.work.is_at_limit() {
                break;
            }
            let mut slice = unless_cancelled(&outbox, self.source.next(most)).await??;
            let records = std::mem::take(&mut slice.records);
            let is_end = slice.is_end;
            self.note(slice);
            let stage = self.work.stage_of(self.first_step);
            self.work.progress.records_in[stage] += records.len() as u64;
            self.check_memory(records.byte_len())?;
            let passed = unless_cancelled(&outbox, self.work.pass(self.first_step, records)).await?;
            let passed = passed.inspect_err(|_| outbox.put_progress(&mut self.work))?;
            self.batch.append(&passed);
            self.send(false).await?;
            outbox.put_progress(&mut self.work);
            if is_end {
                break;
            }
        }
        self.send(true).await?;
        let reduced = self.work.reduced.as_ref().map(|reduced| reduced.encode()).transpose();
        let reduced = reduced.map_err(|error| Error::Internal(format!("a partial result: {error}")))?;
        Ok(LeafEnd::Done {
            reduced: reduced.map(ByteBuf::from),
            unread: ranges(std::mem::take(&mut self.unread)),
            unsettled: std::mem::take(&mut self.unsettled),
        })
    }

    /// Takes how far the source is.
    fn note(&mut self, slice: KeySlice) {
        let progress = &mut self.work.progress;
        progress.slots_read += slice.slots_read;
        progress.keys_read += slice.keys_read;
        if slice.keys_in_table > 0 {
            progress.keys_in_table = slice.keys_in_table;
        }
        self.unread.extend(slice.unread);
        self.unsettled.extend(slice.unsettled);
    }

    /// Hands on what is a batch; with `all` also what is less than one.
    async fn send(&mut self, all: bool) -> Result<(), WorkFailed> {
        while self.batch.len() >= BATCH_RECORDS
            || self.batch.byte_len() >= BATCH_BYTES
            || (all && !self.batch.is_empty())
        {
            let batch = self.batch.take_batch(BATCH_RECORDS, BATCH_BYTES);
            self.check_memory(batch.byte_len())?;
            unless_cancelled(&self.outbox.clone(), self.outbox.put_batch(batch)).await?;
        }
        Ok(())
    }

    fn check_memory(&self, beside: usize) -> Result<(), LeafFailure> {
        let hashes: usize = self.unsettled.iter().map(|(_, hashes)| hashes.len() * size_of::<u128>()).sum();
        let held = (self.batch.byte_len() + hashes + beside) as u64;
        let memory = held + self.source.memory() + self.outbox.memory();
        if memory > self.memory { Err(LeafFailure::Memory) } else { Ok(()) }
    }
}

/// Waits for some work. When the leaf is cancelled, what is under way has a moment to come to its end.
async fn unless_cancelled<T>(outbox: &Outbox, work: impl Future<Output = T>) -> Result<T, LeafFailure> {
    if outbox.is_cancelled() {
        return Err(LeafFailure::Cancelled);
    }
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return Ok(done),
        () = outbox.cancelled() => {}
    }
    tokio::time::timeout(GRACE, work).await.map_err(|_| LeafFailure::Cancelled)
}

/// Returns slots as ranges, in ascending order.
pub(super) fn ranges(mut slots: Vec<u16>) -> Vec<SlotRange> {
    slots.sort_unstable();
    let mut ranges: Vec<SlotRange> = Vec::new();
    for slot in slots {
        match ranges.last_mut() {
            Some((_, last)) if *last == slot || *last + 1 == slot => *last = slot,
            _ => ranges.push((slot, slot)),
        }
    }
    ranges
}
