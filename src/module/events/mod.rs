//! Keyspace events of all nodes, which `RMR.EVENTS` hands out: one subscription for a whole cluster.
//!
//! A module cannot push anything to a client, so readers ask, as they ask streams. Each node keeps the events of its own keys
//! while somebody has asked lately, in a log of limited size (`log`). A cursor says of each node how far its reader is
//! (`cursor`), so any node can go on from it: it asks all others (`questions`), replicas as well, which have something to
//! say once one of them is the primary.

mod cursor;
mod log;
mod questions;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::config;
use super::server::context::Ctx;
use super::server::keyspace_events::{EventSubscription, WithMisses};
use crate::error::Error;
use log::{EventLog, KeyEvent};

pub(super) use cursor::EventCursor;
pub(super) use log::EventsWanted;
pub(super) use questions::{EventsAsked, KeyspaceReader, answer};

/// The events of keys of this node.
static LOG: EventLog = EventLog::new();

thread_local! {
    /// The subscription by which the server reports events. On the main thread.
    static SUBSCRIPTION: EventSubscription = const { EventSubscription::new() };
}

/// Returns how many events are kept, and how many have gone since others needed the room. For `INFO`.
pub(super) fn counts() -> (u64, u64) {
    LOG.counts()
}

/// Forgets all. The module is unloaded, and the server forgets its subscription.
pub(super) fn close() {
    SUBSCRIPTION.with(EventSubscription::reset);
    LOG.close();
}

/// Keeps an event, if somebody wants events. Only a primary's are events of the cluster: its replicas have them, too.
fn happened(ctx: Ctx<'_>, name: &[u8], key: &[u8]) {
    if !LOG.is_on() || !ctx.flags().is_primary() {
        return;
    }
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let event = KeyEvent {
        time_ms: since_1970.as_millis() as u64,
        database: ctx.selected_database(),
        name: String::from_utf8_lossy(name).into(),
        key: key.into(),
    };
    LOG.record(event, Instant::now(), config::events_memory());
}

/// Tells whether this node is a primary, and has the server tell of events from now on. On the main thread.
///
/// # Errors
/// If it does not tell.
fn keep_events(ctx: Ctx<'_>) -> Result<bool, Error> {
    let is_subscribed = SUBSCRIPTION.with(|subscription| subscription.ensure(ctx, WithMisses::No, happened));
    let is_told = is_subscribed.then(|| ctx.flags().is_primary());
    is_told.ok_or_else(|| Error::Refused("this server does not tell modules of keyspace events".into()))
}
