//! A command with what is known of it, made of what the caller has typed.

use std::sync::Arc;

use crate::command::Command;
use crate::describe::{Catalogue, CommandSource, Description};
use crate::error::Error;

/// A command, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct DescribedCommand {
    /// The command as it was given, routed by its first key.
    pub(crate) command: Command,
    /// The server's description of the command, or of the subcommand where it has one.
    pub(crate) description: Arc<Description>,
    /// The positions of its keys among the arguments.
    pub(crate) keys: Vec<usize>,
}

/// The reason why a command is not described.
#[derive(Debug)]
pub(crate) enum Undescribed {
    /// The server knows the name, but not with such arguments.
    BadArguments(Command),
    /// The server knows no command of this name.
    Unknown(Command),
    /// The server has not said anything about it.
    NoAnswer(Error),
}

impl DescribedCommand {
    /// Puts together what is known: a command, what the server says of it, and where its keys stand.
    pub(crate) fn new(mut command: Command, description: Arc<Description>, keys: Vec<usize>) -> Self {
        if let Some(&first) = keys.first() {
            command.route_by_argument(first);
        }
        Self { command, description, keys }
    }

    /// Describes a command by what the source says of it. `find_keys` asks the server where the keys stand, where that does
    /// not follow from the description.
    ///
    /// # Errors
    /// The error says why the command is not described.
    pub(crate) async fn of(
        args: &[&[u8]],
        catalogue: &Catalogue,
        source: &impl CommandSource,
        find_keys: impl FnOnce() -> Vec<usize>,
    ) -> Result<Self, Undescribed> {
        let command = args[1..].iter().fold(Command::new(args[0]), Command::arg);
        let whole = match catalogue.look_up(source, args[0]).await {
            Ok(Some(whole)) => whole,
            Ok(None) => return Err(Undescribed::Unknown(command)),
            Err(error) => return Err(Undescribed::NoAnswer(error)),
        };
        let of_call = whole.of_call(args[1..].iter().copied());
        let Some(description) = of_call.filter(|description| description.takes(args.len())) else {
            return Err(Undescribed::BadArguments(command));
        };
        let keys = description.keys(args, find_keys);
        Ok(Self::new(command, description, keys))
    }
}
