//! [`PromiseSet`]: the promises of a mapping, which share a ledger and are settled host by host.

use std::sync::{Arc, Mutex};

use super::ledger::{BoxedResult, Ledger, Many, SharedLedger, Wakeups, lock};
use super::single::Promise;
use crate::error::Error;

/// PromiseSet with a ledger in common, in places from 0 on.
pub(in crate::client) struct PromiseSet<T> {
    ledger: SharedLedger<T>,
    count: usize,
}

impl<T> Default for PromiseSet<T> {
    fn default() -> Self {
        Self { ledger: Arc::new(Mutex::new(Ledger::Many(Many::default()))), count: 0 }
    }
}

impl<T: Clone> PromiseSet<T> {
    pub(in crate::client) fn len(&self) -> usize {
        self.count
    }

    /// Adds a promise, in the next place.
    pub(in crate::client) fn add(&mut self) -> Promise<T> {
        self.count += 1;
        Promise::in_ledger(self.ledger.clone(), self.count - 1)
    }

    /// Settles those in these places. One that is settled already stays as it is.
    pub(in crate::client) fn settle(&self, places: &[usize], outcomes: Vec<BoxedResult<T>>) {
        let mut ledger = lock(&self.ledger);
        let Ledger::Many(many) = &mut *ledger else { return };
        let wakeups = many.settle(self.count, places, outcomes);
        drop(ledger);
        wakeups.into_iter().for_each(Wakeups::tell);
    }

    /// Rejects those that are pending.
    pub(in crate::client) fn reject(&self, reason: &Error) {
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
        let mut ledger = PromiseSet::default();
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
        let mut ledger = PromiseSet::default();
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
