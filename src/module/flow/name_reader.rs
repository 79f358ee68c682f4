//! [`NameReader`]: keys that are wanted by their names.

use std::collections::VecDeque;
use std::time::Instant;

use serde_bytes::ByteBuf;

use super::rights::ShareRights;
use crate::error::Error;
use crate::flow::keyspace::{KeySlice, NamesWanted};
use crate::module::local::own_slots;
use crate::module::server::main_thread::Turn;
use crate::module::server::scan::{Now, with_key};
use crate::topology::{SlotRange, key_slot};

/// Names of which it is to be found out whether their keys are here.
pub(super) struct NameReader {
    names: VecDeque<ByteBuf>,
    are_slots: bool,
}

impl NameReader {
    /// Begins to read the keys of these names that are in these slots.
    pub(super) fn new(mut named: NamesWanted, slots: Option<&[SlotRange]>) -> Self {
        named.keep_those_in(slots);
        Self { names: named.names.into(), are_slots: slots.is_some() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns the memory of the names, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.names.iter().map(|name| (name.len() + size_of::<ByteBuf>()) as u64).sum()
    }

    /// Shows names until there are so many, or time is up: those that exist, or also those that may not. Slots that are not
    /// here are left unread.
    ///
    /// # Errors
    /// If a user does not exist any more.
    pub(super) fn read(
        &mut self,
        turn: Turn<'_>,
        rights: &ShareRights,
        only_existing: bool,
        most: usize,
        slice: &mut KeySlice,
    ) -> Result<(), Error> {
        let own = if self.are_slots { own_slots::ask(turn.ctx).ok() } else { None };
        let (users, now) = (rights.users()?, Now::read());
        while let Some(name) = self.names.pop_front() {
            slice.keys_read += 1;
            let is_here = || own.as_ref().is_some_and(|own| own.has_whole(key_slot(&name)));
            let may_show = || users.iter().all(|user| user.may_read(&name));
            if self.are_slots && !is_here() {
                slice.unread.push(key_slot(&name));
            } else if may_show() && (!only_existing || with_key(turn.ctx, &name, now, |_| ()).is_some()) {
                slice.records.push(&name, &[]);
            }
            if slice.records.len() >= most || Instant::now() >= turn.until {
                break;
            }
        }
        Ok(())
    }
}
