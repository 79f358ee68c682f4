//! The two sides, with the same data: a cluster of three shards, or a server with rmr, and a single server that is asked
//! as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::{Cluster, RmrProxy, Server, Wire, slot_of};

use super::generate::Argv;
use super::guard::{Guard, Set};
use super::keys::{DATA, PLACES};
use super::reply::{Alike, Reply, are_alike};
use super::scripts::{EVALUATED, LIBRARY, LOADED, Stock};

/// Settings that the sequences change, and what they are at first.
const SETTINGS: [&str; 6] = ["slowlog-max-len", "128", "maxmemory-samples", "5", "maxmemory", "0"];

/// A connection that speaks RESP2, and one that speaks RESP3.
pub struct Wires([Wire; 2]);

impl Wires {
    fn of(server: &Server) -> Self {
        Self([server.wire(), server.wire3()])
    }

    fn of_program(proxy: &RmrProxy) -> Self {
        Self([proxy.wire(), proxy.wire3()])
    }

    /// Returns one reply, read to its end.
    pub fn call(&mut self, is_resp3: bool, argv: &Argv) -> Result<Reply, String> {
        let frame = self.0[usize::from(is_resp3)].try_call(argv);
        frame.map(|frame| Reply::parse(&frame)).map_err(|error| format!("no reply: {error}"))
    }

    /// Sends a command; its reply is read later.
    pub fn send(&mut self, is_resp3: bool, argv: &Argv) {
        self.0[usize::from(is_resp3)].send(argv);
    }

    /// Returns whether the reply, or its beginning, comes within this time.
    pub fn answers_within(&mut self, is_resp3: bool, limit: Duration) -> bool {
        self.0[usize::from(is_resp3)].answers_within(limit)
    }

    /// Returns the reply to what was sent.
    pub fn read(&mut self, is_resp3: bool) -> Result<Reply, String> {
        let frame = self.0[usize::from(is_resp3)].try_read_frame();
        frame.map(|frame| Reply::parse(&frame)).map_err(|error| format!("no reply: {error}"))
    }

    /// Many commands at once, in RESP3.
    fn all(&mut self, lines: &[Argv]) -> Vec<Reply> {
        lines.iter().for_each(|line| self.0[1].send(line));
        lines.iter().map(|_| Reply::parse(&self.0[1].read_frame())).collect()
    }
}

/// The request that is sent by way of rmr.
enum Asked {
    Cluster(Cluster),
    One(Server),
}

impl Asked {
    fn nodes(&self) -> &[Server] {
        match self {
            Self::Cluster(cluster) => cluster.nodes(),
            Self::One(server) => std::slice::from_ref(server),
        }
    }
}

/// The cluster and the single server.
pub struct Pair {
    pub alone: Wires,
    /// By node.
    pub nodes: Vec<Wires>,
    /// The same nodes, by connections that are served in proxy mode; none where the server cannot have it.
    pub proxied: Vec<Wires>,
    /// The program before the same nodes, once all roads are open, and connections to it.
    program: Option<(RmrProxy, Wires)>,
    pub stock: Stock,
    /// The guard that the sequences are played under.
    pub guard: Guard,
    /// By server, while it is set.
    set: Vec<Set>,
    /// By server, the single one first: a connection for the guards, as the others may be waiting.
    keepers: Vec<Wire>,
    /// The node of each hash slot that was asked for.
    owners: BTreeMap<u16, usize>,
    has_vectors: bool,
    asked: Asked,
    server: Server,
}

impl Pair {
    /// Returns a cluster beside a single server.
    pub fn start() -> Self {
        let cluster = Cluster::builder().config("enable-protected-configs", "yes").start();
        Self::of(Asked::Cluster(cluster))
    }

    /// Returns a server with rmr that is nobody's neighbour, beside one that is asked as it is.
    pub fn start_single() -> Self {
        Self::of(Asked::One(single()))
    }

    fn of(asked: Asked) -> Self {
        let server = single();
        let nodes = asked.nodes().iter().map(Wires::of).collect();
        let mut alone = Wires::of(&server);
        let has_vectors = alone.all(&[words("COMMAND INFO VADD")])[0].elements()[0].elements().len() > 1;
        let (owners, stock) = (BTreeMap::new(), Stock::of(&server));
        let (guard, set, proxied, program) = (Guard::None, Vec::new(), Vec::new(), None);
        let keepers = [&server].into_iter().chain(asked.nodes()).map(|server| server.wire()).collect();
        let mut pair =
            Self { alone, nodes, proxied, program, stock, guard, set, keepers, owners, has_vectors, asked, server };
        pair.begin();
        pair.stock = Stock::of(&pair.server);
        pair
    }

    /// Opens all roads: nodes reduce their own share, and serve some connections in proxy mode.
    pub fn open_roads(&mut self) {
        for node in self.asked.nodes() {
            node.run::<()>(&["CONFIG", "SET", "rmr.pushdown", "on"]);
        }
        if let Asked::Cluster(cluster) = &self.asked {
            let program = RmrProxy::before(cluster).start();
            let wires = Wires::of_program(&program);
            self.program = Some((program, wires));
        }
        let is_possible = self.server.redis_version() >= (7, 2);
        if is_possible && matches!(self.asked, Asked::Cluster(_)) {
            for node in self.asked.nodes() {
                node.run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "opt-in"]);
                let mut wires = Wires::of(node);
                let replies = [false, true].map(|is_resp3| wires.call(is_resp3, &words("RMR.PROXY ON")));
                assert!(replies.iter().all(|reply| reply.as_ref().is_ok_and(|reply| reply.error().is_none())));
                self.proxied.push(wires);
            }
        }
    }

    /// Returns whether plain commands can be answered for the whole cluster.
    pub fn is_proxied(&self) -> bool {
        !self.proxied.is_empty()
    }

    /// Returns whether the program `rmr-proxy` stands before the cluster.
    pub fn has_program(&self) -> bool {
        self.program.is_some()
    }

    /// Connections to it.
    pub fn program_wires(&mut self) -> &mut Wires {
        &mut self.program.as_mut().expect("a road that is open").1
    }

    /// Returns the servers that are asked by way of rmr.
    pub fn servers(&self) -> &[Server] {
        self.asked.nodes()
    }

    /// Returns the address of the node that holds a key.
    pub fn address_of(&mut self, key: &[u8]) -> String {
        let owner = self.owner(key);
        self.asked.nodes()[owner].address()
    }

    /// Sets the guard on all servers.
    pub fn guard(&mut self) {
        assert!(self.set.is_empty(), "a guard is set already");
        let servers = [&self.server].into_iter().chain(self.asked.nodes());
        self.set = servers.zip(&mut self.keepers).map(|(server, wire)| self.guard.set(server, wire)).collect();
    }

    /// Lifts it.
    pub fn unguard(&mut self) {
        self.set.drain(..).zip(&mut self.keepers).for_each(|(set, wire)| set.lift(wire));
    }

    /// Does what no guard may hinder.
    pub fn unguarded<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let is_set = !self.set.is_empty();
        self.unguard();
        let result = work(self);
        if is_set {
            self.guard();
        }
        result
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Returns whether all servers still run.
    pub fn is_alive(&self) -> bool {
        let is_program_alive = self.program.as_ref().is_none_or(|(program, _)| program.alive());
        is_program_alive && self.asked.nodes().iter().chain([&self.server]).all(|server| server.alive())
    }

    /// Both sides as they are at the beginning of a sequence.
    pub fn begin(&mut self) {
        self.unguard();
        let setup: Vec<Argv> =
            ["FLUSHALL", "FUNCTION FLUSH", "SCRIPT FLUSH", "ACL DELUSER alice bob"].map(words).into();
        let mut setup: Vec<Argv> = setup.into_iter().chain([config_set(), load_library()]).collect();
        setup
            .extend(LOADED.iter().map(|script| vec![b"SCRIPT".to_vec(), b"LOAD".to_vec(), script.as_bytes().to_vec()]));
        self.alone.all(&setup);
        self.nodes.iter_mut().for_each(|node| drop(node.all(&setup)));

        let mut shares: Vec<Vec<Argv>> = self.nodes.iter().map(|_| Vec::new()).collect();
        let mut whole = Vec::new();
        for place in PLACES {
            for line in DATA {
                if line.starts_with("VADD") && !self.has_vectors {
                    continue;
                }
                let key = line.split(' ').find_map(|word| word.strip_prefix('$')).filter(|name| !name.is_empty());
                let key = format!("{place}{}", key.expect("a key"));
                let argv = fill(line, place);
                shares[self.owner(key.as_bytes())].push(argv.clone());
                whole.push(argv);
            }
        }
        check(&whole, &self.alone.all(&whole));
        for (node, share) in self.nodes.iter_mut().zip(&shares) {
            check(share, &node.all(share));
        }
    }

    /// Returns the node that holds a key.
    pub fn owner(&mut self, key: &[u8]) -> usize {
        let slot = slot_of(key);
        *self.owners.entry(slot).or_insert_with(|| match &self.asked {
            Asked::Cluster(cluster) => cluster.owner_of(slot),
            Asked::One(_) => 0,
        })
    }

    /// Returns the keys among the arguments of a command, as the server sees them.
    pub fn keys(&mut self, argv: &Argv) -> Vec<Vec<u8>> {
        let ask = words("COMMAND GETKEYS").into_iter().chain(argv.iter().cloned()).collect();
        let keys = self.alone.call(false, &ask).unwrap_or_else(|error| panic!("{error}"));
        keys.elements().iter().map(|key| key.bytes().to_vec()).collect()
    }

    /// Gives the cluster what the single server has under a key.
    pub fn copy(&mut self, key: &[u8]) {
        let key = key.to_vec();
        let [dump, expiry] = ["DUMP", "PEXPIRETIME"].map(|name| self.one(&[name.as_bytes(), &key]));
        let owner = self.owner(&key);
        let del = vec![b"DEL".to_vec(), key.clone()];
        let mut lines = vec![del];
        if let Reply::Text(_, payload) = dump {
            let expiry = expiry.bytes().strip_prefix(b"-").map_or(expiry.bytes().to_vec(), |_| b"0".to_vec());
            lines.push(vec![b"RESTORE".to_vec(), key, expiry, payload, b"ABSTTL".to_vec()]);
        }
        let replies = self.nodes[owner].all(&lines);
        check(&lines, &replies);
    }

    fn one(&mut self, argv: &[&[u8]]) -> Reply {
        let argv = argv.iter().map(|word| word.to_vec()).collect();
        self.alone.all(&[argv]).pop().expect("a reply")
    }

    /// Returns whether both sides hold the same: keys, values, times, users, libraries, settings.
    ///
    /// # Errors
    /// The error says what differs.
    pub fn compare(&mut self) -> Result<(), String> {
        let list = |reply: &Reply| reply.elements().iter().map(|key| key.bytes().to_vec()).collect::<Vec<_>>();
        let mut alone = list(&self.alone.all(&[words("KEYS *")])[0]);
        let mut spread = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            spread.extend(list(&node.all(&[words("KEYS *")])[0]).into_iter().map(|key| (key, index)));
        }
        alone.sort();
        spread.sort();
        let names: Vec<Vec<u8>> = spread.iter().map(|(key, _)| key.clone()).collect();
        if names != alone {
            let odd =
                alone.iter().filter(|key| !names.contains(key)).chain(names.iter().filter(|key| !alone.contains(key)));
            let odd: Vec<String> = odd.map(|key| key.escape_ascii().to_string()).collect();
            return Err(format!("keys that only one side has, or that two nodes have: {}", odd.join(" ")));
        }
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let own: Vec<&Vec<u8>> = spread.iter().filter(|(_, owner)| *owner == index).map(|(key, _)| key).collect();
            let kinds: Vec<Argv> = own.iter().map(|key| vec![b"TYPE".to_vec(), (*key).clone()]).collect();
            let kinds = self.alone.all(&kinds);
            let looks: Vec<Argv> = own.iter().zip(&kinds).flat_map(|(key, kind)| look(key, &kind.text())).collect();
            differing(&looks, &node.all(&looks), &self.alone.all(&looks))?;
        }
        let state: Vec<Argv> =
            ["ACL LIST", "FUNCTION LIST WITHCODE", "CONFIG GET slowlog-max-len maxmemory*"].map(words).into();
        let alone = self.alone.all(&state);
        self.nodes.iter_mut().try_for_each(|node| differing(&state, &node.all(&state), &alone))
    }
}

/// Returns a server on its own that lets a test break its file.
fn single() -> Server {
    Server::builder().config("enable-protected-configs", "yes").start()
}

/// Returns the commands that show all of a key.
fn look(key: &[u8], kind: &str) -> Vec<Argv> {
    let line = match kind {
        "string" => "GET $",
        "list" => "LRANGE $ 0 -1",
        "set" => "SMEMBERS $",
        "hash" => "HGETALL $",
        "zset" => "ZRANGE $ 0 -1 WITHSCORES",
        "stream" => "XINFO STREAM $ FULL COUNT 0",
        "vectorset" => "VCARD $",
        other => panic!("a key of type {other}"),
    };
    let put = |word: Vec<u8>| if word == b"$" { key.to_vec() } else { word };
    ["TYPE $", "PEXPIRETIME $", line].map(|line| words(line).into_iter().map(put).collect()).into()
}

fn differing(looks: &[Argv], cluster: &[Reply], alone: &[Reply]) -> Result<(), String> {
    for ((look, here), there) in looks.iter().zip(cluster).zip(alone) {
        let how = match &look[0][..] {
            b"SMEMBERS" | b"HGETALL" | b"FUNCTION" | b"CONFIG" => Alike::InAnyOrder,
            _ => Alike::InTime,
        };
        if !are_alike(here, there, how) {
            return Err(format!("{}\n  cluster: {here}\n  alone:   {there}", shown(look)));
        }
    }
    Ok(())
}

/// Returns a line of [`DATA`] for one place.
fn fill(line: &str, place: &str) -> Argv {
    let scripts = |word: &str| EVALUATED.iter().find(|(name, _)| *name == word).map(|(_, script)| (*script).to_owned());
    let put = |word: &str| match word.strip_prefix('$') {
        Some(name) if !name.is_empty() => format!("{place}{name}"),
        _ => scripts(word).unwrap_or_else(|| word.to_owned()),
    };
    line.split(' ').map(|word| put(word).into_bytes()).collect()
}

fn config_set() -> Argv {
    ["CONFIG", "SET"].into_iter().chain(SETTINGS).map(|word| word.as_bytes().to_vec()).collect()
}

fn load_library() -> Argv {
    ["FUNCTION", "LOAD", LIBRARY].map(|word| word.as_bytes().to_vec()).into()
}

fn words(line: &str) -> Argv {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn check(lines: &[Argv], replies: &[Reply]) {
    for (line, reply) in lines.iter().zip(replies) {
        if let Some(error) = reply.error() {
            panic!("{}: {error}", shown(line));
        }
    }
}

/// Returns a command as one would type it.
pub fn shown(argv: &Argv) -> String {
    let word = |word: &Vec<u8>| {
        let text = word.escape_ascii().to_string();
        if word.is_empty() || word.contains(&b' ') { format!("\"{text}\"") } else { text }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}
