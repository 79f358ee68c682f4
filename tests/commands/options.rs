//! The options of `RMR.FANOUT`: alone, together, in any order, and wrong.

use crate::common::{Cluster, Server};
use crate::deployments::Deployment;

/// Returns the expected answer to `DBSIZE` with these options, when every node holds one key.
fn expected(nodes: &[&Server], partial: bool, shape: &str) -> String {
    let list = |one: &dyn Fn(&Server) -> String| nodes.iter().map(|node| one(node)).collect::<Vec<_>>().join(", ");
    match (shape, partial) {
        ("", _) => format!("[{}]", list(&|_| "1".into())),
        ("WITHNODES", _) => format!("{{{}}}", list(&|node| format!("\"{}\": 1", node.address()))),
        (_, false) => nodes.len().to_string(),
        (_, true) => format!("[{}, {{}}]", nodes.len()),
    }
}

#[test]
fn every_combination_is_taken() {
    let cluster = Cluster::builder().shards(2).replicas(1).start();
    for shard in 0..2 {
        cluster.set(cluster.key_for(shard, "k"), "v");
    }
    let node = |index| cluster.node(index);
    for replica in cluster.replicas() {
        crate::common::eventually(std::time::Duration::from_secs(10), "the key is copied", || {
            replica.run::<usize>(&["DBSIZE"]) == 1
        });
    }
    let named = format!("NODE {} NODE {}", node(1).address(), node(2).address());
    let targets = [
        ("", vec![node(0), node(1)]),
        ("ON PRIMARIES", vec![node(0), node(1)]),
        ("ON REPLICAS", vec![node(2), node(3)]),
        ("on all", vec![node(0), node(2), node(1), node(3)]),
        (&named, vec![node(1), node(2)]),
    ];
    let mut wires: Vec<_> = cluster.nodes().iter().map(Server::wire3).collect();
    for (target, nodes) in &targets {
        for timeout in ["", "TIMEOUT 20000"] {
            for partial in ["", "PARTIAL"] {
                for shape in ["", "WITHNODES", "REDUCE SUM"] {
                    let expected = expected(nodes, !partial.is_empty(), shape);
                    for line in [
                        format!("RMR.FANOUT {target} {timeout} {partial} {shape} DBSIZE"),
                        format!("rmr.fanout {shape} {partial} {timeout} {target} -- dbsize"),
                    ] {
                        for wire in &mut wires {
                            assert_eq!(wire.reply(&line), expected, "{line}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn two_dashes_end_the_options() {
    for deployment in Deployment::all() {
        let node = &deployment.nodes()[0];
        let everywhere = |reply: &str| format!("[{}]", vec![reply; deployment.nodes().len()].join(", "));
        assert_eq!(node.reply("RMR.FANOUT -- ECHO PARTIAL"), everywhere("\"PARTIAL\""));
        assert_eq!(node.reply("RMR.FANOUT PARTIAL -- ECHO --"), everywhere("\"--\""));
        let unknown = node.reply("RMR.FANOUT -- TIMEOUT 5 PING");
        assert!(unknown.contains(": ERR unknown command 'TIMEOUT'"), "{unknown}");
        let unknown = node.reply("RMR.FANOUT -- -- PING");
        assert!(unknown.contains(": ERR unknown command '--'"), "{unknown}");
    }
}

#[test]
fn what_is_no_option_is_the_command() {
    let server = Server::start();
    let unknown = server.reply("RMR.FANOUT SOMEWHERE PING");
    assert!(unknown.contains(": ERR unknown command 'SOMEWHERE'"), "{unknown}");
    assert_eq!(server.reply("RMR.FANOUT ECHO WITHNODES"), "[\"WITHNODES\"]");
}

#[test]
fn wrong_options_say_what_is_allowed() {
    const REDUCERS: &str = "give one of LIST, SUM, AVG, MIN, MAX, COUNT, CONCAT, UNION, TOP n, BOTTOM n, GROUP, TOPGROUPS n, \
                            STATS, DISTINCT";
    const MILLIS: &str = "give milliseconds from 1 to 3600000";
    let wrong = [
        ("ON SHARDS PING", "ON is 'SHARDS'; give PRIMARIES, REPLICAS or ALL".to_owned()),
        ("ON", "ON has no value; give PRIMARIES, REPLICAS or ALL".into()),
        ("NODE", "NODE has no value; give a node's id or address".into()),
        ("REDUCE TOP PING", "TOP is 'PING'; give how many are wanted, from 1 to 1000000".into()),
        (
            "REDUCE PREFIX : SUM PING",
            "PREFIX goes by keys, and a fan-out has none; give another reducer, or RMR.MAP with keys".into(),
        ),
        ("TIMEOUT", format!("TIMEOUT has no value; {MILLIS}")),
        ("TIMEOUT 0 PING", format!("TIMEOUT is '0'; {MILLIS}")),
        ("TIMEOUT -5 PING", format!("TIMEOUT is '-5'; {MILLIS}")),
        ("TIMEOUT 3600001 PING", format!("TIMEOUT is '3600001'; {MILLIS}")),
        ("TIMEOUT soon PING", format!("TIMEOUT is 'soon'; {MILLIS}")),
        ("TIMEOUT 99999999999999999999 PING", format!("TIMEOUT is '99999999999999999999'; {MILLIS}")),
        ("REDUCE", format!("REDUCE has no value; {REDUCERS}")),
        ("REDUCE median PING", format!("REDUCE is 'median'; {REDUCERS}")),
        ("PARTIAL", "there is no command to send; give command [arg ...] after the options".into()),
        ("PARTIAL --", "there is no command to send; give command [arg ...] after the options".into()),
        ("ON ALL NODE a PING", "ON, NODE and KEY exclude each other; give one of them".into()),
        ("WITHNODES REDUCE SUM PING", "WITHNODES and REDUCE exclude each other; give one of them".into()),
    ];
    for deployment in Deployment::all() {
        let mut wire = deployment.nodes()[0].wire();
        for (options, error) in &wrong {
            assert_eq!(wire.reply(&format!("RMR.FANOUT {options}")), format!("-ERR {error}"), "{options}");
        }
        let arity = wire.reply("RMR.FANOUT").to_lowercase();
        assert_eq!(arity, "-err wrong number of arguments for 'rmr.fanout' command");
        assert_eq!(wire.reply("PING"), "+PONG");
    }
}
