//! [`Promise`]: a result that is not there yet, and can be looked at, awaited and built upon.
//!
//! The features of an ES6 promise and of one of the Python library rb, as a Rust future. Callbacks run at once where the promise
//! is settled already, else within the call that settles it, in the order in which they were attached.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use super::ledger::{self, Ledger, SharedLedger, Waiting, Wakeups, cloned, lock};
use crate::engine::panicked;
use crate::error::Error;

/// A value of type `T`, or an [`Error`], now or later. Cheap to clone; all clones are the same promise.
///
/// ```
/// use rmr::client::Promise;
/// use rmr::Error;
///
/// let promise = Promise::new();
/// let doubled = promise.then(|number: i64| Ok(number * 2));
/// assert!(doubled.is_pending());
/// promise.resolve(21)?;
/// assert_eq!(doubled.value(), Some(42));
/// assert!(promise.resolve(22).is_err(), "it is settled once");
/// # Ok::<(), Error>(())
/// ```
///
/// It is a future too: `.await` gives a clone of the value, or the error. One that nobody settles stays pending; those of
/// a [`Mapping`](crate::client::Mapping) are always settled, when it is done, cancelled or dropped.
pub struct Promise<T> {
    /// The ledger with its state.
    ledger: SharedLedger<T>,
    /// Its place there.
    place: usize,
}

impl<T: Clone + Send + 'static> Promise<T> {
    /// Makes a promise that somebody will [resolve](Self::resolve) or [reject](Self::reject).
    #[must_use]
    pub fn new() -> Self {
        Self::of(Ledger::Pending(Waiting::default()))
    }

    /// Makes a promise that has its value.
    #[must_use]
    pub fn resolved(value: T) -> Self {
        Self::of(Ledger::Settled(Ok(value)))
    }

    /// Makes a promise that has failed.
    #[must_use]
    pub fn rejected(reason: Error) -> Self {
        Self::of(Ledger::Settled(Err(reason.into())))
    }

    fn of(ledger: Ledger<T>) -> Self {
        Self { ledger: Arc::new(Mutex::new(ledger)), place: 0 }
    }

    /// Returns the value, if it is there.
    pub fn value(&self) -> Option<T> {
        self.outcome()?.ok()
    }

    /// Returns the reason of its failure, if it has failed.
    pub fn reason(&self) -> Option<Error> {
        self.outcome()?.err()
    }

    /// Returns the value or the error, if it is settled.
    pub fn outcome(&self) -> Option<Result<T, Error>> {
        lock(&self.ledger).outcome(self.place).map(cloned)
    }

    /// Tells whether the promise is neither resolved nor rejected yet.
    pub fn is_pending(&self) -> bool {
        lock(&self.ledger).outcome(self.place).is_none()
    }

    /// Tells whether the promise has its value.
    pub fn is_resolved(&self) -> bool {
        lock(&self.ledger).outcome(self.place).is_some_and(Result::is_ok)
    }

    /// Tells whether the promise has failed.
    pub fn is_rejected(&self) -> bool {
        lock(&self.ledger).outcome(self.place).is_some_and(Result::is_err)
    }

    /// Gives it its value.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is settled already; it stays as it is.
    pub fn resolve(&self, value: T) -> Result<(), Error> {
        self.settle(Ok(value))
    }

    /// Makes it fail.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is settled already; it stays as it is.
    pub fn reject(&self, reason: Error) -> Result<(), Error> {
        self.settle(Err(reason))
    }

    /// Settles it as another one will be, or is.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is settled already, and for itself.
    pub fn follow(&self, other: &Self) -> Result<(), Error> {
        if Arc::ptr_eq(&self.ledger, &other.ledger) && self.place == other.place {
            return Err(Error::Invalid("a promise cannot follow itself".into()));
        }
        if !self.is_pending() {
            return Err(settled());
        }
        let own = self.clone();
        other.done(move |outcome| {
            // Whoever settled it meanwhile was first.
            let _ = own.settle(outcome.clone());
        });
        Ok(())
    }

    /// Settles it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is settled already; it stays as it is.
    pub fn settle(&self, outcome: Result<T, Error>) -> Result<(), Error> {
        // The ledger is not locked any more when somebody is told, or a value dropped.
        let wakeups = lock(&self.ledger).settle(self.place, outcome.map_err(Box::new));
        wakeups.map_err(|_| settled())?.into_iter().for_each(Wakeups::tell);
        Ok(())
    }

    /// Calls with the outcome: when it is there, or now if it is. Gives the promise itself. A panic of the callback is
    /// its own affair.
    pub fn done(&self, callback: impl FnOnce(&Result<T, Error>) + Send + 'static) -> &Self {
        let outcome = match lock(&self.ledger).waiting(self.place) {
            Ok(waiting) => {
                waiting.callbacks.push(Box::new(callback));
                return self;
            }
            Err(outcome) => cloned(outcome),
        };
        ledger::run(callback, &outcome);
        self
    }

    /// Returns a promise of the callback's result for the value. A failure is passed on, and so is one of the callback;
    /// a panic in it is a failure.
    pub fn then<U: Clone + Send + 'static>(
        &self,
        callback: impl FnOnce(T) -> Result<U, Error> + Send + 'static,
    ) -> Promise<U> {
        self.then_or(callback, Err)
    }

    /// Does the same as `then`, with a callback for the failure as well, which may put a value in its place.
    pub fn then_or<U: Clone + Send + 'static>(
        &self,
        success: impl FnOnce(T) -> Result<U, Error> + Send + 'static,
        failure: impl FnOnce(Error) -> Result<U, Error> + Send + 'static,
    ) -> Promise<U> {
        let next = Promise::new();
        let promised = next.clone();
        self.done(move |outcome| {
            let outcome = outcome.clone();
            let made = catch_unwind(AssertUnwindSafe(|| outcome.map_or_else(failure, success)));
            // Only the holder of a clone can have been quicker, and wanted to be.
            let _ = promised.settle(made.unwrap_or_else(|panic| Err(panicked("callback", &*panic))));
        });
        next
    }

    /// Returns a promise of the value of the promise that the callback makes.
    pub fn and_then<U: Clone + Send + 'static>(
        &self,
        callback: impl FnOnce(T) -> Promise<U> + Send + 'static,
    ) -> Promise<U> {
        let next = Promise::new();
        let promised = next.clone();
        self.done(move |outcome| {
            let made = match outcome.clone() {
                Ok(value) => catch_unwind(AssertUnwindSafe(|| callback(value)))
                    .unwrap_or_else(|panic| Promise::rejected(panicked("callback", &*panic))),
                Err(reason) => Promise::rejected(reason),
            };
            // As in `then_or`.
            let _ = promised.follow(&made);
        });
        next
    }

    /// Returns a promise of all values, in order. It fails with the first failure there is; of no promises it is
    /// resolved at once.
    ///
    /// ```
    /// use rmr::client::Promise;
    /// use rmr::Error;
    ///
    /// let (first, second) = (Promise::new(), Promise::resolved(2));
    /// let both = Promise::all([first.clone(), second]);
    /// first.resolve(1)?;
    /// assert_eq!(both.value(), Some(vec![1, 2]));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn all(promises: impl IntoIterator<Item = Self>) -> Promise<Vec<T>> {
        let promises: Vec<Self> = promises.into_iter().collect();
        let all = Promise::new();
        if promises.is_empty() {
            return Promise::resolved(Vec::new());
        }
        let gathered = (promises.iter().map(|_| None).collect::<Vec<Option<T>>>(), promises.len());
        let gathered = Arc::new(Mutex::new(gathered));
        for (place, promise) in promises.iter().enumerate() {
            let (all, gathered) = (all.clone(), gathered.clone());
            promise.done(move |outcome| {
                let outcome = match outcome {
                    Err(reason) => Err(reason.clone()),
                    Ok(value) => {
                        let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
                        let (values, missing) = &mut *gathered;
                        values[place] = Some(value.clone());
                        *missing -= 1;
                        if *missing > 0 {
                            return;
                        }
                        Ok(std::mem::take(values).into_iter().flatten().collect())
                    }
                };
                // After the first failure all others are of no account.
                let _ = all.settle(outcome);
            });
        }
        all
    }

    /// Returns a promise of all values under their keys.
    pub fn all_of<K>(promises: impl IntoIterator<Item = (K, Self)>) -> Promise<HashMap<K, T>>
    where
        K: Eq + Hash + Clone + Send + 'static,
    {
        let (keys, promises): (Vec<K>, Vec<Self>) = promises.into_iter().unzip();
        Self::all(promises).then(|values| Ok(keys.into_iter().zip(values).collect()))
    }
}

fn settled() -> Error {
    Error::Invalid("the promise is no longer pending".into())
}

impl<T> Promise<T> {
    /// Returns the promise that a ledger has in this place.
    pub(super) fn in_ledger(ledger: SharedLedger<T>, place: usize) -> Self {
        Self { ledger, place }
    }
}

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Self { ledger: self.ledger.clone(), place: self.place }
    }
}

impl<T: Clone + Send + 'static> Default for Promise<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A value is a promise of itself.
impl<T: Clone + Send + 'static> From<T> for Promise<T> {
    fn from(value: T) -> Self {
        Self::resolved(value)
    }
}

impl<T: fmt::Debug + Clone + Send + 'static> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome() {
            None => f.write_str("Promise(pending)"),
            Some(Ok(value)) => write!(f, "Promise({value:?})"),
            Some(Err(reason)) => write!(f, "Promise(rejected: {reason})"),
        }
    }
}

impl<T: Clone + Send + 'static> Future for Promise<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match lock(&self.ledger).waiting(self.place) {
            Err(outcome) => Poll::Ready(cloned(outcome)),
            Ok(Waiting { wakers, .. }) => {
                if !wakers.iter().any(|known| known.will_wake(context.waker())) {
                    wakers.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Error {
        Error::Invalid("no".into())
    }

    fn text<T: Clone + Send + 'static>(promise: &Promise<T>) -> Option<String> {
        promise.reason().map(|reason| reason.to_string())
    }

    #[test]
    fn a_promise_is_settled_once() {
        let promise = Promise::resolved(42);
        assert!(promise.is_resolved() && !promise.is_pending() && !promise.is_rejected());
        assert_eq!((promise.value(), text(&promise)), (Some(42), None));
        assert_eq!(promise.reject(failure()).unwrap_err().to_string(), "the promise is no longer pending");
        let promise: Promise<i32> = Promise::rejected(failure());
        assert!(promise.is_rejected() && !promise.is_pending() && !promise.is_resolved());
        assert_eq!((promise.value(), text(&promise)), (None, Some("no".into())));
        assert!(promise.resolve(1).is_err());
        let promise = Promise::new();
        assert!(promise.is_pending());
        promise.resolve(1).unwrap();
        assert_eq!(promise.outcome().unwrap().unwrap(), 1);
    }

    #[test]
    fn callbacks_run_in_the_order_in_which_they_were_attached() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let promise = Promise::new();
        for number in 0..3 {
            let seen = seen.clone();
            promise.done(move |outcome| seen.lock().unwrap().push((number, outcome.is_ok())));
        }
        assert!(seen.lock().unwrap().is_empty());
        promise.resolve("x").unwrap();
        let late = seen.clone();
        promise.done(move |_| late.lock().unwrap().push((3, true)));
        assert_eq!(*seen.lock().unwrap(), [(0, true), (1, true), (2, true), (3, true)]);
    }

    #[test]
    fn then_makes_something_of_the_value_and_passes_failures_on() {
        let promise = Promise::new();
        let next = promise.then(|number: i32| Ok(number.to_string()));
        let failing = promise.then(|_| Err::<(), _>(failure()));
        let healed = failing.then_or(|()| Ok("fine"), |_| Ok("healed"));
        let panicking = promise.then(|_| -> Result<(), Error> { panic!("oh") });
        promise.resolve(7).unwrap();
        assert_eq!(next.value().as_deref(), Some("7"));
        assert_eq!(text(&failing).as_deref(), Some("no"));
        assert_eq!(healed.value(), Some("healed"));
        assert_eq!(text(&panicking).as_deref(), Some("the callback panicked: oh"));
        let passed = Promise::<i32>::rejected(failure()).then(|number| Ok(number + 1));
        assert_eq!(text(&passed).as_deref(), Some("no"));
    }

    #[test]
    fn a_promise_may_follow_another() {
        let (first, second) = (Promise::new(), Promise::new());
        let chained = first.and_then({
            let second = second.clone();
            move |number: i32| second.then(move |more: i32| Ok(number + more))
        });
        first.resolve(1).unwrap();
        assert!(chained.is_pending());
        second.resolve(2).unwrap();
        assert_eq!(chained.value(), Some(3));
        let follower = Promise::new();
        follower.follow(&chained).unwrap();
        assert_eq!(follower.value(), Some(3));
        assert!(follower.follow(&chained).is_err());
        let own = Promise::<i32>::new();
        assert_eq!(own.follow(&own.clone()).unwrap_err().to_string(), "a promise cannot follow itself");
    }

    #[test]
    fn all_waits_for_all_and_fails_with_the_first() {
        assert_eq!(Promise::<i32>::all([]).value(), Some(vec![]));
        assert_eq!(Promise::<i32>::all_of::<&str>([]).value(), Some(HashMap::new()));
        let promises = [Promise::new(), Promise::resolved(2), 3.into()];
        let all = Promise::all(promises.clone());
        let named = Promise::all_of([("a", promises[0].clone()), ("b", promises[1].clone())]);
        assert!(all.is_pending() && named.is_pending());
        promises[0].resolve(1).unwrap();
        assert_eq!(all.value(), Some(vec![1, 2, 3]));
        assert_eq!(named.value(), Some(HashMap::from([("a", 1), ("b", 2)])));

        let (first, second) = (Promise::<i32>::new(), Promise::new());
        let all = Promise::all([first.clone(), second.clone()]);
        second.reject(failure()).unwrap();
        assert_eq!(text(&all).as_deref(), Some("no"));
        first.reject(Error::Invalid("later".into())).unwrap();
        assert_eq!(text(&all).as_deref(), Some("no"), "the first failure counts, and a second harms nobody");
    }

    #[tokio::test]
    async fn a_promise_can_be_awaited_by_many() {
        let promise = Promise::new();
        let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(promise.clone())).collect();
        tokio::task::yield_now().await;
        promise.resolve(5).unwrap();
        for task in waiting {
            assert_eq!(task.await.unwrap().unwrap(), 5);
        }
        assert_eq!(promise.await.unwrap(), 5);
    }
}
