//! `RMR.BATCH`: lists of commands by routing key.

use std::time::{Duration, Instant};

use crate::common::{Cluster, Server};
use crate::deployments::Deployment;

#[test]
fn each_list_runs_in_order_at_its_keys_shard() {
    for deployment in Deployment::all() {
        let keys = deployment.keys("k", 4);
        for (round, node) in (1..).zip(deployment.nodes()) {
            let lists: Vec<String> =
                keys.iter().map(|key| format!("{key} 3 3 SET {key} 1 2 INCR {key} 2 GET {key}")).collect();
            let each = "[+OK, 2, \"2\"]";
            let expected: Vec<String> = keys.iter().map(|key| format!("\"{key}\", {each}")).collect();
            let line = format!("RMR.BATCH {}", lists.join(" "));
            assert_eq!(node.reply(&line), format!("[{}]", expected.join(", ")), "round {round}");
            let in_map = expected.iter().map(|pair| pair.replacen("\", ", "\": ", 1)).collect::<Vec<_>>();
            assert_eq!(node.reply3(&line), format!("{{{}}}", in_map.join(", ")));
        }
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(deployment.holder(index).run::<i64>(&["GET", key]), 2);
        }
    }
}

#[test]
fn arguments_are_counted_so_that_none_is_mistaken() {
    let cluster = Cluster::start(2);
    let mut wire = cluster.node(0).wire();
    let odd = ["RMR.BATCH", "--", "TIMEOUT", "2", "3", "SET", "TIMEOUT", "2\r\n\0 --", "2", "GET", "TIMEOUT"];
    assert_eq!(wire.reply_to(&odd), "[\"TIMEOUT\", [+OK, \"2\\r\\n\\x00 --\"]]");
    for (line, error) in [
        ("RMR.BATCH k 1 3 GET k", "-ERR numargs of command 1 of 'k' is 3, but 2 arguments follow"),
        ("RMR.BATCH k 0 1 PING", "-ERR numcommands of 'k' is '0'; give how many follow, 1 or more"),
        ("RMR.BATCH k 1 1 PING k 1 1 PING", "-ERR the routing key 'k' stands twice; give it one list"),
        ("RMR.BATCH TIMEOUT x k 1 1 PING", "-ERR TIMEOUT is 'x'; give milliseconds from 1 to 3600000"),
        ("RMR.BATCH k 1 1", "-ERR wrong number of arguments for 'rmr.batch' command"),
    ] {
        let reply = wire.reply(line);
        let reply = reply.replace("'RMR.BATCH'", "'rmr.batch'");
        assert!(reply.starts_with(error), "{line}: {reply}");
    }
}

#[test]
fn errors_stand_in_their_place() {
    for deployment in Deployment::all() {
        let [a, b] = &deployment.keys("k", 2)[..] else { panic!("two keys") };
        for node in deployment.nodes() {
            let reply = node.reply(&format!(
                "RMR.BATCH {a} 5 3 SET {a} x 2 INCR {a} 2 NOSUCH {a} 2 SADD {a} 2 GET {a} {b} 2 2 DEL {b} 2 INCR {b}"
            ));
            let parts: Vec<&str> = reply.split(", ").collect();
            assert_eq!((parts[1], parts[2]), ("[+OK", "-ERR value is not an integer or out of range"), "{reply}");
            assert!(reply.contains("-ERR unknown command 'NOSUCH'"), "{reply}");
            assert!(reply.contains("-ERR wrong number of arguments for 'sadd' command, \"x\"]"), "{reply}");
            assert!(reply.ends_with("1]]"), "{reply}");
        }
    }
}

#[test]
fn scripts_are_sent_as_they_were_given() {
    for deployment in Deployment::all() {
        let keys = deployment.keys("n", 12);
        let node = &deployment.nodes()[0];
        let list = |key: &String| format!("{key} 1 5 EVAL return(redis.call('incrby',KEYS[1],ARGV[1])) 1 {key} 2");
        let line = format!("RMR.BATCH {}", keys.iter().map(list).collect::<Vec<_>>().join(" "));
        let expect = |sum: i64| {
            let pairs: Vec<String> = keys.iter().map(|key| format!("\"{key}\", [{sum}]")).collect();
            assert_eq!(node.reply(&line), format!("[{}]", pairs.join(", ")));
        };
        let count = |name: &str| -> usize {
            let stats = deployment.nodes().iter().map(|node| node.run::<String>(&["INFO", "commandstats"]));
            let line = format!("cmdstat_{name}:calls=");
            let calls = stats.filter_map(|stats| {
                stats.lines().find_map(|known| known.strip_prefix(&line)?.split(',').next()?.parse::<usize>().ok())
            });
            calls.sum()
        };
        expect(2);
        expect(4);
        node.run::<()>(&["RMR.FANOUT", "SCRIPT", "FLUSH"]);
        expect(6);
        assert_eq!((count("eval"), count("evalsha"), count("script|load")), (3 * keys.len(), 0, 0));
        // One that commands follow keeps its place.
        let key = &keys[0];
        let reply = node.reply(&format!(
            "RMR.BATCH {key} 3 3 SET {key} 1 5 EVAL return(redis.call('incrby',KEYS[1],ARGV[1])) 1 {key} 2 2 INCR {key}"
        ));
        assert_eq!(reply, format!("[\"{key}\", [+OK, 3, 4]]"));
    }
}

#[test]
fn neighbours_are_merged_unless_that_is_unwanted() {
    let nodes: Vec<Server> = (0..2).map(|_| Server::builder().module(false).start()).collect();
    let list: Vec<String> = nodes.iter().map(Server::address).collect();
    let coordinator = Server::builder().module_args(["nodes", &list.join(" ")]).start();
    let lists: Vec<String> = (0..20).map(|number| format!("k{number} 1 2 GET k{number}")).collect();
    let gets = || -> (bool, bool) {
        let stats: String = nodes.iter().map(|node| node.run::<String>(&["INFO", "commandstats"])).collect();
        (stats.contains("cmdstat_get:"), stats.contains("cmdstat_mget:"))
    };
    let merged = coordinator.reply(&format!("RMR.BATCH {}", lists.join(" ")));
    assert_eq!(gets(), (false, true));
    assert_eq!(merged, coordinator.reply(&format!("RMR.BATCH NOMERGE {}", lists.join(" "))));
    assert_eq!(gets(), (true, true));
}

#[test]
fn a_node_that_does_not_answer_costs_the_timeout_and_its_own_lists() {
    let cluster = Cluster::start(3);
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "k")).collect();
    let line = |timeout: &str| {
        let lists: Vec<String> = keys.iter().map(|key| format!("{key} 1 2 INCR {key}")).collect();
        format!("RMR.BATCH {timeout} {}", lists.join(" "))
    };
    assert_eq!(cluster.node(0).reply(&line("")).matches("[1]").count(), 3);
    cluster.node(2).stop_signal();
    let began = Instant::now();
    let reply = cluster.node(0).reply(&line("TIMEOUT 300"));
    let took = began.elapsed();
    cluster.node(2).cont_signal();
    assert!((Duration::from_millis(300)..Duration::from_secs(1)).contains(&took), "{took:?}");
    assert_eq!(reply.matches("[2]").count(), 2, "{reply}");
    assert!(reply.contains(&format!("\"{}\", [-RMRTIMEOUT 300 ms", keys[2])), "{reply}");
    assert!(reply.contains("its outcome is unknown"), "{reply}");
}

#[test]
fn where_it_cannot_wait_it_runs_at_once_or_not_at_all() {
    let cluster = Cluster::start(2);
    let (own, other) = (cluster.key_for(0, "k"), cluster.key_for(1, "k"));
    let node = cluster.node(0);
    let mut wire = node.wire();
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply(&format!("RMR.BATCH {own} 2 3 SET {own} 1 2 GET {own}")), "+QUEUED");
    assert_eq!(wire.reply(&format!("RMR.BATCH {own} 1 2 INCR {own} {other} 1 2 INCR {other}")), "+QUEUED");
    let reply = wire.reply("EXEC");
    assert!(reply.starts_with(&format!("[[\"{own}\", [+OK, \"1\"]], -ERR in MULTI, ")), "{reply}");
    assert_eq!(node.reply(&format!("GET {own}")), "\"1\"", "nothing of the second has run");
    let script = format!("return redis.call('RMR.BATCH', '{own}', '1', '2', 'GET', '{own}')");
    assert_eq!(node.wire().reply_to(&["EVAL", &script, "0"]), format!("[\"{own}\", [\"1\"]]"));
    let script = format!("return redis.call('RMR.BATCH', '{own}', '1', '2', 'INCR', '{own}')");
    assert!(node.wire().reply_to(&["EVAL", &script, "0"]).contains("may change data"));
}
