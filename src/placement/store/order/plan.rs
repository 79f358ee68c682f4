//! [`StepPlan`]: how a step has the same effect on every copy.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::Sequencer;
use super::refusal::refused;
use crate::command::Command;
use crate::describe::{CommandSource, Description, getkeys};
use crate::error::Error;
use crate::placement::store::copy::node::DataNode;
use crate::placement::store::definite::{
    CarriedKeys, Definite, DefiniteTransaction, FollowUp, Others, Rewritten, WriteCall, definite, definite_transaction,
};
use crate::reply::Reply;

/// How a step has the same effect on every copy.
pub(super) struct StepPlan {
    /// What the first copy runs: all copies, if they do so at once.
    pub(super) commands: Vec<Command>,
    pub(super) then: Then,
    /// The keys of all commands, as far as they were looked for.
    pub(super) keys: Vec<Bytes>,
}

/// What is left to do when the first copy has run a step.
pub(super) enum Then {
    /// All copies run it at once.
    Nothing,
    /// All copies run another command at once, whose errors name the one that the client has sent.
    Told(Rewritten),
    /// All copies run a transaction at once, of which some commands stand in for others.
    ToldAll(DefiniteTransaction),
    /// The others run what follows from the reply.
    Follow(FollowUp),
    /// The others run what follows from the replies of a transaction.
    FollowAll(DefiniteTransaction),
    /// The others get these keys.
    Carry(CarriedKeys),
    /// The others get the keys of a transaction.
    CarryAll(DefiniteTransaction),
}

impl Then {
    /// Returns whether all copies run the step at once.
    pub(super) fn is_at_once(&self) -> bool {
        matches!(self, Self::Nothing | Self::Told(_) | Self::ToldAll(_))
    }
}

impl StepPlan {
    /// All copies run the commands as they are.
    pub(super) fn as_they_are(commands: Vec<Command>) -> Self {
        Self { commands, then: Then::Nothing, keys: Vec::new() }
    }

    /// Returns whether all copies run the step at once.
    pub(super) fn is_at_once(&self) -> bool {
        self.then.is_at_once()
    }

    /// Returns what the client is told when a copy has answered this.
    pub(super) fn told(then: &Then, mut replies: Vec<Reply>) -> Vec<Reply> {
        let last = replies.pop();
        replies.extend(last.map(|last| match (then, last) {
            (Then::Told(rewritten), reply) => rewritten.reply(reply),
            (Then::ToldAll(all) | Then::FollowAll(all) | Then::CarryAll(all), Reply::Array(replies)) => {
                Reply::Array(all.replies(replies))
            }
            (_, reply) => reply,
        }));
        replies
    }
}

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
    /// Why it is not run on copies, in the words for the client.
    pub(super) async fn plan(&self, mut commands: Vec<Command>) -> Result<StepPlan, Bytes> {
        let is_transaction = commands.len() > 2;
        if is_transaction {
            commands.pop();
            commands.remove(0);
        }
        let mut calls = Vec::with_capacity(commands.len());
        for command in commands {
            calls.push(self.know(command).await?);
        }
        let now = self.now_ms();
        let keys: Vec<Bytes> = calls.iter().flat_map(KnownCall::keys).collect();
        if !is_transaction {
            let Some(call) = calls.pop() else { return Ok(StepPlan::as_they_are(Vec::new())) };
            let made = definite(&call.write_call(), now).map_err(|why| refused(&call.command, why))?;
            let (command, then) = match made {
                Definite::AsIs => (call.command, Then::Nothing),
                Definite::Rewritten(rewritten) => (rewritten.command.clone(), Then::Told(rewritten)),
                Definite::First(follow_up) => {
                    (follow_up.command.clone().unwrap_or(call.command), Then::Follow(follow_up))
                }
                Definite::CarryOver(carried) => (call.command, Then::Carry(carried)),
            };
            return Ok(StepPlan { commands: vec![command], then, keys });
        }
        let write_calls: Vec<WriteCall<'_>> = calls.iter().map(KnownCall::write_call).collect();
        let exec = Command::new("EXEC");
        let made = definite_transaction(&write_calls, now).map_err(|why| refused(&exec, why))?;
        let commands = in_transaction(made.commands());
        let then = match made.others() {
            Others::Same => Then::ToldAll(made),
            Others::FromReplies => Then::FollowAll(made),
            Others::Carried(_) => Then::CarryAll(made),
        };
        Ok(StepPlan { commands, then, keys })
    }

    async fn know(&self, command: Command) -> Result<KnownCall, Bytes> {
        let unknown = |why: String| Bytes::from(format!("RMRNODE {why}; nothing was sent"));
        let described = self.known.look_up(self, command.name()).await.map_err(|error| unknown(error.to_string()))?;
        let described = described.and_then(|whole| whole.of_call(command.args()));
        // What no server knows is refused by all of them.
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

    /// Returns the time of the nodes, in milliseconds since 1970.
    fn now_ms(&self) -> i64 {
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        here + self.clock.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Puts commands into one transaction.
pub(super) fn in_transaction(commands: &[Command]) -> Vec<Command> {
    let mut all = Vec::with_capacity(commands.len() + 2);
    all.push(Command::new("MULTI"));
    all.extend_from_slice(commands);
    all.push(Command::new("EXEC"));
    all
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
