//! [`CopyPlan`]: how a step has the same effect on every copy.

use bytes::Bytes;

use crate::command::Command;
use crate::placement::store::definite::{CarriedKeys, DefiniteTransaction, FollowUp, Rewritten};
use crate::reply::Reply;

/// The way in which a step has the same effect on every copy.
pub(super) struct CopyPlan {
    /// The commands that the first copy runs: all copies, if they do so at once.
    pub(super) commands: Vec<Command>,
    pub(super) then: AfterFirst,
    /// The keys of all commands, as far as they were looked for.
    pub(super) keys: Vec<Bytes>,
}

/// The work that is left when the first copy has run a step.
pub(super) enum AfterFirst {
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

impl AfterFirst {
    /// Returns whether all copies run the step at once.
    pub(super) fn is_at_once(&self) -> bool {
        matches!(self, Self::Nothing | Self::Told(_) | Self::ToldAll(_))
    }
}

impl CopyPlan {
    /// Has all copies run the commands as they are.
    pub(super) fn as_they_are(commands: Vec<Command>) -> Self {
        Self { commands, then: AfterFirst::Nothing, keys: Vec::new() }
    }

    /// Returns whether all copies run the step at once.
    pub(super) fn is_at_once(&self) -> bool {
        self.then.is_at_once()
    }

    /// Returns what the client is told when a copy has answered this.
    pub(super) fn told(then: &AfterFirst, mut replies: Vec<Reply>) -> Vec<Reply> {
        let last = replies.pop();
        replies.extend(last.map(|last| match (then, last) {
            (AfterFirst::Told(rewritten), reply) => rewritten.reply(reply),
            (
                AfterFirst::ToldAll(all) | AfterFirst::FollowAll(all) | AfterFirst::CarryAll(all),
                Reply::Array(replies),
            ) => Reply::Array(all.replies(replies)),
            (_, reply) => reply,
        }));
        replies
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
