//! Reducers, and the steps that they may start.

use super::replies::Replies;
use super::targets::Targets;
use crate::command::{Command, CommandSet};
use crate::error::Error;
use crate::reply::Reply;

/// Merges the replies of a map or a fan-out, and says what comes next. Closures are reducers:
///
/// ```
/// use rmr::{Reducer, Replies, Step};
///
/// fn sum() -> impl Reducer {
///     |replies: Replies| Ok(Step::reply(replies.integers().sum::<i64>()))
/// }
/// ```
///
/// A panic in a reducer is an error of its request.
pub trait Reducer: Send + 'static {
    /// Reduces the replies. Called once, with all of them. Unless the request allows partial results, none is missing.
    ///
    /// # Errors
    /// The request ends in the error that this returns.
    fn reduce(self: Box<Self>, replies: Replies) -> Result<Step, Error>;
}

impl<F> Reducer for F
where
    F: FnOnce(Replies) -> Result<Step, Error> + Send + 'static,
{
    fn reduce(self: Box<Self>, replies: Replies) -> Result<Step, Error> {
        self(replies)
    }
}

/// Says what a reducer wants next.
#[non_exhaustive]
pub enum Step {
    /// Answer the request.
    Reply(Reply),
    /// Send each command to its shard, and reduce again.
    Map {
        /// The commands.
        commands: CommandSet,
        /// Gets their replies.
        reducer: Box<dyn Reducer>,
    },
    /// Send one command to many nodes, and reduce again.
    FanOut {
        /// The command.
        command: Command,
        /// The nodes.
        targets: Targets,
        /// Gets their replies.
        reducer: Box<dyn Reducer>,
    },
}

impl Step {
    /// Answers the request with this reply.
    pub fn reply(reply: impl Into<Reply>) -> Self {
        Self::Reply(reply.into())
    }

    /// Sends each command to its shard, and reduces again.
    pub fn map(commands: impl IntoIterator<Item = Command>, reducer: impl Reducer) -> Self {
        Self::Map { commands: CommandSet::Each(commands.into_iter().collect()), reducer: Box::new(reducer) }
    }

    /// Sends one command to every primary that holds data, and reduces again.
    pub fn fan_out(command: Command, reducer: impl Reducer) -> Self {
        Self::FanOut { command, targets: Targets::Primaries, reducer: Box::new(reducer) }
    }
}
