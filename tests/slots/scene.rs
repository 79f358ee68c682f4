//! A cluster with its keys, readers on every node, and how long that goes on.

use std::env;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::common::{Cluster, ClusterBuilder, Server, while_repeating};
use crate::readers::{self, Asks, COUNT, Reader};
use crate::tally::Tally;

/// The time of all loops together unless told otherwise, in seconds.
const SECONDS: u64 = 60;

/// The loops take all that the machine has, so there is one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Waits until no other loop runs.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the part of the time for all that one loop may take.
pub fn share_of_time(percent: u32) -> Duration {
    let seconds = env::var("RMR_SLOTS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS);
    Duration::from_secs(seconds) * percent / 100
}

/// Starts a cluster and fills it.
pub fn filled(builder: ClusterBuilder) -> Cluster {
    let cluster = builder.module_args(["timeout-ms", "8000"]).start();
    readers::fill(&cluster);
    cluster
}

/// Sets something on every node that runs.
pub fn set_all(cluster: &Cluster, name: &str, value: impl Fn(usize) -> &'static str) {
    for (index, node) in cluster.nodes().iter().enumerate().filter(|(_, node)| node.running()) {
        node.run::<()>(&["CONFIG", "SET", name, value(index)]);
    }
}

/// Has every second node reduce at the shards, beginning with this one; the others carry all replies.
pub fn push_down_from(cluster: &Cluster, first: usize) {
    set_all(cluster, "rmr.pushdown", |index| if index % 2 == first { "on" } else { "off" });
}

/// Asks all nodes all the time, while something is done to the cluster.
pub fn ask_while<R>(cluster: &Cluster, meanwhile: impl FnOnce(&Tally) -> R) -> (R, Tally) {
    let all = 0..cluster.nodes().len();
    // One on every node for what is short; what is long is asked by one alone, which goes from node to node.
    let mut workers: Vec<(Range<usize>, Asks)> = all.clone().map(|node| (node..node + 1, Asks::Short)).collect();
    workers.extend([(all.clone(), Asks::AllKeys), (all, Asks::Scan)]);
    ask_by(cluster, &workers, meanwhile)
}

/// Has each of these readers ask its nodes all the time, while something is done to the cluster.
pub fn ask_by<R>(
    cluster: &Cluster,
    workers: &[(Range<usize>, Asks)],
    meanwhile: impl FnOnce(&Tally) -> R,
) -> (R, Tally) {
    let tally = Tally::default();
    let nodes: Vec<&Server> = cluster.nodes().iter().collect();
    let begin = |(asked, asks): &(Range<usize>, Asks)| {
        let (mut reader, asks) = (Reader::new(nodes[asked.clone()].to_vec(), &tally), *asks);
        move || reader.turn(asks)
    };
    let result = while_repeating(workers, begin, || meanwhile(&tally));
    (result, tally)
}

/// Checks that the cluster itself has lost nothing: what is asked node by node does not go through rmr.
pub fn assert_whole(cluster: &Cluster) {
    assert_same_keys(cluster, COUNT);
}

/// The same of so many keys.
pub fn assert_same_keys(cluster: &Cluster, count: usize) {
    cluster.settle();
    let owners: Vec<usize> = (0..16384).step_by(16).map(|slot| cluster.owner_of(slot)).collect();
    let mut owners: Vec<usize> = owners;
    owners.sort_unstable();
    owners.dedup();
    let held: usize = owners.iter().map(|&node| cluster.node(node).run::<usize>(&["DBSIZE"])).sum();
    assert_eq!(held, count, "the cluster itself has lost keys: this test is wrong, or the server");
}

/// Waits until this much time has passed, or something is wrong. Half-way all nodes change between reducing at the shards
/// and not.
pub fn go_on(cluster: &Cluster, tally: &Tally, time: Duration) {
    let began = Instant::now();
    push_down_from(cluster, 0);
    until(tally, began + time / 2);
    push_down_from(cluster, 1);
    until(tally, began + time);
}

fn until(tally: &Tally, end: Instant) {
    rmr::testing::poll(end.saturating_duration_since(Instant::now()), || (tally.wrong() > 0).then_some(()));
}

/// Returns a node of no cluster yet, to be asked what it is.
pub fn one_node() -> Server {
    Server::builder().module(false).config("cluster-enabled", "yes").start()
}
