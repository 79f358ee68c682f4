//! [`World`]: a configuration node, data nodes and proxies, all of this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rmr::placement::slot::SlotFunc;
use rmr::testing::eventually;

use crate::common::{RmrProxy, Server};

/// More than anything takes that is not measured.
pub const SOON: Duration = Duration::from_secs(60);

/// More than all moves take.
const MOVED: Duration = Duration::from_secs(900);

/// Plain servers, one of which is the configuration node, and proxies.
pub struct World {
    pub config: Server,
    pub nodes: Vec<Server>,
    pub proxies: Vec<RmrProxy>,
}

impl World {
    /// Starts so many nodes and proxies, which serve that many copies of each key.
    pub fn start(copies: usize, nodes: usize, proxies: usize) -> Self {
        let world = Self::with_nodes_outside(copies, nodes, proxies);
        world.let_all_in();
        world
    }

    /// Lets all nodes in, and waits until all proxies serve.
    pub fn let_all_in(&self) {
        push(&self.config, &self.nodes.iter().collect::<Vec<_>>());
        self.proxies.iter().for_each(served);
    }

    /// Starts as many, with no node let in yet.
    pub fn with_nodes_outside(copies: usize, nodes: usize, proxies: usize) -> Self {
        let plain = |_| Server::builder().module(false).start();
        let config = plain(0);
        config.run::<u64>(&["HSET", "settings", "copies", &copies.to_string()]);
        let nodes = (0..nodes).map(plain).collect();
        let proxies = (0..proxies).map(|_| proxy(&config)).collect();
        Self { config, nodes, proxies }
    }

    /// Starts one more proxy, and waits until it serves, and the first one has given it its share of the slots.
    pub fn add_proxy(&mut self) {
        let proxy = proxy(&self.config);
        served(&proxy);
        let has_share = || self.proxies[0].log().contains("are handed over to other proxies");
        eventually(SOON, "the other proxy has its share", has_share);
        self.proxies.push(proxy);
    }

    /// Makes a node with data the only copy of all slots, and lets another one in, to which all slots are to move.
    pub fn let_leave(&self, full: &Server, empty: &Server) {
        let proxy = &self.proxies[0];
        eventually(SOON, "there are settings", || self.config.run::<bool>(&["HEXISTS", "settings", "version"]));
        ok(proxy, &format!("RMR.PLACE ADOPT {}", full.address()));
        served(proxy);
        ok(proxy, "RMR.PLACE PAUSE");
        push(&self.config, &[empty]);
        eventually(SOON, "the other node is in", || self.config.run::<bool>(&["HEXISTS", "nodes", &empty.address()]));
        ok(proxy, &format!("RMR.PLACE REMOVE {}", full.address()));
    }

    /// Has moves begin, and waits until the last slot has moved: its new copy counts.
    pub fn move_all(&self) {
        ok(&self.proxies[0], "RMR.PLACE RESUME");
        eventually(MOVED, "moves are planned", || self.config.run::<bool>(&["EXISTS", "moves"]));
        let are_flipped = |moves: Vec<String>| moves.iter().all(|entry| entry.contains("flipped"));
        eventually(MOVED, "all slots have moved", || are_flipped(self.config.run(&["HVALS", "moves"])));
    }

    /// Waits until nothing is left of moves.
    pub fn await_cleaned(&self) {
        eventually(MOVED, "nothing is left of moves", || !self.config.run::<bool>(&["EXISTS", "moves"]));
    }

    /// Returns for each slot who orders its writes, by the port of that proxy, and its state.
    pub fn slots(&self) -> Vec<(u16, String)> {
        let entries: BTreeMap<usize, String> = self.config.run(&["HGETALL", "slots"]);
        let entry = |entry: &String| {
            let mut words = entry.split(' ').skip(1);
            let port = words.next().and_then(|name| name.split('/').next()?.rsplit(':').next()?.parse().ok());
            (port.unwrap_or_default(), words.next().unwrap_or_default().to_owned())
        };
        entries.values().map(entry).collect()
    }

    /// Returns the slots whose writes a proxy orders.
    pub fn slots_of(&self, proxy: &RmrProxy) -> BTreeSet<u16> {
        let port = proxy.port();
        (0..).zip(self.slots()).filter(|(_, (by, _))| *by == port).map(|(slot, _)| slot).collect()
    }
}

/// Returns the slot of `key:0` and so on.
pub fn slot_of(key: usize) -> u16 {
    SlotFunc::default().slot(format!("key:{key}").as_bytes())
}

fn proxy(config: &Server) -> RmrProxy {
    RmrProxy::builder().set("placement", format!("redis://{}", config.address())).start()
}

/// Pushes nodes at once, as an operator would.
pub fn push(config: &Server, nodes: &[&Server]) {
    let mut words = vec!["LPUSH".to_owned(), "newnodes".to_owned()];
    words.extend(nodes.iter().map(|node| node.address()));
    config.run::<u64>(&words.iter().map(String::as_str).collect::<Vec<_>>());
}

fn served(proxy: &RmrProxy) {
    eventually(SOON, "slots are served", || !proxy.reply("DEL nothing").starts_with('-'));
}

fn ok(proxy: &RmrProxy, line: &str) {
    let reply = proxy.reply(line);
    assert_eq!(reply, "+OK", "{line}");
}
