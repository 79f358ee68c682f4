//! [`FanOut`]: one command to many nodes.

use std::sync::Arc;

use super::options::Options;
use super::outcomes::Gathered;
use super::request::{Request, RequestBuilder, Whose};
use super::step::{Reducer, Step};
use super::step_builder::step_builder;
use super::targets::Targets;
use super::to_targets::send_to_targets;
use crate::combine::AnyCombine;
use crate::command::Command;
use crate::error::Error;

/// A fan-out that has not been sent yet. `.await` it for the replies, in slot order, or give it a reducer.
///
/// # Errors
/// Any failure of any node, unless partial results are allowed. [`Error::Slots`] if slots without an owner would be
/// missed; and, for a command whose answer depends on keys, if a slot moves so that it cannot be had that its keys are in
/// the replies once, unless [such answers](Self::allow_inconsistent) are allowed. Redirects are not followed: a keyed command is an error on the shards that do not own the key.
#[must_use = "a fan-out does nothing before it is awaited"]
pub struct FanOut {
    whose: Whose,
    command: Command,
    targets: Targets,
    options: Options,
}

impl FanOut {
    fn new(whose: Whose, command: Command) -> Self {
        Self { whose, command, targets: Targets::default(), options: Options::default() }
    }

    /// Sets the nodes. Default: [`Targets::Primaries`].
    pub fn targets(mut self, targets: Targets) -> Self {
        self.targets = targets;
        self
    }

    fn into_step(self, reducer: Box<dyn Reducer>) -> (Whose, Step, Options) {
        (self.whose, Step::FanOut { command: self.command, targets: self.targets, reducer }, self.options)
    }

    /// Sends everything, and gathers what comes back: the replies, or what they come to.
    async fn gather(self, combine: Option<Arc<dyn AnyCombine>>) -> Result<Gathered, Error> {
        let request = self.whose.begin(self.options.timeout);
        send_to_targets(&request, self.command, &self.targets, &self.options, combine).await
    }
}

step_builder!(FanOut);

impl RequestBuilder {
    /// Sends one command to many nodes: by default to every primary that holds data, replies in slot order.
    pub fn fan_out(&self, command: Command) -> FanOut {
        FanOut::new(Whose::Own(self.clone()), command)
    }
}

impl Request {
    /// Sends one command to many nodes: by default to every primary that holds data, replies in slot order.
    pub fn fan_out(&self, command: Command) -> FanOut {
        FanOut::new(Whose::Shared(self.clone()), command)
    }
}
