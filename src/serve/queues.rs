//! [`KeyQueues`]: clients that wait for keys, those of each key in the order in which they came.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Clients that wait for keys.
#[derive(Default)]
pub(super) struct KeyQueues {
    queues: Mutex<HashMap<Vec<u8>, VecDeque<Arc<Notify>>>>,
}

impl KeyQueues {
    fn queues(&self) -> MutexGuard<'_, HashMap<Vec<u8>, VecDeque<Arc<Notify>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts somebody behind all who wait for these keys.
    pub(super) fn join(self: &Arc<Self>, keys: &[Vec<u8>]) -> QueuePlace {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let itself = Arc::new(Notify::new());
        let mut queues = self.queues();
        for key in &keys {
            queues.entry(key.clone()).or_default().push_back(itself.clone());
        }
        drop(queues);
        QueuePlace { queues: self.clone(), keys, itself }
    }
}

/// The place of a client in the queues of its keys. Dropped, it leaves them.
pub(super) struct QueuePlace {
    queues: Arc<KeyQueues>,
    keys: Vec<Vec<u8>>,
    itself: Arc<Notify>,
}

impl QueuePlace {
    /// Returns whether nobody waits for this key who came before.
    pub(super) fn is_first(&self, key: &[u8]) -> bool {
        let queues = self.queues.queues();
        queues.get(key).and_then(VecDeque::front).is_some_and(|first| Arc::ptr_eq(first, &self.itself))
    }

    /// Waits until the client may have become the first for one of its keys.
    pub(super) async fn moved_up(&self) {
        self.itself.notified().await;
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        let mut queues = self.queues.queues();
        for key in &self.keys {
            let Some(queue) = queues.get_mut(key) else { continue };
            queue.retain(|waiting| !Arc::ptr_eq(waiting, &self.itself));
            match queue.front() {
                Some(first) => first.notify_one(),
                None => drop(queues.remove(key)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_came_first_is_first_and_the_next_is_told_when_it_leaves() {
        let queues: Arc<KeyQueues> = Arc::default();
        let key = |name: &str| name.as_bytes().to_vec();
        let first = queues.join(&[key("a"), key("b"), key("a")]);
        let second = queues.join(&[key("a"), key("c")]);
        assert!(first.is_first(b"a") && first.is_first(b"b") && !first.is_first(b"c"));
        assert!(!second.is_first(b"a") && second.is_first(b"c"));
        drop(first);
        second.moved_up().await;
        assert!(second.is_first(b"a"));
        drop(second);
        assert!(queues.queues().is_empty());
    }
}
