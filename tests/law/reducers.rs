//! The law of the reducers: of the keys of a cluster they make what they make of the same keys on a single server, whoever
//! reduces what.
//!
//! One node has the others reduce their share, one reads all replies itself, and the single server does all in process;
//! strings are read by commands and in place, in RESP2 and in RESP3.

use super::course;
use crate::common::Random;
use crate::common::{Cluster, Server, Wire, slot_of};

/// The kinds of the keys, whose names begin alike. Each is a word of its own kind, of which some are no numbers.
const KINDS: [&str; 6] = ["n", "n", "text", "mixed", "list", "hash"];

const NUMBERS: [&str; 9] = ["0.1", "1e16", "3", "-1e16", "3.0", "-0.0", "0", "9007199254740993", "9007199254740992.0"];

const TEXTS: [&str; 5] = ["de", "at", "ch", "", "a text that is longer than forty-four bytes, and so not embedded"];

/// The reducers, and the requests for them by the kind of the keys.
const REDUCERS: [&str; 17] = [
    "LIST",
    "SUM",
    "AVG",
    "MIN",
    "MAX",
    "COUNT",
    "CONCAT",
    "UNION",
    "TOP 1",
    "TOP 7",
    "BOTTOM 3",
    "BOTTOM 1000",
    "GROUP",
    "TOPGROUPS 2",
    "TOPGROUPS 1000",
    "STATS",
    "DISTINCT",
];

const COMMANDS: [(&str, &str); 12] = [
    ("n", "GET {}"),
    ("n", "INCRBYFLOAT {} 0"),
    ("n", "STRLEN {}"),
    ("text", "GET {}"),
    ("text", "TYPE {}"),
    ("text", "MGET {} {}"),
    ("mixed", "GET {}"),
    ("list", "LLEN {}"),
    ("list", "LRANGE {} 0 -1"),
    ("hash", "HGETALL {}"),
    ("hash", "HGET {} f"),
    ("hash", "HKEYS {}"),
];

fn write(kind: &str, key: &str, random: &mut Random) -> Option<Vec<String>> {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    match kind {
        _ if random.chance(10) => None,
        "n" => words(&["SET", key, random.pick(&NUMBERS)]),
        "text" => words(&["SET", key, random.pick(&TEXTS)]),
        "mixed" => words(&["SET", key, random.pick(&[NUMBERS[2], NUMBERS[2], TEXTS[0]])]),
        "list" => words(&["RPUSH", key, random.pick(&TEXTS), random.pick(&NUMBERS)]),
        _ => words(&["HSET", key, "f", random.pick(&NUMBERS), random.pick(&["g", "h"]), random.pick(&TEXTS)]),
    }
}

/// Returns an answer without the names of nodes, which errors have in them.
fn said(reply: &str) -> String {
    match reply.starts_with('-') {
        true => reply.split(" from ").next().expect("some words").to_owned(),
        false => reply.to_owned(),
    }
}

#[test]
fn reducers_make_the_same_of_a_cluster_as_of_a_single_server() {
    let (seed, rounds) = course();
    let mut random = Random::new(seed);
    let cluster = Cluster::start(3);
    let alone = Server::start();
    cluster.node(0).run::<()>(&["CONFIG", "SET", "rmr.pushdown", "on"]);
    let mut answered = [0, 0];
    for round in 0..rounds.div_ceil(3) {
        for node in cluster.nodes().iter().chain([&alone]) {
            node.run::<()>(&["FLUSHALL"]);
            // Where keys outlive the move of their slot, the server of a cluster refuses it.
            let word = if round % 2 == 0 { "off" } else { "on" };
            node.try_run::<()>(&["CONFIG", "SET", "rmr.direct-reads", word]).ok();
        }
        let mut keys: Vec<(&str, String)> = Vec::new();
        for number in 0..60 {
            let kind = random.pick(&KINDS);
            let key = format!("{}{kind}:{}{number}", random.pick(&["a:", "b:", "", "a::"]), random.pick(&["{t}", ""]));
            if let Some(words) = write(kind, &key, &mut random) {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                alone.run::<redis::Value>(&words);
                cluster.node(cluster.owner_of(slot_of(&key))).run::<redis::Value>(&words);
            }
            keys.push((kind, key));
        }
        random.shuffle(&mut keys);
        let mut wires: Vec<[Wire; 2]> =
            [&alone, cluster.node(0), cluster.node(1)].map(|server| [server.wire(), server.wire3()]).into();
        for (kind, command) in COMMANDS {
            let of_kind: Vec<&str> = keys.iter().filter(|(known, _)| *known == kind).map(|(_, key)| &**key).collect();
            if of_kind.is_empty() {
                continue;
            }
            for reducer in REDUCERS {
                let prefix = random.pick(&["", "", "PREFIX : ", "PREFIX :: "]);
                let line = format!("RMR.MAP {prefix}{reducer} {} {} {command}", of_kind.len(), of_kind.join(" "));
                for protocol in [0, 1] {
                    let mut replies = wires.iter_mut().map(|wires| said(&wires[protocol].reply(&line)));
                    let expected = replies.next().expect("the single server's");
                    answered[usize::from(expected.starts_with('-'))] += 1;
                    for reply in replies {
                        assert_eq!(reply, expected, "{line}, RMR_LAW_SEED={seed}, round {round}");
                    }
                }
            }
        }
    }
    assert!(answered.iter().all(|count| *count > 50), "{answered:?}: answers and errors");
    assert!(cluster.node(0).rmr_figure("inner_shares") > 0, "nobody was asked to reduce");
}
