//! The coordinator's own share of the work: commands that run in process, without a socket.
//!
//! What fits runs at once, within the command that asked for it. The rest is cut into slices of at most a millisecond,
//! between which the server takes its other clients.

use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};

use super::api::{self, Ctx};
use super::call::{Called, Caller};
use super::catalog::{self, Facts};
use super::direct::Direct;
use super::main_thread;
use crate::command::Command;
use crate::error::Error;
use crate::link::{
    self, Batch, Delivery, ELEMENT_COST, Failure, Link, LinkState, NOT_IN_PROCESS, Partial, Protocol, Reduction,
    Status, decode,
};
use crate::reply::Reply;
use crate::topology::{Answer, AskCluster, BoxFuture};

/// The link to the node that we live in.
pub(super) struct LocalLink {
    status: Arc<Status>,
}

impl Default for LocalLink {
    fn default() -> Self {
        let status = Arc::new(Status::default());
        status.set_state(LinkState::Local);
        Self { status }
    }
}

impl Link for LocalLink {
    fn send(&self, batch: Batch) -> BoxFuture<'static, Delivery> {
        /// A share of more commands than this takes longer than waking the runtime.
        const SHORT: usize = 8;
        let mut share = Share::new(batch);
        if let Some(ctx) = main_thread::current() {
            if share.batch.picks.len() > SHORT {
                // What is for other nodes travels meanwhile.
                link::uncork();
            }
            let in_turn = share.batch.picked().any(needs_own_turn);
            if in_turn && ctx.flags().deny_blocking() {
                let refusal = Bytes::from_static(b"ERR CLIENT KILL is not possible in MULTI, scripts and nested calls");
                let replies = share.batch.picks.iter().map(|_| Reply::Error(refusal.clone())).collect();
                return Box::pin(std::future::ready(Delivery { replies, ..Delivery::default() }));
            }
            if in_turn {
                return Box::pin(share.work_off());
            }
            // A caller that cannot wait gets all of it now, as from any command of the server's own.
            let until =
                if ctx.flags().deny_blocking() { None } else { Some(Instant::now() + main_thread::LONGEST_TURN) };
            share.run_selected(ctx, until);
            if share.is_done() {
                return Box::pin(std::future::ready(share.deliver()));
            }
        }
        Box::pin(share.work_off())
    }

    fn reduces(&self) -> bool {
        true
    }

    fn status(&self) -> &Status {
        &self.status
    }
}

/// A batch that is being worked off.
struct Share {
    batch: Batch,
    /// How many of the commands have run.
    done: usize,
    /// Their replies, as the server encodes them; they are read once all are there, or once a turn if they are reduced.
    wire: BytesMut,
    is_too_big: bool,
    reducing: Option<Reducing>,
}

/// What the replies have been reduced to.
struct Reducing {
    places: Vec<u32>,
    /// How many replies have been taken.
    taken: usize,
    so_far: Partial,
}

impl Share {
    fn new(mut batch: Batch) -> Self {
        let begin = |reduction: Reduction| Reducing {
            places: reduction.places,
            taken: 0,
            so_far: Partial { reduced: reduction.combine.open(), refused: Vec::new(), untaken: None },
        };
        let reducing = batch.reduction.take().map(begin);
        Self { batch, done: 0, wire: BytesMut::new(), is_too_big: false, reducing }
    }

    /// Runs in turns on the main thread until all is done.
    async fn work_off(mut self) -> Delivery {
        while !self.is_done() {
            let turn = main_thread::in_turn(move |turn| {
                self.run_selected(turn.ctx, Some(turn.until));
                self
            });
            self = match turn.await {
                Ok(share) => share,
                Err(error) => return Delivery::failed(Failure::Lost(error.to_string())),
            };
        }
        self.deliver()
    }

    fn is_done(&self) -> bool {
        self.is_too_big || self.done == self.batch.picks.len()
    }

    /// As [`run`](Self::run), in the database that is meant.
    fn run_selected(&mut self, ctx: Ctx, until: Option<Instant>) {
        let selected = ctx.selected_database();
        if selected == self.batch.database {
            return self.run(ctx, until);
        }
        if ctx.select_database(self.batch.database) {
            self.run(ctx, until);
            ctx.select_database(selected);
        } else {
            // The list of nodes may name databases that the server does not have.
            while !self.is_done() {
                self.wire.put_slice(b"-ERR DB index is out of range\r\n");
                self.done += 1;
            }
            self.reduce();
        }
    }

    /// Runs commands until all are done or time is up, and reduces what they have answered.
    fn run(&mut self, ctx: Ctx, until: Option<Instant>) {
        self.run_commands(ctx, until);
        self.reduce();
    }

    fn reduce(&mut self) {
        if let Some(reducing) = &mut self.reducing {
            reducing.take_all(self.wire.split().freeze());
        }
    }

    fn run_commands(&mut self, ctx: Ctx, until: Option<Instant>) {
        /// Looking at the clock costs as much as a part of a command.
        const BETWEEN_LOOKS: usize = 8;
        let mut since_look = 0;
        let writes = Writes::look(ctx);
        let mut known = catalog::InTurn::default();
        let mut caller = Caller::new(ctx, self.batch.protocol);
        let mut direct = Direct::begin(ctx);
        while !self.is_done() {
            let command = &self.batch.commands[self.batch.picks[self.done] as usize];
            let start = self.wire.len();
            let facts = known.facts(ctx, command);
            let reads = direct.as_ref().filter(|_| facts.is_read_only);
            match writes.refusal(facts) {
                None if reads.is_some_and(|direct| direct.read(command, &mut self.wire)) => {}
                Some(refusal) => self.wire.put_slice(refusal),
                // Not all modules ask whether their client can be blocked, and a server aborts where one in process is:
                // `VSIM` does so to Redis 8.2.
                None if facts.is_of_module => self.hand_back(),
                None if caller.call(command.args(), &mut self.wire) == Called::NotHere => self.translate(start),
                None => direct.iter_mut().for_each(Direct::has_served),
            }
            self.done += 1;
            self.is_too_big = !self.batch.budget.take(self.wire.len() - start + ELEMENT_COST);
            since_look += 1;
            if since_look == BETWEEN_LOOKS {
                since_look = 0;
                if until.is_some_and(|until| Instant::now() >= until) {
                    return;
                }
            }
        }
    }

    /// The server refuses keys that are not its own, without saying whose they are.
    fn translate(&mut self, start: usize) {
        const REFUSALS: [&[u8]; 2] = [b"-ERR Attempted to access ", b"-ERR Can not execute a "];
        if REFUSALS.iter().any(|refusal| self.wire[start..].starts_with(refusal)) {
            self.wire.truncate(start);
            self.hand_back();
        }
    }

    /// Answers that the command has to go over a socket.
    fn hand_back(&mut self) {
        self.wire.put_u8(b'-');
        self.wire.put_slice(NOT_IN_PROCESS);
        self.wire.put_slice(b"\r\n");
    }

    fn deliver(self) -> Delivery {
        match self.reducing {
            Some(_) if self.is_too_big => return Delivery::failed(Failure::TooBig),
            Some(reducing) => return Delivery::reduced(reducing.so_far),
            None => {}
        }
        let answered = if self.is_too_big { self.done.saturating_sub(1) } else { self.done };
        let wire = self.wire.freeze();
        let mut replies = Vec::with_capacity(answered);
        let mut at = 0;
        while replies.len() < answered {
            match decode(&wire, &mut at) {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    return Delivery { replies, failure: Some(Failure::Lost(error.to_string())), partial: None };
                }
            }
        }
        Delivery { replies, failure: self.is_too_big.then_some(Failure::TooBig), partial: None }
    }
}

impl Reducing {
    /// Takes the replies that these bytes hold.
    fn take_all(&mut self, wire: Bytes) {
        let mut at = 0;
        while at < wire.len() {
            let number = self.taken as u32;
            self.taken += 1;
            match decode(&wire, &mut at) {
                Ok(Reply::Error(message)) => self.so_far.refused.push((number, message)),
                Ok(reply) => {
                    let taken = self.so_far.reduced.take(self.places[number as usize], reply);
                    if let Err(found) = taken {
                        self.so_far.untaken.get_or_insert((number, found));
                    }
                }
                Err(error) => {
                    let message = Bytes::from(format!("ERR {error}"));
                    self.so_far.refused.push((number, message));
                    return;
                }
            }
        }
    }
}

/// Whether a command must not run within another: the server would free the client whose command is running.
fn needs_own_turn(command: &Command) -> bool {
    command.name().eq_ignore_ascii_case(b"CLIENT")
        && command.args().nth(1).is_some_and(|argument| argument.eq_ignore_ascii_case(b"KILL"))
}

/// Whether this server takes writes now. In-process calls do not ask, so we do.
struct Writes {
    is_replica: bool,
    are_paused: bool,
}

impl Writes {
    fn look(ctx: Ctx) -> Self {
        Self { is_replica: ctx.flags().is_read_only_replica(), are_paused: api::writes_are_paused() }
    }

    fn refusal(&self, facts: Facts) -> Option<&'static [u8]> {
        if !self.is_replica && !self.are_paused || !facts.is_write {
            return None;
        }
        Some(if self.is_replica {
            b"-READONLY You can't write against a read only replica.\r\n"
        } else {
            b"-TRYAGAIN writes are paused, as for a failover\r\n"
        })
    }
}

/// Runs one command in process and reads its reply. On the main thread.
pub(super) fn call(ctx: Ctx, command: &Command) -> Reply {
    let mut wire = BytesMut::new();
    Caller::new(ctx, Protocol::Resp3).call(command.args(), &mut wire);
    let failed = |error| Reply::Error(Bytes::from(format!("ERR {error}")));
    decode(&wire.freeze(), &mut 0).unwrap_or_else(failed)
}

/// One setting of the server; empty if it has none of this name. On the main thread.
pub(super) fn config_get(ctx: Ctx, name: &str) -> Vec<u8> {
    let reply = call(ctx, &Command::new("CONFIG").arg("GET").arg(name));
    reply.field(name).and_then(Reply::bytes).unwrap_or_default().to_vec()
}

/// Asks the server that we live in about its cluster.
pub(super) struct InServer;

impl AskCluster for InServer {
    fn ask(&self, command: Command) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            // Which ports nodes name depends on the connection of the client that the server serves now, so there must be
            // none; where the caller cannot wait nothing leaves this server, and ports do not matter.
            let described = match main_thread::current().filter(|ctx| ctx.flags().deny_blocking()) {
                Some(ctx) => call(ctx, &command),
                None => main_thread::in_turn(move |turn| call(turn.ctx, &command)).await?,
            };
            match described {
                Reply::Error(message) => Err(Error::Shard { node: "this node".into(), message, key: None }),
                reply => Ok(Answer { reply, host: "127.0.0.1".into() }),
            }
        })
    }

    fn own_id(&self) -> Option<String> {
        main_thread::detached()?.cluster_id()
    }
}
