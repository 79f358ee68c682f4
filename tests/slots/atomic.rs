//! Slots that change hands in one moment, by `CLUSTER MIGRATESLOTS`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::common::{Cluster, Server, View, eventually};

/// The longest that slots may take to be seen everywhere with their new owner.
const MOVE_LIMIT: Duration = Duration::from_secs(30);

/// Returns whether this server can move slots as a whole. Says so where it cannot.
pub fn is_possible(node: &Server) -> bool {
    let is_possible = node.run::<Vec<String>>(&["CLUSTER", "HELP"]).iter().any(|line| line.starts_with("MIGRATESLOTS"));
    if !is_possible {
        println!("skipped: this server has no CLUSTER MIGRATESLOTS");
    }
    is_possible
}

/// Begins to move slots from one primary to another.
pub fn begin(cluster: &Cluster, slots: &RangeInclusive<u16>, from: usize, to: usize) {
    let id: String = cluster.node(to).run(&["CLUSTER", "MYID"]);
    let (first, last) = (slots.start().to_string(), slots.end().to_string());
    cluster.node(from).run::<()>(&["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &first, &last, "NODE", &id]);
}

/// Waits until all nodes know that a primary has these slots.
pub fn await_end(cluster: &Cluster, slots: &RangeInclusive<u16>, to: usize) {
    let owner = cluster.node(to);
    eventually(MOVE_LIMIT, "every node knows the slots' new owner", || {
        let epoch = View::of(owner).map_or(0, |view| view.epoch);
        let has = |view: &View, slot: &u16| view.owner(*slot) == Some(owner.port());
        let knows = |view: View| view.epoch >= epoch && has(&view, slots.start()) && has(&view, slots.end());
        cluster.nodes().iter().filter(|node| node.running()).all(|node| View::of(node).is_ok_and(knows))
    });
}

/// Lets no move come to its end, or does again: keys go on being imported until then.
pub fn hold(cluster: &Cluster, is_held: bool) {
    for node in cluster.nodes() {
        node.run::<()>(&["DEBUG", "SLOTMIGRATION", "PREVENT-PAUSE", if is_held { "1" } else { "0" }]);
    }
}
