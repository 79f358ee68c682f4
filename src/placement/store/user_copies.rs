//! [`UserCopies`]: the copies of slots, as one user reaches them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::late_nodes::LateNodes;
use super::node_links::NodeLinks;
use super::rights::Rights;
use super::shared::Shared;
use super::table::{SlotState, SlotTable};
use crate::command::CommandRef;
use crate::link::ReadFrom;

/// The copies of slots, as one user reaches them.
pub(super) struct UserCopies {
    pub(super) links: Arc<NodeLinks>,
    pub(super) rights: Rights,
    /// Counts reads: they go to one copy after the other.
    reads: AtomicUsize,
    pub(super) late: LateNodes,
}

impl UserCopies {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            links: Arc::new(NodeLinks::new(shared)),
            rights: Rights::default(),
            reads: AtomicUsize::new(0),
            late: LateNodes::default(),
        }
    }

    /// Returns what all users share.
    pub(super) fn shared(&self) -> &Shared {
        self.links.shared()
    }

    /// Returns the places of a slot's copies in the order in which they are to be asked: any first, where all are equal, and last those
    /// that were late.
    pub(super) fn to_ask(&self, table: &SlotTable, slot: u16, from: ReadFrom) -> Result<Vec<usize>, String> {
        let entry = table.slot(slot)?;
        let mut copies = entry.copies.clone();
        match entry.state {
            SlotState::Ok if from != ReadFrom::FirstCopy => {
                let first = self.reads.fetch_add(1, Ordering::Relaxed) % copies.len();
                copies.rotate_left(first);
                self.late.put_last(&mut copies, |&place| &table.nodes[place].address);
            }
            _ => copies.truncate(1),
        }
        Ok(copies)
    }
}

/// The copies to which a command goes.
#[derive(Clone, Copy)]
pub(super) enum CopyWay {
    /// To any copy of its slot.
    Read(u16),
    /// To all copies of its slot.
    Write(u16),
    /// To the node of the link.
    Node,
}

impl CopyWay {
    /// Returns the slot, and whether it is only read; `None` for what is about the node of the link.
    pub(super) fn slot(self) -> Option<(u16, bool)> {
        match self {
            Self::Read(slot) => Some((slot, true)),
            Self::Write(slot) => Some((slot, false)),
            Self::Node => None,
        }
    }
}

pub(super) fn way(table: &SlotTable, command: CommandRef<'_>) -> CopyWay {
    /// They have a key for the way to take, and change nothing.
    const MESSAGES: [&[u8]; 2] = [b"PUBLISH", b"SPUBLISH"];
    let Some(key) = command.routing_key() else { return CopyWay::Node };
    let slot = table.slot_of(key);
    if command.is_read_only() {
        CopyWay::Read(slot)
    } else if MESSAGES.iter().any(|name| name.eq_ignore_ascii_case(command.name())) {
        CopyWay::Node
    } else {
        CopyWay::Write(slot)
    }
}
