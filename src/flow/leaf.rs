//! [`Leaf`]: a node's share of a flow. Reads the keys, takes them through the steps, and has reports ready for the coordinator.
//!
//! A leaf runs by itself, as a task, until it is asked for nothing any more or is dropped. Each stage has a task of its own,
//! and what it has made and nobody has taken is one batch at most. A stage waits for the one behind it only, wherever that
//! runs, so that they never wait for each other in a circle.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::carrier::Carrier;
use super::code_leaf::{CodeRole, CodeStages, stages};
use super::code_task;
use super::exit::Exit;
use super::inlet::{FromInlet, Inlet};
use super::keyspace::{KeySlice, KeySource, KeysWanted, Keyspace};
use super::messages::{NextReport, Report, RunShare};
use super::outbox::Outbox;
use super::plan::FlowReader;
use super::records::Records;
use super::registry::StepsAndReducers;
use super::router::{Router, SlotOwners};
use super::stage_task::{StageTask, run_all};
use super::takers::Taker;
use super::work::StageWork;
use crate::error::Error;
use crate::topology::BoxFuture;

/// A share of a flow that runs here. Dropped, it is cancelled.
pub(crate) struct Leaf {
    outbox: Arc<Outbox>,
    /// The ways into the stages behind the first one; none if records do not move.
    inlets: Vec<Arc<Inlet>>,
    /// The error that has ended it, which says more than what travels.
    error: Arc<Mutex<Option<Error>>>,
    _taker: Option<Taker>,
}

impl Leaf {
    /// Begins to work on a share whose records do not move, as all stages can be worked on here. Must be called on the
    /// runtime.
    ///
    /// # Errors
    /// That this node does not know a step or the reducer, or that the plan is none.
    pub(crate) fn begin(
        share: &RunShare,
        keyspace: Arc<dyn Keyspace>,
        registry: &dyn StepsAndReducers,
    ) -> Result<Self, Error> {
        Self::begin_at(0, source(share, &*keyspace), share, keyspace, registry)
    }

    /// Begins to work on a share whose records move between the stages, if it has several.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(crate) fn begin_with(
        share: &RunShare,
        keyspace: Arc<dyn Keyspace>,
        registry: &dyn StepsAndReducers,
        carrier: Arc<dyn Carrier>,
    ) -> Result<Self, Error> {
        if share.plan.code.is_some() {
            return Self::begin_code(share, CodeRole::OfNode, keyspace, registry, carrier);
        }
        if share.owners.is_empty() || share.plan.stages.len() < 2 {
            return Self::begin(share, keyspace, registry);
        }
        let owners = Arc::new(SlotOwners::new(&share.owners));
        let inlets: Vec<Arc<Inlet>> = share.plan.stages.iter().skip(1).map(|_| Arc::default()).collect();
        let mut first = Some(source(share, &*keyspace));
        let mut tasks = Vec::new();
        for stage in 0..share.plan.stages.len() {
            // The limit is the first stage's.
            let limit = if stage == 0 { share.limit } else { None };
            let mut work = StageWork::new(&share.plan, keyspace.clone(), registry, limit, share.first_place)?;
            work.progress.slots = share.slot_count();
            let from_inlet = || -> Box<dyn KeySource> { Box::new(FromInlet::new(inlets[stage - 1].clone())) };
            let exit = match inlets.get(stage) {
                None => Exit::Outbox(Records::new()),
                Some(next) => {
                    let router = Router::new(share, stage + 1, owners.clone(), next.clone(), carrier.clone());
                    Exit::Router(router)
                }
            };
            let source = first.take().unwrap_or_else(from_inlet);
            tasks.push(StageTask::new(Some(stage), work.first_step_of(stage), source, share.memory, work, exit));
        }
        let taker = Taker::begin(&share.execution, &share.node, false, &inlets);
        Ok(Self::spawn(tasks, inlets, Some(taker)))
    }

    /// Begins to work on a share of a flow of code.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(super) fn begin_code(
        share: &RunShare,
        role: CodeRole,
        keyspace: Arc<dyn Keyspace>,
        registry: &dyn StepsAndReducers,
        carrier: Arc<dyn Carrier>,
    ) -> Result<Self, Error> {
        let CodeStages { tasks, inlets, taker, progress } = stages(share, role, keyspace, registry, &carrier)?;
        let outbox = Arc::new(Outbox::new(progress));
        let error = Arc::new(Mutex::new(None));
        tokio::spawn(code_task::run_all(tasks, inlets.clone(), outbox.clone(), error.clone()));
        Ok(Self { outbox, inlets, error, _taker: taker })
    }

    /// Begins to take records through the steps from this one on, which are all that this share reads.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(super) fn of_records(
        step: u32,
        records: Records,
        share: &RunShare,
        keyspace: Arc<dyn Keyspace>,
        registry: &dyn StepsAndReducers,
    ) -> Result<Self, Error> {
        Self::begin_at(step as usize, Box::new(Given { records }), share, keyspace, registry)
    }

    fn begin_at(
        first_step: usize,
        source: Box<dyn KeySource>,
        share: &RunShare,
        keyspace: Arc<dyn Keyspace>,
        registry: &dyn StepsAndReducers,
    ) -> Result<Self, Error> {
        let mut work = StageWork::new(&share.plan, keyspace, registry, share.limit, share.first_place)?;
        work.progress.slots = share.slot_count();
        let exit = Exit::Outbox(Records::new());
        Ok(Self::spawn(vec![StageTask::new(None, first_step, source, share.memory, work, exit)], Vec::new(), None))
    }

    fn spawn(tasks: Vec<StageTask>, inlets: Vec<Arc<Inlet>>, taker: Option<Taker>) -> Self {
        let outbox = Arc::new(Outbox::new(tasks[0].progress().clone()));
        let error = Arc::new(Mutex::new(None));
        // They end by themselves, so that a command that is under way need not be torn off.
        tokio::spawn(run_all(tasks, inlets.clone(), outbox.clone(), error.clone()));
        Self { outbox, inlets, error, _taker: taker }
    }

    /// Waits for a batch or the end; returns the progress alone if neither comes in time.
    pub(crate) async fn next(&self, next: NextReport) -> Report {
        if next.cancels {
            self.outbox.cancel();
        }
        self.inlets.iter().take(next.closed as usize).for_each(|inlet| inlet.close());
        self.outbox.take(next).await
    }

    /// Ends the work soon: within 100 ms it says that it is over.
    pub(crate) fn cancel(&self) {
        self.outbox.cancel();
    }

    /// Returns a future that tells whether nobody has asked for reports for too long, as soon as that is so or the leaf is
    /// gone. A leaf that has failed is still asked how.
    pub(crate) fn is_abandoned(&self) -> impl Future<Output = bool> + Send + use<> {
        let outbox = Arc::downgrade(&self.outbox);
        async move {
            while let Some(outbox) = outbox.upgrade() {
                if outbox.is_abandoned() {
                    return true;
                }
                drop(outbox);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            false
        }
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
            keyspace.read(KeysWanted { slots, filter, names: None, memory: share.memory })
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
        // Plans that are read so are of code, and leaves of code read by themselves.
        FlowReader::OfCode => Box::new(Given { records: Records::new() }),
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
