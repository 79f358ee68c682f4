//! [`Shared`]: what all handles to a store share.

use std::sync::{Arc, OnceLock};

use super::order::Sequencer;
use super::tables::Tables;
use crate::link::{LinkOptions, Links};

/// What all handles to a store share.
pub(super) struct Shared {
    pub(super) tables: Arc<Tables>,
    /// Reach nodes as the proxy itself, and not as a client.
    pub(super) own_links: Arc<Links>,
    pub(super) make_links: Box<dyn Fn() -> LinkOptions + Send + Sync>,
    /// Orders writes, in a process that is a proxy.
    pub(super) sequencer: OnceLock<Arc<Sequencer>>,
}

impl Shared {
    pub(super) fn sequencer(&self) -> Option<&Arc<Sequencer>> {
        self.sequencer.get()
    }
}
