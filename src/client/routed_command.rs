//! [`RoutedCommand`]: a command of a batch, with what its delivery has to know of it.

use std::sync::Arc;

use super::pair::Pair;
use super::script::Script;
use crate::command::Command;
use crate::topology::Node;

/// Holds one command of a batch, and where it is to go.
#[derive(Debug, Clone)]
pub(crate) struct RoutedCommand {
    /// Routed by its key, unless a node is named.
    pub(crate) command: Command,
    /// The node that it goes to, whatever its key.
    pub(crate) node: Option<Arc<Node>>,
    /// The script that it calls by its SHA-1.
    pub(crate) script: Option<Script>,
    /// The command goes to the host of its own key, which the catalog has to find.
    pub(crate) is_by_own_key: bool,
    /// Commands come behind it that must not run before it.
    pub(crate) is_followed: bool,
    /// The command touches the one key that it names, and nothing else.
    pub(crate) has_one_key: bool,
}

impl RoutedCommand {
    /// Makes one for the host of its key; which key that is, the catalog says.
    pub(crate) fn keyed(command: Command) -> Self {
        let (node, script) = (None, None);
        Self { command, node, script, is_by_own_key: true, is_followed: false, has_one_key: false }
    }

    /// Makes one for a host that the caller chooses, by a node or a key of which it is not known to be its own.
    pub(crate) fn chosen(command: Command) -> Self {
        let has_one_key = Pair::of(&command).is_some();
        Self { is_by_own_key: false, has_one_key, ..Self::keyed(command) }
    }

    /// Returns the only key that the command touches, if that is known.
    pub(super) fn only_key(&self) -> Option<&[u8]> {
        if !self.has_one_key {
            return None;
        }
        let key = if self.command.is_routed_apart() { None } else { self.command.routing_key() };
        key.or_else(|| self.command.words().nth(1))
    }
}
