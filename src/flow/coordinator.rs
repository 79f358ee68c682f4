//! The coordinator of a flow: gives each shard its share, asks for reports, and puts together what comes.
//!
//! In a cluster each slot is in one share. What a share could not settle, since slots moved or keys had gone to another node,
//! is done at the end by plain commands. So each key's command runs once at most, whatever happens.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::drive::Driver;
use super::execution::Execution;
use super::failures::KeyFailures;
use super::keyspace::Keyspace;
use super::leaf::{Leaf, ranges};
use super::messages::{CallerId, RunShare};
use super::plain::{FlowRequests, PlainKeyspace};
use super::plan::{FlowPlan, FlowReader};
use super::records::Records;
use super::registry::StepsAndReducers;
use super::share::Share;
use crate::combine::{AnyCombine, AnyPartial};
use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::link::Protocol;
use crate::topology::{SLOT_COUNT, SlotRange, Topology};

/// A flow, and what it may take.
pub(crate) struct FlowSpec {
    pub(crate) plan: FlowPlan,
    /// The reducer that the plan names; [`None`] if the records are the answer.
    pub(crate) combine: Option<Arc<dyn AnyCombine>>,
    /// [`None`] for a flow that has all the time it takes.
    pub(crate) timeout: Option<Duration>,
    /// The most memory that it may take on each node, in bytes.
    pub(crate) memory: u64,
    pub(crate) registry: Arc<dyn StepsAndReducers>,
    /// On whose account it runs; [`None`] if nothing is restricted.
    pub(crate) caller: Option<CallerId>,
    /// The keys of the server that we live in, with the caller's rights; [`None`] if there is no such server.
    pub(crate) home: Option<Arc<dyn Keyspace>>,
}

/// What a flow has come to.
pub(crate) struct FlowAnswer {
    /// What the records come to; [`None`] if they are the answer.
    pub(crate) reduced: Option<Box<dyn AnyPartial>>,
    pub(crate) records: Records,
    /// None unless the plan goes on when keys fail.
    pub(crate) failures: KeyFailures,
    /// How many records have gone through all steps.
    pub(crate) keys: u64,
}

/// Runs a flow to its end. Dropped, or when the execution is cancelled, it ends on all shards.
///
/// # Errors
/// [`Error::Stopped`] with the first failure of a key, [`Error::Timeout`], [`Error::Cancelled`]; that a shard has died, by its
/// name; the slots that could not be settled.
pub(crate) async fn run(
    spec: FlowSpec,
    requests: RequestBuilder,
    execution: Arc<Execution>,
) -> Result<FlowAnswer, Error> {
    let until = spec.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    // Reducers see what leaves see.
    let requests = FlowRequests { requests: requests.protocol(Protocol::Resp3), until };
    let topology = requests.begin().pinned_topology().await?;
    let driver = Driver::new(&spec, until, execution);
    let coordinator = Coordinator { spec: &spec, requests, topology, driver };
    coordinator.run().await
}

struct Coordinator<'a> {
    spec: &'a FlowSpec,
    requests: FlowRequests,
    topology: Arc<Topology>,
    driver: Driver<'a>,
}

/// Where a share runs.
enum Where {
    /// On the server that we live in.
    Home(Arc<dyn Keyspace>),
    /// Here, by plain commands.
    Plain(Arc<PlainKeyspace>),
}

/// A share before it has begun.
struct Planned {
    name: String,
    node_id: String,
    slots: Option<Vec<SlotRange>>,
    at: Where,
}

impl Coordinator<'_> {
    async fn run(mut self) -> Result<FlowAnswer, Error> {
        let shares = self.planned();
        if self.spec.plan.limit().is_some() {
            // One after the other, so that never more records pass than may.
            for share in shares {
                if self.driver.limit_left() == Some(0) {
                    break;
                }
                let begun = self.begin(share)?;
                self.driver.drive(vec![begun]).await?;
            }
        } else {
            let begun = shares.into_iter().map(|share| self.begin(share)).collect::<Result<_, _>>()?;
            self.driver.drive(begun).await?;
        }
        self.settle().await?;
        self.driver.finish()
    }

    /// Does what shares could not.
    async fn settle(&mut self) -> Result<(), Error> {
        let open = self.driver.take_open();
        for (step, records) in open.elsewhere {
            let keyspace = Arc::new(PlainKeyspace::of_cluster(self.requests.clone(), BTreeMap::new()));
            let share = self.run_share(String::new(), None);
            let leaf = Leaf::of_records(step, records, share, keyspace.clone(), &*self.spec.registry)?;
            self.driver.drive(vec![Share::here("keys on the move".into(), leaf, Some(keyspace))]).await?;
        }
        let mut slots: Vec<u16> = open.unread;
        slots.extend(open.unsettled.keys());
        if slots.is_empty() || self.driver.limit_left() == Some(0) {
            return Ok(());
        }
        let share = self.plain_share("slots on the move", ranges(slots), open.unsettled);
        let begun = self.begin(share)?;
        self.driver.drive(vec![begun]).await
    }

    /// Says who does what.
    fn planned(&self) -> Vec<Planned> {
        if matches!(self.spec.plan.reader, FlowReader::Names(_)) {
            return vec![self.plain_share("the keys", Vec::new(), BTreeMap::new())];
        }
        if !self.topology.requires_same_slot() {
            return self.by_server();
        }
        let shards = self.topology.shards();
        let mut slots: Vec<Vec<u16>> = vec![Vec::new(); shards.len()];
        let mut nobodys = Vec::new();
        for slot in 0..SLOT_COUNT as u16 {
            match self.topology.owner_at(slot) {
                Some(position) => slots[position].push(slot),
                None => nobodys.push(slot),
            }
        }
        let owned = shards.iter().zip(slots).filter(|(_, slots)| !slots.is_empty());
        let mut planned: Vec<Planned> = owned
            .map(|(shard, slots)| {
                let node = &shard.primary;
                match &self.spec.home {
                    Some(home) if self.topology.is_local(node) => Planned {
                        name: node.to_string(),
                        node_id: node.id.clone(),
                        slots: Some(ranges(slots)),
                        at: Where::Home(home.clone()),
                    },
                    _ => Planned {
                        node_id: node.id.clone(),
                        ..self.plain_share(&node.to_string(), ranges(slots), BTreeMap::new())
                    },
                }
            })
            .collect();
        if !nobodys.is_empty() && matches!(self.spec.plan.reader, FlowReader::Keys(_)) {
            planned.push(self.plain_share("slots without an owner", ranges(nobodys), BTreeMap::new()));
        }
        planned
    }

    /// Gives each server that knows no slots a share.
    fn by_server(&self) -> Vec<Planned> {
        let shards = self.topology.data_shards();
        let planned = shards.map(|shard| {
            let node = &shard.primary;
            let at = match &self.spec.home {
                Some(home) if self.topology.is_local(node) && self.topology.shards().len() == 1 => {
                    Where::Home(home.clone())
                }
                _ => Where::Plain(Arc::new(PlainKeyspace::of_server(self.requests.clone(), node.clone()))),
            };
            Planned { name: node.to_string(), node_id: node.id.clone(), slots: None, at }
        });
        planned.collect()
    }

    /// Plans a share of slots of a cluster that is done by plain commands.
    fn plain_share(&self, name: &str, slots: Vec<SlotRange>, shown: BTreeMap<u16, HashSet<u128>>) -> Planned {
        let keyspace = Arc::new(PlainKeyspace::of_cluster(self.requests.clone(), shown));
        Planned { name: name.into(), node_id: String::new(), slots: Some(slots), at: Where::Plain(keyspace) }
    }

    fn begin(&mut self, planned: Planned) -> Result<Share, Error> {
        let share = self.run_share(planned.node_id, planned.slots);
        let registry = &*self.spec.registry;
        match planned.at {
            Where::Home(keyspace) => Ok(Share::here(planned.name, Leaf::begin(share, keyspace, registry)?, None)),
            Where::Plain(plain) => {
                let leaf = Leaf::begin(share, plain.clone(), registry)?;
                Ok(Share::here(planned.name, leaf, Some(plain)))
            }
        }
    }

    fn run_share(&mut self, node: String, slots: Option<Vec<SlotRange>>) -> RunShare {
        RunShare {
            execution: self.driver.execution_id().to_owned(),
            node,
            plan: self.spec.plan.clone(),
            slots,
            limit: self.driver.limit_left(),
            caller: self.spec.caller.clone(),
            memory: self.spec.memory,
            first_place: self.driver.next_first_place(),
            owners: Vec::new(),
        }
    }
}
