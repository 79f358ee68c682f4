//! The forms into which a write is brought so that it has the same effect on every copy.

use std::fmt;

use bytes::Bytes;

use crate::command::Command;
use crate::describe::Description;
use crate::reply::Reply;

/// The reason why a write is not run on copies of a slot.
pub(crate) type CopyRefusal = &'static str;

/// A write, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteCall<'a> {
    pub(crate) command: &'a Command,
    /// Of the subcommand, where it has such.
    pub(crate) description: &'a Description,
    /// The places of all its keys among its words, the name being the first.
    pub(crate) keys: &'a [usize],
    /// The text of the script that `EVALSHA` names, if that is known.
    pub(crate) script: Option<&'a [u8]>,
}

/// The way in which a write has the same effect on every copy.
#[derive(Debug)]
pub(crate) enum Definite {
    /// Every copy runs it as it is.
    AsIs,
    /// Every copy runs another command in its place.
    Rewritten(Rewritten),
    /// The first copy runs it. Its reply makes the commands of the others.
    First(FollowUp),
    /// The first copy runs it. Then the keys that it may have changed are carried over to the others whole.
    CarryOver(CarriedKeys),
}

/// A command that stands in for another.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// The command that every copy runs.
    pub(crate) command: Command,
    /// The name of the command that the client has sent, in lower case.
    was: &'static str,
}

/// The work that is left once the first copy has run a write.
pub(crate) struct FollowUp {
    /// The command that the first copy runs; `None` for what the client has sent.
    pub(crate) command: Option<Command>,
    pub(super) corrects_first: bool,
    after: Box<dyn Fn(&Reply) -> After + Send + Sync>,
}

/// The commands that follow from the reply of the first copy. Those of one copy are one transaction if there are several.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct After {
    /// The commands that the other copies run.
    pub(crate) others: Vec<Command>,
    /// The commands that the first copy runs besides. Replies to it are of no interest.
    pub(crate) first: Vec<Command>,
}

/// The keys that go from the first copy to the others, as they are there: or are removed, if they are not there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CarriedKeys {
    pub(crate) keys: Vec<Bytes>,
    pub(super) after_errors: bool,
}

impl<'a> WriteCall<'a> {
    pub(super) fn words(&self) -> Vec<&'a [u8]> {
        self.command.words().collect()
    }

    /// Carries all keys, whatever the reply is: code may change keys and then end in an error.
    pub(super) fn carry_all(&self) -> Definite {
        let words = self.words();
        let keys = self.keys.iter().filter_map(|&at| words.get(at)).map(|key| Bytes::copy_from_slice(key)).collect();
        Definite::CarryOver(CarriedKeys { keys, after_errors: true })
    }

    /// Carries the keys that the command writes, unless it ends in an error.
    pub(super) fn carry_written(&self) -> Definite {
        let words = self.words();
        let Some(uses) = self.description.key_uses(&words) else { return self.carry_all() };
        let written = uses.iter().filter(|key| key.writes).filter_map(|key| words.get(key.at));
        let keys = written.map(|key| Bytes::copy_from_slice(key)).collect();
        Definite::CarryOver(CarriedKeys { keys, after_errors: false })
    }
}

impl Definite {
    /// Has the first copy run the write, and leaves the others nothing to do.
    pub(super) fn nothing_more() -> Self {
        Self::First(FollowUp::new(None, |_| After::default()))
    }

    pub(super) fn rewritten(command: Command, was: &'static str) -> Self {
        Self::Rewritten(Rewritten { command, was })
    }
}

impl Rewritten {
    /// Returns what the client is told when a copy has answered this: the reply itself. An error names the client's command.
    pub(crate) fn reply(&self, reply: Reply) -> Reply {
        let Reply::Error(text) = &reply else { return reply };
        let own = format!("'{}'", String::from_utf8_lossy(self.command.name()).to_ascii_lowercase());
        match std::str::from_utf8(text) {
            Ok(text) if text.contains(&own) => Reply::Error(text.replace(&own, &format!("'{}'", self.was)).into()),
            _ => reply,
        }
    }
}

impl FollowUp {
    pub(super) fn new(command: Option<Command>, after: impl Fn(&Reply) -> After + Send + Sync + 'static) -> Self {
        Self { command, corrects_first: false, after: Box::new(after) }
    }

    /// Leaves something to do on the first copy too.
    pub(super) fn correcting_first(self) -> Self {
        Self { corrects_first: true, ..self }
    }

    /// Returns what follows from the reply of the first copy. Nothing does from an error.
    pub(crate) fn after(&self, reply: &Reply) -> After {
        match reply {
            Reply::Error(_) => After::default(),
            reply => (self.after)(reply),
        }
    }
}

impl fmt::Debug for FollowUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowUp").field("command", &self.command).finish_non_exhaustive()
    }
}

impl After {
    pub(super) fn by_others(others: Vec<Command>) -> Self {
        Self { others, first: Vec::new() }
    }
}

impl CarriedKeys {
    /// Tells whether the keys have to be carried when the first copy has answered this.
    pub(crate) fn is_needed(&self, reply: &Reply) -> bool {
        !self.keys.is_empty() && (self.after_errors || !matches!(reply, Reply::Error(_)))
    }
}
