//! [`SlotShare`]: a slot that a step has with others; [`SlotNotes`]: which keys of it are written while it is copied to another node.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedRwLockReadGuard;

use crate::command::Command;
use crate::placement::slot::SlotFunc;

/// The keys that were written in a slot.
#[derive(Debug, Default)]
pub(in crate::placement::store) struct Written {
    /// The keys that may have been written: each word of a write that would be a key of the slot.
    pub(in crate::placement::store) keys: HashSet<Vec<u8>>,
    /// Any key may have been written, as after `FLUSHALL`, or after a connection broke with writes on their way.
    pub(in crate::placement::store) is_all: bool,
}

/// The notes of the keys that are written in a slot, kept while somebody wants to know.
#[derive(Debug, Default)]
pub(super) struct SlotNotes {
    is_wanted: AtomicBool,
    written: Mutex<Written>,
}

impl SlotNotes {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::SeqCst)
    }

    /// Returns the words of commands that would be keys of the slot, if somebody wants to know.
    pub(super) fn words(&self, commands: &[Command], func: SlotFunc, slot: u16) -> Vec<Vec<u8>> {
        if !self.is_wanted() {
            return Vec::new();
        }
        let words = commands.iter().flat_map(Command::args);
        words.filter(|word| func.slot(word) == slot).map(<[u8]>::to_vec).collect()
    }

    pub(super) fn add(&self, keys: impl Iterator<Item = Vec<u8>>) {
        self.written().keys.extend(keys);
    }

    /// Says that any key may have been written, or be written yet, if somebody wants to know.
    pub(super) fn add_all(&self) {
        if self.is_wanted() {
            self.written().is_all = true;
        }
    }

    fn begin(&self) {
        *self.written() = Written::default();
        self.is_wanted.store(true, Ordering::SeqCst);
    }

    fn take(&self) -> Written {
        std::mem::take(&mut *self.written())
    }

    fn end(&self) {
        self.is_wanted.store(false, Ordering::SeqCst);
        *self.written() = Written::default();
    }
}

/// A share of a slot. Keys that were written are noted when the share is given back, and before another task has the slot alone.
#[derive(Debug)]
pub(super) struct SlotShare {
    _guard: OwnedRwLockReadGuard<()>,
    notes: Arc<SlotNotes>,
    keys: Vec<Vec<u8>>,
}

impl SlotShare {
    pub(super) fn new(guard: OwnedRwLockReadGuard<()>, notes: Arc<SlotNotes>) -> Self {
        Self { _guard: guard, notes, keys: Vec::new() }
    }

    /// Says what is about to be written. Every word that would be a key of the slot may be one: too many do no harm.
    pub(super) fn writes(&mut self, commands: &[Command], func: SlotFunc, slot: u16) {
        self.keys = self.notes.words(commands, func, slot);
    }
}

impl Drop for SlotShare {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            self.notes.add(self.keys.drain(..));
        }
    }
}

/// A slot whose writes are noted for as long as this lives.
pub(in crate::placement::store) struct NotedSlot {
    notes: Arc<SlotNotes>,
}

impl NotedSlot {
    /// Notes what is written from now on.
    pub(super) fn new(notes: Arc<SlotNotes>) -> Self {
        notes.begin();
        Self { notes }
    }

    /// Returns what was written since it was asked last.
    pub(in crate::placement::store) fn take(&self) -> Written {
        self.notes.take()
    }
}

impl Drop for NotedSlot {
    fn drop(&mut self) {
        self.notes.end();
    }
}
