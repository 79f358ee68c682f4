//! The way to one connection.
//!
//! A task owns the connection ([`ConnectionTask`]): it dials when there is something to send, and anew after a connection
//! has broken. Whoever sends may also write past that task, if nobody else is at the connection: see `cork.rs` for when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::mpsc;

use super::batch::Batch;
use super::budget::LARGE;
use super::connection::{Connection, ConnectionTask, EncodedBatch, Marking, Message};
use super::dial::Dialler;
use super::own_slots::LatestOwnSlots;
use super::shared_connection::SharedConnection;
use super::stats::LinkStats;
use super::watch::Watcher;
use crate::describe::special::stops_others;

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// All commands that have no lane of their own.
    Plain,
    /// Code of others. It may run for long, and what it says is not to be trusted with other callers' connection.
    Code,
    /// Commands that stop other requests, and so must not wait behind them.
    Control,
}

impl Lane {
    /// Returns the lane that a batch goes by.
    pub(super) fn of(batch: &Batch) -> Self {
        if batch.may_run_code() {
            Self::Code
        } else if batch.picks.len() == 1 && batch.picked().all(stops_others) {
            Self::Control
        } else {
            Self::Plain
        }
    }

    /// Returns how many requests in a row may run out of time while the node says nothing before another connection is
    /// opened. The old one stays for those with more patience.
    fn timeouts_to_replace(self) -> u32 {
        match self {
            Self::Plain => 3,
            // Commands behind a script that does not end wait for nothing else.
            Self::Code | Self::Control => 1,
        }
    }
}

/// The way to one connection.
pub(super) struct Channel {
    outbox: mpsc::UnboundedSender<Message>,
    shared: Arc<SharedConnection>,
    /// Requests in a row that ran out of time; the node's first byte ends the row.
    silence: Arc<AtomicU32>,
    /// Tells whether commands were given up between being sent and being answered, since this was last asked.
    was_given_up: AtomicBool,
    lane: Lane,
}

impl Channel {
    /// Opens the way to a connection that is dialled when there is something to send. Must be called within the runtime.
    pub(super) fn open(
        lane: Lane,
        dialler: Dialler,
        watcher: Option<Arc<dyn Watcher>>,
        stats: Arc<LinkStats>,
        marking: Arc<Marking>,
        own_slots: Arc<LatestOwnSlots>,
    ) -> Arc<Self> {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let was_given_up = AtomicBool::new(false);
        let channel = Self { outbox, shared: Arc::default(), silence: Arc::default(), was_given_up, lane };
        let (shared, silence) = (channel.shared.clone(), channel.silence.clone());
        let last_logged = None;
        tokio::spawn(
            ConnectionTask { dialler, watcher, inbox, shared, stats, silence, marking, own_slots, last_logged }.run(),
        );
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

    /// Hears that something that was sent is waited for no more.
    pub(super) fn on_given_up(&self) {
        self.was_given_up.store(true, Ordering::Relaxed);
    }

    /// Counts a request that ran out of time before the node answered, if it has gone this way.
    pub(super) fn on_timeout(&self) {
        if !self.was_given_up.swap(false, Ordering::Relaxed) {
            return;
        }
        if self.silence.fetch_add(1, Ordering::Relaxed) + 1 >= self.lane.timeouts_to_replace() {
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

    /// Writes the requests that have joined. Bytes that cannot leave at once are left to the task.
    pub(super) fn write(&self) {
        let open = self.shared.try_lock();
        if !open.is_some_and(|mut open| open.as_mut().is_some_and(Connection::write_now)) {
            // A task that has ended takes what has joined with it.
            let _ = self.outbox.send(Message::Flush);
        }
    }
}
