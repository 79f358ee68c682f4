//! `RMR.EVENTS` while primaries change: none is lost by a manual failover, and where one is lost that is said.

use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, eventually, read_events};
use crate::failover::{kill_and_replace, with_replicas};

const LONG: Duration = Duration::from_secs(30);

/// Asks, and goes on with the cursor if that was answered.
fn read(node: &Server, cursor: &mut String) -> Option<Vec<String>> {
    read_events(node, cursor, &["MATCH", "e:*"]).ok()
}

fn begin(cluster: &Cluster) -> String {
    let mut cursor = "$".to_owned();
    eventually(LONG, "all nodes are asked", || {
        read(cluster.node(1), &mut cursor).is_some() && cursor.matches(':').count() == 2 * cluster.nodes().len()
    });
    cursor
}

#[test]
fn a_manual_failover_loses_no_event() {
    let cluster = with_replicas().start();
    let mut cursor = begin(&cluster);
    let key = cluster.key_for(0, "e:");
    let mut written = 0;
    let mut all = Vec::new();
    let mut write = |cluster: &Cluster| {
        let reply = cluster.node(2).wire().call(&["RMR.EXEC", "RPUSH", &key, "x"]);
        written += u64::from(reply.starts_with(b":"));
    };
    (0..20).for_each(|_| write(&cluster));
    cluster.failover(3);
    cluster.settle();
    (0..20).for_each(|_| write(&cluster));
    let until = Instant::now() + LONG;
    while (all.len() as u64) < written && Instant::now() < until {
        all.extend(read(cluster.node(1), &mut cursor).unwrap_or_default());
    }
    assert_eq!(all, vec![format!("rpush {key}"); written as usize]);
    assert!(written >= 30);
}

#[test]
fn events_of_a_primary_that_was_killed_may_be_lost_and_that_is_said() {
    let cluster = with_replicas().start();
    let mut cursor = begin(&cluster);
    let (killed, key) = (cluster.node(0).run::<String>(&["CLUSTER", "MYID"]), cluster.key_for(0, "e:"));
    let mut all = Vec::new();
    kill_and_replace(&cluster, 0);
    eventually(LONG, "a write to the new primary", || {
        cluster.node(2).wire().call(&["RMR.EXEC", "SET", &key, "x"]) == b"+OK\r\n"
    });
    eventually(LONG, "its event", || {
        all.extend(read(cluster.node(1), &mut cursor).unwrap_or_default());
        all.contains(&format!("set {key}"))
    });
    assert!(all.contains(&format!("lost {killed}")), "{all:?}");
    assert_eq!(all.iter().filter(|entry| entry.starts_with("set")).count(), 1, "{all:?}");
}
