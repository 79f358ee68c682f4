//! [`PeerLane`]: the way to another proxy.

use std::sync::{Arc, Mutex, PoisonError};

use super::link::OrderedLink;

/// The way to another proxy.
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
