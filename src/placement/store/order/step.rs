//! [`SlotStep`]: what copies of a slot do in one piece, and [`Placed`]: where it stands in the order.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::in_flight::Settled;
use super::lane::NodeLane;
use super::plan::AfterFirst;
use crate::command::Command;
use crate::reply::Reply;

/// A step for a slot: commands that go to its copies in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::placement::store) struct SlotStep {
    pub(super) commands: Vec<Command>,
    /// Only the first copy has to do it.
    pub(super) reads: bool,
}

impl SlotStep {
    /// Makes a step of commands that stand behind each other, of which only the first copy has to do those that only read.
    pub(in crate::placement::store) fn of(commands: Vec<Command>, reads: bool) -> Self {
        Self { commands, reads }
    }

    /// Returns the keys that a client is to watch from now on; `None` if it is another step.
    pub(super) fn watches(&self) -> Option<Vec<Bytes>> {
        let [command] = &self.commands[..] else { return None };
        let is_watch = command.name().eq_ignore_ascii_case(b"WATCH");
        is_watch.then(|| command.args().map(Bytes::copy_from_slice).collect())
    }

    /// Returns whether only the first copy has to do it.
    pub(in crate::placement::store) fn reads(&self) -> bool {
        self.reads
    }
}

/// A step that has its place in the order of its slot.
pub(in crate::placement::store) enum Placed {
    /// At the copies.
    Here(PlacedHere),
    /// At the proxy that orders the slot.
    There(PlacedThere),
    /// The copies do it one after the other.
    Later(PlacedLater),
}

/// A step that was appended to the connections of copies.
pub(in crate::placement::store) struct PlacedHere {
    pub(super) slot: u16,
    /// The epoch at which the slot's copies last changed.
    pub(super) epoch: u64,
    /// The copies, and the number of the connection to each.
    pub(super) copies: Arc<[(Arc<NodeLane>, u64)]>,
    pub(super) settled: oneshot::Receiver<Settled>,
    /// The work that is left with the replies of the first copy.
    pub(super) then: AfterFirst,
}

/// A step that is on its way to the proxy that orders its slot.
pub(in crate::placement::store) struct PlacedThere {
    pub(super) proxy: Arc<str>,
    pub(super) settled: oneshot::Receiver<Settled>,
}

/// A step that the copies of a slot do one after the other, while it is held.
pub(in crate::placement::store) struct PlacedLater {
    pub(super) told: oneshot::Receiver<Result<Vec<Reply>, Bytes>>,
}
