//! A command with what is known of it.

use std::sync::Arc;

use crate::command::Command;
use crate::describe::Description;

/// A command, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct DescribedCommand {
    /// The command as it was given, routed by its first key.
    pub(crate) command: Command,
    /// What the server says of it; of the subcommand, where it has such.
    pub(crate) description: Arc<Description>,
    /// Where its keys stand among the arguments.
    pub(crate) keys: Vec<usize>,
}
