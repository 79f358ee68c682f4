//! Finding out how a step has the same effect on every copy: what the nodes say of its commands, and where its keys stand.

use std::sync::Arc;

use bytes::Bytes;

use super::Sequencer;
use super::plan::{AfterFirst, CopyPlan, in_transaction};
use super::refusal::refused;
use crate::command::Command;
use crate::describe::{CommandSource, Description, getkeys};
use crate::error::Error;
use crate::placement::store::copy::node::DataNode;
use crate::placement::store::definite::{Definite, Others, WriteCall, definite, definite_transaction};
use crate::reply::Reply;

/// A command with what is known of it.
struct KnownCall {
    command: Command,
    description: Arc<Description>,
    keys: Vec<usize>,
}

impl KnownCall {
    fn keys(&self) -> impl Iterator<Item = Bytes> {
        let words: Vec<&[u8]> = self.command.words().collect();
        self.keys.iter().filter_map(|&at| Some(Bytes::copy_from_slice(words.get(at)?))).collect::<Vec<_>>().into_iter()
    }

    fn write_call(&self) -> WriteCall<'_> {
        WriteCall { command: &self.command, description: &self.description, keys: &self.keys, script: None }
    }
}

impl Sequencer {
    /// Says how a step has the same effect on every copy.
    ///
    /// # Errors
    /// The error says why it is not run on copies, in the words for the client.
    pub(super) async fn plan(&self, mut commands: Vec<Command>) -> Result<CopyPlan, Bytes> {
        let is_transaction = commands.len() > 2;
        if is_transaction {
            commands.pop();
            commands.remove(0);
        }
        let mut calls = Vec::with_capacity(commands.len());
        for command in commands {
            calls.push(self.know(command).await?);
        }
        let now = self.now_ms().await?;
        let keys: Vec<Bytes> = calls.iter().flat_map(KnownCall::keys).collect();
        if !is_transaction {
            let Some(call) = calls.pop() else { return Ok(CopyPlan::as_they_are(Vec::new())) };
            let made = definite(&call.write_call(), now).map_err(|why| refused(&call.command, why))?;
            let (command, then) = match made {
                Definite::AsIs => (call.command, AfterFirst::Nothing),
                Definite::Rewritten(rewritten) => (rewritten.command.clone(), AfterFirst::Told(rewritten)),
                Definite::First(follow_up) => {
                    (follow_up.command.clone().unwrap_or(call.command), AfterFirst::Follow(follow_up))
                }
                Definite::CarryOver(carried) => (call.command, AfterFirst::Carry(carried)),
            };
            return Ok(CopyPlan { commands: vec![command], then, keys });
        }
        let write_calls: Vec<WriteCall<'_>> = calls.iter().map(KnownCall::write_call).collect();
        let exec = Command::new("EXEC");
        let made = definite_transaction(&write_calls, now).map_err(|why| refused(&exec, why))?;
        let commands = in_transaction(made.commands());
        let then = match made.others() {
            Others::Same => AfterFirst::ToldAll(made),
            Others::FromReplies => AfterFirst::FollowAll(made),
            Others::Carried(_) => AfterFirst::CarryAll(made),
        };
        Ok(CopyPlan { commands, then, keys })
    }

    async fn know(&self, command: Command) -> Result<KnownCall, Bytes> {
        let unknown = |why: String| Bytes::from(format!("RMRNODE {why}; nothing was sent"));
        let described = self.known.look_up(self, command.name()).await.map_err(|error| unknown(error.to_string()))?;
        let described = described.and_then(|whole| whole.of_call(command.args()));
        // A command that no server knows is refused by all of them.
        let description = described.unwrap_or_default();
        let args: Vec<&[u8]> = command.words().collect();
        let keys = match description.keys_by_specs(&args) {
            Some(keys) => keys,
            None => {
                let answer = self.ask(getkeys(&command)).await.map_err(|error| unknown(error.to_string()))?;
                let named: Vec<&[u8]> = answer.elements().unwrap_or_default().iter().filter_map(Reply::bytes).collect();
                (1..args.len()).filter(|&at| named.contains(&args[at])).collect()
            }
        };
        Ok(KnownCall { command, description, keys })
    }

    /// Returns the time of the nodes, in milliseconds since 1970. The first time a node is asked.
    async fn now_ms(&self) -> Result<i64, Bytes> {
        if let Some(now) = self.clock.now() {
            return Ok(now);
        }
        let unknown = |why: String| Bytes::from(format!("RMRNODE {why}; nothing was sent"));
        let told = self.ask(Command::new("TIME")).await.map_err(|error| unknown(error.to_string()))?;
        let part = |place: usize| {
            let text = str::from_utf8(told.elements()?.get(place)?.bytes()?).ok()?;
            text.parse::<i64>().ok()
        };
        let (Some(seconds), Some(micros)) = (part(0), part(1)) else {
            return Err(unknown(format!("a node tells no time: {told}")));
        };
        let now = seconds * 1000 + micros / 1000;
        self.clock.is_now(now);
        Ok(now)
    }
}

/// Any node of the store says what it knows of commands.
impl CommandSource for Sequencer {
    async fn ask(&self, question: Command) -> Result<Reply, Error> {
        let mut failed = Error::Topology("no node of the store is known".into());
        for node in self.tables.current().iter().flat_map(|table| &table.nodes) {
            let asked = async {
                let mut open = DataNode::connect(&self.links, &node.address.to_string()).await?;
                open.call(question.clone()).await
            };
            match asked.await {
                Ok(reply) => return Ok(reply),
                Err(Error::Shard { message, .. }) => return Ok(Reply::Error(message.as_bytes().to_vec().into())),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}
