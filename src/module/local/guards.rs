//! The checks that the server makes before it runs a client's command, and not before it runs a module's.
//!
//! A guard that holds for a plain command holds for the same command in process: whether writes are refused, paused, or
//! need memory that there is not. Most refusals are left to the server: the command goes over a socket, where it is
//! answered in the server's own words and order, or runs after room was made for it. Only callers that cannot wait, and
//! databases that no socket reaches, are answered here.

use std::borrow::Cow;

use bytes::Bytes;

use crate::command::{CommandRef, CommandSet};
use crate::link::Batch;
use crate::module::catalog::{self, Facts};
use crate::module::server::call::{self, CallKind, WritesNow};
use crate::module::server::context::{self, Ctx};

pub(super) const READONLY: &[u8] = b"-READONLY You can't write against a read only replica.\r\n";
pub(in crate::module) const PAUSED: &[u8] = b"-TRYAGAIN writes are paused, as for a failover\r\n";
const OUT_OF_MEMORY: &[u8] = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n";
const CROSSES_SLOTS: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";
const NOT_TO_BE_ASKED: &[u8] =
    b"-ERR this server has no FLUSHALL, so it cannot be asked whether it takes writes now\r\n";

/// Tells whether an error says that writes are paused, so that a command has not run, and may later.
pub(crate) fn is_pause(error: &[u8]) -> bool {
    PAUSED.strip_prefix(b"-").and_then(|line| line.strip_suffix(b"\r\n")) == Some(error)
}

/// The reason why a command does not run in process.
pub(super) enum GuardsAnswer {
    /// The guards answer with these words, as they stand on the wire.
    Words(Cow<'static, [u8]>),
    /// The server answers it over a socket.
    BySocket,
}

/// Says how a command with these flags is called.
pub(in crate::module) fn kind_of_call(facts: Facts) -> CallKind {
    match facts {
        Facts { is_write: false, .. } => CallKind::Plain,
        // The server does not run these at all where it is to guard them.
        Facts { is_guarded_by_hand: true, .. } => CallKind::Write,
        _ => CallKind::GuardedWrite,
    }
}

/// The state of the server in one turn of a share.
pub(super) struct Guards {
    is_cluster: bool,
    is_paused: bool,
    /// A command may go over a socket instead.
    may_leave: bool,
    /// Remembers whether writes are refused, once the server was asked.
    writes: Option<WritesNow>,
    /// Remembers whether the server evicts keys when memory is full, once it was asked.
    evicts: Option<bool>,
}

impl Guards {
    pub(super) fn look(ctx: Ctx<'_>, may_leave: bool) -> Self {
        let (is_cluster, is_paused) = (ctx.flags().is_cluster(), context::writes_are_paused());
        Self { is_cluster, is_paused, may_leave, writes: None, evicts: None }
    }

    /// Returns why a command does not run in process now. Costs reads of one key a few branches.
    #[inline]
    pub(super) fn before(&mut self, ctx: Ctx<'_>, facts: Facts, command: CommandRef<'_>) -> Option<GuardsAnswer> {
        if facts.may_have_several_keys && self.is_cluster && catalog::crosses_slots(ctx, command) {
            return Some(self.by_socket_or(CROSSES_SLOTS));
        }
        if facts.needs_memory || facts.is_held_by_pause { self.before_write(ctx, facts) } else { None }
    }

    fn before_write(&mut self, ctx: Ctx<'_>, facts: Facts) -> Option<GuardsAnswer> {
        if facts.is_held_by_pause && self.is_paused {
            // A script may say that it does not write, which the server knows.
            return Some(if facts.is_script { self.by_socket_or(PAUSED) } else { GuardsAnswer::Words(PAUSED.into()) });
        }
        if facts.needs_memory && context::used_memory_ratio() > 1.0 {
            if self.may_leave {
                return Some(GuardsAnswer::BySocket);
            }
            if !self.evicts(ctx) && !facts.is_script {
                return Some(GuardsAnswer::Words(OUT_OF_MEMORY.into()));
            }
        }
        if facts.is_guarded_by_hand {
            return match self.writes.get_or_insert_with(|| call::writes_now(ctx, None)).clone() {
                WritesNow::Allowed => None,
                WritesNow::Refused(wire) => Some(GuardsAnswer::Words(wire.into())),
                WritesNow::Unknown => Some(self.by_socket_or(NOT_TO_BE_ASKED)),
            };
        }
        None
    }

    /// Tells whether a write that the server has refused goes over a socket, to be refused there. In a cluster the server
    /// looks at keys first, and says to whom they have gone.
    pub(super) fn leaves_words_to_socket(&self, facts: Facts) -> bool {
        self.is_cluster && self.may_leave && !facts.is_keyless
    }

    fn by_socket_or(&self, words: &'static [u8]) -> GuardsAnswer {
        if self.may_leave { GuardsAnswer::BySocket } else { GuardsAnswer::Words(words.into()) }
    }

    /// Tells whether the server evicts keys when memory is full. In `MULTI` and scripts the server looks once, before
    /// the first command, and so do calls from there.
    fn evicts(&mut self, ctx: Ctx<'_>) -> bool {
        *self.evicts.get_or_insert_with(|| call::config_get(ctx, "maxmemory-policy") != b"noeviction")
    }
}

/// Returns the words with which the server would refuse the writes of a share; `None` if it would take them, and where only
/// running them tells: whether a script writes, and whether room can be made in a memory that is full.
pub(super) fn refusal_of_writes(ctx: Ctx<'_>, batch: &Batch) -> Option<Bytes> {
    let mut guards = Guards::look(ctx, true);
    let mut looked_up = catalog::InTurn::default();
    let is_of_one_name = matches!(*batch.commands, CommandSet::PerKey(_));
    let mut has_asked = false;
    for command in batch.picked().take(if is_of_one_name { 1 } else { usize::MAX }) {
        let facts = looked_up.facts(ctx, command);
        if facts.is_script {
            continue;
        }
        if facts.is_held_by_pause && guards.is_paused {
            return Some(text(PAUSED));
        }
        if facts.needs_memory && context::used_memory_ratio() > 1.0 && !guards.evicts(ctx) {
            return Some(text(OUT_OF_MEMORY));
        }
        if facts.is_write
            && !std::mem::replace(&mut has_asked, true)
            && let WritesNow::Refused(wire) = call::writes_now(ctx, command.routing_key())
        {
            return Some(text(&wire));
        }
    }
    None
}

/// Returns the text of an error line.
fn text(wire: &[u8]) -> Bytes {
    let line = wire.strip_prefix(b"-").unwrap_or(wire);
    Bytes::copy_from_slice(line.strip_suffix(b"\r\n").unwrap_or(line))
}
