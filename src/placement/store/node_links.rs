//! [`NodeLinks`]: the links of one user to the nodes themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::shared::Shared;
use crate::link::Link;
use crate::topology::Address;

/// The links of one user to the nodes themselves.
pub(super) struct NodeLinks {
    shared: Arc<Shared>,
    links: Mutex<HashMap<Address, Arc<dyn Link>>>,
}

impl NodeLinks {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, links: Mutex::default() }
    }

    /// Returns what all users share.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Keeps the link to a node.
    pub(super) fn keep(&self, address: Address, link: Arc<dyn Link>) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(address, link);
    }

    /// Returns the link to a node.
    pub(super) fn get(&self, address: &Address) -> Option<Arc<dyn Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned()
    }
}
