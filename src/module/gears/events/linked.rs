//! [`LinkedClient`]: a client that waits for the functions which the events of its command begin.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::module::gears::replies;
use crate::module::python::{EventClient, NextCommand};
use crate::reply::Reply;

thread_local! {
    /// The client whose command is running. On the main thread.
    static CURRENT: RefCell<Option<Arc<LinkedClient>>> = const { RefCell::new(None) };
}

/// Runs the command of a client: functions that its events begin are waited for.
pub(super) fn during<T>(link: &Arc<LinkedClient>, run: impl FnOnce() -> T) -> T {
    let outer = CURRENT.replace(Some(link.clone()));
    let done = run();
    CURRENT.replace(outer);
    done
}

/// Returns the client whose command runs now, if that is one of these.
pub(super) fn current(commands: &[String]) -> Option<Arc<LinkedClient>> {
    CURRENT.with_borrow(|current| current.as_ref().filter(|link| link.is_one_of(commands)).cloned())
}

/// A client that waits for the functions which its command has begun.
pub(super) struct LinkedClient {
    words: Vec<Bytes>,
    pending: AtomicUsize,
    ended: Notify,
    /// The reply that a function has put in the place of the command's.
    other: Mutex<Option<Bytes>>,
}

impl LinkedClient {
    pub(super) fn new(words: Vec<Bytes>) -> Self {
        Self { words, pending: AtomicUsize::new(0), ended: Notify::new(), other: Mutex::default() }
    }

    /// Tells whether its command is one of these.
    pub(super) fn is_one_of(&self, commands: &[String]) -> bool {
        let name = self.words.first().map(|name| &name[..]).unwrap_or_default();
        commands.iter().any(|command| command.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Notes one more function that has begun.
    pub(super) fn begin(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that one has ended.
    pub(super) fn end(&self) {
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ended.notify_one();
        }
    }

    /// Waits for all functions, and returns what the client gets.
    pub(super) async fn reply(&self, own: Reply) -> Reply {
        while self.pending.load(Ordering::Acquire) > 0 {
            self.ended.notified().await;
        }
        let other = self.other.lock().unwrap_or_else(PoisonError::into_inner).take();
        other.map_or(own, |wire| replies::written(&wire))
    }
}

impl EventClient for LinkedClient {
    fn command(&self) -> Option<&[Bytes]> {
        Some(&self.words)
    }

    fn override_reply(&self, reply: &[u8]) -> Result<(), &'static str> {
        let mut other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        if other.is_some() {
            return Err("Can only override reply once");
        }
        *other = Some(Bytes::copy_from_slice(reply));
        Ok(())
    }

    fn next(&self, _arguments: &[&[u8]]) -> Option<NextCommand> {
        None
    }
}
