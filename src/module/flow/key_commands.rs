//! [`KeyCommands`]: one command for each of many keys, run in process for a share of a flow.
//!
//! First the rights of all users, then the commands, as any other share of a request that runs in process: with the server's
//! guards, in slices between which it serves its clients. Where nothing is restricted both happen in the same turn.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::rights::ShareRights;
use crate::command::{CommandSet, PerKey};
use crate::error::Error;
use crate::flow::keyspace::{CommandsDone, Reducing};
use crate::link::{Batch, Budget, Delivery, Failure, NOT_IN_PROCESS, Protocol};
use crate::module::acl;
use crate::module::catalog;
use crate::module::config;
use crate::module::local::guards::is_pause;
use crate::module::local::share::LocalShare;
use crate::module::server::main_thread::Turn;
use crate::peer::{ReducedShare, Reduction};
use crate::reply::Reply;

/// Looking at the clock costs as much as a small part of a check of rights.
const BETWEEN_LOOKS: usize = 8;

/// Tells whether there is more to do.
pub(super) enum AfterTurn {
    GoesOn,
    IsDone,
}

/// Commands that are checked, and then run.
pub(super) struct KeyCommands {
    commands: Arc<CommandSet>,
    reducing: Option<Reducing>,
    database: i32,
    protocol: Protocol,
    rights: Arc<ShareRights>,
    /// The number of commands that have been checked.
    checked: usize,
    /// The commands that may run, by their numbers.
    allowed: Vec<u32>,
    /// The others, with the error that each is answered with.
    denied: Vec<(u32, Bytes)>,
    /// The commands that may run, once all have been checked.
    share: Option<LocalShare>,
}

impl KeyCommands {
    pub(super) fn new(
        commands: PerKey,
        reducing: Option<Reducing>,
        database: i32,
        protocol: Protocol,
        rights: Arc<ShareRights>,
    ) -> Self {
        Self {
            commands: Arc::new(commands.into()),
            reducing,
            database,
            protocol,
            rights,
            checked: 0,
            allowed: Vec::new(),
            denied: Vec::new(),
            share: None,
        }
    }

    /// Goes on until all is done, or time is up.
    ///
    /// # Errors
    /// The error says why none of the commands may run. None has.
    pub(super) fn go_on(&mut self, turn: Turn<'_>) -> Result<AfterTurn, Error> {
        if self.share.is_none() {
            self.check(turn)?;
            if self.checked < self.commands.len() {
                return Ok(AfterTurn::GoesOn);
            }
            self.share = Some(self.share_of_allowed());
        }
        let Some(share) = &mut self.share else { return Ok(AfterTurn::GoesOn) };
        if !share.is_done() && Instant::now() < turn.until {
            share.run(turn.ctx, Some(turn.until));
        }
        Ok(if share.is_done() { AfterTurn::IsDone } else { AfterTurn::GoesOn })
    }

    /// Checks the rights to commands until all are checked, or time is up.
    fn check(&mut self, turn: Turn<'_>) -> Result<(), Error> {
        let commands = self.commands.clone();
        let mut known = catalog::InTurn::default();
        if self.checked == 0 && !commands.is_empty() {
            let first = commands.at(0);
            acl::check_for_all(first, known.facts(turn.ctx, first))?;
        }
        if self.rights.are_full() {
            self.checked = commands.len();
            self.allowed = (0..commands.len() as u32).collect();
            return Ok(());
        }
        let users = self.rights.users()?;
        while self.checked < commands.len() {
            let number = self.checked as u32;
            let command = commands.at(self.checked);
            let facts = known.facts(turn.ctx, command);
            let mut denied = None;
            for user in &users {
                match user.check(turn.ctx, command, facts) {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => denied = Some(error),
                    // A right that comes with a key only may be denied later on, too.
                    Err(error) if self.allowed.is_empty() && self.denied.is_empty() => return Err(error),
                    Err(error) => denied = Some(error),
                }
                break;
            }
            match denied {
                None => self.allowed.push(number),
                Some(error) => self.denied.push((number, error.to_line().into())),
            }
            self.checked += 1;
            if self.checked.is_multiple_of(BETWEEN_LOOKS) && Instant::now() >= turn.until {
                break;
            }
        }
        Ok(())
    }

    fn share_of_allowed(&self) -> LocalShare {
        // Replies that are reduced are not kept; what they come to is counted by whoever has it.
        let most = if self.reducing.is_some() { u64::MAX } else { config::flow_memory() };
        let budget = Arc::new(Budget::new(usize::try_from(most).unwrap_or(usize::MAX)));
        let batch = Batch::new(self.commands.clone(), self.allowed.clone(), budget);
        let reduction = self.reducing.as_ref().map(|Reducing { combine, first_place }| {
            let places = if combine.needs_places() {
                self.allowed.iter().map(|number| first_place.wrapping_add(*number)).collect()
            } else {
                Vec::new()
            };
            Reduction { combine: combine.clone(), places, time_left: std::time::Duration::MAX }
        });
        LocalShare::new(Batch { protocol: self.protocol, database: self.database, reduction, ..batch })
    }

    /// Says what has become of the commands, all of which are done.
    pub(super) async fn deliver(self) -> Result<CommandsDone, Error> {
        let Some(share) = self.share else { return Err(Error::Internal("commands that were not checked".into())) };
        let delivery = share.deliver().await;
        match delivery {
            Delivery { failure: Some(Failure::TooBig), .. } => {
                Err(Error::TooBig { limit: config::flow_memory() as usize })
            }
            Delivery { failure: Some(failure), .. } => {
                Err(Error::Internal(format!("commands in process: {failure:?}")))
            }
            Delivery { partial: Some(share), .. } => Ok(reduced(share, &self.allowed, self.denied)),
            Delivery { replies, .. } => Ok(replied(replies, &self.allowed, self.denied, self.commands.len())),
        }
    }
}

/// Tells whether a command was answered so because it has not run here: its key is elsewhere, it has to go over a socket, or
/// writes are paused, as for a failover, which ends.
fn has_not_run(error: &[u8]) -> bool {
    error == NOT_IN_PROCESS || is_pause(error)
}

/// Puts each reply in the place of its command.
fn replied(replies: Vec<Reply>, allowed: &[u32], denied: Vec<(u32, Bytes)>, all: usize) -> CommandsDone {
    let of_reply = |reply| match reply {
        Reply::Error(message) if has_not_run(&message) => None,
        reply => Some(reply),
    };
    let replies = replies.into_iter().map(of_reply);
    if denied.is_empty() {
        return CommandsDone::Replies(replies.collect());
    }
    let mut placed: Vec<Option<Reply>> = std::iter::repeat_with(|| None).take(all).collect();
    for (number, reply) in allowed.iter().zip(replies) {
        placed[*number as usize] = reply;
    }
    for (number, error) in denied {
        placed[number as usize] = Some(Reply::Error(error));
    }
    CommandsDone::Replies(placed)
}

/// Names failures by the numbers of all commands, and tells those apart that have not run here.
fn reduced(share: ReducedShare, allowed: &[u32], denied: Vec<(u32, Bytes)>) -> CommandsDone {
    let ReducedShare { reduced, failed, mixed } = share;
    let number = |place: u32| allowed.get(place as usize).copied().unwrap_or(place);
    let (elsewhere, mut failed): (Vec<_>, Vec<_>) =
        failed.into_iter().map(|(place, error)| (number(place), error)).partition(|(_, error)| has_not_run(error));
    failed.extend(denied);
    failed.sort_unstable_by_key(|(number, _)| *number);
    let mixed = mixed.map(|(place, found)| (number(place), found));
    let elsewhere = elsewhere.into_iter().map(|(number, _)| number).collect();
    CommandsDone::Reduced { share: ReducedShare { reduced, failed, mixed }, elsewhere }
}
