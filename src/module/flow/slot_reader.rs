//! [`SlotReader`]: the names of the keys of slots, one slot after the other.
//!
//! A slot is listed in one callback on the main thread in which the server has also said which slots it has. Listed while the
//! server is its primary and none of its keys is on the move, the names are complete: each key that is there all the time is
//! among them, once. A slot of very many keys cannot be listed in parts, and is left to the [table](super::table_reader).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::rights::ShareRights;
use super::sieve::Sieve;
use crate::error::Error;
use crate::flow::keyspace::KeySlice;
use crate::link::Protocol;
use crate::module::local::own_slots;
use crate::module::server::call::{CallKind, Called, CommandRunner};
use crate::module::server::context::Ctx;
use crate::module::server::main_thread::Turn;
use crate::resp::Arguments;
use crate::topology::{OwnSlots, SlotRange};

/// A slot of more keys than these is not listed.
pub(super) const MOST_LISTED: usize = 2000;

/// Slots that are being read.
pub(super) struct SlotReader {
    left: VecDeque<SlotRange>,
    /// Slots of very many keys.
    pub(super) big: Vec<u16>,
}

impl SlotReader {
    pub(super) fn new(slots: &[SlotRange]) -> Self {
        Self { left: slots.iter().copied().collect(), big: Vec::new() }
    }

    /// Tells whether all slots have been looked at.
    pub(super) fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Reads slots until there are so many keys, or time is up.
    ///
    /// # Errors
    /// If a user does not exist any more.
    pub(super) fn read(
        &mut self,
        turn: Turn<'_>,
        sieve: &Sieve,
        rights: &ShareRights,
        most: usize,
        slice: &mut KeySlice,
    ) -> Result<(), Error> {
        let ctx = turn.ctx;
        let own = own_slots::ask(ctx).ok();
        let may_be_gone = has_expiring(ctx);
        let mut sieve = sieve.in_turn(rights)?;
        let mut runner = CommandRunner::new(ctx, Protocol::Resp2);
        let mut digits = itoa::Buffer::new();
        while let Some(slot) = self.next_slot() {
            if !own.as_ref().is_some_and(|own| has_whole(own, slot)) {
                slice.unread.push(slot);
                continue;
            }
            let words = ["CLUSTER", "GETKEYSINSLOT", digits.format(slot), TOO_MANY];
            let listed = runner.call(words.iter().map(|word| word.as_bytes()), CallKind::Plain);
            match Listed::of(&listed) {
                None => slice.unread.push(slot),
                Some(Listed { count, .. }) if count > MOST_LISTED => self.big.push(slot),
                Some(Listed { count, names }) => {
                    slice.slots_read += 1;
                    if count > 0 {
                        names.for_each(|name| sieve.take_name(ctx, name, may_be_gone));
                    }
                }
            }
            if sieve.taken.len() >= most || Instant::now() >= turn.until {
                break;
            }
        }
        sieve.settle_doubtful(ctx);
        slice.keys_read += sieve.read;
        slice.records.append(&sieve.taken);
        Ok(())
    }

    fn next_slot(&mut self) -> Option<u16> {
        let (first, last) = self.left.front_mut()?;
        let slot = *first;
        if first == last {
            self.left.pop_front();
        } else {
            *first += 1;
        }
        Some(slot)
    }
}

/// One more than [`MOST_LISTED`].
const TOO_MANY: &str = "2001";

/// Tells whether a server has all keys of a slot: it is its primary, and no key comes or goes by itself.
pub(super) fn has_whole(own: &Arc<OwnSlots>, slot: u16) -> bool {
    let behind = own.owned.partition_point(|(first, _)| *first <= slot);
    let is_owned = behind > 0 && slot <= own.owned[behind - 1].1;
    is_owned && own.is_primary && !own.moving.iter().any(|moving| moving.slot == slot)
}

/// Tells whether keys of the first database may have expired without being gone: whether any has a time to live at all.
fn has_expiring(ctx: Ctx<'_>) -> bool {
    let keys = ctx.server_info(c"keyspace", c"db0");
    keys.is_some_and(|keys| !keys.split(',').any(|field| field == "expires=0"))
}

/// The reply of a server that lists the keys of a slot.
struct Listed<'r> {
    count: usize,
    names: Arguments<'r>,
}

impl<'r> Listed<'r> {
    /// Reads the reply; `None` if it is an error.
    fn of(reply: &'r Called<'_>) -> Option<Self> {
        let reply = reply.wire().strip_prefix(b"*")?;
        let end = memchr::memchr(b'\r', reply)?;
        let count = std::str::from_utf8(&reply[..end]).ok()?.parse().ok()?;
        Some(Self { count, names: Arguments::of(reply.get(end + 2..)?) })
    }
}
