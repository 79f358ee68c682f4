//! The way to one connection.
//!
//! A task owns the connection ([`Driver`]): it dials when there is something to send, and anew after a connection has
//! broken. What is large enough is written past it by whoever sends it, if nobody else is at the connection, and so is what
//! was kept until the end of a round ([`cork`]).

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::sync::mpsc;

use super::Status;
use super::connection::{Connection, Message};
use super::dial::Dialler;
use super::driver::Driver;
use super::outgoing::{LARGE, Outgoing};
use super::watch::{Reader, Watcher};

/// After this many requests in a row that ran out of time while the node said nothing, another connection is opened. The
/// old one stays for those with more patience.
const TIMEOUTS_TO_REPLACE: u32 = 3;

/// A batch of so many bytes is worth a write of its own, which whoever sends it does here and now: to wake the task that
/// owns the connection takes as long. Smaller ones are left to it, since those that come together share a write.
const OWN_WRITE: usize = 2 * 1024;

/// The way to one connection.
pub(super) struct Lane {
    pub(super) outbox: mpsc::UnboundedSender<Message>,
    open: Arc<Open>,
    /// Requests in a row that ran out of time; the node's first byte ends the row.
    silence: Arc<AtomicU32>,
}

impl Lane {
    /// The way to a connection that is dialled when there is something to send. Within the runtime.
    pub(super) fn open(dialler: Dialler, watcher: Option<Arc<dyn Watcher>>, status: Arc<Status>) -> Arc<Self> {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let lane = Self { outbox, open: Arc::default(), silence: Arc::default() };
        let (open, silence) = (lane.open.clone(), lane.silence.clone());
        tokio::spawn(Driver { dialler, watcher, inbox, open, status, silence, last_logged: None }.run());
        Arc::new(lane)
    }

    /// `false` if nobody serves the connection any more.
    pub(super) fn send(self: &Arc<Self>, outgoing: Outgoing) -> bool {
        let is_large = outgoing.len() >= OWN_WRITE;
        let due = CORKED.with_borrow_mut(|corked| match corked {
            None if is_large => Ok(vec![(self.clone(), outgoing)]),
            None => Err(outgoing),
            Some(corked) => {
                corked.push((self.clone(), outgoing));
                Ok(if is_large { std::mem::take(corked) } else { Corked::new() })
            }
        });
        match due {
            Ok(due) => {
                write_now(due);
                !self.outbox.is_closed()
            }
            Err(outgoing) => self.outbox.send(Message::Send(outgoing)).is_ok(),
        }
    }

    /// Reads what an event loop has not come to, unless somebody is at the connection.
    pub(super) fn look(&self) {
        if let Some(mut open) = self.open.try_lock() {
            open.iter_mut().for_each(Connection::look);
        }
    }

    /// A request ran out of time before the node answered.
    pub(super) fn note_timeout(&self) {
        if self.silence.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS_TO_REPLACE {
            self.silence.store(0, Ordering::Relaxed);
            // A driver that has gone has no connection to replace.
            let _ = self.outbox.send(Message::Replace);
        }
    }

    /// Puts a batch to those that leave next, if the connection is open and nobody is at it. `false` if the batch went to
    /// whoever serves the connection instead.
    fn join(&self, outgoing: Outgoing) -> bool {
        if outgoing.len() <= LARGE
            && let Some(mut open) = self.open.try_lock()
            && let Some(connection) = &mut *open
        {
            connection.queue(outgoing);
            return true;
        }
        // A driver that has gone drops the batch, which its requester hears.
        let _ = self.outbox.send(Message::Send(outgoing));
        false
    }

    /// Writes what has joined. What cannot leave at once is left to whoever serves the connection.
    fn write(&self) {
        let open = self.open.try_lock();
        if !open.is_some_and(|mut open| open.as_mut().is_some_and(Connection::write_now)) {
            // A driver that has gone takes what has joined with it.
            let _ = self.outbox.send(Message::Look);
        }
    }
}

/// Batches that are kept, each with where it goes.
type Corked = Vec<(Arc<Lane>, Outgoing)>;

thread_local! {
    static CORKED: RefCell<Option<Corked>> = const { RefCell::new(None) };
}

/// Keeps what this thread sends until [`uncork`], but for large batches. A server that takes many commands in one round of
/// its event loop so sends all that they have for a node in one write.
#[cfg_attr(not(feature = "module"), expect(dead_code, reason = "only a server has such rounds"))]
pub(crate) fn cork() {
    CORKED.with_borrow_mut(|corked| {
        corked.get_or_insert_default();
    });
}

/// Sends what [`cork`] has kept.
#[cfg_attr(not(feature = "module"), expect(dead_code, reason = "only a server has such rounds"))]
pub(crate) fn uncork() {
    CORKED.take().into_iter().for_each(write_now);
}

/// Sends batches: to a few nodes by writing here and now, which spares waking the runtime and gives the node all of a round
/// at once; to the others by the runtime, so that this thread is not kept.
fn write_now(batches: Corked) {
    /// Each write takes some microseconds.
    const MOST_WRITES: usize = 8;
    let mut joined: Vec<Arc<Lane>> = Vec::new();
    for (lane, outgoing) in batches {
        let is_known = joined.iter().any(|known| Arc::ptr_eq(known, &lane));
        if !is_known && joined.len() == MOST_WRITES {
            // A driver that has gone drops the batch, which its requester hears.
            let _ = lane.outbox.send(Message::Send(outgoing));
        } else if lane.join(outgoing) && !is_known {
            joined.push(lane);
        }
    }
    joined.iter().for_each(|lane| lane.write());
}

/// The connection that is open now, for whoever wants to write at once, or is told that there is something to be read.
#[derive(Default)]
pub(super) struct Open(Mutex<Option<Connection>>);

impl Open {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` while somebody else is at the connection, which is for a moment.
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<Connection>>> {
        match self.0.try_lock() {
            Ok(open) => Some(open),
            Err(TryLockError::Poisoned(open)) => Some(open.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Reader for Open {
    fn read(&self, here: bool) -> bool {
        self.try_lock().is_none_or(|mut open| open.as_mut().is_none_or(|connection| connection.read_now(here)))
    }

    fn refused(&self) {
        self.lock().iter_mut().for_each(Connection::leave_to_runtime);
    }
}
