//! Tests that no command endangers the server itself: its main thread, its memory, and callers that cannot wait.

use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, eventually, show, while_repeating};

const SOON: Duration = Duration::from_secs(3);

#[test]
fn f04_the_main_thread_waits_for_nobody() {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(30)).start();
    let node = cluster.node(0);
    assert_eq!(node.reply("RMR.EXEC DBSIZE"), "0");
    cluster.node(1).stop_signal();
    let mut waiting: Vec<_> = (0..200).map(|_| node.wire()).collect();
    waiting.iter_mut().for_each(|wire| wire.send(&["RMR.EXEC", "TIMEOUT", "2000", "DBSIZE"]));
    eventually(SOON, "they wait", || node.figure("clients", "blocked_clients") == 200);
    let mut wire = node.wire();
    let mut took: Vec<Duration> = (0..200)
        .map(|_| {
            let asked = Instant::now();
            assert_eq!(wire.reply("PING"), "+PONG");
            asked.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[100] < Duration::from_millis(20), "half of the pings took more than {:?}", took[100]);
    for wire in &mut waiting {
        assert!(wire.read_frame().starts_with(b"-RMRTIMEOUT 2000 ms"));
    }
    cluster.node(1).cont_signal();
}

#[test]
fn f06_wherever_it_is_loaded_it_answers_or_says_what_is_missing() {
    let alone = Server::start();
    let cluster = Cluster::builder().shards(1).replicas(1).start();
    let unformed = Server::builder().arg("--cluster-enabled").arg("yes").start();
    for node in [&alone, cluster.node(0), &cluster.replicas()[0]] {
        assert_eq!(node.reply("RMR.EXEC SET a 1"), "+OK", "{}", node.address());
        assert_eq!(node.reply("RMR.EXEC DBSIZE"), "1");
        assert_eq!(
            node.reply("RMR.EXEC SCAN 0 COUNT 100000 MATCH a").contains("\"a\""),
            node.address() == alone.address()
        );
        assert!(node.reply("RMR.EXPLAIN GET a").contains("unsplit"));
    }
    for line in ["EXEC GET a", "EXEC DBSIZE", "EXPLAIN GET a", "SCAN 0"] {
        let reply = unformed.reply(&format!("RMR.{line}"));
        let says = ["-ERRCLUSTER no slots are assigned yet", "-CLUSTERDOWN The cluster is down", "-RMRSLOTS "];
        assert!(says.iter().any(|start| reply.starts_with(start)), "{line}: {reply}");
    }
    assert_eq!(unformed.reply("PING"), "+PONG");
}

#[test]
fn f08_callers_that_cannot_wait_get_an_error_and_nothing_is_sent() {
    let cluster = Cluster::start(3);
    let node = cluster.node(0);
    let [here, there] = [0, 1].map(|shard| cluster.key_for(shard, "key"));
    let refusal = "in MULTI, scripts and calls from other modules only what this node can serve itself is possible";
    let mut wire = node.wire();
    for line in [format!("RMR.EXEC SET {there} 1"), format!("RMR.EXEC DEL {here} {there}"), "RMR.EXEC FLUSHALL".into()]
    {
        cluster.set(&here, "1");
        assert_eq!(wire.reply("MULTI"), "+OK");
        assert_eq!(wire.reply(&line), "+QUEUED");
        let reply = wire.reply("EXEC");
        assert!(reply.starts_with("[-ERR ") && reply.contains(refusal), "{line}: {reply}");
        assert_eq!(node.reply(&format!("RMR.EXEC MGET {here} {there}")), "[\"1\", nil]", "{line} had an effect");
    }
    let call = "return redis.pcall('RMR.EXEC', 'GET', ARGV[1])";
    let reply = wire.ask(&["EVAL", call, "0", &there]);
    assert!(reply.contains(refusal), "{reply}");
    assert_eq!(wire.ask(&["EVAL", call, "0", &here]), "$1 1", "what is here can be served");
    let library = "#!lua name=lib\nredis.register_function('f', function(keys, args) \
                   return redis.pcall('RMR.EXEC', 'GET', args[1]) end)";
    assert_eq!(wire.ask(&["FUNCTION", "LOAD", library]), "$3 lib");
    let reply = wire.ask(&["FCALL", "f", "0", &there]);
    assert!(reply.contains(refusal), "{reply}");
    assert_eq!(wire.reply("RMR.EXEC DBSIZE"), "1", "the connection goes on");
}

#[test]
fn f15_replies_and_requests_are_bounded() {
    let cluster = Cluster::start(3);
    let node = cluster.node(0);
    for shard in 0..3 {
        cluster.set(cluster.key_for(shard, "big"), vec![b'x'; 1 << 20]);
    }
    let keys = [0, 1, 2].map(|shard| cluster.key_for(shard, "big"));
    let get = format!("RMR.EXEC MGET {}", keys.join(" "));
    assert_eq!(node.reply("CONFIG SET rmr.max-reply-bytes 2mb"), "+OK");
    let before = node.figure("memory", "used_memory");
    for _ in 0..20 {
        let reply = node.reply(&get);
        assert!(
            reply.starts_with("-RMRTOOBIG the replies grew past 2097152 bytes"),
            "{}",
            &reply[..80.min(reply.len())]
        );
    }
    eventually(SOON, "the memory is given back", || node.figure("memory", "used_memory") < before + (4 << 20));
    assert_eq!(node.reply("CONFIG SET rmr.max-reply-bytes 1gb"), "+OK");
    assert!(node.reply(&get).starts_with("[\"xxx"));
    cluster.node(1).stop_signal();
    assert_eq!(node.reply("CONFIG SET rmr.max-inflight 1"), "+OK");
    let mut first = node.wire();
    first.send(&["RMR.EXEC", "TIMEOUT", "1000", "DBSIZE"]);
    eventually(SOON, "it waits", || node.figure("clients", "blocked_clients") == 1);
    assert_eq!(node.reply("RMR.EXEC DBSIZE"), "-RMRBUSY 1 requests are in flight; rmr.max-inflight allows no more");
    assert!(first.read_frame().starts_with(b"-RMRTIMEOUT 1000 ms"));
    cluster.node(1).cont_signal();
}

#[test]
fn f18_it_comes_and_goes_under_traffic() {
    let cluster = Cluster::builder().shards(2).unloadable().start();
    let node = cluster.node(0);
    let ask = |_: &usize| {
        let mut wire = node.wire();
        move || match wire.try_call(&["RMR.EXEC", "DBSIZE"]) {
            Ok(frame) => {
                let reply = show(&frame);
                assert!(reply == "0" || reply.starts_with("-ERR "), "{reply}");
            }
            // The module closes such connections as it goes.
            Err(_) => {
                assert!(node.alive());
                wire = node.wire();
            }
        }
    };
    while_repeating(&[0, 1], ask, || {
        for _ in 0..10 {
            eventually(SOON, "it can go", || node.reply("MODULE UNLOAD rmr") == "+OK");
            node.load_unloadable(&[]);
        }
    });
    assert_eq!(node.reply("RMR.EXEC DBSIZE"), "0");
}
