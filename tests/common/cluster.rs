//! A cluster of real nodes: its layout, its keys, its data.
//!
//! Nodes are counted in the order in which they were laid out, whatever their roles are later: the
//! primaries first, then the replicas of shard 0, of shard 1 and so on, then the nodes added later.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use redis::Pipeline;

use super::errors::error_text;
use super::formation::Formation;
use super::server::{PORT_ATTEMPTS, Server, ServerBuilder, StartError};
use super::slot::{even_share, slot_of};
use super::topology::{View, discord};
use rmr::testing::poll;

/// The longest that the nodes may take to agree.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// The number of keys that [`Cluster::fill`] sends to a node in one go.
const FILL_BATCH: usize = 10_000;

/// Options of every node; what a test adds comes later on the command line and wins.
const BASE_OPTIONS: [(&str, &str); 5] = [
    ("cluster-enabled", "yes"),
    ("cluster-node-timeout", "2000"),
    ("cluster-require-full-coverage", "yes"),
    ("cluster-replica-validity-factor", "0"),
    ("repl-diskless-sync-delay", "0"),
];

/// Builds a cluster: three primaries with the module, unless told otherwise.
pub struct ClusterBuilder {
    shards: usize,
    replicas: usize,
    server: ServerBuilder,
}

impl ClusterBuilder {
    /// Sets the number of primaries.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Sets the number of replicas of each primary; none by default.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets how long a node may be silent before the others think it failed; 2 s by default.
    pub fn node_timeout(self, timeout: Duration) -> Self {
        self.config("cluster-node-timeout", timeout.as_millis().to_string())
    }

    /// Sets whether the nodes load the module; yes by default.
    pub fn module(mut self, load: bool) -> Self {
        self.server = self.server.module(load);
        self
    }

    /// Adds arguments for the module.
    pub fn module_args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.server = self.server.module_args(args);
        self
    }

    /// Says that the module is to be unloaded, as [`ServerBuilder::unloadable`] does.
    pub fn unloadable(mut self) -> Self {
        self.server = self.server.unloadable();
        self
    }

    /// Adds an option to all nodes, as [`ServerBuilder::config`] does.
    pub fn config(mut self, name: &str, value: impl Into<String>) -> Self {
        self.server = self.server.config(name, value);
        self
    }

    /// Adds one word to the command line of all nodes as it is.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.server = self.server.arg(arg);
        self
    }

    /// Starts the nodes, forms the cluster, and waits until all nodes agree on it.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn start(self) -> Cluster {
        for _ in 0..PORT_ATTEMPTS {
            match self.try_start() {
                Ok(cluster) => return cluster,
                Err(StartError::PortTaken) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("{}", StartError::PortTaken);
    }

    /// Tries once to start, with new ports.
    fn try_start(&self) -> Result<Cluster, StartError> {
        let count = self.shards * (1 + self.replicas);
        let nodes: Vec<Server> = (0..count).map(|_| self.server.prepare()).collect();
        let formation = Formation::new(&nodes, self.shards);
        formation.write_configs();
        nodes.iter().for_each(|node| node.launch());
        nodes.iter().try_for_each(|node| node.await_ready())?;
        formation.complete();
        let cluster = Cluster { nodes, shards: self.shards, replicas: self.replicas, server: self.server.clone() };
        cluster.settle();
        cluster.look_again();
        Ok(cluster)
    }
}

/// A running cluster on 127.0.0.1.
pub struct Cluster {
    nodes: Vec<Server>,
    shards: usize,
    replicas: usize,
    server: ServerBuilder,
}

impl Cluster {
    /// Returns a builder with the defaults.
    pub fn builder() -> ClusterBuilder {
        let empty = ClusterBuilder { shards: 3, replicas: 0, server: Server::builder() };
        let add = |builder: ClusterBuilder, (name, value)| builder.config(name, value);
        BASE_OPTIONS.into_iter().fold(empty, add)
    }

    /// Returns a cluster of so many primaries with the module.
    pub fn start(shards: usize) -> Self {
        Self::builder().shards(shards).start()
    }

    /// Returns the node at `index`.
    pub fn node(&self, index: usize) -> &Server {
        &self.nodes[index]
    }

    /// Returns all nodes.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// Returns the nodes laid out as primaries.
    pub fn primaries(&self) -> &[Server] {
        &self.nodes[..self.shards]
    }

    /// Returns the nodes laid out as replicas.
    pub fn replicas(&self) -> &[Server] {
        &self.nodes[self.shards..self.shards * (1 + self.replicas)]
    }

    /// Returns the indexes of the nodes laid out as replicas of `shard`.
    pub fn replicas_of(&self, shard: usize) -> Range<usize> {
        let first = self.shards + shard * self.replicas;
        first..first + self.replicas
    }

    /// Returns a key whose slot belonged to primary `shard` at the start.
    pub fn key_for(&self, shard: usize, prefix: &str) -> String {
        let mut keys = self.keys_for(shard, prefix);
        keys.next().expect("an endless row of keys")
    }

    /// Returns an endless row of such keys: the prefix, a colon, a number.
    pub fn keys_for(&self, shard: usize, prefix: &str) -> impl Iterator<Item = String> {
        let share = even_share(shard, self.shards);
        let keys = (0u64..).map(move |number| format!("{prefix}:{number}"));
        keys.filter(move |key| share.contains(&slot_of(key)))
    }

    /// Returns the index of the node which owns `slot` now.
    pub fn owner_of(&self, slot: u16) -> usize {
        self.owner_in(&self.view(), slot)
    }

    /// Sets a string key at its owner.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.fill(1, |_| (key.as_ref(), value.as_ref()));
    }

    /// Sets `count` string keys, each at its owner, pipelined.
    ///
    /// # Panics
    ///
    /// When a node refuses a key.
    pub fn fill<K, V>(&self, count: usize, mut pair: impl FnMut(usize) -> (K, V))
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let view = self.view();
        let mut batches: BTreeMap<usize, Pipeline> = BTreeMap::new();
        for number in 0..count {
            let (key, value) = pair(number);
            let owner = self.owner_in(&view, slot_of(&key));
            let batch = batches.entry(owner).or_default();
            batch.set(key.as_ref(), value.as_ref()).ignore();
            if batch.len() == FILL_BATCH {
                self.send(owner, batch);
                batch.clear();
            }
        }
        for (owner, batch) in batches.iter().filter(|(_, batch)| !batch.is_empty()) {
            self.send(*owner, batch);
        }
    }

    /// Starts one more node, a primary without slots, and waits until all nodes know each other.
    ///
    /// That takes two seconds: a primary which starts empty does not call the cluster ok earlier.
    ///
    /// # Returns
    ///
    /// Its index.
    pub fn add_node(&mut self) -> usize {
        let node = self.server.clone().start();
        for known in self.nodes.iter().filter(|known| known.running()) {
            node.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &known.port().to_string()]);
        }
        self.nodes.push(node);
        self.settle();
        self.nodes.len() - 1
    }

    /// Waits until all running nodes agree: on the nodes, on the owners of the slots, and that all
    /// is well.
    ///
    /// A node that was killed a moment ago is missed by nobody yet, so this does not wait for a
    /// failover; wait for what it changes first.
    ///
    /// # Panics
    ///
    /// When they do not agree in time; the message says on what.
    #[track_caller]
    pub fn settle(&self) {
        let mut last = None;
        let settled = poll(SETTLE_LIMIT, || {
            last = discord(&self.nodes);
            last.is_none().then_some(())
        });
        if settled.is_none() {
            panic!("the cluster did not settle: {}", last.unwrap_or_default());
        }
    }

    /// Lets each node with the module look at the cluster as it is now.
    ///
    /// A module that looked while the cluster came into being holds the shape of that moment until its next look.
    fn look_again(&self) {
        if self.server.loads_module() {
            self.nodes.iter().for_each(|node| node.run(&["RMR.REFRESH"]));
        }
    }

    /// Returns the view that the first running node has of its cluster.
    fn view(&self) -> View {
        let mut nodes = self.nodes.iter();
        let node = nodes.find(|node| node.running()).expect("a running node");
        View::of(node).unwrap_or_else(|error| panic!("the view of {}: {error}", node.address()))
    }

    /// Returns the index of the owner of `slot` in a view.
    fn owner_in(&self, view: &View, slot: u16) -> usize {
        let port = view.owner(slot);
        let owner = self.nodes.iter().position(|node| Some(node.port()) == port);
        owner.unwrap_or_else(|| panic!("slot {slot} is with port {port:?}, no node of ours"))
    }

    /// Sends a batch to a node.
    fn send(&self, node: usize, batch: &Pipeline) {
        let node = &self.nodes[node];
        if let Err(error) = batch.query::<()>(&mut node.connection()) {
            panic!("keys for {}: {}", node.address(), error_text(&error));
        }
    }
}
