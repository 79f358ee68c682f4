//! Lists of commands, each list for the host of its routing key, with scripts among them.

use super::Client;
use super::deliver::deliver_in_order;
use super::routed_command::RoutedCommand;
use super::script::ScriptCall;
use crate::command::Argument;
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;

/// An action of a list: a command, or the call of a script.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Action {
    /// A command.
    Command(Command),
    /// A script, called by its SHA-1.
    Script(ScriptCall),
}

impl From<Command> for Action {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

impl From<ScriptCall> for Action {
    fn from(call: ScriptCall) -> Self {
        Self::Script(call)
    }
}

impl Client {
    /// Runs lists of commands, all at once: each list in order, at the host of its routing key, whatever keys its
    /// commands have. Gives each routing key with the results of its list, in order.
    ///
    /// Scripts are called by their SHA-1, and by their text where a host does not know them. Commands that follow a call in
    /// its list must not run before it, so that it cannot be made again: the first such call of a script is by its text.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// # #[tokio::main] async fn main() -> Result<(), rmr::Error> {
    /// # let servers = rmr::testing::Servers::start(2);
    /// # let client = servers.client();
    /// use rmr::Command;
    /// use rmr::client::{Action, Script};
    ///
    /// let double = Script::new("return redis.call('GET', KEYS[1]) * ARGV[1]");
    /// let results = client
    ///     .execute_commands([
    ///         ("foo", vec![Action::from(Command::new("SET").arg("foo").arg(4)), double.call(["foo"], [2]).into()]),
    ///         ("bar", vec![Command::new("INCR").arg("bar").into()]),
    ///     ])
    ///     .await;
    /// let (key, results) = &results[0];
    /// assert_eq!((*key, results[1].as_ref().unwrap().integer()), ("foo", Some(8)));
    /// # Ok(()) }
    /// # main().unwrap(); }
    /// ```
    pub async fn execute_commands<K: Argument, L: IntoIterator<Item = Action>>(
        &self,
        lists: impl IntoIterator<Item = (K, L)>,
    ) -> Vec<(K, Vec<Result<Reply, Error>>)> {
        let request = self.request();
        let mut keys = Vec::new();
        let mut items = Vec::new();
        for (key, list) in lists {
            let list = list_of(&key.to_argument(), list);
            keys.push((key, list.len()));
            items.extend(list);
        }
        // Commands that only read are marked, so that they may be sent again when a connection was lost.
        self.catalog.route(&request, &mut items).await;
        let mut outcomes = deliver_in_order(&request, &items, Vec::new(), self.delivery_options()).await;
        keys.into_iter().map(|(key, length)| (key, outcomes.by_ref().take(length).collect())).collect()
    }
}

/// Makes the items of one list.
pub(crate) fn list_of(key: &[u8], list: impl IntoIterator<Item = Action>) -> Vec<RoutedCommand> {
    let to_item = |action| match action {
        Action::Command(command) => RoutedCommand::chosen(command.routed_by(key)),
        Action::Script(ScriptCall { script, command }) => {
            RoutedCommand { script: Some(script), ..RoutedCommand::chosen(command.routed_by(key)) }
        }
    };
    let mut items: Vec<RoutedCommand> = list.into_iter().map(to_item).collect();
    if let Some((_, followed)) = items.split_last_mut() {
        followed.iter_mut().for_each(|item| item.is_followed = true);
    }
    items
}
