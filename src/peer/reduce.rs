//! One node's share of a request, to be reduced where the data is: the request and the answer, as they travel.
//!
//! The request carries the commands and the name of a reducer; the answer carries the reducer's result for the share. Both
//! lie in what every inner command and its answer have in common ([`Envelope`](super::Envelope), [`Outcome`]), and are
//! read where they lie.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::outcome::{DAMAGED, Outcome};
use super::reduction::{ReducedShare, Reduction};
use crate::command::{AroundKey, Command, CommandSet, PerKey};
use crate::reply::Reply;

/// The share of one node in a request.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReduceRequest<'a> {
    /// The reducer, and what it was given.
    pub(crate) reducer: &'a str,
    #[serde(borrow, with = "serde_bytes")]
    pub(crate) arguments: Cow<'a, [u8]>,
    #[serde(borrow)]
    runs: Vec<CommandRun<'a>>,
    /// The places of the commands in the whole request: each as its distance from the one before, which begins at 0. None
    /// if the reducer needs no places.
    places: Vec<u32>,
}

/// Commands that differ in their keys only, as those of a map do.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CommandRun<'a> {
    /// Name and arguments, without the key.
    #[serde(borrow)]
    args: Vec<&'a serde_bytes::Bytes>,
    /// The position of the key; 0 for one command without a key.
    key_at: u32,
    read_only: bool,
    /// The keys, one behind the other, and the length of each.
    #[serde(borrow, with = "serde_bytes")]
    keys: Cow<'a, [u8]>,
    lengths: Vec<u32>,
}

impl<'a> ReduceRequest<'a> {
    /// Asks for the picked ones of these commands to be run and reduced.
    pub(crate) fn new(commands: &'a CommandSet, picks: &[u32], reduction: &'a Reduction) -> Self {
        let mut before = 0;
        let distance = |place: &u32| place.wrapping_sub(std::mem::replace(&mut before, *place));
        Self {
            reducer: reduction.name(),
            arguments: reduction.combine.arguments().into(),
            places: reduction.places.iter().map(distance).collect(),
            runs: runs(commands, picks),
        }
    }

    /// Lets a request pass that can be read as commands.
    ///
    /// # Errors
    /// The error says what is wrong with it.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if !self.places.is_empty() && self.commands_len() != self.places.len() {
            return Err("it has not one place a command");
        }
        let is_named = |run: &CommandRun<'_>| !run.args.is_empty() && run.key_at as usize <= run.args.len();
        if !self.runs.iter().all(is_named) {
            return Err("a command has no name, or its key no place");
        }
        if !self.runs.iter().all(CommandRun::has_its_keys) {
            return Err("the keys have other lengths");
        }
        Ok(())
    }

    /// Makes the commands.
    pub(crate) fn commands(&self) -> CommandSet {
        match &self.runs[..] {
            [run] if run.key_at > 0 => run.per_key().into(),
            runs => {
                let mut commands = Vec::with_capacity(self.places.len());
                for run in runs {
                    match run.key_at {
                        0 => commands.push(command(&run.args, run.read_only)),
                        _ => {
                            let per_key = run.per_key();
                            commands.extend((0..per_key.len()).map(|place| per_key.command(place)));
                        }
                    }
                }
                commands.into()
            }
        }
    }

    /// Returns the place of each command in the whole request.
    pub(crate) fn places(&self) -> Vec<u32> {
        let mut place = 0_u32;
        let next = |distance: &u32| {
            place = place.wrapping_add(*distance);
            place
        };
        self.places.iter().map(next).collect()
    }

    fn commands_len(&self) -> usize {
        self.runs.iter().map(|run| if run.key_at == 0 { 1 } else { run.lengths.len() }).sum()
    }
}

impl<'a> CommandRun<'a> {
    /// Makes a run of commands without keys so far, and sets aside `room` bytes for the keys.
    fn of(keyed: &AroundKey<'a>, read_only: bool, room: usize) -> Self {
        let before: Vec<_> = keyed.args_before().map(serde_bytes::Bytes::new).collect();
        let key_at = before.len() as u32;
        let args = before.into_iter().chain(keyed.args_after().map(serde_bytes::Bytes::new)).collect();
        let keys = Cow::Owned(Vec::with_capacity(room * (keyed.key.len() + 1)));
        Self { args, key_at, read_only, keys, lengths: Vec::with_capacity(room) }
    }

    fn push(&mut self, key: &[u8]) {
        self.keys.to_mut().extend_from_slice(key);
        self.lengths.push(key.len() as u32);
    }

    /// Tells whether the lengths fit the keys: a run with a key position has keys, and any other has none.
    fn has_its_keys(&self) -> bool {
        let total: u64 = self.lengths.iter().map(|&length| u64::from(length)).sum();
        (self.key_at == 0) == self.lengths.is_empty() && total == self.keys.len() as u64
    }

    /// Makes the command for each of its keys.
    fn per_key(&self) -> PerKey {
        let (before, after) = self.args.split_at(self.key_at as usize);
        let per_key = PerKey::joined(command(before, self.read_only), &self.keys, &self.lengths);
        after.iter().fold(per_key, |per_key, arg| per_key.arg(&arg[..]))
    }
}

/// Makes a command of these words, its name first.
fn command(args: &[&serde_bytes::Bytes], read_only: bool) -> Command {
    let (name, args) = args.split_first().map_or((&[][..], args), |(name, args)| (&name[..], args));
    args.iter().fold(Command::new(name), |command, arg| command.arg(&arg[..])).read_only(read_only)
}

/// Joins the picked commands that differ in their keys only.
fn runs<'a>(commands: &'a CommandSet, picks: &[u32]) -> Vec<CommandRun<'a>> {
    let picked = || picks.iter().map(|&pick| commands.at(pick as usize));
    if let CommandSet::PerKey(per_key) = commands
        && let Some(first) = picked().next()
        && let Some(keyed) = first.around_key()
    {
        let mut run = CommandRun::of(&keyed, first.is_read_only(), picks.len());
        picks.iter().for_each(|&pick| run.push(per_key.key(pick as usize)));
        return vec![run];
    }
    let mut runs: Vec<CommandRun<'a>> = Vec::new();
    let mut shape = None;
    for command in picked() {
        let Some(keyed) = command.around_key() else {
            let args = command.words().map(serde_bytes::Bytes::new).collect();
            let (keys, lengths) = (Cow::Borrowed(&[][..]), Vec::new());
            runs.push(CommandRun { args, key_at: 0, read_only: command.is_read_only(), keys, lengths });
            shape = None;
            continue;
        };
        let own = (keyed.before, keyed.after, command.is_read_only());
        if shape != Some(own) {
            runs.push(CommandRun::of(&keyed, command.is_read_only(), 1));
            shape = Some(own);
        }
        if let Some(run) = runs.last_mut() {
            run.push(keyed.key);
        }
    }
    runs
}

/// Carries back what a share was reduced to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ReduceAnswer<'a> {
    /// The partial result, as its reducer encodes it.
    #[serde(borrow)]
    reduced: &'a serde_bytes::Bytes,
    /// Errors, each with the number of its command in the request, in ascending order.
    #[serde(borrow)]
    failed: Vec<(u32, &'a serde_bytes::Bytes)>,
    /// The number of the first command whose reply the reducer cannot take, and what that was.
    mixed: Option<(u32, &'a str)>,
}

impl ReduceAnswer<'_> {
    /// Reads the answer, which lies in these bytes, as that about so many commands.
    ///
    /// # Errors
    /// The error says what is wrong with it.
    fn into_share(self, bytes: &Bytes, reduction: &Reduction, commands: usize) -> Result<ReducedShare, &'static str> {
        let is_ascending = self.failed.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let ats = self.failed.iter().map(|(at, _)| at).chain(self.mixed.iter().map(|(at, _)| at));
        if !is_ascending || !ats.into_iter().all(|&at| (at as usize) < commands) {
            return Err(DAMAGED);
        }
        let mut reduced = reduction.combine.clone().open();
        reduced.combine_encoded(self.reduced).map_err(|_| DAMAGED)?;
        Ok(ReducedShare {
            reduced,
            failed: self.failed.iter().map(|(at, error)| (*at, bytes.slice_ref(error))).collect(),
            mixed: self.mixed.map(|(at, found)| (at, found.to_owned())),
        })
    }
}

impl Outcome<ReducedShare> {
    /// Reads the reply to a request to reduce so many commands.
    pub(crate) fn of_share(reply: &Reply, reduction: &Reduction, commands: usize) -> Self {
        Outcome::<ReduceAnswer<'_>>::read(reply).and_then(|answer| match reply {
            Reply::Bulk(bytes) => answer.into_share(bytes, reduction, commands),
            _ => Err(DAMAGED),
        })
    }

    /// Returns the reply that tells the coordinator.
    pub(crate) fn into_share_reply(self) -> Reply {
        let share = match self {
            Self::Done(share) => share,
            other => return other.and_then(|_| Err::<(), _>(DAMAGED)).to_reply(),
        };
        let reduced = match share.reduced.encode() {
            Ok(reduced) => reduced,
            Err(error) => {
                return Outcome::<()>::Failed(format!("the result cannot be encoded: {error}")).to_reply();
            }
        };
        let answer = ReduceAnswer {
            reduced: serde_bytes::Bytes::new(&reduced),
            failed: share.failed.iter().map(|(at, error)| (*at, serde_bytes::Bytes::new(error))).collect(),
            mixed: share.mixed.as_ref().map(|(at, found)| (*at, found.as_str())),
        };
        Outcome::Done(answer).to_reply()
    }
}

#[cfg(test)]
mod tests;
