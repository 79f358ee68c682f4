//! A server that refuses all calls by modules, whatever they are about.
//!
//! Valkey 9 remembers a slot on the client that it lends to calls, once one of them has had keys in several, and refuses all
//! later calls by modules and scripts. rmr makes no such call, but other modules may, and scripts that are allowed to cross
//! slots. Requests are answered all the same, over a socket to the server itself, which takes longer: so this is counted and
//! logged.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::module::server::call;
use crate::module::server::context::Ctx;

/// The number of shares that should have run in process and were refused.
pub(crate) static REFUSED_SHARES: AtomicU64 = AtomicU64::new(0);

/// The time in which there is at most one line in the log.
const LOG_EVERY: Duration = Duration::from_secs(60);

thread_local! {
    /// The moment when a line was logged, on the main thread.
    static LOGGED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Looks, after the server has refused a command for its keys, whether it refuses what has no keys just as well.
pub(in crate::module) fn look(ctx: Ctx<'_>) {
    if !call::refuses_all(ctx) {
        return;
    }
    REFUSED_SHARES.fetch_add(1, Relaxed);
    if LOGGED.get().is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
        LOGGED.set(Some(Instant::now()));
        log::warn!(
            "the server refuses all calls by modules and scripts, as Valkey 9 does after one across slots; until it is \
             restarted, what is for this node goes over a socket, and fails in MULTI and scripts"
        );
    }
}
