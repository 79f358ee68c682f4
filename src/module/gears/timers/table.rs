//! The timers of all values that the server has, in whatever database, and also those of a data set that is not in use yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::kept::KeptTimer;

/// Values may be freed on other threads than the main one.
static TABLE: Mutex<Option<TimerTable>> = Mutex::new(None);

/// The timers of this server.
#[derive(Default)]
struct TimerTable {
    /// The timers by the numbers of their values.
    timers: HashMap<u64, TimerEntry>,
    /// The function that is told of new timers.
    tell: Option<fn()>,
}

/// A timer, as long as its value is there.
struct TimerEntry {
    /// The key that has, or had, the value.
    key: Vec<u8>,
    timer: Arc<KeptTimer>,
    /// The process of its session that runs now has the function.
    is_in_process: bool,
    has_begun: bool,
    /// Dropped with the value.
    end: watch::Sender<()>,
}

/// A timer that is to be waited for.
pub(super) struct BegunTimer {
    pub(super) id: u64,
    pub(super) timer: Arc<KeptTimer>,
    pub(super) is_in_process: bool,
    pub(super) ended: watch::Receiver<()>,
}

fn lock() -> MutexGuard<'static, Option<TimerTable>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds the timer of a value.
pub(super) fn add(id: u64, key: &[u8], timer: Arc<KeptTimer>) {
    let (end, _) = watch::channel(());
    let entry = TimerEntry { key: key.to_vec(), timer, is_in_process: false, has_begun: false, end };
    let mut table = lock();
    let table = table.get_or_insert_default();
    table.timers.insert(id, entry);
    if let Some(tell) = table.tell {
        tell();
    }
}

/// Has somebody told of each new timer, in the midst of it being made.
pub(super) fn tell(of_new: fn()) {
    lock().get_or_insert_default().tell = Some(of_new);
}

/// Removes the timer of a value that goes.
pub(super) fn remove(id: u64) {
    let removed = lock().as_mut().and_then(|table| table.timers.remove(&id));
    drop(removed);
}

/// Notes that the process of its session has the function.
pub(super) fn is_in_process(id: u64) {
    if let Some(entry) = lock().as_mut().and_then(|table| table.timers.get_mut(&id)) {
        entry.is_in_process = true;
    }
}

/// Returns the key that has the value.
pub(super) fn key_of(id: u64) -> Option<Vec<u8>> {
    lock().as_ref()?.timers.get(&id).map(|entry| entry.key.clone())
}

/// Notes that the value is in another key now.
pub(super) fn moved(id: u64, key: &[u8]) {
    if let Some(entry) = lock().as_mut().and_then(|table| table.timers.get_mut(&id)) {
        key.clone_into(&mut entry.key);
    }
}

/// Returns the timers that nobody waits for yet.
pub(super) fn begin() -> Vec<BegunTimer> {
    let mut table = lock();
    let begun = |(&id, entry): (&u64, &mut TimerEntry)| {
        let is_new = !std::mem::replace(&mut entry.has_begun, true);
        let (timer, is_in_process, ended) = (entry.timer.clone(), entry.is_in_process, entry.end.subscribe());
        is_new.then_some(BegunTimer { id, timer, is_in_process, ended })
    };
    table.iter_mut().flat_map(|table| &mut table.timers).filter_map(begun).collect()
}

/// Forgets all.
pub(super) fn reset() {
    *lock() = None;
}
