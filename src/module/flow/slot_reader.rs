//! [`SlotReader`]: the names of the keys of slots, one slot after the other.
//!
//! A slot is listed in one callback on the main thread in which the server has also said which slots it has. Listed while the
//! server is its primary and none of its keys is on the move, the names are complete: each key that is there all the time is
//! among them, once. A slot of very many keys cannot be listed in parts, and is left to the [table](super::table_reader).

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use super::rights::ShareRights;
use super::sieve::Sieve;
use super::table_reader::ShownKeys;
use crate::error::Error;
use crate::flow::keyspace::{KeySlice, key_hash};
use crate::link::Protocol;
use crate::module::local::own_slots;
use crate::module::server::call::{CallKind, Called, CommandRunner};
use crate::module::server::context::Ctx;
use crate::module::server::main_thread::Turn;
use crate::resp::Arguments;
use crate::topology::SlotRange;

/// A slot of more keys than these is not listed.
pub(super) const MOST_LISTED: usize = 2000;

/// Slots that are being read.
pub(super) struct SlotReader {
    left: VecDeque<SlotRange>,
    /// Slots of very many keys.
    big: Vec<u16>,
    /// Keys that were shown before, while their slots were unsteady.
    shown: ShownKeys,
    /// The slots were unsteady: what does not settle now is left to others.
    is_second: bool,
}

impl SlotReader {
    pub(super) fn new(slots: &[SlotRange]) -> Self {
        let left = slots.iter().copied().collect();
        Self { left, big: Vec::new(), shown: ShownKeys::new(), is_second: false }
    }

    /// Begins to read slots that were unsteady, but for their keys that were shown.
    pub(super) fn again(slots: &[u16], shown: ShownKeys) -> Self {
        let left = slots.iter().map(|slot| (*slot, *slot)).collect();
        Self { left, big: Vec::new(), shown, is_second: true }
    }

    /// Takes the slots of very many keys out.
    pub(super) fn take_big(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.big)
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
            let shown = self.shown.remove(&slot).unwrap_or_default();
            if !own.as_ref().is_some_and(|own| own.has_whole(slot)) {
                give_up(slot, shown, slice);
                continue;
            }
            let words = ["CLUSTER", "GETKEYSINSLOT", digits.format(slot), TOO_MANY];
            let listed = runner.call(words.iter().map(|word| word.as_bytes()), CallKind::Plain);
            match Listed::of(&listed) {
                None => give_up(slot, shown, slice),
                Some(Listed { count, .. }) if count > MOST_LISTED && self.is_second => give_up(slot, shown, slice),
                Some(Listed { count, .. }) if count > MOST_LISTED => self.big.push(slot),
                Some(Listed { names, .. }) => {
                    slice.slots_read += 1;
                    let is_new = |name: &&[u8]| shown.is_empty() || !shown.contains(&key_hash(name));
                    names.filter(is_new).for_each(|name| sieve.take_name(ctx, name, may_be_gone));
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

/// Leaves a slot to others, with what is known of its keys.
fn give_up(slot: u16, shown: HashSet<u128>, slice: &mut KeySlice) {
    if shown.is_empty() {
        slice.unread.push(slot);
    } else {
        slice.unsettled.push((slot, shown.into_iter().collect()));
    }
}

/// One more than [`MOST_LISTED`], as text.
const TOO_MANY: &str = "2001";

/// Tells whether keys of the first database may have expired without being gone: whether any has a time to live at all.
pub(super) fn has_expiring(ctx: Ctx<'_>) -> bool {
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
