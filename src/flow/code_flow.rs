//! [`CodeFlow`]: a flow of code, as its coordinator gives out the shares.
//!
//! Unlike steps, code keeps state, so each record has to go through each stage in the one place where it belongs. Keys that
//! could not be read, since slots moved, are read by a share that begins late; only then the stages behind hear that no more
//! comes.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};

use super::carrier::Carrier;
use super::code_leaf::CodeRole;
use super::drive::{Driver, Open};
use super::leaf::Leaf;
use super::messages::{RunShare, SlotOwner};
use super::plain::PlainKeyspace;
use super::plan::Passage;
use super::planned::{Planned, Way, alone, anywhere, on_the_move, planned, way_to};
use super::records::Records;
use super::remote::RemoteLeaf;
use super::requests::FlowRequests;
use super::share::{Share, Where};
use super::spec::FlowSpec;
use crate::error::Error;
use crate::link::Session;
use crate::topology::{SLOT_COUNT, Topology};

/// A flow of code.
pub(super) struct CodeFlow<'a> {
    spec: &'a FlowSpec,
    requests: &'a FlowRequests,
    topology: &'a Topology,
    shared_name: &'a str,
    carrier: &'a Arc<dyn Carrier>,
    coordinator: String,
}

/// The place where a share is worked on.
enum Runs {
    Here,
    OnItsNode(Session),
    /// Here, in place of its node.
    StandIn,
}

impl<'a> CodeFlow<'a> {
    pub(super) fn new(
        spec: &'a FlowSpec,
        requests: &'a FlowRequests,
        topology: &'a Topology,
        shared_name: &'a str,
        carrier: &'a Arc<dyn Carrier>,
    ) -> Self {
        let coordinator = topology.local().map_or_else(|| "client".to_owned(), |node| node.id.clone());
        Self { spec, requests, topology, shared_name, carrier, coordinator }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// Those of any flow; that a node does not take the share that it offered to take.
    pub(super) async fn run(&self, driver: &mut Driver<'_>) -> Result<(), Error> {
        let shares = self.planned()?;
        let places = join_all(shares.iter().map(|planned| self.place(planned))).await;
        let owners = owners(self.topology, &shares, &places);
        let gathered = self.gathered_stages(&owners);
        let mut begun = Vec::with_capacity(shares.len() + 1);
        if !gathered.is_empty() {
            let planned = anywhere("what is gathered", Vec::new());
            let share = RunShare { stages: gathered, ..self.share(self.coordinator.clone(), &planned, &owners) };
            let leaf = self.leaf(&share, CodeRole::Gathers, &planned)?;
            begun.push(Share::new(planned.name, leaf));
        }
        let shares = shares.into_iter().zip(places).map(|(planned, place)| self.begin(planned, place, &owners));
        begun.extend(try_join_all(shares).await?);
        driver.drive_settling(begun, |open| self.settle(open, &owners)).await
    }

    /// Says who reads which keys.
    fn planned(&self) -> Result<Vec<Planned>, Error> {
        let is_cluster = self.topology.requires_same_slot();
        if self.spec.only_here || !is_cluster {
            if self.spec.plan.stages.len() > 1 {
                return Err(Error::Internal("a flow of code that stays on one node has one stage".into()));
            }
            return match self.topology.local() {
                Some(node) => Ok(vec![alone(node)]),
                None if self.topology.shards().len() == 1 => Ok(planned(self.topology, &self.spec.plan.reader)),
                None => Err(Error::Refused("code runs in a server, or on the one that is connected to".into())),
            };
        }
        Ok(planned(self.topology, &self.spec.plan.reader))
    }

    async fn place(&self, planned: &Planned) -> Runs {
        let Some(node) = &planned.node else { return Runs::StandIn };
        let is_alone = planned.slots.is_none() && self.topology.is_local(node);
        let way = way_to(node, &self.requests.begin(), self.topology);
        if (is_alone || matches!(way, Way::Here)) && self.spec.home.is_some() {
            return Runs::Here;
        }
        match way {
            Way::OnItsNode => RemoteLeaf::session(node, self.requests).await.map_or(Runs::StandIn, Runs::OnItsNode),
            Way::Here | Way::AtReplica(_) | Way::Plain => Runs::StandIn,
        }
    }

    async fn begin(&self, planned: Planned, place: Runs, owners: &[SlotOwner]) -> Result<Share, Error> {
        let node_id = planned.node.as_ref().map(|node| node.id.clone()).unwrap_or_default();
        let share = self.share(node_id, &planned, owners);
        let at = match (place, &planned.node) {
            (Runs::OnItsNode(session), Some(node)) => {
                match RemoteLeaf::begin_over(session, node, &share, self.requests).await? {
                    Ok(leaf) => Where::Remote(Box::new(leaf)),
                    Err(why) => return Err(Error::Refused(format!("{node} does not take its share: {why}"))),
                }
            }
            (Runs::Here, _) => self.leaf(&share, CodeRole::OfNode, &planned)?,
            _ => self.stand_in(share, &planned, None)?,
        };
        Ok(Share::new(planned.name, at))
    }

    /// Begins shares that read what others could not.
    fn settle(&self, open: Open, owners: &[SlotOwner]) -> Result<Vec<Share>, Error> {
        if self.spec.only_here {
            return Ok(Vec::new());
        }
        let mut late: Vec<_> =
            on_the_move(open.unread, open.unsettled).map(|planned| (planned, None)).into_iter().collect();
        for keys in open.elsewhere.into_values().filter(|keys| !keys.is_empty()) {
            late.push((anywhere("keys on the move", vec![(0, SLOT_COUNT as u16 - 1)]), Some(keys)));
        }
        let begin = |(planned, only): (Planned, Option<Records>)| {
            let at = self.stand_in(self.share(String::new(), &planned, owners), &planned, only)?;
            Ok(Share::new(planned.name, at))
        };
        late.into_iter().map(begin).collect()
    }

    fn stand_in(&self, share: RunShare, planned: &Planned, only: Option<Records>) -> Result<Where, Error> {
        let name = planned.node.as_ref().map(|node| node.to_string()).unwrap_or_default();
        let share = RunShare { stages: vec![0], ..share };
        self.leaf(&share, CodeRole::StandIn { name, only }, planned)
    }

    fn leaf(&self, share: &RunShare, role: CodeRole, planned: &Planned) -> Result<Where, Error> {
        let registry = &*self.spec.registry;
        if let (CodeRole::OfNode | CodeRole::Gathers, Some(home)) = (&role, &self.spec.home) {
            return Ok(Where::Home(Leaf::begin_code(share, role, home.clone(), registry, self.carrier.clone())?));
        }
        let keyspace = PlainKeyspace::of(self.requests, planned);
        let leaf = Leaf::begin_code(share, role, keyspace.clone(), registry, self.carrier.clone())?;
        Ok(Where::Plain(leaf, keyspace))
    }

    /// Makes a share that works on all stages that are every node's.
    fn share(&self, node: String, planned: &Planned, owners: &[SlotOwner]) -> RunShare {
        let passages = self.spec.plan.stages.iter().map(|stage| stage.then);
        let moved = (1..).zip(passages).filter(|(_, then)| *then == Passage::Repartition);
        RunShare {
            execution: self.shared_name.to_owned(),
            node,
            plan: self.spec.plan.clone(),
            slots: planned.slots.clone(),
            limit: None,
            caller: self.spec.caller.clone(),
            memory: self.spec.memory,
            first_place: 0,
            owners: owners.to_vec(),
            coordinator: self.coordinator.clone(),
            stages: [0].into_iter().chain(moved.map(|(stage, _)| stage)).collect(),
        }
    }

    /// Returns the stages that the coordinator alone works on, and those of slots whose owner does not run code.
    fn gathered_stages(&self, owners: &[SlotOwner]) -> Vec<u32> {
        let slots: usize =
            owners.iter().flat_map(|owner| &owner.slots).map(|(first, last)| (last - first) as usize + 1).sum();
        let is_gathered = |then: Passage| match then {
            Passage::Gather => true,
            Passage::Repartition => slots < SLOT_COUNT,
            Passage::Collect | Passage::Stay => false,
        };
        let passages = self.spec.plan.stages.iter().map(|stage| stage.then);
        (1..).zip(passages).filter(|(_, then)| is_gathered(*then)).map(|(stage, _)| stage).collect()
    }
}

/// Says who takes the records of which slots: the nodes that run code.
fn owners(topology: &Topology, shares: &[Planned], places: &[Runs]) -> Vec<SlotOwner> {
    if !topology.requires_same_slot() {
        return Vec::new();
    }
    let run_code = shares.iter().zip(places).filter(|(_, place)| !matches!(place, Runs::StandIn));
    let owner = |planned: &Planned| {
        let node = planned.node.as_ref()?.id.clone();
        Some(SlotOwner { node, slots: planned.slots.clone().unwrap_or_default() })
    };
    run_code.filter_map(|(planned, _)| owner(planned)).collect()
}
