//! The view that a node has of its cluster, and whether all nodes have the same.

use std::collections::{BTreeMap, BTreeSet};

use redis::{FromRedisValue, RedisResult, Value};

use super::server::Server;

/// A run of slots and who serves it; nodes are told apart by their ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotRange {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// The port of the owner.
    pub primary: u16,
    /// The ports of its replicas.
    pub replicas: BTreeSet<u16>,
}

/// The view that a node has of another one, or of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Tells that the node is a replica.
    pub replica: bool,
    /// Tells that the node has been introduced, is linked, and is not thought to have failed.
    pub sound: bool,
}

/// All that one node says about the cluster.
#[derive(Clone, Debug)]
pub struct View {
    /// `cluster_state:ok`.
    pub ok: bool,
    /// `cluster_current_epoch`.
    pub epoch: u64,
    /// Tells that the node is a primary, or a replica whose link to its primary is up.
    pub replicating: bool,
    /// The known nodes by port, the node itself included.
    pub members: BTreeMap<u16, Member>,
    /// The served slots in order. A replica is listed once it is known to have data to serve.
    pub ranges: BTreeSet<SlotRange>,
}

impl View {
    /// Asks a node, in one round trip.
    pub fn of(node: &Server) -> RedisResult<Self> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("CLUSTER").arg("INFO");
        pipeline.cmd("CLUSTER").arg("NODES");
        pipeline.cmd("CLUSTER").arg("SLOTS");
        pipeline.cmd("INFO").arg("replication");
        let (info, nodes, slots, replication): (String, String, Vec<Vec<Value>>, String) =
            pipeline.query(&mut node.try_connection()?)?;

        let ranges: RedisResult<BTreeSet<_>> = slots.into_iter().map(read_range).collect();
        Ok(Self {
            ok: field(&info, "cluster_state") == "ok",
            epoch: field(&info, "cluster_current_epoch").parse().unwrap_or(0),
            replicating: field(&replication, "role") == "master" || field(&replication, "master_link_status") == "up",
            members: nodes.lines().map(read_member).collect(),
            ranges: ranges?,
        })
    }

    /// Returns the port of the primary which owns `slot`.
    pub fn owner(&self, slot: u16) -> Option<u16> {
        let holds = |range: &&SlotRange| (range.first..=range.last).contains(&slot);
        self.ranges.iter().find(holds).map(|range| range.primary)
    }

    /// Returns whether each replica in service is listed with its slots.
    fn lists_replicas(&self) -> bool {
        let lists = |port| self.ranges.iter().any(|range| range.replicas.contains(port));
        let mut members = self.members.iter();
        members.all(|(port, member)| !member.replica || !member.sound || lists(port))
    }
}

/// Returns in words what keeps the running ones of `nodes` from being in service and of one mind.
///
/// They are when each says that the cluster is ok, knows these nodes and no others, is linked with
/// all running ones, sees every slot where the others see it, and as a replica is in sync and
/// listed by all.
pub fn discord(nodes: &[Server]) -> Option<String> {
    let known: BTreeSet<u16> = nodes.iter().map(|node| node.port()).collect();
    let running: Vec<&Server> = nodes.iter().filter(|node| node.running()).collect();
    let views: RedisResult<Vec<View>> = running.iter().map(|node| View::of(node)).collect();
    let views = match views {
        Ok(views) => views,
        Err(error) => return Some(format!("a node does not answer: {error}")),
    };
    running.iter().zip(&views).find_map(|(node, view)| {
        let complaint = if !view.ok {
            "does not say that the cluster is ok"
        } else if !view.members.keys().eq(&known) {
            "does not know exactly the nodes of the cluster"
        } else if !running.iter().all(|node| view.members[&node.port()].sound) {
            "is not linked with every running node"
        } else if !view.replicating {
            "has no link to its primary"
        } else if view.ranges != views[0].ranges {
            "sees other owners of the slots than the first node"
        } else if !view.lists_replicas() {
            "does not list every replica with its slots"
        } else {
            return None;
        };
        Some(format!("{} {complaint}: {view:#?}", node.address()))
    })
}

/// Returns the value of a `name:value` line, empty if there is no such line.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    text.lines().find_map(value).unwrap_or_default()
}

/// Reads a row of `CLUSTER SLOTS`: first slot, last slot, then the primary and its replicas, each
/// as a list of host, port and more.
fn read_range(row: Vec<Value>) -> RedisResult<SlotRange> {
    let mut row = row.into_iter();
    let mut slot = || u16::from_redis_value(row.next().unwrap_or(Value::Nil));
    let (first, last) = (slot()?, slot()?);
    let ports: Vec<u16> = row.map(read_port).collect::<RedisResult<_>>()?;
    Ok(SlotRange { first, last, primary: ports[0], replicas: ports[1..].iter().copied().collect() })
}

/// Returns the port of a node in `CLUSTER SLOTS`.
fn read_port(node: Value) -> RedisResult<u16> {
    let mut node = Vec::<Value>::from_redis_value(node)?;
    Ok(u16::from_redis_value(node.swap_remove(1))?)
}

/// Reads a line of `CLUSTER NODES`: id, `host:port@bus`, flags, primary, ping, pong, epoch, link
/// and more.
fn read_member(line: &str) -> (u16, Member) {
    let words: Vec<&str> = line.split(' ').collect();
    let address = words[1].split('@').next().unwrap_or_default();
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
    let has = |flag: &str| words[2].split(',').any(|word| word == flag);
    let unsound = ["handshake", "noaddr", "fail", "fail?"];
    let member =
        Member { replica: has("slave"), sound: words[7] == "connected" && !unsound.iter().any(|flag| has(flag)) };
    (port.unwrap_or(0), member)
}
