//! The nodes of a cluster and the slots that each holds: an immutable [`Topology`], and the [`NodeProvider`]s that make it.
//!
//! A request pins one topology and keeps it to its end. A provider never changes one: it makes a new one, and says how
//! often it wants to be asked.

mod address;
mod host;
mod host_list;
mod key_placement;
mod key_slot;
mod node;
mod own_slots;
mod redis_cluster;
mod single;
mod slots;
mod static_list;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use address::Address;
pub(crate) use host::{Endpoint, Login};
pub use host::{Host, TlsFiles};
pub use key_placement::KeyPlacement;
#[cfg(feature = "placement")]
pub(crate) use key_slot::hash_tag;
pub use key_slot::key_slot;
pub use node::{Node, Role};
pub(crate) use own_slots::{KeptLine, OwnLine};
pub use own_slots::{MovingSlot, OwnSlots};
pub use redis_cluster::{AskCluster, ClusterAnswer, RedisCluster};
pub use single::Single;
use slots::SlotMap;
pub use slots::{SLOT_COUNT, SlotRange, SlotRanges};
pub use static_list::StaticList;

use crate::error::Error;

/// A boxed future, as the object-safe traits of this crate return them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A primary, its replicas and the slots that they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shard {
    /// Takes the shard's writes.
    pub primary: Arc<Node>,
    /// Hold copies.
    pub replicas: Vec<Arc<Node>>,
    /// The slots in ascending order; empty where placement knows no slots.
    pub slots: Vec<SlotRange>,
}

impl Shard {
    /// Makes a shard of its primary, without replicas and slots.
    pub fn new(primary: Arc<Node>) -> Self {
        Self { primary, replicas: Vec::new(), slots: Vec::new() }
    }

    /// Names the nodes that hold copies.
    #[must_use]
    pub fn replicas(self, replicas: impl IntoIterator<Item = Arc<Node>>) -> Self {
        Self { replicas: replicas.into_iter().collect(), ..self }
    }

    /// Names the slots, in ascending order.
    #[must_use]
    pub fn slots(self, slots: impl IntoIterator<Item = SlotRange>) -> Self {
        Self { slots: slots.into_iter().collect(), ..self }
    }
}

/// An immutable picture of all shards.
#[derive(Debug, Clone)]
pub struct Topology {
    source: String,
    epoch: u64,
    shards: Vec<Shard>,
    owners: Option<SlotMap>,
    /// The keys of one command must share a slot.
    requires_same_slot: bool,
    /// Slots may change hands, and nodes say which ones they have.
    has_moving_slots: bool,
    uncovered: Vec<SlotRange>,
    local: Vec<Arc<Node>>,
    /// The placement of keys, with a number that changes with it; `None` where the shard function places keys.
    key_placement: Option<(u64, Arc<dyn KeyPlacement>)>,
    /// The stamp, which no two pictures of different shards share.
    stamp: u64,
}

static STAMPS: AtomicU64 = AtomicU64::new(0);

impl Topology {
    /// Shards that own hash slots, put in slot order. A shard without slots is kept as a holder of nodes, last.
    pub fn with_slots(source: impl Into<String>, mut shards: Vec<Shard>) -> Self {
        shards.sort_by_key(|shard| {
            let first = shard.slots.iter().map(|range| range.0).min();
            (first.is_none(), first, shard.primary.address.clone())
        });
        let owners = SlotMap::new(shards.iter().map(|shard| &*shard.slots));
        let uncovered = owners.uncovered();
        Self {
            source: source.into(),
            epoch: 0,
            shards,
            owners: Some(owners),
            requires_same_slot: true,
            has_moving_slots: true,
            uncovered,
            local: Vec::new(),
            key_placement: None,
            stamp: STAMPS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Shards of one node each, in the order given, placed by something else than slots.
    ///
    /// ```
    /// use rmr::Address;
    /// use rmr::topology::Topology;
    ///
    /// let topology = Topology::of_nodes("my list", [Address::new("10.0.0.1", 6379), Address::new("10.0.0.2", 6379)]);
    /// assert_eq!(topology.shards().len(), 2);
    /// ```
    pub fn of_nodes(source: impl Into<String>, addresses: impl IntoIterator<Item = Address>) -> Self {
        Self::of_primaries(source.into(), addresses.into_iter().map(Node::new))
    }

    /// Makes a topology of hosts: databases of servers, each with all that the list says of how it is reached.
    pub fn of_hosts(source: impl Into<String>, hosts: impl IntoIterator<Item = Host>) -> Self {
        Self::of_primaries(source.into(), hosts.into_iter().map(Node::of_host))
    }

    fn of_primaries(source: String, nodes: impl Iterator<Item = Node>) -> Self {
        let shard = |node| Shard { primary: Arc::new(node), replicas: Vec::new(), slots: Vec::new() };
        Self {
            source,
            epoch: 0,
            shards: nodes.map(shard).collect(),
            owners: None,
            requires_same_slot: false,
            has_moving_slots: false,
            uncovered: Vec::new(),
            local: Vec::new(),
            key_placement: None,
            stamp: STAMPS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Says which node this process itself is: its share is served in process. No node of this id: none is.
    #[must_use]
    pub fn with_local(self, id: &str) -> Self {
        self.with_local_nodes(|node| node.id == id)
    }

    /// Says which nodes are this process, where several may be, as databases of one server are.
    #[must_use]
    pub fn with_local_nodes(mut self, is_local: impl Fn(&Node) -> bool) -> Self {
        self.local = self.all_nodes().filter(|node| is_local(node)).cloned().collect();
        self
    }

    /// Says where keys are on these shards, which then holds unless an engine has a shard function of its own. Pictures of the
    /// same `version` place keys alike.
    #[must_use]
    pub fn with_key_placement(self, version: u64, placement: Arc<dyn KeyPlacement>) -> Self {
        Self { key_placement: Some((version, placement)), ..self }
    }

    /// Says that the servers know nothing of slots, and take commands with keys of several.
    #[must_use]
    pub fn with_plain_servers(mut self) -> Self {
        self.requires_same_slot = false;
        self.with_fixed_slots()
    }

    /// Says that slots never change hands: answers hold for the slots that are shown here, and nodes are not asked which ones
    /// they have.
    #[must_use]
    pub fn with_fixed_slots(mut self) -> Self {
        self.has_moving_slots = false;
        self
    }

    /// Numbers the picture; the engine does this when a new one differs from the last.
    #[must_use]
    pub(crate) fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// Tells whether both show the same nodes with the same slots.
    pub fn same_as(&self, other: &Self) -> bool {
        let version = |topology: &Self| topology.key_placement.as_ref().map(|(version, _)| *version);
        let places_alike = version(self) == version(other);
        places_alike && self.shards == other.shards && self.source == other.source && self.local == other.local
    }

    /// Returns who made the topology: `redis-cluster`, `static`, `single`, or a custom provider's name.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Grows by one with each change that was seen.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns all shards, those with slots first and in slot order.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Returns the shards that hold data: those that own slots, or all where placement knows no slots.
    pub fn data_shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter(|shard| self.owners.is_none() || !shard.slots.is_empty())
    }

    /// Returns the node that this process is, if it is a node; the first one if it is several.
    pub fn local(&self) -> Option<&Arc<Node>> {
        self.local.first()
    }

    /// Tells whether this process is that node.
    pub fn is_local(&self, node: &Arc<Node>) -> bool {
        self.local.iter().any(|local| Arc::ptr_eq(local, node))
    }

    /// Returns the stamp that tells the pictures of one process apart. It does not change with later remarks about a
    /// picture.
    pub(crate) fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Iterates over all nodes, shard by shard, primaries first.
    pub fn all_nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.shards.iter().flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas))
    }

    /// Finds the node of this id or address.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.all_nodes().find(|node| node.is_called(name))
    }

    /// Returns the node that a user means: as [`node`](Self::node), and by all that is shown of nodes. Errors name them
    /// `1f2e3d4c@host:port`; the beginning of an id will do, from eight letters on, and an address without the brackets
    /// of IPv6.
    pub fn node_meant(&self, name: &str) -> Option<&Arc<Node>> {
        const ENOUGH: usize = 8;
        let by_address = || self.node(&Address::parse(name).ok()?.to_string());
        let by_shown_name = || self.all_nodes().find(|node| node.to_string() == name);
        let by_start_of_id = || {
            let has_id = |node: &&Arc<Node>| node.id != node.name() && node.id.starts_with(name);
            let mut meant = self.all_nodes().filter(|node| name.len() >= ENOUGH && has_id(node));
            meant.next().filter(|_| meant.next().is_none())
        };
        self.node(name).or_else(by_shown_name).or_else(by_address).or_else(by_start_of_id)
    }

    /// Tells whether shards own hash slots.
    pub fn has_slots(&self) -> bool {
        self.owners.is_some()
    }

    /// Returns the number of the [layout](KeyPlacement::layout) of keys on shards; 0 if they stay where they are.
    pub(crate) fn layout(&self) -> u64 {
        self.key_placement.as_ref().map_or(0, |(_, placement)| placement.layout())
    }

    /// Tells whether the keys of one command must share a slot, as in a Redis Cluster.
    pub fn requires_same_slot(&self) -> bool {
        self.requires_same_slot
    }

    /// Tells whether slots may change hands, as in a Redis Cluster.
    pub(crate) fn has_moving_slots(&self) -> bool {
        self.has_moving_slots
    }

    /// Returns the slot of a key.
    pub fn slot_of(&self, key: &[u8]) -> u16 {
        key_slot::key_slot_of_many(key)
    }

    /// Returns the shard that owns a slot.
    pub fn owner(&self, slot: u16) -> Option<&Shard> {
        self.owner_at(slot).map(|position| &self.shards[position])
    }

    /// Returns the position of the shard that owns a slot.
    pub(crate) fn owner_at(&self, slot: u16) -> Option<usize> {
        self.owners.as_ref()?.owner(slot)
    }

    /// Returns what says where keys are, if the picture says so itself.
    pub fn key_placement(&self) -> Option<&dyn KeyPlacement> {
        self.key_placement.as_ref().map(|(_, placement)| &**placement)
    }

    /// Returns whether keys have copies on other nodes, which only links write: a connection of its own to a node would change one
    /// copy alone.
    pub(crate) fn has_copies(&self) -> bool {
        self.key_placement().is_some_and(KeyPlacement::has_copies)
    }

    /// Returns the slots that nobody owns; empty where there are no slots.
    pub fn uncovered(&self) -> &[SlotRange] {
        &self.uncovered
    }

    /// Tells whether a slot that had an owner in an earlier picture has none in this one.
    pub(crate) fn has_lost_slots_of(&self, earlier: &Self) -> bool {
        let mut uncovered = self.uncovered.iter().flat_map(|&(first, last)| first..=last);
        uncovered.any(|slot| earlier.owner(slot).is_some())
    }
}

/// Says who is there. Implement this to bring rmr to nodes that it does not know how to find.
///
/// ```
/// use rmr::{Address, Error};
/// use rmr::topology::{BoxFuture, NodeProvider, Topology};
///
/// struct FromEnvironment;
///
/// impl NodeProvider for FromEnvironment {
///     fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
///         Box::pin(async {
///             let list = std::env::var("NODES").unwrap_or_default();
///             let addresses: Result<Vec<Address>, Error> = list.split_whitespace().map(Address::parse).collect();
///             Ok(Topology::of_nodes("environment", addresses?))
///         })
///     }
/// }
/// ```
pub trait NodeProvider: Send + Sync + 'static {
    /// Returns the whole topology as it is now. The engine drops the future when it takes longer than the engine's
    /// timeout, and counts a panic in it as an error.
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>>;

    /// Returns how long a topology may be used before the engine asks for it again. Default: `None`, for a topology
    /// that changes only by signs that the engine sees itself: redirects and lost nodes.
    fn refresh_every(&self) -> Option<Duration> {
        None
    }

    /// Completes when the provider has heard of a change. Called before [`topology`](Self::topology) is, so that a change
    /// between the two can be told of. The default never completes.
    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(port: u16, slots: &[SlotRange]) -> Shard {
        let primary = Arc::new(Node::new(Address::new("127.0.0.1", port)));
        Shard { primary, replicas: Vec::new(), slots: slots.to_vec() }
    }

    #[test]
    fn shards_stand_in_slot_order_and_own_their_slots() {
        let topology = Topology::with_slots(
            "test",
            vec![shard(3, &[(10, 16383)]), shard(9, &[]), shard(1, &[(0, 4), (6, 8)]), shard(2, &[(5, 5)])],
        );
        let ports: Vec<u16> = topology.shards().iter().map(|shard| shard.primary.address.port().unwrap()).collect();
        assert_eq!(ports, [1, 2, 3, 9]);
        assert_eq!(topology.owner(5).unwrap().primary.address, Address::new("127.0.0.1", 2));
        assert_eq!(topology.owner(8).unwrap().primary.address, Address::new("127.0.0.1", 1));
        assert!(topology.owner(9).is_none());
        assert_eq!(SlotRanges(topology.uncovered()).to_string(), "9");
        assert_eq!(topology.data_shards().count(), 3);
    }

    #[test]
    fn a_node_is_meant_by_all_that_is_shown_of_it() {
        let node = |id: &str, host: &str| {
            let primary = Arc::new(Node { id: id.into(), ..Node::new(Address::new(host, 7001)) });
            Shard { primary, replicas: Vec::new(), slots: Vec::new() }
        };
        let nodes = vec![node("1f2e3d4c5b6a", "::1"), node("1f2e3d4cffff", "10.0.0.1"), node("abcdefgh", "10.0.0.2")];
        let topology = Topology::with_slots("test", nodes);
        let meant = |name: &str| topology.node_meant(name).map(|node| node.id.as_str());
        for name in ["1f2e3d4c5b6a", "1f2e3d4c5", "1f2e3d4c@[::1]:7001", "[::1]:7001", "::1:7001"] {
            assert_eq!(meant(name), Some("1f2e3d4c5b6a"), "{name}");
        }
        assert_eq!(meant("1f2e3d4c@10.0.0.1:7001"), Some("1f2e3d4cffff"));
        for nobody in ["1f2e3d4c", "abcdefg", "1f2e3d4c@10.0.0.2:7001", "1f2e3d4c@", "::1", "10.0.0.3:7001", ""] {
            assert_eq!(meant(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn lost_slots_are_those_that_had_an_owner() {
        let of = |slots: &[SlotRange]| Topology::with_slots("test", vec![shard(1, slots)]);
        let (whole, first, second) = (of(&[(0, 16383)]), of(&[(0, 99)]), of(&[(100, 16383)]));
        assert!(first.has_lost_slots_of(&whole) && first.has_lost_slots_of(&second));
        assert!(!first.has_lost_slots_of(&first) && !whole.has_lost_slots_of(&first));
        assert!(!first.has_lost_slots_of(&of(&[(7, 8)])));
    }
}
