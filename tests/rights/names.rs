//! Names of keys are shown to those who may read the keys, whatever way leads to them; and nothing else tells that a key
//! is there that the caller may not read.

use crate::common::{Cluster, Wire, elements, show, slot_of};
use crate::users::{login, make_user};

/// Three shards, on each a slot with a key that the user `u` may read, and one that it may not. The user `none` may run
/// everything, and read nothing.
struct Keys {
    cluster: Cluster,
    tags: Vec<String>,
}

impl Keys {
    fn new(module_args: &[&str]) -> Self {
        let cluster = Cluster::builder().module_args(module_args.iter().copied()).start();
        let tags: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "tag")).collect();
        for tag in &tags {
            cluster.set(format!("mine:{{{tag}}}"), "1");
            cluster.set(format!("secret:{{{tag}}}"), "1");
        }
        make_user(cluster.nodes(), "u", "~mine:* ~tag:* &* +@all");
        make_user(cluster.nodes(), "none", "~none &* +@all");
        Self { cluster, tags }
    }

    /// Commands that name keys. Each shows the user one of its keys at least, where it is sent to this shard or to all.
    fn commands(&self, shard: usize) -> [String; 4] {
        let slot = slot_of(&self.tags[shard]);
        ["SCAN 0 COUNT 10000".into(), "RANDOMKEY".into(), "KEYS *".into(), format!("CLUSTER GETKEYSINSLOT {slot} 10")]
    }

    /// Those commands on all the ways to the shard.
    fn requests(&self, shard: usize) -> Vec<String> {
        let (node, tag) = (self.cluster.node(shard).address(), &self.tags[shard]);
        let mut lines = Vec::new();
        for command in self.commands(shard) {
            let words = command.split(' ').count();
            let exec =
                ["", "WITHNODES ", "PARTIAL ", "ON ALL ", "ON PRIMARIES ", "ON ALL WITHNODES "].map(str::to_owned);
            let named = [format!("NODE {node} "), format!("KEY {tag} "), format!("NODE {node} WITHNODES ")];
            lines.extend(exec.iter().chain(&named).map(|options| format!("RMR.EXEC {options}{command}")));
            let fan_out = ["", "WITHNODES ", "PARTIAL ", "ON ALL ", "REDUCE LIST "].map(str::to_owned);
            lines.extend(fan_out.iter().chain(&named).map(|options| format!("RMR.FANOUT {options}{command}")));
            lines.push(format!("RMR.BATCH {tag} 2 {words} {command} 2 GET mine:{{{tag}}}"));
            lines.push(format!("RMR.BATCH NOMERGE {tag} 1 {words} {command}"));
        }
        lines.extend(["CONCAT", "UNION", "TOPGROUPS 9"].map(|reducer| format!("RMR.FANOUT REDUCE {reducer} KEYS *")));
        lines.extend(
            ["CONCAT", "UNION"].map(|reducer| format!("RMR.FANOUT PARTIAL REDUCE {reducer} SCAN 0 COUNT 10000")),
        );
        lines
    }

    /// Maps, of which each key is a word of a command: a cursor, a pattern, a subcommand.
    fn maps(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for reducer in ["LIST", "CONCAT", "UNION", "TOPGROUPS 9", "PREFIX : LIST"] {
            let keys: Vec<String> = self.tags.iter().map(|tag| format!("*{{{tag}}}")).collect();
            lines.push(format!("RMR.MAP {reducer} 3 {} KEYS {{}}", keys.join(" ")));
            let patterns: Vec<String> = keys.iter().map(|key| format!("{key}*")).collect();
            lines.push(format!("RMR.MAP {reducer} 3 {} SCAN 0 COUNT 10000 MATCH {{}}", patterns.join(" ")));
        }
        // The node of this word's slot is asked; which one that is, is all the same.
        for slot in self.tags.iter().map(slot_of) {
            lines.push(format!("RMR.MAP LIST 1 GETKEYSINSLOT CLUSTER {{}} {slot} 10"));
        }
        lines
    }
}

#[track_caller]
fn hides(wire: &mut Wire, line: &str) -> String {
    let reply = wire.reply(line);
    assert!(!reply.contains("secret:"), "{line}: {reply}");
    reply
}

#[test]
fn no_road_names_a_key_that_the_caller_may_not_read_by_exec_fanout_reduce_map_and_batch() {
    for pushdown in ["off", "on"] {
        let keys = Keys::new(&["pushdown", pushdown]);
        let mut wire = login(keys.cluster.node(0), "u");
        for shard in 0..3 {
            for line in keys.requests(shard) {
                let reply = hides(&mut wire, &line);
                // A page of the cluster's cursor may have no key, another node none of the slot, and errors have none.
                let is_aimed = [" ON ", " NODE ", " KEY "].iter().any(|option| line.contains(option));
                let is_for_all = is_aimed || line.contains("KEYS *") || !line.starts_with("RMR.EXEC");
                let may_be_empty = line.contains("RANDOMKEY") || !is_for_all;
                let is_shown = reply.contains("mine:") || may_be_empty || reply.starts_with("-ERR ");
                assert!(is_shown, "{line}: {reply}");
            }
            let line = format!("RMR.EXEC NODE {} RANDOMKEY", keys.cluster.node(shard).address());
            let picked: Vec<String> = (0..60).map(|_| hides(&mut wire, &line)).collect();
            assert!(picked.iter().any(|key| key.starts_with("\"mine:")), "{picked:?}");
        }
        let maps = keys.maps();
        maps.iter().for_each(|line| drop(hides(&mut wire, line)));
        for line in maps.iter().filter(|line| line.contains(" KEYS ")) {
            assert_eq!(hides(&mut wire, line).matches("mine:").count(), 3, "{line}");
        }
        assert!(wire.reply(&maps[0]).matches("mine:").count() == 3, "what may be shown is");
        assert!(keys.cluster.node(0).reply(&maps[0]).matches("secret:").count() == 3, "to others all is shown");
        assert_eq!(keys.cluster.node(0).reply("RMR.FANOUT REDUCE CONCAT KEYS *").matches("secret:").count(), 3);
    }
}

#[test]
fn no_reducer_counts_keys_that_the_caller_may_not_read_here_or_on_another_node() {
    for pushdown in ["off", "on"] {
        let keys = Keys::new(&["pushdown", pushdown]);
        let mut wire = login(keys.cluster.node(0), "none");
        for _ in 0..10 {
            assert_eq!(wire.reply("RMR.FANOUT REDUCE COUNT RANDOMKEY"), "0", "pushdown {pushdown}");
        }
        assert_eq!(wire.reply("RMR.FANOUT REDUCE CONCAT KEYS *"), "[]");
        assert_eq!(wire.reply("RMR.EXEC RANDOMKEY"), "nil");
        assert_eq!(keys.cluster.node(0).reply("RMR.FANOUT REDUCE COUNT RANDOMKEY"), "3");
    }
}

#[test]
fn no_road_names_a_key_that_the_caller_may_not_read_in_multi_and_scripts() {
    let keys = Keys::new(&[]);
    let mut wire = login(keys.cluster.node(0), "u");
    let here = keys.cluster.node(0).address();
    for command in keys.commands(0) {
        for name in ["RMR.EXEC", "RMR.FANOUT"] {
            let line = format!("{name} NODE {here} {command}");
            assert_eq!(wire.reply("MULTI"), "+OK");
            assert_eq!(wire.reply(&line), "+QUEUED");
            let reply = hides(&mut wire, "EXEC");
            assert!(reply.contains("mine:") || command == "RANDOMKEY", "{line}: {reply}");
            let script = "return redis.call(unpack(ARGV))";
            let words: Vec<&str> = line.split(' ').collect();
            let reply = wire.ask(&[&["EVAL", script, "0"][..], &words].concat());
            assert!(!reply.contains("secret:"), "{line}: {reply}");
        }
    }
}

#[test]
fn no_road_names_a_key_that_the_caller_may_not_read_in_proxy_mode() {
    let keys = Keys::new(&[]);
    if keys.cluster.node(0).redis_version() < (7, 2) {
        return;
    }
    keys.cluster.nodes().iter().for_each(|node| node.run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "on"]));
    let mut wire = login(keys.cluster.node(0), "u");
    assert_eq!(hides(&mut wire, "KEYS *").matches("mine:").count(), 3);
    for _ in 0..20 {
        assert!(hides(&mut wire, "RANDOMKEY").starts_with("\"mine:"));
    }
    assert_eq!(all_pages(&mut wire, "SCAN", "COUNT 100000").concat().matches("mine:").count(), 3);
}

#[test]
fn no_road_names_a_key_that_the_caller_may_not_read_on_a_list_of_hosts() {
    let keys = Keys::new(&[]);
    let node = keys.cluster.node(0);
    let alone = crate::common::Server::start();
    alone.run::<()>(&["MSET", "mine:1", "", "secret:1", ""]);
    make_user(std::slice::from_ref(&alone), "u", "~mine:* &* +@all");
    let mut wire = login(&alone, "u");
    for line in ["RMR.SCAN 0 COUNT 100", "RMR.EXEC NODE 0 KEYS *", "RMR.FANOUT KEYS *", "RMR.FANOUT SCAN 0 COUNT 100"] {
        assert!(hides(&mut wire, line).contains("mine:") || line.contains("NODE 0"), "{line}");
    }
    assert!(node.reply("RMR.EXEC KEYS *").contains("secret:"));
}

/// Returns the replies of a whole pass.
fn all_pages(wire: &mut Wire, name: &str, options: &str) -> Vec<String> {
    let mut cursor = "0".to_owned();
    let mut pages = Vec::new();
    loop {
        let line = format!("{name} {cursor} {options}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let page = wire.call(&words);
        assert!(page.starts_with(b"*"), "{line}: {}", show(&page));
        cursor = show(elements(&page)[0]).trim_matches('"').to_owned();
        pages.push(show(&page));
        assert!(!pages[pages.len() - 1].contains("secret:"), "{line}: {pages:?}");
        if cursor == "0" {
            return pages;
        }
    }
}

#[test]
fn the_cursor_is_the_same_whether_or_not_a_forbidden_key_is_there_with_patterns_types_and_counts() {
    let keys = Keys::new(&[]);
    let mut wire = login(keys.cluster.node(0), "u");
    let mut passes = || -> Vec<Vec<String>> {
        let options = ["COUNT 1", "COUNT 1 TYPE string", "COUNT 1 MATCH secret:*", "COUNT 2 TYPE list MATCH *", ""];
        options.iter().map(|options| all_pages(&mut wire, "RMR.SCAN", options)).collect()
    };
    let before = passes();
    keys.cluster.fill(200, |number| (format!("secret:{number}"), "x"));
    for number in 0..20 {
        keys.cluster.node(1).run::<()>(&["RMR.EXEC", "RPUSH", &format!("secret:list:{number}"), "x"]);
    }
    assert_eq!(passes(), before);
}
