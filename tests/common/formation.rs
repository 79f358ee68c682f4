//! Forms a cluster within a fraction of a second.
//!
//! The usual way, `CLUSTER MEET` among empty nodes, cannot take less than two seconds: a primary
//! that starts without a working cluster refuses to call it ok for that long. A *replica* does not
//! hesitate. So every node starts from a `nodes.conf` in which all nodes know each other already,
//! and each is a replica of a *placeholder*, a primary which owns the shard's slots but does not
//! exist. Then:
//!
//! 1. The first node of each shard takes over from the placeholder (`CLUSTER FAILOVER TAKEOVER`),
//!    one after the other, so that each gets an epoch of its own. The other nodes of the shard
//!    follow it, as they would after any failover.
//! 2. All nodes forget the placeholders.
//!
//! The result is an ordinary cluster: nothing in it tells how it began, except the log.

use std::fs;
use std::time::Duration;

use super::errors::error_text;
use super::server::Server;
use super::slot::even_share;
use super::topology::View;
use super::version::knows_shard_ids;
use rmr::testing::eventually;
use rmr::testing::random;

/// The longest that each step may take.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// The address of all placeholders. Nobody listens there, and no node of a cluster has this port.
const NOWHERE: &str = "127.0.0.1:1@1";

/// A cluster to be: which server belongs to which shard, and the ids that it starts with.
pub struct Formation<'a> {
    nodes: &'a [Server],
    shards: usize,
    ids: Vec<String>,
    placeholders: Vec<String>,
}

impl<'a> Formation<'a> {
    /// Forms a cluster whose primaries are the first `shards` servers; of the others, the first ones replicate shard 0, the next
    /// ones shard 1, and so on.
    pub fn new(nodes: &'a [Server], shards: usize) -> Self {
        Self {
            nodes,
            shards,
            ids: nodes.iter().map(|_| random_id()).collect(),
            placeholders: (0..shards).map(|_| random_id()).collect(),
        }
    }

    /// Writes each server's `nodes.conf`; to be called before the servers are launched.
    pub fn write_configs(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let path = node.dir().join("nodes.conf");
            fs::write(&path, self.config_of(index)).expect("cannot write nodes.conf");
        }
    }

    /// Puts the primaries in the place of the placeholders; to be called when all servers answer.
    pub fn complete(&self) {
        let level: Vec<String> = self.nodes[0].run(&["CONFIG", "GET", "loglevel"]);
        // Some servers log a line for each of the 16384 slots that change hands.
        self.on_all_nodes(&["CONFIG", "SET", "loglevel", "warning"]);
        self.take_over();
        self.forget_placeholders();
        if self.nodes.len() > self.shards {
            self.start_replication();
        }
        self.on_all_nodes(&["CONFIG", "SET", "loglevel", &level[1]]);
    }

    /// The `nodes.conf` of one node.
    fn config_of(&self, index: usize) -> String {
        let nodes = self.nodes.iter().enumerate().map(|(other, node)| {
            let myself = if other == index { "myself," } else { "" };
            let (id, port, bus) = (&self.ids[other], node.port(), node.bus_port());
            let primary = &self.placeholders[self.shard_of(other)];
            let shard_id = self.shard_id(self.shard_of(other));
            format!("{id} 127.0.0.1:{port}@{bus}{shard_id} {myself}slave {primary} 0 0 0 connected\n")
        });
        let placeholders = self.placeholders.iter().enumerate().map(|(shard, id)| {
            let slots = even_share(shard, self.shards);
            let (first, last) = (slots.start(), slots.end());
            let shard_id = self.shard_id(shard);
            format!("{id} {NOWHERE}{shard_id} master - 0 0 0 connected {first}-{last}\n")
        });
        let epochs = "vars currentEpoch 0 lastVoteEpoch 0\n".to_owned();
        nodes.chain(placeholders).chain([epochs]).collect()
    }

    /// Returns the words that follow an address: nodes of one shard must agree on its id, or some commands crash the server.
    fn shard_id(&self, shard: usize) -> String {
        if knows_shard_ids() { format!(",,tls-port=0,shard-id={}", self.placeholders[shard]) } else { String::new() }
    }

    /// Returns the shard that a node is made for.
    fn shard_of(&self, index: usize) -> usize {
        let replicas = self.nodes.len() / self.shards - 1;
        let place = index.checked_sub(self.shards);
        place.map_or(index, |place| place / replicas)
    }

    /// Lets the first node of each shard replace the shard's placeholder.
    fn take_over(&self) {
        self.until_all("every node accepts the placeholders", |view| view.ok);
        for (shard, primary) in self.nodes[..self.shards].iter().enumerate() {
            eventually(STEP_LIMIT, "the next primary knows the last epoch", || {
                View::of(primary).is_ok_and(|view| view.epoch >= shard as u64)
            });
            primary.run::<()>(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
        }
        let ports: Vec<u16> = self.nodes.iter().map(|node| node.port()).collect();
        self.until_all("every node knows the real primaries", |view| {
            let mut owners = view.ranges.iter().map(|range| range.primary);
            owners.all(|owner| ports.contains(&owner)) && view.replicating
        });
    }

    /// Strikes the placeholders from each node's list.
    fn forget_placeholders(&self) {
        for node in self.nodes {
            for id in &self.placeholders {
                // Newer servers tell each other whom to forget, and may have been quicker.
                if let Err(error) = node.try_run::<()>(&["CLUSTER", "FORGET", id]) {
                    let text = error_text(&error);
                    assert!(text.contains("Unknown node"), "a placeholder stays: {text}");
                }
            }
        }
    }

    /// Puts a first command into each replication stream.
    ///
    /// Nobody lists a replica whose offset is 0, and without writes it stays 0 for up to 10 s.
    fn start_replication(&self) {
        for primary in &self.nodes[..self.shards] {
            primary.run::<()>(&["FLUSHALL"]);
        }
    }

    /// Waits until a condition holds for the view of every node.
    fn until_all(&self, what: &str, condition: impl Fn(View) -> bool) {
        eventually(STEP_LIMIT, what, || {
            let holds = |node| View::of(node).is_ok_and(&condition);
            self.nodes.iter().all(holds)
        });
    }

    /// Runs a command everywhere.
    fn on_all_nodes(&self, args: &[&str]) {
        for node in self.nodes {
            node.run::<()>(args);
        }
    }
}

/// 40 hexadecimal digits, as every node id.
fn random_id() -> String {
    format!("{:016x}{:016x}{:08x}", random(), random(), random() as u32)
}
