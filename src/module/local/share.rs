//! One node's share of a request, run in process: by the coordinator for itself, and by others for it.

use std::time::Instant;

use bytes::Bytes;

use super::client_kill::{is_client_kill, kill_others};
use super::direct::Direct;
use super::guards::{Guards, GuardsAnswer, READONLY, kind_of_call};
use super::own_slots::{self, DoneShare, SlotsOfShare, SlotsSaid};
use super::spoiled;
use crate::combine::Origin;
use crate::command::CommandRef;
use crate::link::{Batch, Delivery, Failure, NOT_IN_PROCESS};
use crate::module::catalog::{self, Facts};
use crate::module::server::call::CommandRunner;
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::peer::{ReducedShare, Reduction};
use crate::reply::Reply;
use crate::resp::{ELEMENT_COST, bulk, decode, push_bulk};
use crate::topology::BoxFuture;

/// The error with which Redis refuses a script that writes, on a replica, if a module calls it.
const READONLY_IN_PROCESS: &[u8] = b"-READONLY Can not run script with write flag";

/// A request whose replies take more bytes does not go on in the main thread.
const SHORT: usize = 64 * 1024;

/// The error for an answer that must not happen, since replies to one command would be taken for those to the next.
const SEVERAL_REPLIES: &str = "the server has answered one command in process with several replies";

/// A batch that is being worked off.
pub(crate) struct LocalShare {
    batch: Batch,
    /// The number of commands that have run.
    done: usize,
    /// A command has to go over a socket and may run there, so all that follow go there too.
    goes_by_socket: bool,
    outcome: ShareOutcome,
    is_too_big: bool,
    /// The server's answer about its own slots before the first command; set once that has run, if it was asked for.
    slots_before: Option<SlotsSaid>,
    /// The way in which the share hears of the slots that its answers hold for; set once it is done, if that was asked
    /// for.
    slots: Option<SlotsOfShare>,
}

/// The outcome of the commands that have run.
enum ShareOutcome {
    /// Their replies, as the server encodes them; they are read once all are there.
    Replies(Vec<u8>),
    /// Their replies, reduced.
    Reduced(RunningReduction),
}

struct RunningReduction {
    needs_keys: bool,
    /// The places that the reducer is told, if it needs them.
    places: Vec<u32>,
    so_far: ReducedShare,
}

impl LocalShare {
    pub(crate) fn new(mut batch: Batch) -> Self {
        let outcome = match batch.reduction.take() {
            None => ShareOutcome::Replies(Vec::new()),
            Some(Reduction { combine, places, .. }) => {
                let needs_keys = combine.needs_keys();
                let so_far = ReducedShare { reduced: combine.open(), failed: Vec::new(), mixed: None };
                ShareOutcome::Reduced(RunningReduction { needs_keys, places, so_far })
            }
        };
        Self { batch, done: 0, goes_by_socket: false, outcome, is_too_big: false, slots_before: None, slots: None }
    }

    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Runs in turns on the main thread until all is done.
    pub(crate) async fn work_off(mut self) -> Delivery {
        while !self.is_done() {
            let turn = main_thread::in_turn(move |turn| {
                self.run(turn.ctx, Some(turn.until));
                self
            });
            self = match turn.await {
                Ok(share) => share,
                Err(error) => return Delivery::failed(Failure::Lost(error.to_string())),
            };
        }
        self.deliver().await
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_too_big || self.done == self.batch.picks.len()
    }

    /// Runs commands until all are done or time is up. Without a time the caller cannot wait.
    pub(crate) fn run(&mut self, ctx: Ctx<'_>, until: Option<Instant>) {
        if !self.batch.asks_own_slots {
            return self.run_in_database(ctx, until);
        }
        let is_first = self.slots_before.is_none();
        let before = self.slots_before.take().unwrap_or_else(|| own_slots::before(ctx));
        self.run_in_database(ctx, until);
        if !self.is_done() {
            self.slots_before = Some(before);
        } else if !self.is_too_big {
            let share = DoneShare { others: self.batch.others.take(), is_short: self.batch.budget.used() <= SHORT };
            self.slots = Some(match is_first {
                true => SlotsOfShare::of_one_slice(ctx, before, until.is_some(), share),
                false => SlotsOfShare::of_slices(before, share),
            });
        }
    }

    /// Runs commands, in the database that is meant, until all are done or time is up.
    fn run_in_database(&mut self, ctx: Ctx<'_>, until: Option<Instant>) {
        let has_run = ctx.in_database(self.batch.database, || self.run_selected(ctx, until));
        if has_run.is_err() {
            // The list of nodes may name databases that the server does not have.
            while !self.is_done() {
                self.put(b"-ERR DB index is out of range\r\n");
            }
        }
    }

    fn run_selected(&mut self, ctx: Ctx<'_>, until: Option<Instant>) {
        /// Looking at the clock costs as much as a part of a command.
        const BETWEEN_LOOKS: usize = 8;
        let mut since_look = 0;
        let guards = &mut Guards::look(ctx, until.is_some() && self.batch.database == 0);
        let (mut looked_up, mut has_looked_why) = (LookedUp::default(), false);
        let mut caller = CommandRunner::new(ctx, self.batch.protocol);
        let mut direct = Direct::begin(ctx);
        let commands = self.batch.commands.clone();
        while !self.is_done() {
            let command = commands.at(self.batch.picks[self.done] as usize);
            let CommandKind { facts, is_get } = looked_up.kind(ctx, command);
            if let Some(refusal) = guards.before(ctx, facts, command) {
                self.refuse(refusal);
            } else if self.goes_by_socket {
                // Commands behind one that may run there must not overtake it.
                self.hand_back();
            } else if let Some(direct) = direct.as_ref().filter(|_| is_get)
                && let read @ 1.. = self.read_on(direct, command)
            {
                // Four of them take as long as one command.
                since_look += read / 4;
            } else if facts.is_of_module {
                // Not all modules ask whether their client can be blocked, and a server aborts where one in process is:
                // `VSIM` does so to Redis 8.2.
                self.hand_back();
            } else if let Some(client) = self.batch.caller.filter(|_| facts.is_of_subcommand && is_client_kill(command))
                && let Some(killed) = kill_others(ctx, command, client)
            {
                self.put(&encoded(&killed));
            } else {
                let called = caller.call(command.words(), kind_of_call(facts));
                if called.is_not_here() {
                    drop(called);
                    if !std::mem::replace(&mut has_looked_why, true) {
                        spoiled::look(ctx);
                    }
                    self.hand_back();
                } else if called.is_guarded() && guards.leaves_words_to_socket(facts) {
                    self.refuse(GuardsAnswer::BySocket);
                } else {
                    direct.iter_mut().for_each(Direct::has_served);
                    self.put_answer(facts, called.wire());
                }
            }
            since_look += 1;
            if since_look >= BETWEEN_LOOKS {
                since_look = 0;
                if until.is_some_and(|until| Instant::now() >= until) {
                    return;
                }
            }
        }
    }

    /// Reads strings in place: that of this command, and, as long as they are there, those of the next commands that
    /// differ from it in their keys only. Returns how many were there.
    fn read_on(&mut self, direct: &Direct<'_>, first: CommandRef<'_>) -> usize {
        /// The number of commands that take a small part of a turn.
        const MOST: usize = 32;
        const MOST_BYTES: usize = 16 * 1024;
        let (from, mut bytes) = (self.done, 0);
        let mut key = argument(first);
        while let Some(string) = key.and_then(|key| direct.read(key)) {
            let string = string.bytes();
            match &mut self.outcome {
                ShareOutcome::Replies(replies) => push_bulk(replies, string),
                ShareOutcome::Reduced(reduced) => reduced.take_bulk(self.done as u32, key.unwrap_or_default(), string),
            }
            bytes += string.len() + ELEMENT_COST;
            self.done += 1;
            let is_more = self.done < from + MOST && bytes < MOST_BYTES;
            key = match (first, self.batch.picks.get(self.done)) {
                (CommandRef::OfKey(per_key, _), Some(&next)) if is_more => Some(per_key.key(next as usize)),
                _ => None,
            };
        }
        self.is_too_big |= !self.batch.budget.take(bytes);
        self.done - from
    }

    /// Answers why the next command does not run in process.
    fn refuse(&mut self, refusal: GuardsAnswer) {
        match refusal {
            GuardsAnswer::Words(wire) => self.put(&wire),
            GuardsAnswer::BySocket => {
                self.goes_by_socket = true;
                self.hand_back();
            }
        }
    }

    /// Takes the server's reply to the next command: one reply, in the words that a client would see.
    fn put_answer(&mut self, facts: Facts, wire: &[u8]) {
        match wire {
            [b'-', ..] if facts.is_script && wire.starts_with(READONLY_IN_PROCESS) => self.put(READONLY),
            [b'-', text @ .., b'\r', b'\n'] if text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) => {
                // Redis 8 lets what a script throws through as it is.
                let text = text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
                self.put(&[&b"-"[..], &text.collect::<Vec<u8>>(), b"\r\n"].concat());
            }
            wire => self.put(wire),
        }
    }

    /// Answers that the next command has to go over a socket.
    fn hand_back(&mut self) {
        self.put(&[b"-", NOT_IN_PROCESS, b"\r\n"].concat());
    }

    /// Takes the reply to the next command.
    fn put(&mut self, wire: &[u8]) {
        match &mut self.outcome {
            ShareOutcome::Replies(replies) => replies.extend_from_slice(wire),
            ShareOutcome::Reduced(reduced) => {
                let key = reduced
                    .needs_keys
                    .then(|| self.batch.commands.at(self.batch.picks[self.done] as usize).routing_key());
                reduced.take(self.done as u32, key.flatten().unwrap_or_default(), wire);
            }
        }
        self.done += 1;
        self.is_too_big = !self.batch.budget.take(wire.len() + ELEMENT_COST);
    }

    /// Makes the delivery when all is done; it may have to wait for the server's answer about its slots.
    pub(crate) fn deliver(mut self) -> BoxFuture<'static, Delivery> {
        match self.slots.take() {
            None => Box::pin(std::future::ready(self.answers())),
            Some(slots) => Box::pin(slots.add_to(self.answers())),
        }
    }

    fn answers(self) -> Delivery {
        let wire = match self.outcome {
            ShareOutcome::Reduced(_) if self.is_too_big => return Delivery::failed(Failure::TooBig),
            ShareOutcome::Reduced(reduced) => return Delivery::reduced(reduced.so_far),
            ShareOutcome::Replies(wire) => Bytes::from(wire),
        };
        let answered = if self.is_too_big { self.done.saturating_sub(1) } else { self.done };
        let mut replies = Vec::with_capacity(answered);
        let mut at = 0;
        while replies.len() < answered {
            match decode(&wire, &mut at) {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    return Delivery {
                        replies,
                        failure: Some(Failure::Lost(error.to_string())),
                        ..Delivery::default()
                    };
                }
            }
        }
        if at < wire.len() && !self.is_too_big {
            // Nobody can tell which reply is whose.
            return Delivery::failed(Failure::Lost(SEVERAL_REPLIES.into()));
        }
        Delivery { replies, failure: self.is_too_big.then_some(Failure::TooBig), ..Delivery::default() }
    }
}

impl RunningReduction {
    /// Makes the origin that the reducer is told for the command of this number and key.
    fn origin<'k>(&self, number: u32, key: &'k [u8]) -> Origin<'k> {
        Origin::new(self.places.get(number as usize).copied().unwrap_or(number), key)
    }

    /// Takes the reply to the command of this number.
    fn take(&mut self, number: u32, key: &[u8], wire: &[u8]) {
        if let Some(bytes) = bulk(wire) {
            return self.take_bulk(number, key, bytes);
        }
        let mut at = 0;
        match decode(&Bytes::copy_from_slice(wire), &mut at) {
            Ok(_) if at < wire.len() => self.so_far.failed.push((number, format!("ERR {SEVERAL_REPLIES}").into())),
            Ok(Reply::Error(message)) => self.so_far.failed.push((number, message)),
            Ok(reply) => {
                let taken = self.so_far.reduced.take(self.origin(number, key), reply);
                self.has_taken(number, taken);
            }
            Err(error) => self.so_far.failed.push((number, format!("ERR {error}").into())),
        }
    }

    fn take_bulk(&mut self, number: u32, key: &[u8], bytes: &[u8]) {
        let taken = self.so_far.reduced.take_bulk(self.origin(number, key), bytes);
        self.has_taken(number, taken);
    }

    fn has_taken(&mut self, number: u32, taken: Result<(), String>) {
        if let Err(found) = taken {
            self.so_far.mixed.get_or_insert((number, found));
        }
    }
}

/// The facts about a command that matter beside its key.
#[derive(Clone, Copy)]
struct CommandKind {
    facts: Facts,
    is_get: bool,
}

/// The kinds of one command after the other. Those that differ in their keys only are looked up once.
#[derive(Default)]
struct LookedUp {
    known: catalog::InTurn,
    of_all: Option<CommandKind>,
}

impl LookedUp {
    fn kind(&mut self, ctx: Ctx<'_>, command: CommandRef<'_>) -> CommandKind {
        if let Some(kind) = self.of_all {
            return kind;
        }
        let facts = self.known.facts(ctx, command);
        let is_get = facts.is_read_only && command.word_count() == 2 && command.name().eq_ignore_ascii_case(b"GET");
        let kind = CommandKind { facts, is_get };
        self.of_all = command.is_as_all(facts.is_of_subcommand).then_some(kind);
        kind
    }
}

/// Encodes a count or an error as the server does.
fn encoded(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Error(message) => [b"-", &message[..], b"\r\n"].concat(),
        count => format!(":{}\r\n", count.integer().unwrap_or_default()).into_bytes(),
    }
}

/// Returns the first argument.
fn argument(command: CommandRef<'_>) -> Option<&[u8]> {
    match command {
        CommandRef::OfKey(per_key, key) if per_key.word_count() == 2 => Some(key),
        _ => command.words().nth(1),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::command::Command;
    use crate::link::Budget;
    use crate::reduce::Builtin;

    /// Delivers a share of commands that are answered by these bytes, one each.
    fn answered(wires: &[&[u8]], reduction: Option<Reduction>) -> Delivery {
        let commands: Vec<Command> = wires.iter().map(|_| Command::new("PING")).collect();
        let picks = (0..wires.len() as u32).collect();
        let batch = Batch::new(Arc::new(commands.into()), picks, Arc::new(Budget::new(usize::MAX)));
        let mut share = LocalShare::new(Batch { reduction, ..batch });
        wires.iter().for_each(|wire| share.put(wire));
        share.answers()
    }

    fn count() -> Option<Reduction> {
        Some(Reduction { combine: Arc::new(Builtin::Count), places: Vec::new(), time_left: Duration::MAX })
    }

    #[test]
    fn replies_per_call_are_counted() {
        let sound: [&[u8]; 3] = [b"+a\r\n", b"*2\r\n:1\r\n$1\r\nb\r\n", b"-ERR x\r\n"];
        let delivery = answered(&sound, None);
        assert_eq!((delivery.replies.len(), delivery.failure.is_none()), (3, true));
        assert_eq!(answered(&sound, count()).partial.unwrap().failed.len(), 1);
        for several in [&b"+a\r\n+b\r\n"[..], b"-ERR x\r\n+forged\r\n"] {
            let delivery = answered(&[sound[0], several, sound[1]], None);
            assert!(delivery.replies.is_empty(), "{several:?}");
            assert!(matches!(delivery.failure, Some(Failure::Lost(why)) if why == SEVERAL_REPLIES), "{several:?}");
            let failed = answered(&[sound[0], several, sound[1]], count()).partial.unwrap().failed;
            assert_eq!(failed, [(1, format!("ERR {SEVERAL_REPLIES}").into())], "{several:?}");
        }
    }
}
