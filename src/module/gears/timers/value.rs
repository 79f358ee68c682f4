//! [`TimerValue`]: the value of a key in which a timer lives.

use std::ffi::{CStr, c_int};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::kept::{COMMAND, KeptTimer};
use super::table;
use crate::flow::messages;
use crate::module::gears::persistence::{came, saved};
use crate::module::server::data_type::{KeyType, KeyValue};

/// The type of the keys in which timers live, beside which registrations are saved.
pub(in crate::module::gears) static TYPE: KeyType<TimerValue> = KeyType::new();

/// A value of a key. While it is there the timer is in the [`table`].
pub(in crate::module::gears) struct TimerValue {
    id: u64,
    bytes: Vec<u8>,
}

impl TimerValue {
    /// Makes one from what is saved of it, too.
    pub(super) fn new(key: &[u8], bytes: Vec<u8>, timer: KeptTimer) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        table::add(id, key, Arc::new(timer));
        Self { id, bytes }
    }

    /// Returns the number that no other value has.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Notes that the process that has made the timer has its function.
    pub(super) fn is_in_process(&self) {
        table::is_in_process(self.id);
    }
}

impl Drop for TimerValue {
    fn drop(&mut self) {
        table::remove(self.id);
    }
}

impl KeyValue for TimerValue {
    const NAME: &'static CStr = c"rmr-gears";
    const VERSION: c_int = 1;
    const COMMAND: &'static CStr = COMMAND;

    fn load(key: &[u8], bytes: &[u8]) -> Option<Self> {
        Some(Self::new(key, bytes.to_vec(), messages::decode(bytes).ok()?))
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn aside() -> Option<Vec<u8>> {
        saved::saved()
    }

    fn load_aside(bytes: &[u8]) -> bool {
        came::aside(bytes)
    }
}
