//! Shares that take long: others are served meanwhile, and what nobody waits for any more is not done.

use std::time::{Duration, Instant};

use super::pushing;
use crate::common::{Cluster, Server, eventually, poll};

const KEYS: usize = 200_000;

/// Returns keys that are all on the second shard, in one request that takes it a while.
fn long_request(cluster: &Cluster, timeout: Option<u64>) -> Vec<String> {
    let key = cluster.key_for(1, "n");
    cluster.set(&key, "1");
    let tag = &key[..];
    let timeout = timeout.map_or(vec![], |timeout| vec!["TIMEOUT".to_owned(), timeout.to_string()]);
    let keys = (0..KEYS).map(|index| format!("{{{tag}}}{index}"));
    let count = ["RMR.MAP".to_owned()].into_iter().chain(timeout);
    let mut line: Vec<String> = count.chain(["COUNT".to_owned(), KEYS.to_string()]).collect();
    line.extend(keys);
    line.push("STRLEN".to_owned());
    line
}

/// Returns the number of commands that the shard has run, once it runs no more.
fn at_rest(node: &Server) -> u64 {
    let mut last = node.calls_of("strlen");
    let rested = poll(Duration::from_secs(30), || {
        let before = std::mem::replace(&mut last, node.calls_of("strlen"));
        (before == last && node.rmr_figure("inner_running") == 0).then_some(last)
    });
    rested.expect("the shard does not come to rest")
}

#[test]
fn a_share_that_ran_out_of_time_is_dropped() {
    let cluster = pushing(3);
    let request = long_request(&cluster, Some(60));
    let reply = cluster.node(0).wire().reply_to(&request);
    assert!(reply.starts_with("-RMRTIMEOUT 60 ms: 0/1 nodes replied"), "{reply}");
    let done = at_rest(cluster.node(1));
    assert!(done < KEYS as u64, "all {done} commands were run for nobody");
}

#[test]
fn a_share_whose_client_has_gone_is_dropped() {
    let cluster = pushing(3);
    let request = long_request(&cluster, None);
    let mut wire = cluster.node(0).wire();
    wire.send(&request);
    eventually(Duration::from_secs(10), "the shard is at work", || cluster.node(1).rmr_figure("inner_running") == 1);
    drop(wire);
    let done = at_rest(cluster.node(1));
    assert!(done < KEYS as u64, "all {done} commands were run for nobody");
    assert_eq!(cluster.node(0).reply("RMR.PING"), "+OK");
}

#[test]
fn others_are_served_meanwhile() {
    let cluster = pushing(3);
    let request = long_request(&cluster, Some(60_000));
    let mut wire = cluster.node(0).wire();
    wire.send(&request);
    eventually(Duration::from_secs(10), "the shard is at work", || cluster.node(1).rmr_figure("inner_running") == 1);
    let mut pings = 0;
    let mut longest = Duration::ZERO;
    let mut other = cluster.node(1).wire();
    while cluster.node(1).rmr_figure("inner_running") == 1 {
        let asked = Instant::now();
        assert_eq!(other.reply("PING"), "+PONG");
        longest = longest.max(asked.elapsed());
        pings += 1;
    }
    assert_eq!(crate::common::show(&wire.read_frame()), KEYS.to_string());
    assert!(pings >= 10, "only {pings} others were served");
    assert!(longest < Duration::from_secs(2), "one of them waited {longest:?}");
}
