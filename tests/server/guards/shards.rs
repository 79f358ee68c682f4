//! A write to several nodes that the node which is asked would refuse is done at none: the others are not even sent theirs.

use std::time::Duration;

use super::{NOREPLICAS, fail_to_save};
use crate::common::{Cluster, Server, Wire, eventually};

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Three nodes, asked by way of the first, with a key at each.
struct Shards<'a> {
    nodes: Vec<&'a Server>,
    keys: Vec<String>,
    has_proxy_mode: bool,
    name_of_asked: String,
}

impl Shards<'_> {
    fn keys(&self) -> String {
        self.keys.join(" ")
    }

    fn pairs(&self, value: &str) -> String {
        self.keys.iter().map(|key| format!("{key} {value}")).collect::<Vec<_>>().join(" ")
    }

    fn values(&self) -> Vec<String> {
        self.nodes.iter().zip(&self.keys).map(|(node, key)| node.reply(&format!("GET {key}"))).collect()
    }

    /// Lines that are answered as a server would.
    fn commands(&self) -> Vec<String> {
        let pairs = self.pairs("9");
        vec![format!("RMR.EXEC NONATOMIC MSET {pairs}"), format!("RMR.EXEC NONATOMIC WITHNODES MSET {pairs}")]
    }

    /// Returns lines that delete, which need no memory.
    fn deletes(&self) -> Vec<String> {
        let keys = self.keys();
        let mut deletes = vec![format!("RMR.EXEC DEL {keys}"), format!("RMR.EXEC WITHNODES UNLINK {keys}")];
        deletes.extend(self.has_proxy_mode.then(|| format!("DEL {keys}")));
        deletes
    }

    /// Lines that are answered by what a shard has said.
    fn maps(&self) -> [String; 3] {
        let keys = self.keys();
        [
            format!("RMR.MAP LIST 3 {keys} SET {{}} 9"),
            format!("RMR.MAP COUNT 3 {keys} APPEND {{}} 9"),
            format!("RMR.MAP SUM 3 {keys} INCRBY {{}} 9"),
        ]
    }

    fn assert_refused(&self, lines: Vec<String>, words: &str) {
        let begins = format!("-{words}");
        lines.iter().for_each(|line| self.assert_refusal(line, &begins));
        let begins = format!("-RMRSHARD {}: {words}", self.name_of_asked);
        self.maps().iter().for_each(|line| self.assert_refusal(line, &begins));
    }

    /// A connection to the first node, served in proxy mode where there is that. All others are not: in proxy mode settings
    /// are those of all nodes.
    fn wire(&self) -> Wire {
        let mut wire = self.nodes[0].wire();
        if self.has_proxy_mode {
            assert_eq!(wire.reply("RMR.PROXY ON"), "+OK");
        }
        wire
    }

    fn assert_refusal(&self, line: &str, begins: &str) {
        let reply = self.wire().reply(line);
        assert!(reply.starts_with(begins), "{line}: {reply}");
        assert_eq!(self.values(), ["\"1\""; 3], "{line}");
    }
}

/// Checks on the nodes of a cluster, with and without pushdown, and on servers of a list.
fn with_each_kind_of_shards(check: impl Fn(&Shards<'_>)) {
    for pushdown in ["off", "on"] {
        let builder = Cluster::builder().module_args(["pushdown", pushdown]);
        let cluster = builder.arg("--enable-protected-configs").arg("yes").start();
        let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "k")).collect();
        cluster.fill(3, |number| (keys[number].clone(), "1"));
        let asked = cluster.node(0);
        let has_proxy_mode = asked.try_run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "opt-in"]).is_ok();
        check(&Shards {
            nodes: cluster.nodes().iter().collect(),
            keys,
            has_proxy_mode,
            name_of_asked: asked.shown_name(),
        });
    }
    let servers: Vec<Server> =
        (0..3).map(|_| Server::builder().arg("--enable-protected-configs").arg("yes").start()).collect();
    let addresses: Vec<String> = servers.iter().map(Server::address).collect();
    servers[0].run::<()>(&["CONFIG", "SET", "rmr.nodes", &addresses.join(" ")]);
    let holder = |key: &String| {
        assert_eq!(servers[0].reply(&format!("RMR.EXEC SET {key} 1")), "+OK");
        servers.iter().position(|server| server.reply(&format!("EXISTS {key}")) == "1").expect("a server has it")
    };
    let mut keys = [const { None }; 3];
    for key in (0..).map(|number| format!("k{number}")) {
        let holder = holder(&key);
        keys[holder].get_or_insert(key);
        if keys.iter().all(Option::is_some) {
            break;
        }
    }
    let keys = keys.into_iter().flatten().collect();
    check(&Shards {
        nodes: servers.iter().collect(),
        keys,
        has_proxy_mode: false,
        name_of_asked: servers[0].address(),
    });
}

#[test]
fn too_few_replicas_here_leave_all_nodes_as_they_are_by_exec_map_pushdown_and_proxy() {
    with_each_kind_of_shards(|shards| {
        let asked = shards.nodes[0];
        asked.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        shards.assert_refused([shards.commands(), shards.deletes()].concat(), NOREPLICAS);
        let keys = shards.keys();
        assert_eq!(asked.reply(&format!("RMR.EXEC MGET {keys}")), "[\"1\", \"1\", \"1\"]", "reads go on");

        let reply = asked.reply(&format!("RMR.EXEC NONATOMIC PARTIAL MSET {}", shards.pairs("2")));
        assert!(reply.contains(NOREPLICAS), "{reply}");
        assert_eq!(shards.values(), ["\"1\"", "\"2\"", "\"2\""], "who allows failures gets what can be had");
        asked.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
        assert_eq!(asked.reply(&format!("RMR.EXEC NONATOMIC MSET {}", shards.pairs("3"))), "+OK");
        assert_eq!(shards.values(), ["\"3\""; 3]);
    });
}

#[test]
fn a_failed_snapshot_here_leaves_all_nodes_as_they_are_by_exec_map_pushdown_and_proxy() {
    with_each_kind_of_shards(|shards| {
        fail_to_save(shards.nodes[0]);
        shards.assert_refused([shards.commands(), shards.deletes()].concat(), "MISCONF ");
    });
}

#[test]
fn a_full_memory_here_leaves_all_nodes_as_they_are_by_exec_map_pushdown_and_proxy() {
    with_each_kind_of_shards(|shards| {
        let asked = shards.nodes[0];
        asked.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        shards.assert_refused(shards.commands(), OOM);
        assert_eq!(asked.reply(&format!("RMR.EXEC DEL {}", shards.keys())), "3", "what needs no memory goes on");
    });
}

#[test]
fn a_pause_of_writes_here_is_waited_out_before_any_node_writes_by_exec_map_pushdown_and_proxy() {
    with_each_kind_of_shards(|shards| {
        let asked = shards.nodes[0];
        asked.run::<()>(&["CLIENT", "PAUSE", "600000", "WRITE"]);
        let (keys, pairs) = (shards.keys(), shards.pairs("9"));
        for line in [
            format!("RMR.EXEC TIMEOUT 300 NONATOMIC MSET {pairs}"),
            format!("RMR.MAP TIMEOUT 300 LIST 3 {keys} SET {{}} 9"),
            format!("RMR.MAP TIMEOUT 300 SUM 3 {keys} INCRBY {{}} 9"),
        ] {
            let reply = asked.reply(&line);
            assert!(reply.contains("TRYAGAIN writes are paused"), "{line}: {reply}");
            assert_eq!(shards.values(), ["\"1\""; 3], "{line}");
        }
        let lines = shards.deletes();
        let mut waiting: Vec<Wire> = lines.iter().map(|_| shards.wire()).collect();
        waiting.iter_mut().zip(&lines).for_each(|(wire, line)| wire.send(&line.split(' ').collect::<Vec<_>>()));
        eventually(Duration::from_secs(10), "they wait", || asked.rmr_figure("inflight") == lines.len() as u64);
        assert_eq!(shards.values(), ["\"1\""; 3]);
        asked.run::<()>(&["CLIENT", "UNPAUSE"]);
        waiting.iter_mut().for_each(|wire| assert_ne!(wire.read_frame()[0], b'-'));
        assert_eq!(shards.values(), ["nil"; 3]);
    });
}

#[test]
fn to_ask_whether_writes_are_taken_changes_nothing_and_is_no_error() {
    let cluster = Cluster::start(2);
    let (here, there) = (cluster.key_for(0, "k"), cluster.key_for(1, "k"));
    let node = cluster.node(0);
    node.run::<()>(&["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
    node.run::<()>(&["CONFIG", "RESETSTAT"]);
    for line in ["SET KEY 1 EX 1000", "SET KEY 1", "LPUSH KEY 1", "EXISTS KEY"] {
        node.run::<()>(&["DEL", &here]);
        node.reply(&line.replace("KEY", &here));
        let expires = || node.reply(&format!("PEXPIRETIME {here}"));
        let before = expires();
        let mut listener = node.wire();
        assert!(listener.reply("SUBSCRIBE __keyevent@0__:expire").contains("subscribe"));
        // A write that changes nothing itself.
        let reply = node.reply(&format!("RMR.MAP SUM 2 {here} {there} PEXPIREAT {{}} 1 GT"));
        assert_eq!((reply.as_str(), expires()), ("0", before), "{line}");
        assert!(!listener.answers_within(Duration::from_millis(1)), "{line}");
    }
    let commands: String = node.run(&["INFO", "commandstats"]);
    let failed = commands.lines().find(|line| !line.starts_with('#') && !line.ends_with("failed_calls=0"));
    assert!(failed.is_none() && !commands.contains("cmdstat_flushall"), "{commands}");
}
