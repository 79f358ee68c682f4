//! [`Shared`]: what all handles to a store share.

use std::sync::{Arc, OnceLock};

use super::order::Sequencer;
use super::tables::Tables;
use crate::link::{LinkOptions, Links};

/// What all handles to a store share.
pub(super) struct Shared {
    pub(super) tables: Arc<Tables>,
    pub(super) own_links: Arc<Links>,
    pub(super) make_links: Box<dyn Fn() -> LinkOptions + Send + Sync>,
    /// Orders writes, in a process that is a proxy.
    pub(super) sequencer: OnceLock<Arc<Sequencer>>,
}

impl Shared {
    /// Returns the links by which the proxy itself reaches nodes, and not a client.
    pub(super) fn links(&self) -> &Links {
        &self.own_links
    }

    pub(super) fn sequencer(&self) -> Option<&Arc<Sequencer>> {
        self.sequencer.get()
    }
}
