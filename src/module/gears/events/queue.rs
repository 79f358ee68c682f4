//! [`EventQueue`]: what has happened and is not worked on yet. Its room is limited, since whoever makes events does not wait.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Holds things that come in order. They are taken several at once.
pub(super) trait Backlog: Default + Send {
    /// Returns how many there are.
    fn len(&self) -> usize;

    /// Takes the first ones, at most so many.
    fn take_first(&mut self, most: usize) -> Self;
}

impl Backlog for crate::flow::Records {
    fn len(&self) -> usize {
        crate::flow::Records::len(self)
    }

    fn take_first(&mut self, most: usize) -> Self {
        if most >= crate::flow::Records::len(self) { std::mem::take(self) } else { self.take_first(most) }
    }
}

impl<T: Send> Backlog for std::collections::VecDeque<T> {
    fn len(&self) -> usize {
        std::collections::VecDeque::len(self)
    }

    fn take_first(&mut self, most: usize) -> Self {
        let most = most.min(self.len());
        self.drain(..most).collect()
    }
}

/// The events that are not worked on yet.
#[derive(Default)]
pub(super) struct EventQueue<B> {
    state: Mutex<QueueState<B>>,
    has_changed: Notify,
}

#[derive(Default)]
struct QueueState<B> {
    backlog: B,
    /// The queue takes nothing more.
    is_closed: bool,
}

impl<B: Backlog> EventQueue<B> {
    /// Adds something, unless there are so many already. Returns whether it was added. From any thread.
    pub(super) fn push(&self, most: usize, add: impl FnOnce(&mut B)) -> bool {
        let mut state = self.state();
        if state.is_closed || state.backlog.len() >= most {
            return false;
        }
        add(&mut state.backlog);
        // The taker looks again before it waits.
        let is_first = state.backlog.len() == 1;
        drop(state);
        if is_first {
            self.has_changed.notify_one();
        }
        true
    }

    /// Takes the first ones, at most so many, and waits until there is one; [`None`] when it is closed and empty. One at a
    /// time waits.
    pub(super) async fn next(&self, most: usize) -> Option<B> {
        loop {
            {
                let mut state = self.state();
                if state.backlog.len() > 0 {
                    let taken = state.backlog.take_first(most);
                    return Some(taken);
                }
                if state.is_closed {
                    return None;
                }
            }
            self.has_changed.notified().await;
        }
    }

    /// Lets nothing in any more. Returns what has not been begun, if that is to be dropped.
    pub(super) fn close(&self, drops: bool) -> Option<B> {
        let mut state = self.state();
        state.is_closed = true;
        let dropped = drops.then(|| std::mem::take(&mut state.backlog));
        drop(state);
        self.has_changed.notify_one();
        dropped
    }

    /// Returns how many are not begun.
    pub(super) fn len(&self) -> usize {
        self.state().backlog.len()
    }

    fn state(&self) -> MutexGuard<'_, QueueState<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn queue(most: usize, numbers: &[u32]) -> EventQueue<VecDeque<u32>> {
        let queue = EventQueue::default();
        numbers.iter().for_each(|number| assert!(queue.push(most, |all: &mut VecDeque<u32>| all.push_back(*number))));
        queue
    }

    #[tokio::test]
    async fn what_comes_is_taken_in_order_several_at_once() {
        let queue = queue(3, &[1, 2, 3]);
        assert!(!queue.push(3, |all| all.push_back(4)), "there is no room");
        assert_eq!(queue.next(2).await.unwrap(), [1, 2]);
        assert!(queue.push(3, |all| all.push_back(4)));
        assert_eq!(queue.next(9).await.unwrap(), [3, 4]);
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_first_and_of_the_end() {
        let queue = queue(3, &[]);
        let (taken, ()) = tokio::join!(queue.next(2), async { assert!(queue.push(3, |all| all.push_back(1))) });
        assert_eq!(taken.unwrap(), [1]);
        let (taken, dropped) = tokio::join!(queue.next(2), async { queue.close(true) });
        assert!(taken.is_none() && dropped.unwrap().is_empty());
        assert!(!queue.push(3, |all| all.push_back(1)));
    }

    #[tokio::test]
    async fn what_is_there_when_it_closes_is_taken_or_dropped() {
        let kept = queue(3, &[1, 2]);
        assert!(kept.close(false).is_none() && kept.len() == 2);
        assert_eq!(kept.next(9).await.unwrap(), [1, 2]);
        assert!(kept.next(9).await.is_none());
        let dropped = queue(3, &[1, 2]);
        assert_eq!(dropped.close(true).unwrap(), [1, 2]);
        assert!(dropped.next(9).await.is_none());
    }
}
