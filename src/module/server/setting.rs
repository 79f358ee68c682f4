//! The kinds of settings, and their values.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis_module::raw;

/// A setting that is a number.
pub(crate) struct NumberSetting {
    pub(crate) name: &'static str,
    pub(crate) default: i64,
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) flags: u32,
    pub(crate) value: AtomicI64,
}

impl NumberSetting {
    pub(crate) const fn new(name: &'static str, default: i64, min: i64, max: i64) -> Self {
        Self { name, default, min, max, flags: raw::REDISMODULE_CONFIG_DEFAULT, value: AtomicI64::new(default) }
    }

    pub(crate) const fn with_flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    pub(crate) fn get(&self) -> i64 {
        self.value.load(Relaxed)
    }

    pub(crate) fn set(&self, value: i64) {
        self.value.store(value, Relaxed);
    }

    /// Reads a value as `CONFIG SET` does: a size of memory may have a unit.
    pub(crate) fn parse(&self, text: &str) -> Option<i64> {
        const UNITS: [(&str, i64); 7] = [
            ("kb", 1 << 10),
            ("mb", 1 << 20),
            ("gb", 1 << 30),
            ("k", 1000),
            ("m", 1_000_000),
            ("g", 1_000_000_000),
            ("b", 1),
        ];
        let text = text.to_ascii_lowercase();
        let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
        match unit {
            Some((digits, factor)) if self.flags & raw::REDISMODULE_CONFIG_MEMORY != 0 => {
                digits.parse::<i64>().ok()?.checked_mul(factor)
            }
            _ => text.parse().ok(),
        }
    }

    pub(crate) fn millis(&self) -> Duration {
        Duration::from_millis(self.get().unsigned_abs())
    }
}

/// A setting that is one of a few words.
pub(crate) struct ChoiceSetting {
    pub(crate) name: &'static str,
    pub(crate) words: &'static [&'static str],
    pub(crate) flags: u32,
    pub(crate) value: AtomicI64,
}

impl ChoiceSetting {
    pub(crate) const fn new(name: &'static str, words: &'static [&'static str]) -> Self {
        Self { name, words, flags: raw::REDISMODULE_CONFIG_DEFAULT, value: AtomicI64::new(0) }
    }

    pub(crate) const fn with_flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }
}

/// A setting that is text.
pub(crate) struct TextSetting {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) flags: u32,
    /// Says what is wrong with a value.
    pub(crate) check: fn(&[u8]) -> Result<(), String>,
    /// Bytes: a password need not be UTF-8.
    pub(crate) value: Mutex<Vec<u8>>,
}

impl TextSetting {
    pub(crate) const fn new(name: &'static str, flags: u32, check: fn(&[u8]) -> Result<(), String>) -> Self {
        Self { name, default: "", flags, check, value: Mutex::new(Vec::new()) }
    }

    /// Sets a default that is not empty, which is the value from [`reset`](Self::reset) on.
    pub(crate) const fn with_default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// Sets the value to the default.
    pub(crate) fn reset(&self) {
        *self.value() = self.default.as_bytes().to_vec();
    }

    pub(crate) fn value(&self) -> MutexGuard<'_, Vec<u8>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
