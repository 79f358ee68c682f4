//! The open connection of a channel, within reach of all who may write to it or read it: the task that owns it, a thread
//! that sends, and the thread of an event loop.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::connection::Connection;
use super::watch::SocketReader;

/// The connection that is open now, for whoever wants to write at once, or is told that there is something to be read.
#[derive(Default)]
pub(super) struct SharedConnection(Mutex<Option<Connection>>);

impl SharedConnection {
    /// Waits until nobody else is at the connection.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks it, or returns `None` while somebody else is at the connection, which is for a moment.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Option<Connection>>> {
        match self.0.try_lock() {
            Ok(open) => Some(open),
            Err(TryLockError::Poisoned(open)) => Some(open.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl SocketReader for SharedConnection {
    fn read(&self, here: bool) -> bool {
        self.try_lock().is_none_or(|mut open| open.as_mut().is_none_or(|connection| connection.read_now(here)))
    }

    fn refused(&self) {
        self.lock().iter_mut().for_each(Connection::leave_to_runtime);
    }
}
