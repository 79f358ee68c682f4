//! Blocks of slots that move from shard to shard without a pause, a few at a time.
//!
//! A shard whose primary is about to change is closed: no block comes or goes until that is over, since keys that have
//! just arrived may not be at its replica yet, and would be lost with the primary. The others go on.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

use crate::atomic;
use crate::common::{Cluster, View, error_text, eventually};

/// The number of shards.
pub const SHARDS: usize = 3;

/// The longest that slots may take to be seen everywhere with their new owner.
const MOVE_LIMIT: Duration = Duration::from_secs(30);

/// The longest that one `MIGRATE` may take, in milliseconds.
const MIGRATE_TIMEOUT: &str = "5000";

/// The way in which slots move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Key by key.
    Classic,
    /// With all their keys in one moment.
    Atomic,
}

impl Way {
    /// Returns the number of slots that move together.
    fn block_size(self) -> u16 {
        match self {
            Self::Classic => 15,
            Self::Atomic => 400,
        }
    }

    /// Returns the place where the first block of a shard begins, behind the slot that never moves.
    fn offset(self) -> u16 {
        match self {
            Self::Classic => 50,
            Self::Atomic => 1000,
        }
    }
}

/// The number of movers, at most.
const MOST_MOVERS: usize = 2;

/// A cluster whose blocks of slots move.
pub struct Shards<'a> {
    pub cluster: &'a Cluster,
    /// The node that is the primary of each shard.
    primaries: [AtomicUsize; SHARDS],
    /// Taken for reading by who moves slots from or to a shard.
    open: [RwLock<()>; SHARDS],
    /// Ownership changes in one place at a time. Nodes that take slots over at the same time take the same epoch, and one
    /// that does not know of the other's may lose its slots again, with their keys.
    takeover: Mutex<()>,
    /// Held during each `MIGRATE`: nodes do nothing else meanwhile, so that two that send each other keys wait in vain.
    migrate: Mutex<()>,
    moves: AtomicUsize,
    /// The slots that each mover moves: a block of each shard.
    classic: [Mutex<[Block; SHARDS]>; MOST_MOVERS],
    atomic: [Mutex<[Block; SHARDS]>; MOST_MOVERS],
}

/// Slots that move together, and the shard that has them.
struct Block {
    slots: RangeInclusive<u16>,
    shard: usize,
}

impl Block {
    fn of_each_shard(way: Way, mover: usize) -> [Self; SHARDS] {
        let size = way.block_size();
        [0, 1, 2].map(|shard| {
            let first = Shards::home(shard) + way.offset() + mover as u16 * (size + 10);
            Self { slots: first..=first + size - 1, shard }
        })
    }
}

impl<'a> Shards<'a> {
    pub fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            primaries: [0, 1, 2].map(AtomicUsize::new),
            open: Default::default(),
            takeover: Mutex::default(),
            migrate: Mutex::default(),
            moves: AtomicUsize::new(0),
            classic: [0, 1].map(|mover| Block::of_each_shard(Way::Classic, mover).into()),
            atomic: [0, 1].map(|mover| Block::of_each_shard(Way::Atomic, mover).into()),
        }
    }

    /// Returns the node that is the primary of a shard.
    pub fn primary(&self, shard: usize) -> usize {
        self.primaries[shard].load(Ordering::SeqCst)
    }

    /// Returns the number of blocks that have moved.
    pub fn moves(&self) -> usize {
        self.moves.load(Ordering::SeqCst)
    }

    /// Returns a slot of a shard that never moves.
    pub fn home(shard: usize) -> u16 {
        (shard * 16384).div_ceil(SHARDS) as u16 + 1
    }

    /// Lets no slot of a shard move as long as the result is held.
    pub fn close(&self, shard: usize) -> RwLockWriteGuard<'_, ()> {
        self.open[shard].write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which node is the primary of a closed shard now.
    pub fn replace_primary(&self, shard: usize, node: usize) {
        self.primaries[shard].store(node, Ordering::SeqCst);
    }

    /// Moves blocks until `meanwhile` is over, from shard to shard.
    pub fn move_while<R>(&self, way: Way, movers: usize, meanwhile: impl FnOnce() -> R) -> R {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let blocks = match way {
                Way::Classic => &self.classic,
                Way::Atomic => &self.atomic,
            };
            for blocks in &blocks[..movers] {
                let over = &over;
                scope.spawn(move || {
                    let mut blocks = blocks.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut kept = 0;
                    for turn in 0.. {
                        if over.load(Ordering::SeqCst) {
                            break;
                        }
                        let block = &mut blocks[turn % SHARDS];
                        kept = if self.move_one(way, block, turn) { 0 } else { kept + 1 };
                        if kept == SHARDS {
                            // None of them can move before a shard is opened again.
                            drop(self.open[block.shard].read());
                        }
                    }
                });
            }
            let _over = SetOnDrop(&over);
            meanwhile()
        })
    }

    /// Moves a block on. Returns `false` if its shard is closed, or the next one.
    fn move_one(&self, way: Way, block: &mut Block, turn: usize) -> bool {
        let step = 1 + (turn / SHARDS) % (SHARDS - 1);
        let (from, to) = (block.shard, (block.shard + step) % SHARDS);
        // One that waits for a shard must not hold another.
        let (Some(_from), Some(_to)) = (self.try_open(from), self.try_open(to)) else {
            return false;
        };
        let (source, target) = (self.primary(from), self.primary(to));
        match way {
            Way::Classic => self.move_by_keys(&block.slots, source, target),
            Way::Atomic => {
                let _turn = self.takeover.lock().unwrap_or_else(PoisonError::into_inner);
                atomic::begin(self.cluster, &block.slots, source, target);
                atomic::await_end(self.cluster, &block.slots, target);
            }
        }
        block.shard = to;
        self.moves.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn try_open(&self, shard: usize) -> Option<RwLockReadGuard<'_, ()>> {
        self.open[shard].try_read().ok()
    }

    /// Opens slots, moves their keys in batches, and gives the slots to their new owner.
    fn move_by_keys(&self, slots: &RangeInclusive<u16>, from: usize, to: usize) {
        self.tell(to, slots, "IMPORTING", from);
        self.tell(from, slots, "MIGRATING", to);
        let (source, port) = (self.cluster.node(from), self.cluster.node(to).port());
        let mut connection = source.connection();
        for slot in slots.clone() {
            loop {
                let mut list = redis::cmd("CLUSTER");
                list.arg(("GETKEYSINSLOT", slot, 100));
                let keys: Vec<Vec<u8>> = list.query(&mut connection).expect("the keys of a slot");
                if keys.is_empty() {
                    break;
                }
                let mut migrate = redis::cmd("MIGRATE");
                migrate.arg(("127.0.0.1", port, "", 0, MIGRATE_TIMEOUT, "KEYS", keys));
                let turn = self.migrate.lock().unwrap_or_else(PoisonError::into_inner);
                let moved = migrate.exec(&mut connection);
                drop(turn);
                if let Err(error) = moved {
                    let text = error_text(&error);
                    assert!(text.contains("CLUSTERDOWN"), "MIGRATE at {}: {text}", source.address());
                    eventually(MOVE_LIMIT, "the cluster is up again", || View::of(source).is_ok_and(|view| view.ok));
                }
            }
        }

        let _turn = self.takeover.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell(to, slots, "NODE", to);
        self.tell(from, slots, "NODE", to);
        let owner = self.cluster.node(to);
        eventually(MOVE_LIMIT, "every node knows the slots' new owner", || {
            let epoch = View::of(owner).map_or(0, |view| view.epoch);
            let has = |view: &View, slot: &u16| view.owner(*slot) == Some(owner.port());
            let knows = |view: View| view.epoch >= epoch && slots.clone().all(|slot| has(&view, &slot));
            self.cluster.nodes().iter().filter(|node| node.running()).all(|node| View::of(node).is_ok_and(knows))
        });
    }

    /// Says `CLUSTER SETSLOT slot word id` for all slots at a node.
    fn tell(&self, node: usize, slots: &RangeInclusive<u16>, word: &str, about: usize) {
        let id: String = self.cluster.node(about).run(&["CLUSTER", "MYID"]);
        let mut told = redis::pipe();
        for slot in slots.clone() {
            told.cmd("CLUSTER").arg("SETSLOT").arg(slot).arg(word).arg(&id).ignore();
        }
        let node = self.cluster.node(node);
        if let Err(error) = told.query::<()>(&mut node.connection()) {
            panic!("SETSLOT {word} at {}: {}", node.address(), error_text(&error));
        }
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
