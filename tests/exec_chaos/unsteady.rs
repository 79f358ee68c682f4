//! Primaries change and nodes stand still under the loop: an answer is right, or an error in time that says where.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::clients::UNKNOWN;
use crate::common::{Cluster, Server, eventually, in_time, poll, slot_of};
use crate::load::{self, Keys, Tally, rounds};

/// The time that a request has.
const TIMEOUT: Duration = Duration::from_millis(900);

/// The time in which a request succeeds that succeeds at all.
const SOON: Duration = Duration::from_secs(5);

/// For how long a node stands still, so that some requests outlast it and some do not.
const STOPS: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(900), Duration::from_millis(450), Duration::from_millis(600)];

fn cluster(replicas: usize, node_timeout: Duration) -> Cluster {
    let timeout = TIMEOUT.as_millis().to_string();
    Cluster::builder().replicas(replicas).node_timeout(node_timeout).module_args(["timeout-ms", &timeout]).start()
}

/// Returns the moment by which a loop must have ended.
fn limit(rounds: usize) -> Instant {
    Instant::now() + Duration::from_secs(60) + rounds as u32 * Duration::from_millis(200)
}

/// Lets some time pass, less if the loop is over.
fn pass(time: Duration, tally: &Tally, rounds: usize) {
    poll(time, || tally.is_over(rounds).then_some(()));
}

/// Returns the errors that do not say a word of this, one of each kind.
fn silent_about<'e>(errors: &'e BTreeMap<String, usize>, words: &[&str]) -> BTreeMap<&'e str, &'e str> {
    let silent = errors.keys().filter(|error| !words.iter().any(|word| error.contains(word)));
    silent.map(|error| (error.split(' ').next().unwrap_or_default(), error.as_str())).collect()
}

#[test]
fn a_node_that_stands_still_costs_the_time_and_is_named_and_nothing_is_done_twice() {
    let rounds = rounds(150);
    let cluster = cluster(0, Duration::from_secs(60));
    let keys = Keys::of(&cluster, 3);
    let asked = [cluster.node(0), cluster.node(1)];
    let stopped = cluster.node(2);
    let limit = limit(rounds);
    let (stops, notes) = load::run(&cluster, &asked, &keys, TIMEOUT, |tally| {
        let mut stops = 0;
        while !tally.is_over(rounds) || stops < STOPS.len() {
            assert!(Instant::now() < limit, "the loop does not come to its end");
            stopped.stop_signal();
            pass(STOPS[stops % STOPS.len()], tally, rounds);
            stopped.cont_signal();
            pass(Duration::from_millis(300), tally, rounds);
            stops += 1;
        }
        stops
    });
    println!("{stops} stops");
    assert_eq!(silent_about(&notes.errors, &[&stopped.address()]), BTreeMap::new());
    assert!(!notes.errors.is_empty(), "nobody missed the node");
    assert!(notes.errors.keys().any(|error| error.starts_with("-RMRTIMEOUT 900 ms") && error.contains(UNKNOWN)));
}

#[test]
fn a_half_moved_slot_whose_new_owner_stands_still_is_no_shorter_for_it() {
    let cluster = cluster(0, Duration::from_secs(60));
    let keys = cluster.crowded_slots(0, 1).remove(0);
    cluster.fill(keys.len(), |index| (keys[index].clone(), "x"));
    let slot = slot_of(&keys[0]);
    cluster.begin_move(slot, 0, 1);
    keys[..4].iter().for_each(|key| cluster.migrate_key(key, 0, 1));
    let scan = format!("RMR.SCAN {slot} COUNT 1");
    let is_up = |node: &Server| node.reply(&scan).contains(&keys[0]);
    cluster.nodes().iter().for_each(|node| eventually(SOON, "all are up", || is_up(node)));
    for (stopped, asked) in [(1, vec![0, 2]), (0, vec![1, 2])] {
        let stopped = cluster.node(stopped);
        stopped.stop_signal();
        for node in asked.into_iter().map(|node| cluster.node(node)) {
            for line in [scan.clone(), format!("RMR.EXEC EXISTS {}", keys.join(" "))] {
                let reply = in_time(TIMEOUT + Duration::from_millis(400), || node.reply(&line));
                assert!(reply.starts_with("-RMRTIMEOUT 900 ms") && reply.contains(&stopped.address()), "{reply}");
            }
        }
        stopped.cont_signal();
    }
}

#[test]
fn nothing_goes_wrong_while_primaries_change() {
    let rounds = rounds(150);
    let cluster = cluster(1, Duration::from_secs(2));
    let keys = Keys::of(&cluster, 3);
    let nodes: Vec<&Server> = cluster.nodes().iter().collect();
    let limit = limit(rounds);
    let (changes, notes) = load::run(&cluster, &nodes, &keys, TIMEOUT, |tally| {
        let mut changes = 0;
        // Each node in turn; no replica is promoted twice in a short time, which servers are not good at.
        for node in [3, 4, 5, 0, 1, 2].into_iter().cycle() {
            if tally.is_over(rounds) && changes >= 2 {
                break;
            }
            assert!(Instant::now() < limit, "the loop does not come to its end");
            cluster.failover(node);
            changes += 1;
            pass(Duration::from_millis(200), tally, rounds);
        }
        changes
    });
    println!("{changes} new primaries");
    // A client that waits at a node that becomes a replica is thrown out by the server itself.
    let allowed = ["@127.0.0.1:", "-UNBLOCKED ", "-CLUSTERDOWN ", "-TRYAGAIN ", "connection closed"];
    assert_eq!(silent_about(&notes.errors, &allowed), BTreeMap::new());
}
