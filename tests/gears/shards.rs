//! Shards that die, stall or lose slots while a function runs: the answer is complete, or an error says what is missing.

use std::time::{Duration, Instant};

use crate::common::{eventually, while_repeating};
use crate::servers::{Servers, answer_of, call, run_at};

/// A flow that takes a while on each shard, and says there when it has begun.
const SLOW: &str = "
import time
def f(x):
    execute('SET', 'begun{%s}' % hashtag(), 1)
    time.sleep(1)
    return x
GB('ShardsIDReader').map(f).count().run()";

/// Returns whether the errors name a node: by its address, or by the first letters of its id.
fn names(errors: &[String], address: &str, id: &str) -> bool {
    errors.iter().any(|error| error.contains(address) || error.contains(&id[..8]))
}

fn with_idle_time(servers: &Servers, millis: &str) {
    for node in servers.nodes() {
        assert_eq!(node.reply(&format!("RG.CONFIGSET ExecutionMaxIdleTime {millis}")), "[+OK]");
    }
}

/// Begins the slow flow at the first node, and waits until it runs on the node at `index`.
fn begin_slow(servers: &Servers, index: usize) -> String {
    let id = servers.begin(SLOW);
    let node = &servers.nodes()[index];
    eventually(Duration::from_secs(30), "it runs there", || !node.reply("KEYS begun*").starts_with("[]"));
    id
}

#[test]
fn a_shard_that_dies_is_named() {
    let servers = Servers::patient_cluster();
    with_idle_time(&servers, "3000");
    let (address, id) = (servers.nodes()[1].address(), servers.nodes()[1].run::<String>(&["CLUSTER", "MYID"]));
    let execution = begin_slow(&servers, 1);
    servers.nodes()[1].kill();
    let began = Instant::now();
    let answer = answer_of(&call(servers.first(), &["RG.GETRESULTSBLOCKING", &execution]), "the flow");
    assert!(names(&answer.errors, &address, &id), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn a_shard_that_stalls_is_named() {
    let servers = Servers::patient_cluster();
    with_idle_time(&servers, "1500");
    let (address, id) = (servers.nodes()[2].address(), servers.nodes()[2].run::<String>(&["CLUSTER", "MYID"]));
    let execution = begin_slow(&servers, 2);
    servers.nodes()[2].stop_signal();
    let began = Instant::now();
    let answer = answer_of(&call(servers.first(), &["RG.GETRESULTSBLOCKING", &execution]), "the flow");
    let took = began.elapsed();
    servers.nodes()[2].cont_signal();
    assert!(names(&answer.errors, &address, &id), "{answer:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    let list = servers.reply(&["RG.DUMPEXECUTIONS"]);
    assert!(list.contains("\"aborted\"") || list.contains("\"done\""), "{list}");
    eventually(Duration::from_secs(30), "all shards answer again", || {
        servers.reply(&["RG.PYEXECUTE", "GB('ShardsIDReader').count().run()"]) == "[[\"3\"], []]"
    });
}

#[test]
fn slots_that_move_are_read_once() {
    const KEYS: usize = 3000;
    let servers = Servers::cluster();
    let cluster = servers.as_cluster();
    cluster.fill(KEYS, |number| (format!("n:{number}"), "1"));
    let counts = |node: &'static usize| {
        let node = &servers.nodes()[*node];
        move || {
            let answer = run_at(node, "GB().count().run('n:*')");
            // Complete, or an error that says why not.
            if answer.errors.is_empty() {
                assert_eq!(answer.results, [KEYS.to_string()]);
            }
        }
    };
    while_repeating(&[0, 1], counts, || {
        for slot in (0..2000).step_by(40) {
            cluster.move_slot(slot, 0, 1);
        }
    });
    cluster.settle();
    for node in servers.nodes() {
        let answer = run_at(node, "GB().count().run('n:*')");
        assert_eq!((&*answer.results, answer.errors.len()), (&[KEYS.to_string()][..], 0), "{answer:?}");
    }
}

/// A cluster that lacks slots has no complete answer.
#[test]
fn a_shard_that_is_gone_before_it_begins() {
    let servers = Servers::patient_cluster();
    with_idle_time(&servers, "1500");
    let (address, id) = (servers.nodes()[1].address(), servers.nodes()[1].run::<String>(&["CLUSTER", "MYID"]));
    assert_eq!(servers.results("GB('ShardsIDReader').run()").len(), 3);
    servers.nodes()[1].kill();
    let began = Instant::now();
    let reply = call(servers.first(), &["RG.PYEXECUTE", "GB('ShardsIDReader').count().run()"]);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let shown = crate::common::show(&reply);
    if shown.starts_with('-') {
        assert!(names(std::slice::from_ref(&shown), &address, &id), "{shown}");
    } else {
        let answer = answer_of(&reply, "the count");
        assert!(names(&answer.errors, &address, &id), "{answer:?}");
    }
}
