//! [`SlotStep`]: what copies of a slot do in one piece, and [`Placed`]: where it stands in the order.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::in_flight::Settled;
use super::lane::NodeLane;
use crate::command::Command;

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

    pub(super) fn wire(&self) -> Bytes {
        let mut wire = Vec::with_capacity(self.commands.iter().map(|command| command.wire().len() + 16).sum());
        self.commands.iter().for_each(|command| command.write_to(&mut wire));
        wire.into()
    }
}

/// A step that has its place in the order of its slot.
pub(in crate::placement::store) enum Placed {
    /// At the copies.
    Here(PlacedHere),
    /// At the proxy that orders the slot.
    There(PlacedThere),
}

/// A step that was appended to the connections of copies.
pub(in crate::placement::store) struct PlacedHere {
    pub(super) slot: u16,
    /// When the slot's copies last changed.
    pub(super) epoch: u64,
    /// The copies, and the number of the connection to each.
    pub(super) copies: Vec<(Arc<NodeLane>, u64)>,
    pub(super) settled: oneshot::Receiver<Settled>,
}

/// A step that is on its way to the proxy that orders its slot.
pub(in crate::placement::store) struct PlacedThere {
    pub(super) proxy: Arc<str>,
    pub(super) settled: oneshot::Receiver<Settled>,
}
