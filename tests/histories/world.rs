//! Plain servers, their configuration node, and proxies, with a relay on each way that a fault can strike.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::Clients;
use crate::common::{Proxy as Relay, RmrProxy, Server, Wire, eventually, poll};
use crate::workloads::Work;

/// More than anything takes when nothing is wrong any longer.
const SOON: Duration = Duration::from_secs(40);

/// The number of slots: few, so that all of them move in no time.
pub const SLOTS: u16 = 64;

/// The time within which lost nodes are replaced, and slots have moved, and then some.
const LONG: Duration = Duration::from_secs(60);

/// The time within which proxies write down that a node has failed.
const SETTLED: Duration = Duration::from_millis(400);

/// The time for which a node that was killed has what it had saved.
const OLD_FOR: Duration = Duration::from_millis(700);

/// Says which slot has no copy at the processes that follow with their addresses.
const OTHERS: &str = "local process = {} \
    for place = 1, #ARGV, 2 do process[ARGV[place]] = ARGV[place + 1] end \
    for slot = 0, tonumber(redis.call('HGET', 'settings', 'slots')) - 1 do \
        local has_other = false \
        for _, node in ipairs(redis.call('LRANGE', 'hashingslot:' .. slot, 0, -1)) do \
            local known = string.match(redis.call('HGET', 'nodes', node) or '', '^%S+') \
            has_other = has_other or (known and known == process[node]) \
        end \
        if not has_other then return 'slot ' .. slot end \
    end \
    return ''";

/// Says what is not as it was in the beginning.
const WHOLE: &str = "local copies = tonumber(redis.call('HGET', 'settings', 'copies')) \
    if redis.call('EXISTS', 'moves') == 1 then return 'slots move' end \
    for slot = 0, tonumber(redis.call('HGET', 'settings', 'slots')) - 1 do \
        if redis.call('LLEN', 'hashingslot:' .. slot) ~= copies then return 'slot ' .. slot end \
        if not string.match(redis.call('HGET', 'slots', slot) or '', ' ok$') then return 'slot ' .. slot end \
    end \
    for _, entry in ipairs(redis.call('HVALS', 'nodes')) do \
        if not string.match(entry, ' in %d+$') then return entry end \
    end \
    return ''";

/// Says whether a node is neither in nor waits.
const GONE: &str = "if redis.call('HEXISTS', 'nodes', ARGV[1]) == 1 then return 'in' end \
    for _, list in ipairs({'newnodes', 'joining'}) do \
        if redis.call('LPOS', list, ARGV[1]) then return 'waits' end \
    end \
    return 'gone'";

/// The most that a proxy lets a command take, in milliseconds.
const TIMEOUT_MS: u32 = 2000;

/// The numbers of nodes, copies and proxies.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub copies: usize,
    pub nodes: usize,
    pub proxies: usize,
    /// The last node leaves and comes back all the time, so that slots move.
    pub moves: bool,
    /// The work of clients.
    pub work: Work,
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
    /// The node that something was done to last.
    struck: AtomicUsize,
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
        // Its answers outlive a kill: they are all that is known of who holds what.
        let config = Server::builder().module(false).config("appendonly", "yes").start();
        let nodes: Vec<Node> = (0..shape.nodes)
            .map(|_| {
                let server = Server::builder().module(false).start();
                let relay = Relay::to(server.port());
                relay.strike_greetings(true);
                Node { server, relay }
            })
            .collect();
        // A lost node is replaced in little more time than a proxy.
        let (slots, copies) = (SLOTS.to_string(), shape.copies.to_string());
        config.run::<u64>(&["HSET", "settings", "slots", &slots, "copies", &copies, "grace-ms", "2500"]);
        let addresses: Vec<String> = nodes.iter().map(|node| node.relay.address()).collect();
        let words: Vec<&str> = ["LPUSH", "newnodes"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
        config.run::<u64>(&words);
        let proxies: Vec<Proxy> = (0..shape.proxies).map(|_| Proxy::start(&config, shape.without)).collect();
        let clients = Clients::new(proxies.iter().map(|proxy| proxy.running().port()));
        let world = Self { shape, config, nodes, proxies, clients, struck: AtomicUsize::new(0) };
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

    /// Waits until all slots have all their copies, in order, and no slot moves. A node that has left comes back.
    pub fn await_whole(&self) {
        eventually(LONG, "all slots have all their copies", || {
            self.bring_back();
            self.ask_config(WHOLE, &[]).as_deref() == Some("")
        });
    }

    /// Returns whether a node may lose its memory: each slot has a copy elsewhere, and had one some moments ago.
    pub fn may_lose(&self, number: usize) -> bool {
        self.has_others(number) && poll(SETTLED, || None::<()>).is_none() && self.has_others(number)
    }

    fn has_others(&self, number: usize) -> bool {
        let process = |node: &Node| {
            let info: String = node.server.try_run(&["INFO", "server"]).ok()?;
            let id = info.lines().find_map(|line| line.strip_prefix("run_id:"))?.to_owned();
            Some([node.relay.address(), id])
        };
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != number);
        let known: Option<Vec<[String; 2]>> = others.map(|(_, node)| process(node)).collect();
        known.is_some_and(|known| self.ask_config(OTHERS, known.as_flattened()).as_deref() == Some(""))
    }

    fn ask_config(&self, script: &str, args: &[String]) -> Option<String> {
        let words: Vec<&str> = ["EVAL", script, "0"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let mut connection = self.config.try_connection().ok()?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).ok()
    }

    /// Has a node that has left come in again, as an operator would.
    pub fn bring_back(&self) {
        for node in &self.nodes {
            let address = node.relay.address();
            if self.ask_config(GONE, std::slice::from_ref(&address)).as_deref() == Some("gone") {
                // It has started with what it had saved.
                let _ = node.server.try_run::<()>(&["FLUSHALL"]);
                let _ = self.config.try_run::<u64>(&["LPUSH", "newnodes", &address]);
            }
        }
    }

    /// Has a node leave, if all others hold what it holds; says whether it is to go.
    pub fn send_away(&self, number: usize) -> bool {
        let address = self.nodes[number].relay.address();
        let Ok(mut wire) = Wire::try_connect(self.proxies[0].running().port(), SOON) else { return false };
        wire.try_call(&["RMR.PLACE", "REMOVE", &address]).is_ok_and(|frame| frame.starts_with(b"+OK"))
    }

    /// Returns whether a node has left.
    pub fn has_left(&self, number: usize) -> bool {
        self.ask_config(GONE, &[self.nodes[number].relay.address()]).as_deref() == Some("gone")
    }

    /// Says that something is done to a node.
    pub fn strikes(&self, number: usize) {
        self.struck.store(number, Ordering::Relaxed);
    }

    /// Returns the node that something was done to last.
    pub fn struck(&self) -> usize {
        self.struck.load(Ordering::Relaxed)
    }

    /// Kills a node and starts it anew. Its saved data is gone some time later, as an operator would see to: with that it is
    /// not let in.
    pub fn restart_node(&self, number: usize) {
        let server = &self.nodes[number].server;
        server.restart();
        let told: String = server.try_run(&["INFO", "persistence"]).unwrap_or_default();
        let loaded = told.lines().find_map(|line| line.strip_prefix("rdb_last_load_keys_loaded:"));
        if loaded.is_some_and(|count| count.trim() != "0") {
            poll(OLD_FOR, || None::<()>);
            let _ = server.try_run::<()>(&["FLUSHALL"]);
        }
    }

    /// Has a proxy end, and starts another one in its place, which listens elsewhere, when something is done.
    pub fn restart_proxy(&self, number: usize, end: fn(&RmrProxy), meanwhile: impl FnOnce()) {
        let proxy = &self.proxies[number];
        let mut running = proxy.running();
        end(&running);
        running.end(SOON);
        meanwhile();
        *running = started(&proxy.to_config, self.shape.without);
        self.clients.moved(number, running.port());
    }
}
