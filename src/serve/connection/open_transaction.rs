//! The commands of a transaction, kept until `EXEC`.

use super::node_connection::NodeConnection;
use crate::command::Command;

/// Commands that wait for `EXEC`.
#[derive(Default)]
pub(super) struct OpenTransaction {
    pub(super) commands: Vec<Command>,
    /// A command of this transaction, routed by a key: all others are to be for the same slot.
    pub(super) keyed: Option<Command>,
    pub(super) has_failed: bool,
}

impl OpenTransaction {
    /// Has had a command that cannot run: `EXEC` runs none.
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
    }
}

/// Keys that are watched, at their node.
pub(super) struct WatchedKeys {
    pub(super) connection: NodeConnection,
    /// A command that is routed by one of the keys.
    pub(super) keyed: Command,
}
