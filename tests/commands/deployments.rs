//! The servers that a test runs on: one without a cluster, and clusters of several sizes.

use std::thread;

use crate::common::{Cluster, Server};

/// A server or a cluster: commands must do the same on both.
pub enum Deployment {
    Standalone(Server),
    Cluster(Cluster),
}

impl Deployment {
    /// Starts one of each kind that users have, at the same time: most of that is waiting.
    pub fn all() -> Vec<Self> {
        thread::scope(|scope| {
            let clusters = [1, 3, 5].map(|shards| scope.spawn(move || Self::Cluster(Cluster::start(shards))));
            let standalone = Self::Standalone(Server::start());
            let clusters = clusters.into_iter().map(|cluster| cluster.join().expect("a cluster that has started"));
            [standalone].into_iter().chain(clusters).collect()
        })
    }

    /// Returns all nodes; any of them may be asked.
    pub fn nodes(&self) -> &[Server] {
        match self {
            Self::Standalone(server) => std::slice::from_ref(server),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// Returns keys that begin with `prefix`: the first one on the first shard, the next one on the next, and round again.
    pub fn keys(&self, prefix: &str, count: usize) -> Vec<String> {
        let shards = self.nodes().len();
        let key = |index: usize| match self {
            Self::Standalone(_) => format!("{prefix}:{index}"),
            Self::Cluster(cluster) => {
                let mut keys = cluster.keys_for(index % shards, prefix);
                keys.nth(index / shards).expect("an endless row of keys")
            }
        };
        (0..count).map(key).collect()
    }

    /// Returns the node that holds the key at `index` of [`keys`](Self::keys).
    pub fn holder(&self, index: usize) -> &Server {
        &self.nodes()[index % self.nodes().len()]
    }

    /// Returns keys as [`keys`](Self::keys) gives them, holding these strings.
    pub fn fill(&self, prefix: &str, values: &[&str]) -> Vec<String> {
        let keys = self.keys(prefix, values.len());
        for (index, (key, value)) in keys.iter().zip(values).enumerate() {
            self.holder(index).run::<()>(&["SET", key, value]);
        }
        keys
    }

    /// Returns a node as errors name it.
    pub fn name_of(&self, node: &Server) -> String {
        match self {
            Self::Standalone(_) => node.address(),
            Self::Cluster(_) => node.shown_name(),
        }
    }
}
