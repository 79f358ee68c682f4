//! The way to one connection.
//!
//! A task owns the connection ([`ConnectionTask`]): it dials when there is something to send, and anew after a connection
//! has broken. Whoever sends may also write past that task, if nobody else is at the connection: see `cork.rs` for when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::mpsc;

use super::budget::LARGE;
use super::connection::{Connection, ConnectionTask, EncodedBatch, Message};
use super::dial::Dialler;
use super::shared_connection::SharedConnection;
use super::stats::LinkStats;
use super::watch::Watcher;

/// After this many requests in a row that ran out of time while the node said nothing, another connection is opened. The
/// old one stays for those with more patience.
const TIMEOUTS_TO_REPLACE: u32 = 3;

/// The way to one connection.
pub(super) struct Channel {
    outbox: mpsc::UnboundedSender<Message>,
    shared: Arc<SharedConnection>,
    /// Requests in a row that ran out of time; the node's first byte ends the row.
    silence: Arc<AtomicU32>,
}

impl Channel {
    /// Opens the way to a connection that is dialled when there is something to send. Must be called within the runtime.
    pub(super) fn open(dialler: Dialler, watcher: Option<Arc<dyn Watcher>>, stats: Arc<LinkStats>) -> Arc<Self> {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let channel = Self { outbox, shared: Arc::default(), silence: Arc::default() };
        let (shared, silence) = (channel.shared.clone(), channel.silence.clone());
        tokio::spawn(ConnectionTask { dialler, watcher, inbox, shared, stats, silence, last_logged: None }.run());
        Arc::new(channel)
    }

    /// Leaves a batch to the task that owns the connection. Returns `false` if there is none any more.
    pub(super) fn send(&self, batch: EncodedBatch) -> bool {
        self.outbox.send(Message::Send(batch)).is_ok()
    }

    /// Tells whether no task serves the connection any more.
    pub(super) fn is_closed(&self) -> bool {
        self.outbox.is_closed()
    }

    /// Reads what an event loop has not come to, unless somebody is at the connection.
    pub(super) fn drain_ready(&self) {
        if let Some(mut open) = self.shared.try_lock() {
            open.iter_mut().for_each(Connection::drain_ready);
        }
    }

    /// Counts a request that ran out of time before the node answered.
    pub(super) fn on_timeout(&self) {
        if self.silence.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS_TO_REPLACE {
            self.silence.store(0, Ordering::Relaxed);
            // A task that has ended has no connection to replace.
            let _ = self.outbox.send(Message::Replace);
        }
    }

    /// Puts a batch to those that leave next, if the connection is open and nobody is at it. Returns `false` if the batch
    /// went to the task instead.
    pub(super) fn join(&self, batch: EncodedBatch) -> bool {
        if batch.len() <= LARGE
            && let Some(mut open) = self.shared.try_lock()
            && let Some(connection) = &mut *open
        {
            connection.queue(batch);
            return true;
        }
        // A task that has ended drops the batch, which its requester hears.
        let _ = self.send(batch);
        false
    }

    /// Writes what has joined. What cannot leave at once is left to the task.
    pub(super) fn write(&self) {
        let open = self.shared.try_lock();
        if !open.is_some_and(|mut open| open.as_mut().is_some_and(Connection::write_now)) {
            // A task that has ended takes what has joined with it.
            let _ = self.outbox.send(Message::Flush);
        }
    }
}
