//! [`PeerLane`]: the way to another proxy, one for each [use](PeerUse).

use std::sync::{Arc, Mutex, PoisonError};

use super::link::OrderedLink;

/// The use of a way to another proxy. Replies come in the order of the questions, so none that may take long stands before others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PeerUse {
    /// Steps of slots.
    Steps,
    /// Requests that concern all slots, and may take long.
    Long,
    /// Notices, which are answered at once.
    Notices,
}

/// A way to another proxy.
#[derive(Default)]
pub(super) struct PeerLane {
    pub(super) current: Mutex<Option<Arc<OrderedLink>>>,
    pub(super) opening: tokio::sync::Mutex<()>,
}

impl PeerLane {
    pub(super) fn open_link(&self) -> Option<Arc<OrderedLink>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|link| !link.is_over())
    }
}
