//! The deployments on which the law holds: clusters of one, three and five shards, lists of hosts, single servers, with the
//! module on all servers or on some.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::common::{Cluster, Server, View, Wire, slot_of};
use crate::generate::Argv;
use crate::pair::shown;
use crate::reply::Reply;

/// The number of the database that single servers use.
const DATABASE: &str = "3";

/// Servers with data, and one of them that is asked.
pub struct Deployment {
    pub name: &'static str,
    belongs: Belongs,
    /// The servers that have the module, each with connections that speak RESP2 and RESP3.
    asked: Vec<[Wire; 2]>,
    /// One connection to each server that holds keys.
    holders: Vec<Wire>,
    /// They run as long as this lives.
    _servers: (Option<Cluster>, Vec<Server>),
}

/// The rule by which a key belongs to a server.
enum Belongs {
    /// By node of a cluster, the slots that it owns.
    Slots(Vec<RangeInclusive<u16>>),
    /// There is one.
    One,
    /// Only the server that is asked knows.
    Elsewhere,
}

/// The functions that start a deployment each. They are started one after the other.
pub const ALL: [fn() -> Deployment; 8] = [
    || Deployment::cluster("one shard", 1, 0),
    || Deployment::cluster("three shards", 3, 0),
    || Deployment::cluster("five shards", 5, 0),
    || Deployment::cluster("three shards, one without the module", 3, 1),
    || Deployment::cluster("five shards, three without the module", 5, 3),
    || Deployment::hosts("hosts without the module", &[false, false, false]),
    || Deployment::hosts("hosts, some with the module", &[true, false, true]),
    Deployment::single,
];

impl Deployment {
    /// Returns a cluster whose last nodes have lost the module.
    fn cluster(name: &'static str, shards: usize, without: usize) -> Self {
        let cluster = Cluster::builder().unloadable().shards(shards).start();
        for node in &cluster.nodes()[shards - without..] {
            node.unload();
        }
        let asked = cluster.nodes()[..shards - without].iter().map(connections).collect();
        let holders = cluster.nodes().iter().map(Server::wire).collect();
        let view = View::of(cluster.node(0)).expect("a view of the cluster");
        let owned = |node: &Server| view.ranges.iter().find(|range| range.primary == node.port());
        let owners = cluster.nodes().iter().map(|node| owned(node).map(|range| range.first..=range.last));
        let owners = owners.collect::<Option<_>>().expect("slots of each node");
        Self { name, belongs: Belongs::Slots(owners), asked, holders, _servers: (Some(cluster), Vec::new()) }
    }

    /// Returns a list of hosts, of which these have the module.
    fn hosts(name: &'static str, with_module: &[bool]) -> Self {
        let mut servers: Vec<Server> =
            with_module.iter().map(|&is_with| Server::builder().module(is_with).start()).collect();
        let list = servers.iter().map(Server::address).collect::<Vec<String>>().join(" ");
        let holders = servers.iter().map(Server::wire).collect();
        servers.push(Server::builder().module_args(["nodes", &list]).start());
        let asked = servers.last().map(connections).into_iter().collect();
        Self { name, belongs: Belongs::Elsewhere, asked, holders, _servers: (None, servers) }
    }

    /// Returns a server of its own, in a database that is not the first.
    fn single() -> Self {
        let server = Server::start();
        let (mut asked, mut holder) = (connections(&server), server.wire());
        for wire in asked.iter_mut().chain([&mut holder]) {
            wire.call(&["SELECT", DATABASE]);
        }
        let (asked, holders) = (vec![asked], vec![holder]);
        Self { name: "a single server", belongs: Belongs::One, asked, holders, _servers: (None, vec![server]) }
    }

    /// Returns a plain server to compare with: it has the module, so that reducers have the keys by name.
    pub fn reference() -> Self {
        let server = Server::start();
        let (asked, holders) = (vec![connections(&server)], vec![server.wire()]);
        Self { name: "the reference", belongs: Belongs::One, asked, holders, _servers: (None, vec![server]) }
    }

    /// Returns the number of servers that can be asked.
    pub fn asked_count(&self) -> usize {
        self.asked.len()
    }

    /// Asks the server with this index.
    pub fn ask(&mut self, at: usize, is_resp3: bool, argv: &Argv) -> Reply {
        let frame = self.asked[at][usize::from(is_resp3)].try_call(argv);
        Reply::parse(&frame.unwrap_or_else(|error| panic!("{}: {}: no reply: {error}", self.name, shown(argv))))
    }

    /// Has all servers do something.
    pub fn on_all(&mut self, words: &[&str]) {
        for wire in &mut self.holders {
            let reply = Reply::parse(&wire.call(words));
            assert!(reply.error().is_none(), "{}: {words:?}: {reply}", self.name);
        }
    }

    /// Sets something on the server with this index that is asked.
    pub fn set(&mut self, at: usize, name: &str, value: &str) {
        let reply = Reply::parse(&self.asked[at][0].call(&["CONFIG", "SET", name, value]));
        assert!(reply.error().is_none(), "{}: {name}: {reply}", self.name);
    }

    /// Runs commands, each where its key belongs, all at once; the key is their second word.
    pub fn fill(&mut self, lines: &[Argv]) {
        let places: Vec<Option<usize>> = lines.iter().map(|line| self.holder_of(&line[1])).collect();
        for (line, place) in lines.iter().zip(&places) {
            if let Some(place) = place {
                self.holders[*place].send(line);
            }
        }
        for (line, place) in lines.iter().zip(&places) {
            let reply = match place {
                Some(place) => Reply::parse(&self.holders[*place].read_frame()),
                None => self.ask(0, false, &[b"RMR.EXEC".to_vec()].into_iter().chain(line.iter().cloned()).collect()),
            };
            assert!(reply.error().is_none(), "{}: {}: {reply}", self.name, shown(line));
        }
    }

    /// Returns the server that a key belongs to; `None` if only the server that is asked knows.
    fn holder_of(&self, key: &[u8]) -> Option<usize> {
        match &self.belongs {
            Belongs::Elsewhere => None,
            Belongs::One => Some(0),
            Belongs::Slots(owners) => owners.iter().position(|slots| slots.contains(&slot_of(key))),
        }
    }

    /// Returns all keys, each with a digest of what it holds.
    pub fn digests(&mut self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all = BTreeMap::new();
        for wire in &mut self.holders {
            let names = Reply::parse(&wire.call(&["KEYS", "*"]));
            let names: Argv = names.elements().iter().map(|name| name.bytes().to_vec()).collect();
            let argv: Argv = [b"DEBUG".to_vec(), b"DIGEST-VALUE".to_vec()].into_iter().chain(names.clone()).collect();
            let digests = Reply::parse(&wire.call(&argv));
            assert!(digests.elements().len() == names.len(), "{}: {digests}", self.name);
            for (name, digest) in names.into_iter().zip(digests.elements()) {
                let twice = all.insert(name, digest.bytes().to_vec());
                assert!(twice.is_none(), "{}: a key is there twice", self.name);
            }
        }
        all
    }

    /// Returns the names of all keys that match, by `SCAN` and nothing else.
    pub fn scan(&mut self, pattern: &[u8], kind: Option<&str>) -> Vec<Vec<u8>> {
        let mut names = BTreeSet::new();
        for wire in &mut self.holders {
            let mut cursor = b"0".to_vec();
            loop {
                let mut argv: Argv = vec![b"SCAN".to_vec(), cursor, b"MATCH".to_vec(), pattern.to_vec()];
                if let Some(kind) = kind {
                    argv.extend([b"TYPE".to_vec(), kind.as_bytes().to_vec()]);
                }
                let page = Reply::parse(&wire.call(&argv));
                let [next, found] = page.elements() else { panic!("{page}") };
                names.extend(found.elements().iter().map(|name| name.bytes().to_vec()));
                cursor = next.bytes().to_vec();
                if cursor == b"0" {
                    break;
                }
            }
        }
        names.into_iter().collect()
    }
}

fn connections(server: &Server) -> [Wire; 2] {
    [server.wire(), server.wire3()]
}
