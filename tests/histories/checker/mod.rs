//! Searches for an explanation of what clients saw: all operations in one order, each somewhere between its call and its return.
//!
//! This is the search of Wing and Gong with the memo of Lowe. The crate `porcupine-rs` 0.3 gives the same verdicts, and brings 73
//! crates along; `todc-utils` 0.1 brings none, and searches without a limit. Both have only operations that return: one whose
//! outcome nobody knows has to be given a return at the end of the history, and eight such writes to one key took them
//! 3 s and 64 s. Here such an operation need not take effect at all, and a search that goes on for too long is a verdict of its own.

mod etcd;
mod regular;
mod tests;

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

pub use regular::{Written, is_regular};

/// The time of return of an operation that has not returned: later than all others.
pub const NEVER: u64 = u64::MAX;

/// One operation as its client saw it. Times are of one clock.
#[derive(Clone, Debug)]
pub struct Operation<C, A> {
    /// The time when it was sent.
    pub called: u64,
    /// The time when its answer came; [`NEVER`] without one.
    pub returned: u64,
    /// The request.
    pub call: C,
    /// The answer. Without an answer the operation may take effect at any time after its call, or never.
    pub answer: Option<A>,
}

/// A model of the thing that the operations are about.
pub trait Model {
    type Call: Debug;
    type Answer: Debug;
    type State: Clone + Eq + Hash + Default;

    /// Returns the state after an operation, or nothing if it could not be answered so. An operation without an answer may
    /// be answered in any way.
    fn step(state: &Self::State, call: &Self::Call, answer: Option<&Self::Answer>) -> Option<Self::State>;
}

/// The verdict of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none. The longest one leaves the operation with this place out, in the order of calls.
    Illegal(usize),
    /// The search has reached its limit.
    NotDecided,
}

/// Says whether operations on one object can be put into one order, after at most `limit` steps.
pub fn check<M: Model>(operations: &[Operation<M::Call, M::Answer>], limit: usize) -> Verdict {
    let mut sorted: Vec<&Operation<M::Call, M::Answer>> = operations.iter().collect();
    sorted.sort_by_key(|operation| operation.called);
    Search::<M>::new(sorted).run(limit)
}

struct Search<'a, M: Model> {
    sorted: Vec<&'a Operation<M::Call, M::Answer>>,
    /// The places of those that have no place in the order yet, as a ring; its head comes after the last one.
    next: Vec<usize>,
    previous: Vec<usize>,
    /// The number of operations with an answer that have no place in the order yet.
    left: usize,
    state: M::State,
    /// The order so far: which operation, and the state before it.
    order: Vec<(usize, M::State)>,
    /// The sets of operations that were tried, with the state they lead to. A set is the sum of marks, one for each operation.
    seen: HashSet<(u128, M::State)>,
    set: u128,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(sorted: Vec<&'a Operation<M::Call, M::Answer>>) -> Self {
        let count = sorted.len();
        Self {
            left: sorted.iter().filter(|operation| operation.answer.is_some()).count(),
            next: (1..=count).chain([0]).collect(),
            previous: [count].into_iter().chain(0..count).collect(),
            sorted,
            state: M::State::default(),
            order: Vec::new(),
            seen: HashSet::new(),
            set: 0,
        }
    }

    fn run(mut self, limit: usize) -> Verdict {
        let (mut after, mut furthest) = (None, (usize::MAX, 0));
        for _ in 0..limit {
            if self.left == 0 {
                return Verdict::Linearizable;
            }
            if self.left < furthest.0 {
                furthest = (self.left, self.first_answered());
            }
            if self.extend(after) {
                after = None;
            } else if let Some((place, state)) = self.order.pop() {
                self.take_back(place, state);
                after = Some(place);
            } else {
                return Verdict::Illegal(furthest.1);
            }
        }
        Verdict::NotDecided
    }

    /// Puts the next operation that can follow into the order, of those after the one that was tried last.
    fn extend(&mut self, after: Option<usize>) -> bool {
        let head = self.sorted.len();
        let (mut place, mut earliest_return) = (self.next[head], NEVER);
        while place != head && self.sorted[place].called <= earliest_return {
            let operation = self.sorted[place];
            if after.is_none_or(|after| after < place)
                && let Some(state) = M::step(&self.state, &operation.call, operation.answer.as_ref())
                && self.seen.insert((self.set ^ mark(place), state.clone()))
            {
                self.put(place, state);
                return true;
            }
            earliest_return = earliest_return.min(operation.returned);
            place = self.next[place];
        }
        false
    }

    fn put(&mut self, place: usize, state: M::State) {
        let before = std::mem::replace(&mut self.state, state);
        self.order.push((place, before));
        self.set ^= mark(place);
        self.left -= usize::from(self.sorted[place].answer.is_some());
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn take_back(&mut self, place: usize, state: M::State) {
        self.state = state;
        self.set ^= mark(place);
        self.left += usize::from(self.sorted[place].answer.is_some());
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = place;
        self.previous[next] = place;
    }

    fn first_answered(&self) -> usize {
        let head = self.sorted.len();
        let mut place = self.next[head];
        while place != head && self.sorted[place].answer.is_none() {
            place = self.next[place];
        }
        place
    }
}

/// Returns a number that belongs to one operation. Two sets with one sum are as likely as two files with one MD5.
fn mark(place: usize) -> u128 {
    let half = |salt: u64| {
        let mut mixed = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u128::from(mixed ^ (mixed >> 31))
    };
    half(0x5bd1_e995) << 64 | half(0x1234_5678_9abc_def0)
}
