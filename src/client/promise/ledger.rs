//! [`Ledger`]: what has become of promises.
//!
//! A mapping makes thousands of promises, and settles those of one host together. They share a ledger, in which the
//! outcomes of a host stand side by side. A promise then costs no allocation, and a host's are settled under one lock and
//! in one stretch of memory, where a thousand places of their own would be a cache miss each.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use foldhash::fast::RandomState;

use crate::error::Error;

/// Errors are kept apart: they are large and few, promises are many.
pub(crate) type BoxedResult<T> = Result<T, Box<Error>>;

/// A callback for an outcome.
pub(super) type OutcomeCallback<T> = Box<dyn FnOnce(&Result<T, Error>) + Send>;

/// The callbacks and tasks that wait for a promise.
pub(super) struct Waiting<T> {
    pub(super) callbacks: Vec<OutcomeCallback<T>>,
    pub(super) wakers: Vec<Waker>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { callbacks: Vec::new(), wakers: Vec::new() }
    }
}

/// Holds one promise or many, each in its place. Of one by itself any place will do.
pub(super) enum Ledger<T> {
    Pending(Waiting<T>),
    Settled(BoxedResult<T>),
    Many(Many<T>),
}

/// The states of many promises.
pub(super) struct Many<T> {
    /// The place of each promise's outcome, by the place of the promise. Promises that are not there yet are pending
    /// too.
    found_at: Vec<u32>,
    outcomes: Vec<BoxedResult<T>>,
    /// Few of them are waited for one by one.
    waiting: HashMap<usize, Waiting<T>, RandomState>,
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self { found_at: Vec::new(), outcomes: Vec::new(), waiting: HashMap::default() }
    }
}

/// Stands for the place of an outcome while the promise is pending.
const PENDING: u32 = u32::MAX;

impl<T> Many<T> {
    fn outcome(&self, place: usize) -> Option<&BoxedResult<T>> {
        let found_at = self.found_at.get(place).copied().filter(|&at| at != PENDING)?;
        Some(&self.outcomes[found_at as usize])
    }
}

impl<T: Clone> Many<T> {
    /// Settles those in these places, which are some of so many. One that is settled already stays as it is.
    pub(super) fn settle(
        &mut self,
        count: usize,
        places: &[usize],
        mut outcomes: Vec<BoxedResult<T>>,
    ) -> Vec<Wakeups<T>> {
        if self.found_at.len() < count {
            self.found_at.resize(count, PENDING);
            self.outcomes.reserve(count);
        }
        let mut wakeups = Vec::new();
        let first = self.outcomes.len();
        for ((at, &place), outcome) in (first..).zip(places).zip(&outcomes) {
            // An outcome that is of no account stands there all the same.
            if self.found_at[place] == PENDING {
                self.found_at[place] = at as u32;
                if !self.waiting.is_empty() {
                    wakeups.extend(self.waiting.remove(&place).and_then(|waiting| waiting.wakeups(outcome)));
                }
            }
        }
        self.outcomes.append(&mut outcomes);
        wakeups
    }
}

impl<T> Ledger<T> {
    /// Returns the outcome of a promise, if it is settled.
    pub(super) fn outcome(&self, place: usize) -> Option<&BoxedResult<T>> {
        match self {
            Self::Pending(_) => None,
            Self::Settled(outcome) => Some(outcome),
            Self::Many(many) => many.outcome(place),
        }
    }

    /// Returns the callbacks and tasks that wait for a promise, or its outcome if there is nothing to wait for any
    /// more.
    pub(super) fn waiting(&mut self, place: usize) -> Result<&mut Waiting<T>, &BoxedResult<T>> {
        match self {
            Self::Pending(waiting) => Ok(waiting),
            Self::Settled(outcome) => Err(outcome),
            Self::Many(Many { found_at, outcomes, waiting }) => match found_at.get(place) {
                Some(&at) if at != PENDING => Err(&outcomes[at as usize]),
                _ => Ok(waiting.entry(place).or_default()),
            },
        }
    }
}

impl<T: Clone> Ledger<T> {
    /// Settles a promise. One that is settled already stays as it is, and the outcome is given back.
    pub(super) fn settle(&mut self, place: usize, outcome: BoxedResult<T>) -> Result<Vec<Wakeups<T>>, BoxedResult<T>> {
        match self {
            Self::Pending(waiting) => {
                let wakeups = std::mem::take(waiting).wakeups(&outcome);
                *self = Self::Settled(outcome);
                Ok(wakeups.into_iter().collect())
            }
            Self::Many(many) if many.outcome(place).is_none() => Ok(many.settle(place + 1, &[place], vec![outcome])),
            _ => Err(outcome),
        }
    }
}

/// Clones an outcome, out of its box, for whoever asks for it.
pub(super) fn cloned<T: Clone>(outcome: &BoxedResult<T>) -> Result<T, Error> {
    match outcome {
        Ok(value) => Ok(value.clone()),
        Err(error) => Err(Error::clone(error)),
    }
}

impl<T: Clone> Waiting<T> {
    /// Returns what they are to be told; `None` if nobody waits.
    fn wakeups(self, outcome: &BoxedResult<T>) -> Option<Wakeups<T>> {
        let is_somebody = !(self.callbacks.is_empty() && self.wakers.is_empty());
        is_somebody.then(|| Wakeups { outcome: cloned(outcome), waiting: self })
    }
}

/// Holds what those are to be told who have waited for a promise: not while the ledger is locked, since they may look at
/// it.
#[must_use = "somebody waits for it"]
pub(super) struct Wakeups<T> {
    outcome: Result<T, Error>,
    waiting: Waiting<T>,
}

impl<T> Wakeups<T> {
    pub(super) fn tell(self) {
        let Self { outcome, waiting } = self;
        waiting.wakers.into_iter().for_each(Waker::wake);
        waiting.callbacks.into_iter().for_each(|callback| run(callback, &outcome));
    }
}

/// Runs a callback. One that panics must not take the others with it.
pub(super) fn run<T>(callback: impl FnOnce(&Result<T, Error>), outcome: &Result<T, Error>) {
    let _ = catch_unwind(AssertUnwindSafe(|| callback(outcome)));
}

/// Shares a ledger between the promises of it.
pub(super) type SharedLedger<T> = Arc<Mutex<Ledger<T>>>;

pub(super) fn lock<T>(ledger: &SharedLedger<T>) -> MutexGuard<'_, Ledger<T>> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
