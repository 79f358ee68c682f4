//! The servers that a flow may run on.

use std::thread;

use crate::common::{Cluster, Server};

/// Servers, of which those with the module can be asked.
pub struct Servers {
    pub kind: &'static str,
    own: Owned,
}

enum Owned {
    Cluster(Cluster),
    List(Vec<Server>),
}

impl Servers {
    /// Starts one of each kind that users have, at the same time: most of that is waiting.
    pub fn all() -> Vec<Self> {
        thread::scope(|scope| {
            let starts: [fn() -> Self; 4] = [Self::single, Self::list, Self::cluster, Self::cluster_without_one];
            let started = starts.map(|start| scope.spawn(start));
            started.into_iter().map(|servers| servers.join().expect("servers that have started")).collect()
        })
    }

    /// Starts a server without a cluster.
    pub fn single() -> Self {
        Self { kind: "a single server", own: Owned::List(vec![Server::start()]) }
    }

    /// Starts a server that is asked, and a list of two others.
    pub fn list() -> Self {
        let others: Vec<Server> = (0..2).map(|_| Server::builder().module(false).start()).collect();
        let list = others.iter().map(Server::address).collect::<Vec<_>>().join(" ");
        let asked = Server::builder().module_args(["nodes", &list]).start();
        Self { kind: "a list of servers", own: Owned::List([asked].into_iter().chain(others).collect()) }
    }

    /// Starts a cluster of three shards.
    pub fn cluster() -> Self {
        Self { kind: "a cluster", own: Owned::Cluster(Cluster::start(3)) }
    }

    /// Starts a cluster of three shards, of which the last one has no module.
    pub fn cluster_without_one() -> Self {
        let cluster = Cluster::builder().unloadable().start();
        cluster.node(2).unload();
        Self { kind: "a cluster of which one node lacks the module", own: Owned::Cluster(cluster) }
    }

    /// Returns the servers that can be asked.
    pub fn asked(&self) -> &[Server] {
        match &self.own {
            Owned::Cluster(cluster) if self.kind == "a cluster" => cluster.nodes(),
            Owned::Cluster(cluster) => &cluster.nodes()[..2],
            Owned::List(servers) => &servers[..1],
        }
    }

    /// Returns the servers that hold keys.
    pub fn holders(&self) -> &[Server] {
        match &self.own {
            Owned::Cluster(cluster) => cluster.nodes(),
            Owned::List(servers) if servers.len() == 1 => servers,
            Owned::List(servers) => &servers[1..],
        }
    }

    /// Runs a command wherever its key is.
    pub fn set(&self, line: &str) {
        let reply = self.asked()[0].reply(&format!("RMR.EXEC {line}"));
        assert!(!reply.starts_with('-'), "{}: {line}: {reply}", self.kind);
    }

    /// Returns the reply to a command for one key, wherever that is.
    pub fn exec(&self, line: &str) -> String {
        self.asked()[0].reply(&format!("RMR.EXEC {line}"))
    }

    /// Runs a test with nodes that reduce their own share, and without.
    pub fn with_and_without_pushdown(&self, test: impl Fn()) {
        for word in ["off", "on"] {
            for node in self.asked() {
                node.run::<()>(&["CONFIG", "SET", "rmr.pushdown", word]);
            }
            test();
        }
    }
}
