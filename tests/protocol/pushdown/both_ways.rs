//! The same requests with shares that are reduced where the data is, and with plain commands.

use super::pushing;
use crate::common::{Cluster, Server};

const REDUCERS: [&str; 8] = ["LIST", "SUM", "AVG", "MIN", "MAX", "COUNT", "CONCAT", "UNION"];

/// The same for those that rank, group and sum up.
const OF_NUMBERS: [&str; 9] = [
    "TOP 5",
    "TOP 1000",
    "BOTTOM 7",
    "GROUP",
    "TOPGROUPS 3",
    "STATS",
    "DISTINCT",
    "PREFIX : BOTTOM 2",
    "PREFIX :1 STATS",
];

/// Returns two nodes of one cluster to ask: one that has others reduce, and one that does not.
fn askers(cluster: &Cluster) -> [&Server; 2] {
    cluster.node(1).run::<()>(&["CONFIG", "SET", "rmr.pushdown", "off"]);
    [cluster.node(0), cluster.node(1)]
}

fn assert_same(cluster: &Cluster, lines: &[String]) {
    let [pushing, plain] = askers(cluster);
    for line in lines {
        assert_eq!(pushing.reply(line), plain.reply(line), "{line}");
        assert_eq!(pushing.reply3(line), plain.reply3(line), "{line}");
    }
}

/// Returns keys all over the cluster, holding these values in turn.
fn fill(cluster: &Cluster, prefix: &str, values: &[&str], count: usize) -> Vec<String> {
    let keys: Vec<String> = (0..count).map(|index| format!("{prefix}:{index}")).collect();
    cluster.fill(count, |index| (keys[index].clone(), values[index % values.len()].to_owned()));
    keys
}

#[test]
fn numbers_come_to_the_same() {
    let cluster = pushing(3);
    // Sums that depend on the order of their parts when they are rounded on the way, ties of integers and doubles, and
    // integers that are the same as a double.
    let values = ["0.1", "1e16", "3", "-1e16", "3.0", "-0.0", "0", "9007199254740993", "9007199254740992.0", "1e-300"];
    let keys = fill(&cluster, "n", &values, 200);
    let missing: Vec<String> = (0..20).map(|index| format!("missing:{index}")).collect();
    let mixed: Vec<String> =
        keys.iter().zip(missing.iter().cycle()).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    let mut lines = Vec::new();
    for keys in [&keys[..], &keys[3..4], &keys[..9], &missing, &mixed] {
        let (count, list) = (keys.len(), keys.join(" "));
        lines.push(format!("RMR.SUM {list}"));
        for reducer in REDUCERS.into_iter().take(6).chain(OF_NUMBERS) {
            lines.push(format!("RMR.MAP {reducer} {count} {list} GET"));
            lines.push(format!("RMR.MAP PARTIAL {reducer} {count} {list} GET"));
        }
    }
    for reducer in REDUCERS.into_iter().take(6).chain(OF_NUMBERS.into_iter().take(7)) {
        lines.push(format!("RMR.FANOUT REDUCE {reducer} DBSIZE"));
        lines.push(format!("RMR.FANOUT PARTIAL REDUCE {reducer} DBSIZE"));
    }
    assert_same(&cluster, &lines);
    assert!(cluster.node(0).rmr_figure("inner_shares") > 0, "nobody was asked to reduce");
    assert_eq!(cluster.node(0).rmr_figure("inner_declined"), 0);
    assert_eq!(cluster.node(1).rmr_figure("inner_shares"), 0);
}

#[test]
fn elements_come_in_the_same_order() {
    let cluster = pushing(3);
    let keys: Vec<String> = (0..60).map(|index| format!("list:{index}")).collect();
    for (index, key) in keys.iter().enumerate() {
        let elements = [format!("{}", index % 7), format!("{}", index % 11), "both".into(), format!("own {index}")];
        let owner = cluster.node(cluster.owner_of(crate::common::slot_of(key)));
        let args: Vec<&str> = ["RPUSH", key].into_iter().chain(elements.iter().map(String::as_str)).collect();
        owner.run::<()>(&args);
        owner.run::<()>(&["HSET", &format!("{{{key}}}:hash"), "field", &index.to_string()]);
    }
    let list = keys.join(" ");
    let hashes: Vec<String> = keys.iter().map(|key| format!("{{{key}}}:hash")).collect();
    let hashes = hashes.join(" ");
    let mut lines = Vec::new();
    for reducer in ["CONCAT", "UNION", "COUNT", "TOPGROUPS 4", "DISTINCT"] {
        lines.push(format!("RMR.MAP {reducer} 60 {list} LRANGE {{}} 0 -1"));
        lines.push(format!("RMR.MAP PARTIAL {reducer} 60 {list} LRANGE {{}} 0 -1"));
        lines.push(format!("RMR.MAP {reducer} 60 {hashes} HMGET {{}} field none"));
        lines.push(format!("RMR.MAP {reducer} 60 {hashes} HGETALL"));
        lines.push(format!("RMR.FANOUT REDUCE {reducer} CONFIG GET maxmemory*"));
    }
    assert_same(&cluster, &lines);
}

#[test]
fn errors_are_the_same() {
    let cluster = pushing(3);
    let mut keys = fill(&cluster, "e", &["1", "2"], 30);
    for (at, shard) in [(7, 2), (11, 0), (20, 2)] {
        let key = cluster.key_for(shard, &format!("list{at}"));
        cluster.node(shard).run::<()>(&["RPUSH", &key, "1"]);
        keys[at] = key;
    }
    let wrong = keys.join(" ");
    let mut texts = fill(&cluster, "t", &["1", "2"], 30);
    for at in [9, 10, 23] {
        let key = format!("text:{at}");
        cluster.set(&key, "no number");
        texts[at] = key;
    }
    let text = texts.join(" ");
    let big = fill(&cluster, "big", &["9223372036854775807"], 10).join(" ");
    let mut lines = vec![format!("RMR.SUM {wrong}"), format!("RMR.SUM {text}"), format!("RMR.SUM {big}")];
    for reducer in REDUCERS {
        lines.push(format!("RMR.MAP {reducer} 30 {wrong} GET"));
        lines.push(format!("RMR.MAP PARTIAL {reducer} 30 {wrong} GET"));
        lines.push(format!("RMR.MAP {reducer} 30 {text} GET"));
        lines.push(format!("RMR.MAP PARTIAL {reducer} 30 {text} GET"));
        lines.push(format!("RMR.MAP {reducer} 10 {big} GET"));
        lines.push(format!("RMR.MAP {reducer} 10 {big} GET {{}} too many"));
        lines.push(format!("RMR.MAP {reducer} 10 {big} NOSUCHCOMMAND"));
        lines.push(format!("RMR.FANOUT REDUCE {reducer} PING"));
        lines.push(format!("RMR.FANOUT REDUCE {reducer} CONFIG SET maxmemory nonsense"));
    }
    let [pushing, plain] = askers(&cluster);
    for line in &lines {
        // A node names the one that failed; both name the same, since neither is the one that asks.
        assert_eq!(pushing.reply(line), plain.reply(line), "{line}");
    }
}

#[test]
fn writes_are_done_once() {
    let cluster = pushing(3);
    let keys: Vec<String> = (0..300).map(|index| format!("counter:{index}")).collect();
    let list = keys.join(" ");
    let [pushing, plain] = askers(&cluster);
    for (round, node) in [pushing, plain, pushing].into_iter().enumerate() {
        assert_eq!(node.reply(&format!("RMR.MAP SUM 300 {list} INCR")), (300 * (round + 1)).to_string());
    }
    assert_eq!(plain.reply(&format!("RMR.SUM {list}")), "900");
}
