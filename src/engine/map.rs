//! [`Map`]: each command to the shard that it belongs to.

use std::sync::Arc;

use super::by_key::send_by_key;
use super::options::Options;
use super::outcomes::Gathered;
use super::request::{Request, RequestBuilder, Whose};
use super::step::{Reducer, Step};
use super::step_builder::step_builder;
use crate::combine::AnyCombine;
use crate::command::{Command, CommandSet, PerKey};
use crate::error::Error;

/// A map that has not been sent yet. `.await` it for the replies, in the order of the commands, or give it a reducer.
///
/// # Errors
/// Any failure of any command, unless partial results are allowed; [`Error::Unroutable`] for a command without a key,
/// before anything is sent.
#[must_use = "a map does nothing before it is awaited"]
pub struct Map {
    whose: Whose,
    commands: CommandSet,
    options: Options,
}

impl Map {
    fn new(whose: Whose, commands: CommandSet) -> Self {
        Self { whose, commands, options: Options::default() }
    }

    fn into_step(self, reducer: Box<dyn Reducer>) -> (Whose, Step, Options) {
        (self.whose, Step::Map { commands: self.commands, reducer }, self.options)
    }

    /// Sends everything, and gathers what comes back: the replies, or what they come to.
    async fn gather(self, combine: Option<Arc<dyn AnyCombine>>) -> Result<Gathered, Error> {
        let request = self.whose.begin(self.options.timeout);
        send_by_key(&request, self.commands, &self.options, combine).await
    }
}

step_builder!(Map);

impl RequestBuilder {
    /// Sends each command to its shard: one write a node, replies in the order of the commands.
    pub fn map(&self, commands: impl IntoIterator<Item = Command>) -> Map {
        self.map_commands(CommandSet::Each(commands.into_iter().collect()))
    }

    /// Sends one command for each of many keys, as [`map`](Self::map) would, with less work for each key.
    pub fn map_keys(&self, commands: PerKey) -> Map {
        self.map_commands(commands.into())
    }

    pub(crate) fn map_commands(&self, commands: CommandSet) -> Map {
        Map::new(Whose::Own(self.clone()), commands)
    }
}

impl Request {
    /// Sends each command to its shard: one write a node, replies in the order of the commands.
    pub fn map(&self, commands: impl IntoIterator<Item = Command>) -> Map {
        self.map_commands(CommandSet::Each(commands.into_iter().collect()))
    }

    /// Sends one command for each of many keys, as [`map`](Self::map) would, with less work for each key.
    pub fn map_keys(&self, commands: PerKey) -> Map {
        self.map_commands(commands.into())
    }

    pub(crate) fn map_commands(&self, commands: CommandSet) -> Map {
        Map::new(Whose::Shared(self.clone()), commands)
    }
}
