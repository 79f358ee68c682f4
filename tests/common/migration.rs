//! Moving things around: slots from node to node, the role of primary to a replica.

use std::time::Duration;

use super::cluster::Cluster;
use super::errors::error_text;
use super::server::Server;
use super::topology::View;
use rmr::testing::{eventually, poll};

/// The number of keys that one `MIGRATE` takes.
const KEYS_PER_MIGRATE: &str = "10";

/// The longest that one `MIGRATE` may take, in milliseconds.
const MIGRATE_TIMEOUT: &str = "5000";

/// The longest that a moved slot may take to be seen everywhere.
const MOVE_LIMIT: Duration = Duration::from_secs(15);

/// The time to wait for one manual failover; servers give up after 5 s.
const FAILOVER_ATTEMPT: Duration = Duration::from_millis(5500);

/// The time in which a failover is asked for again and again.
const FAILOVER_LIMIT: Duration = Duration::from_secs(30);

impl Cluster {
    /// Moves a slot with its keys from one primary to another, and waits until all nodes know.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        self.migrate_keys(slot, from, to);
        self.finish_move(slot, from, to);
    }

    /// Has nobody own slots any more, all of which one node has owned, and waits until all nodes know. Each may have to be told twice:
    /// a message that the owner had sent before has others take the slots for its own again.
    pub fn disown(&self, first: u16, last: u16) {
        let words = ["CLUSTER", "DELSLOTSRANGE", &first.to_string(), &last.to_string()];
        eventually(MOVE_LIMIT, "nobody owns the slots", || {
            self.nodes().iter().for_each(|node| drop(node.try_run::<()>(&words)));
            let is_unowned = |view: View| (first..=last).all(|slot| view.owner(slot).is_none());
            self.nodes().iter().all(|node| View::of(node).is_ok_and(is_unowned))
        });
    }

    /// Opens a slot for its move: from now on `from` answers `ASK` for keys which it does not have.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (from, to, slot) = (self.node(from), self.node(to), slot.to_string());
        to.run::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id_of(from)]);
        from.run::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id_of(to)]);
    }

    /// Moves the keys of an open slot, in batches.
    pub fn migrate_keys(&self, slot: u16, from: usize, to: usize) {
        let (from, to, slot) = (self.node(from), self.node(to), slot.to_string());
        let mut connection = from.connection();
        loop {
            let keys: Vec<Vec<u8>> = from.run(&["CLUSTER", "GETKEYSINSLOT", &slot, KEYS_PER_MIGRATE]);
            if keys.is_empty() {
                return;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg(("127.0.0.1", to.port(), "", 0, MIGRATE_TIMEOUT));
            if let Some(password) = to.password() {
                migrate.arg(("AUTH", password));
            }
            migrate.arg(("KEYS", keys));
            if let Err(error) = migrate.exec(&mut connection) {
                panic!("MIGRATE at {}: {}", from.address(), error_text(&error));
            }
        }
    }

    /// Gives an open slot to its new owner: tells the target, then the source, then the other
    /// primaries, and waits until all running nodes know.
    ///
    /// They must know the new config epoch too. Where the next owner of the slot does not, it takes the slot with an
    /// epoch that is not the highest, loses it again to a late message of the owner before, and drops the keys.
    pub fn finish_move(&self, slot: u16, from: usize, to: usize) {
        let (from, to) = (self.node(from), self.node(to));
        let id = id_of(to);
        let words = ["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id];
        let running = || self.nodes().iter().filter(|node| node.running());
        to.run::<()>(&words);
        for node in [from].into_iter().chain(running()) {
            // Replicas refuse, and hear of it from the others. So may a source which has lost its
            // last slot: servers make a replica of it.
            if let Err(error) = node.try_run::<()>(&words) {
                let text = error_text(&error);
                assert!(text.contains("only with masters"), "{words:?}: {text}");
            }
        }
        eventually(MOVE_LIMIT, "every node knows the slot's new owner", || {
            let epoch = View::of(to).map_or(0, |view| view.epoch);
            let knows = |view: View| view.owner(slot) == Some(to.port()) && view.epoch >= epoch;
            running().all(|node| View::of(node).is_ok_and(knows))
        });
    }

    /// Makes the node at `index` the primary of its shard, without loss, and waits until all nodes
    /// agree. Does nothing if it is one already.
    ///
    /// Servers are not good at promoting the same replica twice within a few node timeouts: votes
    /// are refused, or old votes are counted again and the others do not accept the result. So this
    /// asks until the promotion lasts, which can take some 10 s in that case.
    pub fn failover(&self, index: usize) {
        let node = self.node(index);
        let promoted = poll(FAILOVER_LIMIT, || {
            if !is_primary(node) {
                node.run::<()>(&["CLUSTER", "FAILOVER"]);
            }
            poll(FAILOVER_ATTEMPT, || is_primary(node).then_some(()))?;
            self.settle();
            is_primary(node).then_some(())
        });
        assert!(promoted.is_some(), "not promoted: {}", node.address());
    }
}

/// Returns the id of a node.
fn id_of(node: &Server) -> String {
    node.run(&["CLUSTER", "MYID"])
}

/// Returns whether a node is a primary in its own eyes.
fn is_primary(node: &Server) -> bool {
    let is_primary = |view: View| !view.members[&node.port()].replica;
    View::of(node).is_ok_and(is_primary)
}
