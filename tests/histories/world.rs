//! Plain servers, their configuration node, and proxies, with a relay on each way that a fault can strike.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::Clients;
use crate::common::{Proxy as Relay, RmrProxy, Server, eventually};

/// More than anything takes when nothing is wrong any longer.
const SOON: Duration = Duration::from_secs(40);

/// The most that a proxy lets a command take, in milliseconds.
const TIMEOUT_MS: u32 = 2000;

/// The numbers of nodes, copies and proxies.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub copies: usize,
    pub nodes: usize,
    pub proxies: usize,
    /// The safeguard that the proxies leave out, to see that this is noticed. Only debug builds of them can.
    pub without: &'static str,
}

/// A data node, and the relay that stands for it: its address is the one that is pushed to `newnodes`.
pub struct Node {
    pub server: Server,
    pub relay: Relay,
}

pub struct World {
    shape: Shape,
    pub config: Server,
    pub nodes: Vec<Node>,
    pub proxies: Vec<Proxy>,
    pub clients: Clients,
    has_lost_one: AtomicBool,
}

/// A proxy, and the relay by which it reaches the configuration node.
pub struct Proxy {
    running: Mutex<RmrProxy>,
    pub to_config: Relay,
}

impl Proxy {
    fn start(config: &Server, without: &str) -> Self {
        let to_config = Relay::to(config.port());
        to_config.strike_greetings(true);
        Self { running: Mutex::new(started(&to_config, without)), to_config }
    }

    pub fn running(&self) -> MutexGuard<'_, RmrProxy> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn started(to_config: &Relay, without: &str) -> RmrProxy {
    let builder = RmrProxy::builder().set("placement", format!("redis://{}", to_config.address()));
    builder.set("timeout-ms", TIMEOUT_MS).set("threads", 2).env("RMR_WITHOUT", without).start()
}

impl World {
    /// Starts it all, and waits until each proxy serves each node's keys.
    pub fn start(shape: Shape) -> Self {
        // What it has answered outlives a kill: all that is known of who holds what.
        let config = Server::builder().module(false).config("appendonly", "yes").start();
        let nodes: Vec<Node> = (0..shape.nodes)
            .map(|_| {
                let server = Server::builder().module(false).start();
                let relay = Relay::to(server.port());
                relay.strike_greetings(true);
                Node { server, relay }
            })
            .collect();
        if shape.copies > 1 {
            config.run::<u64>(&["HSET", "settings", "copies", &shape.copies.to_string()]);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| node.relay.address()).collect();
        let words: Vec<&str> = ["LPUSH", "newnodes"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
        config.run::<u64>(&words);
        let proxies: Vec<Proxy> = (0..shape.proxies).map(|_| Proxy::start(&config, shape.without)).collect();
        let clients = Clients::new(proxies.iter().map(|proxy| proxy.running().port()));
        let world = Self { shape, config, nodes, proxies, clients, has_lost_one: AtomicBool::new(false) };
        world.await_served();
        world
    }

    /// Waits until each proxy reads and writes keys of all nodes.
    pub fn await_served(&self) {
        for proxy in &self.proxies {
            let proxy = proxy.running();
            eventually(SOON, "all slots are served", || {
                let mut wire = proxy.wire();
                let serves = |number| {
                    let key = format!("served:{number}");
                    wire.reply(&format!("SET {key} 1")) == "+OK" && wire.reply(&format!("GET {key}")) == "\"1\""
                };
                (0..20).all(serves)
            });
        }
    }

    /// Kills a node and starts it anew.
    pub fn restart_node(&self, number: usize) {
        self.has_lost_one.store(true, Ordering::Relaxed);
        self.nodes[number].server.restart();
    }

    /// Returns whether a node was killed so far.
    pub fn has_lost_one(&self) -> bool {
        self.has_lost_one.load(Ordering::Relaxed)
    }

    /// Kills a proxy and starts another one in its place, which listens elsewhere.
    pub fn restart_proxy(&self, number: usize) {
        let proxy = &self.proxies[number];
        let mut running = proxy.running();
        running.kill();
        *running = started(&proxy.to_config, self.shape.without);
        self.clients.moved(number, running.port());
    }
}
