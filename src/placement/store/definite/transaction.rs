//! The commands of one `MULTI` and `EXEC`, which every copy runs at once and in the same order.

use super::made::{CarriedKeys, CopyRefusal, Definite, FollowUp, Rewritten, WriteCall};
use super::rules::of_rule;
use super::table;
use crate::command::Command;
use crate::reply::Reply;

/// The way in which a transaction has the same effect on every copy.
#[derive(Debug)]
pub(crate) struct DefiniteTransaction {
    commands: Vec<Command>,
    parts: Vec<TransactionPart>,
    /// The keys that are carried over, if the replies do not tell the other copies enough.
    carried: Option<CarriedKeys>,
}

#[derive(Debug)]
enum TransactionPart {
    /// Every copy runs it.
    Same,
    Rewritten(Rewritten),
    First(FollowUp),
}

/// The commands that the copies besides the first run, or the keys that they get.
#[derive(Debug)]
pub(crate) enum Others<'a> {
    /// The same as the first, at the same time.
    Same,
    /// The commands that follow from the replies of the first.
    FromReplies,
    /// The keys that it may have changed.
    Carried(&'a CarriedKeys),
}

/// Says how a transaction has the same effect on every copy of its keys. Commands that block do not inside of one.
///
/// # Errors
/// The error says why one of them is not run on copies.
pub(crate) fn definite_transaction(calls: &[WriteCall<'_>], now_ms: i64) -> Result<DefiniteTransaction, CopyRefusal> {
    let (mut commands, mut parts, mut carries) = (Vec::with_capacity(calls.len()), Vec::new(), false);
    for call in calls {
        if call.keys.is_empty() && call.description.has_flag("write") {
            return Err(WITHOUT_KEYS);
        }
        let (command, part) = match of_rule(call, table::rule(&call.description.name), now_ms)? {
            Definite::AsIs => (call.command.clone(), TransactionPart::Same),
            Definite::Rewritten(rewritten) => (rewritten.command.clone(), TransactionPart::Rewritten(rewritten)),
            Definite::First(follow_up) => {
                // Corrections of the first copy would come behind the commands that follow here.
                carries |= follow_up.corrects_first;
                (follow_up.command.clone().unwrap_or_else(|| call.command.clone()), TransactionPart::First(follow_up))
            }
            Definite::CarryOver(_) => {
                carries = true;
                (call.command.clone(), TransactionPart::Same)
            }
        };
        commands.push(command);
        parts.push(part);
    }
    let carried = carries.then(|| carried(calls));
    Ok(DefiniteTransaction { commands, parts, carried })
}

const WITHOUT_KEYS: CopyRefusal = "it has no key, so it is not about the slot of the transaction";

/// Everything that one of the commands may have written.
fn carried(calls: &[WriteCall<'_>]) -> CarriedKeys {
    let mut keys = Vec::new();
    for call in calls.iter().filter(|call| call.description.has_flag("write") || call.description.may_run_code()) {
        if let Definite::CarryOver(carried) = call.carry_all() {
            keys.extend(carried.keys);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    CarriedKeys { keys, after_errors: true }
}

impl DefiniteTransaction {
    /// Returns what the first copy runs, one after the other.
    pub(crate) fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Returns what the other copies run.
    pub(crate) fn others(&self) -> Others<'_> {
        match &self.carried {
            Some(carried) => Others::Carried(carried),
            None if self.parts.iter().any(|part| matches!(part, TransactionPart::First(_))) => Others::FromReplies,
            None => Others::Same,
        }
    }

    /// Returns the commands of the other copies, in one transaction too, that follow from what `EXEC` has said at the first.
    pub(crate) fn after(&self, replies: &[Reply]) -> Vec<Command> {
        let mut commands = Vec::with_capacity(self.commands.len());
        for ((command, part), reply) in self.commands.iter().zip(&self.parts).zip(replies) {
            match part {
                TransactionPart::Same | TransactionPart::Rewritten(_) => commands.push(command.clone()),
                TransactionPart::First(follow_up) => commands.extend(follow_up.after(reply).others),
            }
        }
        commands
    }

    /// Returns what the client is told when a copy has answered this.
    pub(crate) fn replies(&self, replies: Vec<Reply>) -> Vec<Reply> {
        let told = |(reply, part): (Reply, &TransactionPart)| match part {
            TransactionPart::Rewritten(rewritten) => rewritten.reply(reply),
            TransactionPart::Same | TransactionPart::First(_) => reply,
        };
        replies.into_iter().zip(&self.parts).map(told).collect()
    }
}
