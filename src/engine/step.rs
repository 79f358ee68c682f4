//! Reducers, and the steps that they may start.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::fanout::Targets;
use super::outcomes::Gathered;
use super::replies::Replies;
use super::{Engine, Options};
use crate::combine::{self, Combine};
use crate::command::Command;
use crate::command::CommandSet;
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
    /// Called once, with all replies. Unless the request allows partial results, all of them are there.
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

/// What a reducer wants next.
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
    /// Answer the request with this.
    pub fn reply(reply: impl Into<Reply>) -> Self {
        Self::Reply(reply.into())
    }

    /// Send each command to its shard, and reduce again.
    pub fn map(commands: impl IntoIterator<Item = Command>, reducer: impl Reducer) -> Self {
        Self::Map { commands: CommandSet::Each(commands.into_iter().collect()), reducer: Box::new(reducer) }
    }

    /// Send one command to every primary that holds data, and reduce again.
    pub fn fan_out(command: Command, reducer: impl Reducer) -> Self {
        Self::FanOut { command, targets: Targets::Primaries, reducer: Box::new(reducer) }
    }
}

/// Runs a step and those that it starts, until one replies. All of them share the engine's deadline.
pub(super) async fn run(engine: Engine, mut step: Step, options: Options) -> Result<Reply, Error> {
    loop {
        let (replies, reducer) = match step {
            Step::Reply(reply) => return Ok(reply),
            Step::Map { commands, reducer } => {
                (engine.map_commands(commands).with_options(options.clone()).gather(None).await?.0, reducer)
            }
            Step::FanOut { command, targets, reducer } => {
                (engine.fan_out(command).targets(targets).with_options(options.clone()).gather(None).await?.0, reducer)
            }
        };
        step = catch_unwind(AssertUnwindSafe(|| reducer.reduce(replies)))
            .unwrap_or_else(|panic| Err(panicked("reducer", &*panic)))?;
    }
}

/// What a request with a reducer that can be split comes to, beside its failures. The reducer is somebody else's code, in
/// what was gathered as in the end.
pub(super) fn combined<C: Combine>(
    combine: &C,
    gathered: std::thread::Result<Result<Gathered, Error>>,
) -> Result<(C::Output, Replies), Error> {
    let finish = |gathered: Result<Gathered, Error>| {
        let (failures, partial) = gathered?;
        let nothing = || Error::Internal("internal error: nothing was reduced".into());
        Ok((combine::finish(combine, partial.ok_or_else(nothing)?)?, failures))
    };
    let finished = gathered.and_then(|gathered| catch_unwind(AssertUnwindSafe(|| finish(gathered))));
    finished.unwrap_or_else(|panic| Err(panicked("reducer", &*panic)))
}

/// What a panic of somebody else's code is to the request.
pub(crate) fn panicked(who: &'static str, panic: &(dyn std::any::Any + Send)) -> Error {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::Panicked { who, message: message.unwrap_or("no message").to_owned() }
}
