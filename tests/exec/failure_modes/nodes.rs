//! Nodes that stop, go, come and answer in part.

use std::time::{Duration, Instant};

use crate::common::{Cluster, Fault, Proxy, Server, Wire, eventually, in_time};

const SOON: Duration = Duration::from_secs(2);

/// Returns a cluster that does not give a stopped node up.
fn patient() -> Cluster {
    Cluster::builder().node_timeout(Duration::from_secs(30)).start()
}

#[test]
fn f01_a_stale_topology_never_shortens_an_answer() {
    let mut cluster = Cluster::start(3);
    cluster.fill(300, |number| (format!("key:{number}"), String::new()));
    let all_see = |cluster: &Cluster| cluster.nodes().iter().all(|node| node.reply("RMR.EXEC DBSIZE") == "300");
    assert!(all_see(&cluster));
    let new = cluster.add_node();
    for slot in 0..30 {
        cluster.move_slot(slot, 0, new);
    }
    eventually(SOON, "every node counts the new one's keys, without a refresh", || all_see(&cluster));
    let keys: Vec<String> = (0..300).map(|number| format!("key:{number}")).collect();
    let args: Vec<&str> = ["RMR.EXEC", "EXISTS"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    for node in cluster.nodes() {
        assert_eq!(node.wire().ask(&args), ":300", "asked {}", node.address());
    }
}

#[test]
fn f02_a_stopped_shard_costs_the_timeout_and_is_named() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let cluster = patient();
    let there = cluster.key_for(1, "key");
    let mut wire = cluster.node(0).wire();
    let lines = [
        "DBSIZE".to_owned(),
        format!("GET {there}"),
        format!("MGET a b c {there}"),
        "KEYS *".into(),
        "SCAN 6000 COUNT 100000".into(),
    ];
    for line in &lines {
        assert!(!wire.reply(&format!("RMR.EXEC {line}")).starts_with('-'), "{line}");
    }
    let stopped = cluster.node(1).shown_name();
    cluster.node(1).stop_signal();
    for line in &lines {
        let asked = Instant::now();
        let late = TIMEOUT + Duration::from_millis(100);
        let reply = in_time(late, || wire.reply(&format!("RMR.EXEC TIMEOUT 300 {line}")));
        assert!(reply.starts_with("-RMRTIMEOUT 300 ms") && reply.contains(&stopped), "{line}: {reply}");
        assert!(asked.elapsed() >= TIMEOUT, "{line} took {:?}", asked.elapsed());
    }
    assert!(wire.reply(&format!("RMR.EXPLAIN GET {there}")).contains("plan"), "nothing has to be sent for that");
    cluster.node(1).cont_signal();
    eventually(SOON, "it answers again", || wire.reply("RMR.EXEC DBSIZE") == "0");
}

#[test]
fn f03_a_timeout_raced_by_the_reply_gives_one_answer() {
    let cluster = Cluster::start(3);
    let node = cluster.node(0);
    let mut wire = node.wire();
    assert_eq!(wire.reply("RMR.EXEC DBSIZE"), "0");
    for turn in 0..300 {
        let marker = turn.to_string();
        wire.send(&["RMR.EXEC", "TIMEOUT", "1", "DBSIZE"]);
        wire.send(&["ECHO", &marker]);
        let reply = String::from_utf8_lossy(&wire.read_frame()).into_owned();
        assert!(reply == ":0\r\n" || reply.starts_with("-RMRTIMEOUT 1 ms"), "{reply}");
        let echo = format!("${}\r\n{marker}\r\n", marker.len());
        assert_eq!(String::from_utf8_lossy(&wire.read_frame()), echo, "one reply, and not two");
    }
    eventually(SOON, "nobody is blocked", || node.figure("clients", "blocked_clients") == 0);
}

#[test]
fn f13_partial_is_never_shown_as_complete() {
    let cluster = patient();
    cluster.fill(30, |number| (format!("key:{number}"), String::new()));
    let [a, b] = [0, 1].map(|shard| cluster.key_for(shard, "key"));
    let mut wire = cluster.node(0).wire();
    assert_eq!(wire.reply("RMR.EXEC PARTIAL DBSIZE"), "[30, []]", "nothing is missing");
    let stopped = cluster.node(1);
    let address = stopped.address();
    let error = format!("-RMRTIMEOUT 200 ms: 2/3 nodes replied; waiting on {}", stopped.shown_name());
    stopped.stop_signal();
    assert_eq!(wire.reply("RMR.EXEC TIMEOUT 200 DBSIZE"), error);
    let partial = wire.reply("RMR.EXEC TIMEOUT 200 PARTIAL DBSIZE");
    assert!(partial.ends_with(&format!(", [\"{address}\", {error}]]")), "{partial}");
    assert!(wire.reply("RMR.EXEC TIMEOUT 200 PARTIAL KEYS *").contains(&error));
    let by_node = wire.reply("RMR.EXEC TIMEOUT 200 PARTIAL WITHNODES DBSIZE");
    assert!(by_node.contains(&format!("\"{address}\", {error}")), "{by_node}");
    let values = wire.reply(&format!("RMR.EXEC TIMEOUT 200 PARTIAL MGET {a} {b} {a}"));
    assert!(values.starts_with("[\"\", -RMRTIMEOUT 200 ms") && values.ends_with(", \"\"]"), "{values}");
    stopped.cont_signal();
    eventually(SOON, "it answers again", || wire.reply("RMR.EXEC PARTIAL DBSIZE") == "[30, []]");
}

/// A coordinator over two plain servers, the second of which is reached through a proxy.
struct Scene {
    shards: [Server; 2],
    proxy: Proxy,
    coordinator: Server,
}

impl Scene {
    fn new() -> Self {
        let shards = [0, 1].map(|_| Server::builder().module(false).start());
        let proxy = Proxy::to(shards[1].port());
        let nodes = format!("{} {}", shards[0].address(), proxy.address());
        let coordinator = Server::builder().module_args(["nodes", &nodes]).start();
        assert_eq!(coordinator.reply("RMR.EXEC DBSIZE"), "0");
        Self { shards, proxy, coordinator }
    }

    fn wire(&self) -> Wire {
        self.coordinator.wire()
    }

    /// Returns a key of each shard.
    fn keys(&self) -> [String; 2] {
        let names: Vec<String> = (0..40).map(|number| format!("probe:{number}")).collect();
        for name in &names {
            assert_eq!(self.wire().ask(&["RMR.EXEC", "SET", name, "0"]), "+OK");
        }
        [0, 1].map(|shard| {
            let held = |name: &&String| self.shards[shard].run::<i64>(&["EXISTS", name]) == 1;
            names.iter().find(held).expect("a key of this shard").clone()
        })
    }
}

#[test]
fn f14_a_split_write_is_never_silently_partial_and_never_sent_twice() {
    let cluster = Cluster::start(3);
    let [a, b] = [0, 1].map(|shard| cluster.key_for(shard, "key"));
    let refused = cluster.node(0).reply(&format!("RMR.EXEC MSET {a} 1 {b} 2"));
    assert!(refused.starts_with("-CROSSSLOT "), "{refused}");
    assert_eq!(cluster.node(0).reply(&format!("RMR.EXEC EXISTS {a} {b}")), "0");

    let scene = Scene::new();
    let [here, there] = scene.keys();
    scene.proxy.set_times(Fault::CutReply, 1);
    let reply = scene.wire().ask(&["RMR.EXEC", "NONATOMIC", "MSET", &here, "1", &there, "1"]);
    assert!(reply.starts_with(&format!("-RMRNODE {}: ", scene.proxy.address())), "{reply}");
    assert!(reply.contains("outcome is unknown") && reply.contains("1 of 2 parts"), "{reply}");
    assert_eq!(scene.shards[0].run::<String>(&["GET", &here]), "1");

    scene.proxy.set_times(Fault::CutReply, 1);
    let before: i64 = scene.shards[1].run(&["GET", &there]);
    let reply = scene.wire().ask(&["RMR.EXEC", "INCR", &there]);
    assert!(reply.starts_with("-RMRNODE ") && reply.contains("outcome is unknown"), "{reply}");
    assert_eq!(scene.shards[1].run::<i64>(&["GET", &there]), before + 1, "it ran, and ran once");

    scene.proxy.set_times(Fault::CutReply, 1);
    let reply = scene.wire().ask(&["RMR.EXEC", "MGET", &here, &there]);
    assert_eq!(reply, format!("*2 $1 1 $1 {}", before + 1), "a read is sent again");
}
