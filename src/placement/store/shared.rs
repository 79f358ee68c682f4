//! [`Shared`]: what all handles to a store share.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::order::Sequencer;
use super::tables::Tables;
use crate::link::{LinkOptions, Links};

/// The state that all handles to a store share.
pub(super) struct Shared {
    pub(super) tables: Arc<Tables>,
    /// Reach nodes as the proxy itself, and not as a client.
    pub(super) own_links: Arc<Links>,
    pub(super) make_links: Box<dyn Fn() -> LinkOptions + Send + Sync>,
    /// Orders writes, in a process that is a proxy, and sends those on that others order. Another one takes its place if this
    /// one is fenced.
    pub(super) sequencer: ArcSwap<Sequencer>,
}

impl Shared {
    pub(super) fn sequencer(&self) -> Arc<Sequencer> {
        self.sequencer.load_full()
    }
}
