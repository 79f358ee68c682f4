//! The coordinator of a flow: gives each shard its share, asks for reports, and puts together what comes.
//!
//! In a cluster each slot is in one share. Keys that a share could not settle, since slots moved or they had gone to another
//! node, are done at the end by plain commands. So each key's command runs once at most, whatever happens.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::carrier::{Carrier, SessionCarrier};
use super::code_flow::CodeFlow;
use super::drive::Driver;
use super::execution::Execution;
use super::leaf::Leaf;
use super::messages::{RunShare, SlotOwner};
use super::plain::PlainKeyspace;
use super::plan::{FlowPlan, FlowReader};
use super::planned::{Planned, Way, anywhere, on_the_move, planned, way_to};
use super::remote::RemoteLeaf;
use super::replica::ReplicaKeyspace;
use super::requests::FlowRequests;
use super::share::{Share, Where};
pub(crate) use super::spec::{FlowAnswer, FlowSpec};
use crate::engine::{RequestBuilder, panicked};
use crate::error::Error;
use crate::peer;
use crate::topology::{BoxFuture, Topology};

/// Runs a flow to its end. Dropped, or when the execution is cancelled, it ends on all shards.
///
/// # Errors
/// [`Error::Stopped`] with the first failure of a key, [`Error::Timeout`], [`Error::Cancelled`]; that a shard has died, by its
/// name; the slots that could not be settled.
pub(crate) fn run(
    spec: FlowSpec,
    requests: RequestBuilder,
    execution: Arc<Execution>,
) -> BoxFuture<'static, Result<FlowAnswer, Error>> {
    Box::pin(async move {
        let until = spec.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        // Reducers see what leaves see.
        let requests = FlowRequests { requests: requests.protocol(spec.plan.protocol()), until };
        let topology = requests.begin().pinned_topology().await?;
        let shared_name = format!("{} {}", execution.id(), peer::secret_word());
        let driver = Driver::new(&spec, until, execution);
        let carrier = Arc::new(SessionCarrier::new(requests.requests.clone()));
        let coordinator = Coordinator { spec: &spec, requests, topology, shared_name, driver, carrier };
        let ran = AssertUnwindSafe(coordinator.run()).catch_unwind().await;
        ran.unwrap_or_else(|panic| Err(panicked("reducer", &*panic)))
    })
}

struct Coordinator<'a> {
    spec: &'a FlowSpec,
    requests: FlowRequests,
    topology: Arc<Topology>,
    /// The name by which the shares know each other's records.
    shared_name: String,
    driver: Driver<'a>,
    carrier: Arc<dyn Carrier>,
}

impl Coordinator<'_> {
    async fn run(mut self) -> Result<FlowAnswer, Error> {
        let ran = if self.spec.plan.code.is_some() { self.run_code().await } else { self.run_steps().await };
        let error = match ran {
            Ok(()) => None,
            Err(error) if self.spec.keeps_results => Some(error),
            Err(error) => return Err(error),
        };
        Ok(FlowAnswer { error, ..self.driver.finish() })
    }

    async fn run_code(&mut self) -> Result<(), Error> {
        let Self { spec, requests, topology, shared_name, driver, carrier } = self;
        CodeFlow::new(spec, requests, topology, shared_name, carrier).run(driver).await
    }

    async fn run_steps(&mut self) -> Result<(), Error> {
        self.check_replicas()?;
        let shares = planned(&self.topology, &self.spec.plan.reader);
        if self.spec.plan.limit().is_some() {
            // One after the other, so that never more records pass than may.
            for planned in shares {
                if self.driver.limit_left() == Some(0) {
                    break;
                }
                self.do_alone(planned).await?;
            }
        } else {
            let begun: Vec<_> = shares.into_iter().map(|planned| (self.run_share(&planned), planned)).collect();
            let begun = begun.into_iter().map(|(share, planned)| self.begin(share, planned));
            let begun = try_join_all(begun).await?;
            self.driver.drive(begun).await?;
        }
        self.settle().await
    }

    async fn do_alone(&mut self, planned: Planned) -> Result<(), Error> {
        let share = self.run_share(&planned);
        let begun = self.begin(share, planned).await?;
        self.driver.drive(vec![begun]).await
    }

    /// Does what shares could not.
    async fn settle(&mut self) -> Result<(), Error> {
        let open = self.driver.take_open();
        for (step, records) in open.elsewhere {
            let planned = anywhere("keys on the move", Vec::new());
            let (share, keyspace) = (self.run_share(&planned), PlainKeyspace::of(&self.requests, &planned));
            let leaf = Leaf::of_records(step, records, &share, keyspace.clone(), &*self.spec.registry)?;
            self.driver.drive(vec![Share::new(planned.name, Where::Plain(leaf, keyspace))]).await?;
        }
        match on_the_move(open.unread, open.unsettled) {
            Some(planned) if self.driver.limit_left() != Some(0) => self.do_alone(planned).await,
            _ => Ok(()),
        }
    }

    /// Begins a share: on its node, if that takes shares, or else here.
    async fn begin(&self, share: RunShare, planned: Planned) -> Result<Share, Error> {
        let registry = &*self.spec.registry;
        let way = planned.way(&self.requests.begin(), &self.topology, self.spec.on_replicas);
        let at = match (way, &planned.node, &self.spec.home) {
            (Way::AtReplica(shard), ..) => {
                let replica = ReplicaKeyspace::of(self.requests.clone(), shard);
                let name = replica.name();
                return Ok(Share::new(name, Where::Home(Leaf::begin(&share, Arc::new(replica), registry)?)));
            }
            (Way::Here, _, Some(home)) => {
                Where::Home(Leaf::begin_with(&share, home.clone(), registry, self.carrier.clone())?)
            }
            (Way::OnItsNode, Some(node), _) => match RemoteLeaf::begin(node, &share, &self.requests).await? {
                Some(leaf) => Where::Remote(Box::new(leaf)),
                None => self.begin_plain(&share, &planned)?,
            },
            _ => self.begin_plain(&share, &planned)?,
        };
        Ok(Share::new(planned.name, at))
    }

    /// Refuses to go to replicas with what they cannot do, or where there are none.
    fn check_replicas(&self) -> Result<(), Error> {
        if !self.spec.on_replicas {
            return Ok(());
        }
        if !self.spec.plan.only_reads() {
            return Err(Error::Invalid(
                "replicas are only read, and the command may write; leave ON REPLICAS away".into(),
            ));
        }
        if self.topology.shards().iter().all(|shard| shard.replicas.is_empty()) {
            return Err(Error::Refused("no shard has a replica that is known; leave ON REPLICAS away".into()));
        }
        Ok(())
    }

    fn begin_plain(&self, share: &RunShare, planned: &Planned) -> Result<Where, Error> {
        let keyspace = PlainKeyspace::of(&self.requests, planned);
        let leaf = Leaf::begin(share, keyspace.clone(), &*self.spec.registry)?;
        Ok(Where::Plain(leaf, keyspace))
    }

    /// Says who takes the records of which slots between two stages: the nodes that may have a share. The records of all
    /// others come here.
    fn owners(&self) -> Vec<SlotOwner> {
        if self.spec.plan.stages.len() < 2 || !self.topology.requires_same_slot() {
            return Vec::new();
        }
        let request = self.requests.begin();
        let takes =
            self.topology.data_shards().filter(|shard| match way_to(&shard.primary, &request, &self.topology) {
                Way::Here => self.spec.home.is_some(),
                Way::OnItsNode => true,
                Way::AtReplica(_) | Way::Plain => false,
            });
        takes.map(|shard| SlotOwner { node: shard.primary.id.clone(), slots: shard.slots.clone() }).collect()
    }

    fn run_share(&mut self, planned: &Planned) -> RunShare {
        RunShare {
            execution: self.shared_name.clone(),
            node: planned.node.as_ref().map(|node| node.id.clone()).unwrap_or_default(),
            plan: match &planned.names {
                None => self.spec.plan.clone(),
                Some(names) => FlowPlan { reader: FlowReader::Names(names.clone()), ..self.spec.plan.clone() },
            },
            slots: planned.slots.clone(),
            limit: self.driver.limit_left(),
            caller: self.spec.caller.clone(),
            memory: self.spec.memory,
            first_place: self.driver.next_first_place(),
            owners: self.owners(),
            coordinator: String::new(),
            stages: Vec::new(),
        }
    }
}
