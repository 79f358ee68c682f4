//! [`Shared`]: what all handles to a store share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

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
    /// The stage that this proxy has come to.
    pub(super) stage: watch::Sender<ProxyStage>,
    /// The stage of which the configuration node has been told.
    pub(super) told: watch::Sender<ProxyStage>,
    /// True once the proxy moves no slots any more.
    pub(super) movers_idle: watch::Sender<bool>,
}

/// The stages of a proxy, up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyStage {
    Serves,
    /// It is about to end, and hands its slots over.
    Leaves,
    /// It takes part no more.
    Gone,
}

impl Shared {
    pub(super) fn sequencer(&self) -> Arc<Sequencer> {
        self.sequencer.load_full()
    }
}
