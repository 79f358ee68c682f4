//! Slots move while primaries change: by a manual failover, since one stands still, since one is killed. A replica that was
//! promoted answers for its slots once, and so does whoever had them before.

use std::time::{Duration, Instant};

use crate::common::{Cluster, ClusterBuilder, Server, View, eventually};
use crate::movers::{SHARDS, Shards, Way};
use crate::readers::{ANY_COMMAND, SCAN};
use crate::scene::{ask_while, assert_whole, filled, push_down_from, share_of_time, turn};
use crate::tally::Tally;
use crate::{atomic, scene};

/// The longest that a change of primaries may take.
const CHANGE: Duration = Duration::from_secs(40);

/// The time to wait for one manual failover; servers give up after 5 s.
const FAILOVER_ATTEMPT: Duration = Duration::from_millis(5500);

/// The words of errors that may come of a node that is lost, stands still, or loads its data; and of slots that have no owner
/// meanwhile.
pub const ALLOWED: [&str; 13] = [
    "PARTIAL",
    "RMRSLOTS",
    "RMRTIMEOUT",
    "RMRNODE",
    "CLUSTERDOWN",
    "RMRSHARD CLUSTERDOWN",
    "LOADING",
    "RMRSHARD LOADING",
    "MASTERDOWN",
    "RMRSHARD MASTERDOWN",
    // The server sends those away who wait when it becomes a replica.
    "UNBLOCKED",
    "ERRCLUSTER",
    "TRYAGAIN",
];

/// The way in which another node becomes the primary.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Asked,
    Stopped,
    Killed,
}

/// Returns the nodes of a shard.
fn members(cluster: &Cluster, shard: usize) -> [usize; 2] {
    [shard, cluster.replicas_of(shard).start]
}

/// Returns whether a node is a primary in its own eyes.
fn is_primary(node: &Server) -> bool {
    View::of(node).is_ok_and(|view| view.members.get(&node.port()).is_some_and(|member| !member.replica))
}

/// Makes the replica of a shard its primary, and waits until the former one follows it. No slot of it moves meanwhile.
fn change_primary(shards: &Shards<'_>, shard: usize, cause: Cause) {
    let _closed = shards.close(shard);
    let cluster = shards.cluster;
    let before = shards.primary(shard);
    let after = members(cluster, shard).into_iter().find(|&node| node != before).expect("another member");
    let (primary, replica) = (cluster.node(before), cluster.node(after));
    eventually(CHANGE, "the replica has all that its primary has", || {
        let offset = |node: &Server| node.figure("replication", "master_repl_offset");
        offset(primary) == offset(replica)
    });
    match cause {
        Cause::Asked => {
            let promoted = rmr::testing::poll(CHANGE, || {
                if !is_primary(replica) {
                    // Refused while another one is under way.
                    let _ = replica.try_run::<()>(&["CLUSTER", "FAILOVER"]);
                }
                rmr::testing::poll(FAILOVER_ATTEMPT, || is_primary(replica).then_some(()))
            });
            assert!(promoted.is_some(), "{} is not promoted", replica.address());
        }
        Cause::Stopped => {
            primary.stop_signal();
            eventually(CHANGE, "the replica takes over", || is_primary(replica));
            primary.cont_signal();
        }
        Cause::Killed => {
            primary.kill();
            eventually(CHANGE, "the replica takes over", || is_primary(replica));
            primary.restart();
        }
    }
    let follows = |node: &Server| {
        View::of(node).is_ok_and(|view| view.replicating && view.members[&node.port()].replica && view.ok)
    };
    if rmr::testing::poll(CHANGE, || follows(primary).then_some(())).is_none() {
        panic!("after {cause:?} the former primary does not follow: {:#?}", View::of(primary));
    }
    let knows =
        |node: &Server| View::of(node).is_ok_and(|view| view.owner(Shards::home(shard)) == Some(replica.port()));
    eventually(CHANGE, "every node knows the new primary", || cluster.nodes().iter().all(knows));
    shards.replace_primary(shard, after);
}

/// Changes one primary after the other, by each cause, as long as there is time and nothing is wrong.
pub fn change_all(shards: &Shards<'_>, tally: &Tally, time: Duration) -> usize {
    let began = Instant::now();
    let mut changes = 0;
    for cause in [Cause::Asked, Cause::Killed, Cause::Stopped].into_iter().cycle() {
        push_down_from(shards.cluster, changes % 2);
        change_primary(shards, changes % SHARDS, cause);
        changes += 1;
        let is_each_done = changes >= 3;
        if (is_each_done && began.elapsed() > time) || tally.wrong() > 0 {
            break;
        }
    }
    changes
}

/// Shards of two nodes. A node that is restarted has its data: a primary that came back without would have lost them,
/// whoever asks.
pub fn with_replicas() -> ClusterBuilder {
    Cluster::builder()
        .replicas(1)
        .node_timeout(Duration::from_secs(1))
        .config("appendonly", "yes")
        .config("cluster-require-full-coverage", "no")
        .config("repl-backlog-size", "64mb")
}

/// Returns the ways in which slots can move on this server.
pub fn ways() -> Vec<Way> {
    if atomic::is_possible(&scene::one_node()) { vec![Way::Classic, Way::Atomic] } else { vec![Way::Classic] }
}

#[test]
fn while_slots_move_and_primaries_change() {
    let _turn = turn();
    let ways = ways();
    let cluster = filled(with_replicas());
    cluster.settle();
    let shards = Shards::new(&cluster);
    let time = share_of_time(40) / ways.len() as u32;
    for way in ways {
        let before = shards.moves();
        let (changes, tally) =
            ask_while(&cluster, |tally| shards.move_while(way, 1, || change_all(&shards, tally, time)));
        println!("{way:?}, {changes} new primaries, {} moves of a block:\n{tally}", shards.moves() - before);
        assert_whole(&cluster);
        tally.assert_sound(&ALLOWED);
        for (question, counts) in tally.all() {
            // A whole pass takes longer than a node is there at a stretch.
            let may_fail = [ANY_COMMAND, SCAN].contains(&question);
            assert!(counts.right > 0 || may_fail, "{question} was never answered:\n{tally}");
        }
    }
}
