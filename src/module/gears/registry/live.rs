//! [`LiveRegistration`]: a registration as it lives on this node, and what it has done here so far.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::registration::Registration;
use crate::module::gears::last_events::LastEvents;

/// A registration that lives on this node.
#[derive(Debug)]
pub(in crate::module::gears) struct LiveRegistration {
    pub(in crate::module::gears) registration: Arc<Registration>,
    pub(in crate::module::gears) stats: RegistrationStats,
    /// Its last events.
    pub(in crate::module::gears) kept: LastEvents,
    /// Tells whether events that were not begun are to be aborted.
    aborts_pending: watch::Sender<bool>,
    state: AtomicU8,
}

/// The present state of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::module::gears) enum RegistrationState {
    Works,
    /// A batch has failed, and is tried again.
    Retries,
    /// A batch has failed, and nothing more is read.
    IsAborted,
    /// A client has said so.
    IsPaused,
}

const STATES: [RegistrationState; 4] =
    [RegistrationState::Works, RegistrationState::Retries, RegistrationState::IsAborted, RegistrationState::IsPaused];

impl LiveRegistration {
    pub(in crate::module::gears) fn new(registration: Arc<Registration>) -> Arc<Self> {
        Arc::new(Self {
            registration,
            stats: RegistrationStats::default(),
            kept: LastEvents::default(),
            aborts_pending: watch::Sender::new(false),
            state: AtomicU8::new(0),
        })
    }

    /// Returns what it does at present.
    pub(in crate::module::gears) fn state(&self) -> RegistrationState {
        STATES[usize::from(self.state.load(Relaxed)) % STATES.len()]
    }

    /// Has events aborted that were not begun, from now on or no more.
    pub(in crate::module::gears) fn abort_pending(&self, aborts: bool) {
        self.aborts_pending.send_replace(aborts);
    }

    /// Tells whether events that were not begun are to be aborted.
    pub(in crate::module::gears) fn aborts_pending(&self) -> bool {
        *self.aborts_pending.borrow()
    }

    /// Waits until events that were not begun are to be aborted.
    pub(in crate::module::gears) async fn pending_are_aborted(&self) {
        // It says so itself, and so is there.
        let _ = self.aborts_pending.subscribe().wait_for(|aborts| *aborts).await;
    }

    /// Sets what it does from now on.
    pub(in crate::module::gears) fn set_state(&self, state: RegistrationState) {
        self.state.store(state as u8, Relaxed);
    }
}

/// Counts what has happened to a registration on this node: `triggered` is the sum of all ends and of what is under way.
#[derive(Debug, Default)]
pub(in crate::module::gears) struct RegistrationStats {
    triggered: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    aborted: AtomicU64,
    dropped: AtomicU64,
    last_us: AtomicU64,
    total_us: AtomicU64,
    last_lag_ms: AtomicU64,
    total_lag_ms: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// The counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::module::gears) struct StatsNow {
    pub(in crate::module::gears) triggered: u64,
    pub(in crate::module::gears) succeeded: u64,
    pub(in crate::module::gears) failed: u64,
    pub(in crate::module::gears) aborted: u64,
    /// Events that there was no room for.
    pub(in crate::module::gears) dropped: u64,
    pub(in crate::module::gears) last: Duration,
    pub(in crate::module::gears) total: Duration,
    /// The age of the last entry of a stream when it had been worked on.
    pub(in crate::module::gears) last_lag: Duration,
    pub(in crate::module::gears) total_lag: Duration,
    pub(in crate::module::gears) last_error: Option<String>,
}

impl RegistrationStats {
    /// Counts an event.
    pub(in crate::module::gears) fn triggered(&self) {
        self.triggered.fetch_add(1, Relaxed);
    }

    /// Counts an event that there was no room for.
    pub(in crate::module::gears) fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// Counts an event that nothing was done for.
    pub(in crate::module::gears) fn aborted(&self) {
        self.aborted.fetch_add(1, Relaxed);
    }

    /// Counts an event that has come to a good end.
    pub(in crate::module::gears) fn succeeded(&self, took: Duration) {
        self.took(took);
        self.succeeded.fetch_add(1, Relaxed);
        let mut last = self.last();
        if last.is_some() {
            *last = None;
        }
    }

    /// Counts an event that has come to an error.
    pub(in crate::module::gears) fn failed(&self, error: String, took: Duration) {
        self.took(took);
        self.failed.fetch_add(1, Relaxed);
        self.note_error(error);
    }

    /// Keeps an error that is about no event.
    pub(in crate::module::gears) fn note_error(&self, error: String) {
        *self.last() = Some(error);
    }

    /// Returns the counts.
    pub(in crate::module::gears) fn now(&self) -> StatsNow {
        StatsNow {
            // First, so that no end is counted whose event is not.
            succeeded: self.succeeded.load(Relaxed),
            failed: self.failed.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            triggered: self.triggered.load(Relaxed),
            last: Duration::from_micros(self.last_us.load(Relaxed)),
            total: Duration::from_micros(self.total_us.load(Relaxed)),
            last_lag: Duration::from_millis(self.last_lag_ms.load(Relaxed)),
            total_lag: Duration::from_millis(self.total_lag_ms.load(Relaxed)),
            last_error: self.last().clone(),
        }
    }

    /// Sets all counts to zero, but for those of events under way.
    pub(in crate::module::gears) fn clear(&self) {
        let ends = [&self.succeeded, &self.failed, &self.aborted, &self.dropped].map(|count| count.swap(0, Relaxed));
        self.triggered.fetch_sub(ends.iter().sum(), Relaxed);
        let sums = [&self.last_us, &self.total_us, &self.last_lag_ms, &self.total_lag_ms];
        sums.iter().for_each(|sum| sum.store(0, Relaxed));
        *self.last() = None;
    }

    /// Notes how old the last entry of a stream was when it had been worked on.
    pub(in crate::module::gears) fn lagged(&self, lag: Duration) {
        let ms = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        self.last_lag_ms.store(ms, Relaxed);
        self.total_lag_ms.fetch_add(ms, Relaxed);
    }

    fn took(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_us.store(us, Relaxed);
        self.total_us.fetch_add(us, Relaxed);
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StatsNow {
    /// Returns how long an event has taken on average.
    pub(in crate::module::gears) fn average(&self) -> Duration {
        self.per_end(self.total)
    }

    /// Returns how old entries of streams were on average when they had been worked on.
    pub(in crate::module::gears) fn average_lag(&self) -> Duration {
        self.per_end(self.total_lag)
    }

    fn per_end(&self, sum: Duration) -> Duration {
        let ended = self.succeeded + self.failed + self.aborted;
        sum.checked_div(u32::try_from(ended).unwrap_or(u32::MAX)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_stays_counted() {
        let stats = RegistrationStats::default();
        (0..5).for_each(|_| stats.triggered());
        stats.succeeded(Duration::from_millis(4));
        stats.failed("no".into(), Duration::from_millis(2));
        stats.aborted();
        let now = stats.now();
        assert_eq!((now.triggered, now.succeeded, now.failed, now.aborted), (5, 1, 1, 1));
        assert_eq!(
            (now.last, now.average(), now.last_error.as_deref()),
            (Duration::from_millis(2), Duration::from_millis(2), Some("no"))
        );
        stats.succeeded(Duration::ZERO);
        assert_eq!(stats.now().last_error, None);
        stats.clear();
        assert_eq!((stats.now().triggered, stats.now().succeeded), (1, 0));
    }
}
