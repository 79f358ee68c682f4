//! [`LateNodes`]: nodes that have not answered reads in time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::topology::Address;

/// The time for which other nodes are asked first.
const AVOIDED: Duration = Duration::from_secs(1);

/// Nodes that have not answered reads in time, and until when others are asked first.
#[derive(Default)]
pub(super) struct LateNodes {
    has_some: AtomicBool,
    nodes: Mutex<Vec<(Address, Instant)>>,
}

impl LateNodes {
    fn nodes(&self) -> MutexGuard<'_, Vec<(Address, Instant)>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a node, from now on.
    pub(super) fn add(&self, address: &Address) {
        let until = Instant::now() + AVOIDED;
        let mut nodes = self.nodes();
        nodes.retain(|(known, _)| known != address);
        nodes.push((address.clone(), until));
        self.has_some.store(true, Ordering::Relaxed);
    }

    /// Returns whether a node is one of them.
    pub(super) fn has(&self, address: &Address) -> bool {
        self.has_some.load(Ordering::Relaxed) && self.nodes().iter().any(|(late, _)| late == address)
    }

    /// Puts nodes that are late behind the others.
    pub(super) fn put_last<'a, T: 'a>(&self, copies: &mut [T], address: impl Fn(&T) -> &'a Address) {
        if !self.has_some.load(Ordering::Relaxed) {
            return;
        }
        let mut nodes = self.nodes();
        let now = Instant::now();
        nodes.retain(|(_, until)| *until > now);
        self.has_some.store(!nodes.is_empty(), Ordering::Relaxed);
        copies.sort_by_key(|copy| nodes.iter().any(|(late, _)| late == address(copy)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_is_asked_last() {
        let nodes = ["a", "b", "c"].map(|host| Address::new(host, 1));
        let late = LateNodes::default();
        let order = |late: &LateNodes| {
            let mut copies = vec![0, 1, 2];
            late.put_last(&mut copies, |&place| &nodes[place]);
            copies
        };
        assert_eq!(order(&late), [0, 1, 2]);
        late.add(&nodes[0]);
        assert_eq!(order(&late), [1, 2, 0]);
        late.add(&nodes[1]);
        assert_eq!(order(&late), [2, 0, 1]);
    }
}
