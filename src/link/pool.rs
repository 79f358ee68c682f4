//! One link for each endpoint, for as long as somebody knows it: a server, a database of it, and how it is logged in to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::dial::Dialler;
use super::node_link::Link;
use super::options::LinkOptions;
use super::socket::SocketLink;
use super::watch::Watcher;
use crate::resp::Protocol;
use crate::topology::{Address, Endpoint};

/// The links of an engine.
pub(crate) struct Links {
    options: Arc<LinkOptions>,
    /// The watcher that reports bytes that have arrived. Without one the runtime does.
    watcher: Option<Arc<dyn Watcher>>,
    by_endpoint: Mutex<HashMap<Endpoint, Arc<dyn Link>>>,
}

impl Links {
    /// Makes a pool without links.
    pub(crate) fn new(options: LinkOptions, watcher: Option<Arc<dyn Watcher>>) -> Self {
        Self { options: Arc::new(options), watcher, by_endpoint: Mutex::default() }
    }

    /// Returns the link to this endpoint, and makes it if there is none. Must be called within a tokio runtime.
    pub(crate) fn get(&self, endpoint: Endpoint) -> Arc<dyn Link> {
        let mut links = self.by_endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&endpoint) {
            return link.clone();
        }
        let link = SocketLink::new(endpoint.clone(), self.options.clone(), self.watcher.clone());
        let link: Arc<dyn Link> = match &self.options.front {
            Some(front) => front.before(&endpoint.address, Arc::new(link)),
            None => Arc::new(link),
        };
        links.insert(endpoint, link.clone());
        link
    }

    /// Makes the dialler of a connection to this endpoint that belongs to no link of the pool.
    pub(super) fn dialler(&self, endpoint: Endpoint, protocol: Protocol) -> Dialler {
        Dialler { endpoint, protocol, options: self.options.clone(), inner: None, patience: Duration::ZERO }
    }

    /// Returns the command by which nodes with the same module speak to each other, if there is one.
    pub(crate) fn inner_command(&self) -> Option<&str> {
        self.options.inner_command.as_deref()
    }

    /// Lets go of the links to all other endpoints. Requests that are in flight on them are still answered.
    pub(crate) fn retain(&self, is_known: impl Fn(&Endpoint) -> bool) {
        self.by_endpoint.lock().unwrap_or_else(PoisonError::into_inner).retain(|endpoint, _| is_known(endpoint));
    }

    /// Returns the addresses that there are links to.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.by_endpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .map(|endpoint| endpoint.address.clone())
            .collect()
    }
}
