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

/// Keys that are watched.
pub(super) struct WatchedKeys {
    pub(super) by: WatchedBy,
    /// A command that is routed by one of the keys.
    pub(super) keyed: Command,
}

/// The place that knows whether keys that are watched were written.
pub(super) enum WatchedBy {
    /// Their node, which this connection leads to.
    Node(NodeConnection),
    /// The proxy that orders their writes to all copies: a step begins with these commands.
    Copies(Vec<Command>),
    /// Nobody, since the number of copies has changed: `EXEC` runs nothing.
    Nobody,
}
