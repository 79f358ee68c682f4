//! Big values, many keys, and bytes that are no text.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::common::{Cluster, elements, eventually, show};
use crate::deployments::Deployment;

/// Runs a property on this many random cases.
fn for_random<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new(config).run(&strategy, test).unwrap_or_else(|failure| panic!("{failure}"));
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..most)
}

/// Returns a string as it travels.
fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

#[test]
fn ten_megabytes_come_back_byte_for_byte() {
    let cluster = Cluster::start(3);
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "big")).collect();
    let value = |shard: usize| -> Vec<u8> { (0..10 << 20).map(|at| (at * 7 + at / 251 + shard) as u8).collect() };
    for (shard, key) in keys.iter().enumerate() {
        cluster.set(key, value(shard));
    }
    let mut wire = cluster.node(0).wire();
    let line = [&["RMR.MAP", "LIST", "3"][..], &[&keys[0], &keys[1], &keys[2]], &["GET"]].concat();
    let reply = wire.call(&line);
    for (shard, element) in elements(&reply).into_iter().enumerate() {
        // Not `assert_eq!`, which would print them.
        assert!(element == bulk(&value(shard)), "the value of shard {shard} differs");
    }
    assert_eq!(wire.reply(&format!("RMR.SUM {}", keys.join(" "))), "0");
    assert_eq!(wire.reply(&format!("RMR.MAP SUM 3 {} STRLEN", keys.join(" "))), (30 << 20).to_string());
}

#[test]
fn ten_megabytes_go_out_as_an_argument() {
    for deployment in Deployment::all() {
        let value = vec![b'x'; 10 << 20];
        let keys = deployment.keys("big", 2);
        let mut wire = deployment.nodes()[0].wire();
        let args: [&[u8]; 8] =
            [b"RMR.MAP", b"LIST", b"2", keys[0].as_bytes(), keys[1].as_bytes(), b"SET", b"{}", &value];
        assert_eq!(wire.reply_to(&args), "[+OK, +OK]");
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(deployment.holder(index).run::<usize>(&["STRLEN", key]), value.len());
        }
    }
}

#[test]
fn a_hundred_thousand_keys_are_one_sum() {
    const COUNT: usize = 100_000;
    let cluster = Cluster::start(3);
    cluster.fill(COUNT, |number| (format!("n:{number}"), number.to_string()));
    let keys = (0..COUNT).map(|number| format!("n:{number}"));
    let args: Vec<String> = ["RMR.SUM".to_owned()].into_iter().chain(keys).collect();
    let sum = (COUNT * (COUNT - 1) / 2).to_string();
    assert_eq!(cluster.node(0).wire().reply_to(&args), sum);
    assert_eq!(cluster.node(0).rmr_figure("total"), 1);
    assert_eq!(cluster.node(0).rmr_figure("connects"), 2);
}

#[test]
fn random_keys_and_values_survive() {
    let cluster = Cluster::start(3);
    let strategy = vec((bytes(40), bytes(200)), 1..20);
    for_random(60, strategy, |pairs| {
        // A value that is the placeholder's own text means the key.
        prop_assume!(pairs.iter().all(|(_, value)| value != b"{}"));
        let mut wire = cluster.node(1).wire();
        for (key, value) in &pairs {
            let set: [&[u8]; 7] = [b"RMR.MAP", b"LIST", b"1", key, b"SET", b"{}", value];
            prop_assert_eq!(wire.reply_to(&set), "[+OK]");
        }
        let count = pairs.len().to_string();
        let keys = pairs.iter().map(|(key, _)| key.as_slice());
        let get: Vec<&[u8]> =
            [&b"RMR.MAP"[..], b"LIST", count.as_bytes()].into_iter().chain(keys).chain([&b"GET"[..]]).collect();
        let reply = cluster.node(2).wire().call(&get);
        for (element, (key, _)) in elements(&reply).into_iter().zip(&pairs) {
            let last = pairs.iter().rfind(|(other, _)| other == key).map(|(_, value)| bulk(value));
            prop_assert_eq!(Some(element), last.as_deref());
        }
        Ok(())
    });
}

#[test]
fn random_arguments_come_back_from_every_shard() {
    let cluster = Cluster::start(3);
    for_random(100, bytes(300), |argument| {
        let args: [&[u8]; 3] = [b"RMR.FANOUT", b"ECHO", &argument];
        let reply = cluster.node(0).wire().call(&args);
        let one = bulk(&argument);
        prop_assert_eq!(reply, [&b"*3\r\n"[..], &one, &one, &one].concat());
        Ok(())
    });
}

#[test]
fn unknown_commands_with_binary_arguments_leave_the_links_alone() {
    let cluster = Cluster::start(3);
    let node = cluster.node(0);
    assert_eq!(node.reply("RMR.FANOUT PING"), "[+PONG, +PONG, +PONG]");
    // Names with a dot are those of modules, which have connections of their own.
    assert!(node.reply("RMR.FANOUT PARTIAL no.such").contains("unknown command"));
    let connects = node.rmr_figure("connects");
    let name = bytes(20).prop_map(|tail| [&b"no\xffsuch"[..], &tail].concat());
    for_random(100, (name, vec(bytes(60), 0..5)), |(name, rest)| {
        let mut args: Vec<&[u8]> = vec![b"RMR.FANOUT", b"PARTIAL", &name];
        args.extend(rest.iter().map(Vec::as_slice));
        let reply = node.wire().call(&args);
        let places = elements(&reply);
        prop_assert_eq!(places.len(), 3);
        for place in places {
            prop_assert!(place.starts_with(b"-RMRSHARD "), "{}", show(place));
            prop_assert!(show(place).contains(": ERR unknown command"), "{}", show(place));
        }
        Ok(())
    });
    assert_eq!(node.rmr_figure("connects"), connects, "the links broke");
    assert_eq!(node.rmr_figure("connect_failures"), 0);
    assert_eq!(node.reply("RMR.FANOUT PING"), "[+PONG, +PONG, +PONG]");
}

#[test]
fn nothing_that_can_be_typed_harms_the_server() {
    let cluster = Cluster::start(2);
    let node = cluster.node(0);
    const WORDS: &[&str] =
        &["ON", "ALL", "NODE", "TIMEOUT", "PARTIAL", "WITHNODES", "REDUCE", "SUM", "--", "{}", "1", "GET", "k"];
    let word = prop_oneof![4 => prop::sample::select(WORDS).prop_map(|w| w.as_bytes().to_vec()), 1 => bytes(12)];
    let name = prop::sample::select(&["RMR.SUM", "RMR.FANOUT", "RMR.MAP"][..]);
    for_random(300, (name, vec(word, 0..9)), |(name, rest)| {
        let args: Vec<&[u8]> = [name.as_bytes()].into_iter().chain(rest.iter().map(Vec::as_slice)).collect();
        let mut wire = node.wire();
        prop_assert!(!wire.call(&args).is_empty());
        prop_assert_eq!(wire.reply("PING"), "+PONG");
        Ok(())
    });
    eventually(Duration::from_secs(10), "nobody is blocked", || node.figure("clients", "blocked_clients") == 0);
}
