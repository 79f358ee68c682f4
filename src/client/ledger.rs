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

use super::promise::Promise;
use crate::error::Error;

/// Errors are kept apart: they are large and few, promises are many.
pub(crate) type Outcome<T> = Result<T, Box<Error>>;

/// What is called with an outcome.
pub(super) type Callback<T> = Box<dyn FnOnce(&Result<T, Error>) + Send>;

/// Who waits for a promise.
pub(super) struct Waiting<T> {
    pub(super) callbacks: Vec<Callback<T>>,
    pub(super) wakers: Vec<Waker>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { callbacks: Vec::new(), wakers: Vec::new() }
    }
}

/// One promise or many, each in its place. Of one by itself any place will do.
pub(super) enum Ledger<T> {
    Pending(Waiting<T>),
    Settled(Outcome<T>),
    Many(Many<T>),
}

/// What has become of many promises.
pub(super) struct Many<T> {
    /// By the place of each promise, where its outcome stands. Those that are not there yet are pending too.
    found_at: Vec<u32>,
    outcomes: Vec<Outcome<T>>,
    /// Few of them are waited for one by one.
    waiting: HashMap<usize, Waiting<T>, RandomState>,
}

/// In place of where the outcome of a promise stands.
const PENDING: u32 = u32::MAX;

impl<T> Many<T> {
    fn outcome(&self, place: usize) -> Option<&Outcome<T>> {
        let found_at = self.found_at.get(place).copied().filter(|&at| at != PENDING)?;
        Some(&self.outcomes[found_at as usize])
    }
}

impl<T: Clone> Many<T> {
    /// Settles those in these places, which are some of so many. One that is settled already stays as it is.
    fn settle(&mut self, count: usize, places: &[usize], mut outcomes: Vec<Outcome<T>>) -> Vec<News<T>> {
        if self.found_at.len() < count {
            self.found_at.resize(count, PENDING);
            self.outcomes.reserve(count);
        }
        let mut news = Vec::new();
        let first = self.outcomes.len();
        for ((at, &place), outcome) in (first..).zip(places).zip(&outcomes) {
            // What is of no account stands there all the same.
            if self.found_at[place] == PENDING {
                self.found_at[place] = at as u32;
                if !self.waiting.is_empty() {
                    news.extend(self.waiting.remove(&place).and_then(|waiting| waiting.news(outcome)));
                }
            }
        }
        self.outcomes.append(&mut outcomes);
        news
    }
}

impl<T> Ledger<T> {
    /// What has become of a promise, if it is settled.
    pub(super) fn outcome(&self, place: usize) -> Option<&Outcome<T>> {
        match self {
            Self::Pending(_) => None,
            Self::Settled(outcome) => Some(outcome),
            Self::Many(many) => many.outcome(place),
        }
    }

    /// Who waits for a promise, or what they need not wait for any more.
    pub(super) fn waiting(&mut self, place: usize) -> Result<&mut Waiting<T>, &Outcome<T>> {
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
    pub(super) fn settle(&mut self, place: usize, outcome: Outcome<T>) -> Result<Vec<News<T>>, Outcome<T>> {
        match self {
            Self::Pending(waiting) => {
                let news = std::mem::take(waiting).news(&outcome);
                *self = Self::Settled(outcome);
                Ok(news.into_iter().collect())
            }
            Self::Many(many) if many.outcome(place).is_none() => Ok(many.settle(place + 1, &[place], vec![outcome])),
            _ => Err(outcome),
        }
    }
}

/// An outcome as those who ask for it have it.
pub(super) fn shown<T: Clone>(outcome: &Outcome<T>) -> Result<T, Error> {
    match outcome {
        Ok(value) => Ok(value.clone()),
        Err(error) => Err(Error::clone(error)),
    }
}

impl<T: Clone> Waiting<T> {
    /// What they are to be told; `None` if there is nobody.
    fn news(self, outcome: &Outcome<T>) -> Option<News<T>> {
        let is_somebody = !(self.callbacks.is_empty() && self.wakers.is_empty());
        is_somebody.then(|| News { outcome: shown(outcome), waiting: self })
    }
}

/// What those are to be told who have waited for a promise. Not while the ledger is locked, since they may look at it.
#[must_use = "somebody waits for it"]
pub(super) struct News<T> {
    outcome: Result<T, Error>,
    waiting: Waiting<T>,
}

impl<T> News<T> {
    pub(super) fn tell(self) {
        let Self { outcome, waiting } = self;
        waiting.wakers.into_iter().for_each(Waker::wake);
        waiting.callbacks.into_iter().for_each(|callback| run(callback, &outcome));
    }
}

/// A callback that panics must not take the others with it.
pub(super) fn run<T>(callback: impl FnOnce(&Result<T, Error>), outcome: &Result<T, Error>) {
    let _ = catch_unwind(AssertUnwindSafe(|| callback(outcome)));
}

/// A ledger that is shared.
pub(super) type Shared<T> = Arc<Mutex<Ledger<T>>>;

pub(super) fn lock<T>(ledger: &Shared<T>) -> MutexGuard<'_, Ledger<T>> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Promises with a ledger in common, in places from 0 on.
pub(super) struct Promises<T> {
    ledger: Shared<T>,
    count: usize,
}

impl<T> Default for Promises<T> {
    fn default() -> Self {
        let many = Many { found_at: Vec::new(), outcomes: Vec::new(), waiting: HashMap::default() };
        Self { ledger: Arc::new(Mutex::new(Ledger::Many(many))), count: 0 }
    }
}

impl<T: Clone> Promises<T> {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// One more, in the next place.
    pub(super) fn add(&mut self) -> Promise<T> {
        self.count += 1;
        Promise::in_ledger(self.ledger.clone(), self.count - 1)
    }

    /// Settles those in these places. One that is settled already stays as it is.
    pub(super) fn settle(&self, places: &[usize], outcomes: Vec<Outcome<T>>) {
        let mut ledger = lock(&self.ledger);
        let Ledger::Many(many) = &mut *ledger else { return };
        let news = many.settle(self.count, places, outcomes);
        drop(ledger);
        news.into_iter().for_each(News::tell);
    }

    /// Rejects those that are pending.
    pub(super) fn reject(&self, reason: &Error) {
        let pending: Vec<usize> = {
            let ledger = lock(&self.ledger);
            (0..self.count).filter(|&place| ledger.outcome(place).is_none()).collect()
        };
        let outcomes = pending.iter().map(|_| Err(reason.clone().into())).collect();
        self.settle(&pending, outcomes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(promises: &[Promise<i32>]) -> Vec<Option<i32>> {
        promises.iter().map(Promise::value).collect()
    }

    #[test]
    fn promises_of_one_ledger_are_settled_together_and_apart() {
        let mut ledger = Promises::default();
        let promises: Vec<Promise<i32>> = (0..6).map(|_| ledger.add()).collect();
        ledger.settle(&[4, 1], vec![Ok(40), Ok(10)]);
        promises[2].resolve(20).unwrap();
        assert_eq!(numbers(&promises), [None, Some(10), Some(20), None, Some(40), None]);
        assert!(promises[4].resolve(1).is_err() && promises[2].reject(Error::Invalid("no".into())).is_err());
        ledger.settle(&[2, 3], vec![Ok(0), Ok(30)]);
        assert_eq!(
            numbers(&promises),
            [None, Some(10), Some(20), Some(30), Some(40), None],
            "the first outcome counts"
        );
        ledger.reject(&Error::Cancelled { outcome_unknown: false });
        assert!([0, 5].iter().all(|&place: &usize| promises[place].is_rejected()));
        assert_eq!(numbers(&promises[1..5]), [Some(10), Some(20), Some(30), Some(40)]);
    }

    #[test]
    fn those_who_wait_for_one_hear_of_that_one() {
        let mut ledger = Promises::default();
        let promises: Vec<Promise<i32>> = (0..3).map(|_| ledger.add()).collect();
        let seen = Arc::new(Mutex::new(Vec::new()));
        for (place, promise) in promises.iter().enumerate() {
            let (seen, next) = (seen.clone(), promises[(place + 1) % 3].clone());
            // The ledger can be looked at meanwhile.
            promise.done(move |outcome| {
                seen.lock().unwrap().push((place, outcome.as_ref().ok().copied(), next.is_pending()));
            });
        }
        ledger.settle(&[1], vec![Ok(1)]);
        assert_eq!(*seen.lock().unwrap(), [(1, Some(1), true)]);
        ledger.settle(&[2, 0], vec![Ok(2), Ok(0)]);
        assert_eq!(seen.lock().unwrap()[1..], [(2, Some(2), false), (0, Some(0), false)]);
        let chained = promises[0].then(|number| Ok(number + 1));
        assert_eq!(chained.value(), Some(1));
    }
}
