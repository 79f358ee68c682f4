//! The work of clients, and the rules for the answers.

mod append;
mod bank;
mod counter;
mod expiry;
mod register;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::client::Client;
use crate::common::Random;

/// The values that reads may give while writes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The values that all operations in one order give (claim S3).
    Atomic,
    /// Each copy what it has by then (claim S4).
    Regular,
}

/// One kind of work, shared by all clients.
pub trait Workload: Sync {
    /// Sends one command, and keeps what came of it.
    fn turn(&self, client: &mut Client, random: &mut Random);

    /// Sends one command that only reads, and keeps what came of it.
    fn look(&self, client: &mut Client, random: &mut Random);

    /// Reads all once more, when nothing is wrong any longer.
    fn finish(&self, client: &mut Client);

    /// Says how much was judged, or what is wrong.
    fn judge(&self, reads: Reads) -> Result<String, String>;
}

/// The work of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Some of each kind.
    Everything,
    /// Blind writes: copies that do them in different orders answer alike.
    Registers,
    /// Keys that expire.
    Expiring,
}

impl Work {
    /// Returns one of each kind.
    pub fn kinds(self) -> Vec<Box<dyn Workload>> {
        match self {
            Self::Everything => vec![
                Box::new(register::Registers::default()),
                Box::new(counter::Counters::default()),
                Box::new(append::Lists::default()),
                Box::new(expiry::Expiring::default()),
                Box::new(bank::Banks::default()),
            ],
            Self::Registers => vec![Box::new(register::Registers::default())],
            Self::Expiring => vec![Box::new(expiry::Expiring::default())],
        }
    }
}

/// The number of operations that a key has before clients turn to another one: a history that can be judged.
const TURNS: usize = 150;

/// The number of keys that are in use at one time.
const AT_ONCE: usize = 3;

/// The histories of keys that come and go.
struct Histories<T> {
    name: &'static str,
    turns: AtomicUsize,
    kept: Mutex<BTreeMap<String, Vec<T>>>,
}

impl<T> Histories<T> {
    fn new(name: &'static str) -> Self {
        Self { name, turns: AtomicUsize::new(0), kept: Mutex::default() }
    }

    /// Returns the key for the next operation.
    fn key(&self, random: &mut Random) -> String {
        let oldest = self.turns.fetch_add(1, Ordering::Relaxed) / TURNS;
        format!("{}:{}", self.name, oldest + random.below(AT_ONCE))
    }

    fn keep(&self, key: &str, what: T) {
        self.with(|kept| kept.entry(key.to_owned()).or_default().push(what));
    }

    fn keys(&self) -> Vec<String> {
        self.with(|kept| kept.keys().cloned().collect())
    }

    fn with<R>(&self, with: impl FnOnce(&mut BTreeMap<String, Vec<T>>) -> R) -> R {
        with(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Judges each key by itself.
    fn judge(&self, mut judge: impl FnMut(&[T]) -> Result<(), String>) -> Result<String, String> {
        self.with(|kept| {
            for (key, history) in kept.iter() {
                judge(history).map_err(|why| format!("{key}: {why}"))?;
            }
            let operations: usize = kept.values().map(Vec::len).sum();
            Ok(format!("{}: {operations} operations on {} keys", self.name, kept.len()))
        })
    }
}
