//! One link for each address, for as long as somebody knows the address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Link;
use super::Protocol;
use super::handshake::CredentialSource;
use super::socket::{Dialler, SocketLink};
use super::tls::TlsSource;
use crate::topology::Address;

/// How links connect.
pub struct LinkOptions {
    /// The longest that dialling, TLS and authentication may take together.
    pub connect_timeout: Box<dyn Fn() -> Duration + Send + Sync>,
    /// With what to authenticate; nobody is authenticated without.
    pub credentials: Option<Box<dyn CredentialSource>>,
    /// With which certificates to speak TLS; plain TCP without.
    pub tls: Option<Box<dyn TlsSource>>,
}

impl Default for LinkOptions {
    /// One second, no authentication, no TLS.
    fn default() -> Self {
        Self { connect_timeout: Box::new(|| Duration::from_secs(1)), credentials: None, tls: None }
    }
}

/// The links of an engine, by address.
pub struct Links {
    options: Arc<LinkOptions>,
    by_address: Mutex<HashMap<Address, Arc<SocketLink>>>,
}

impl Links {
    /// No links so far.
    pub fn new(options: LinkOptions) -> Self {
        Self { options: Arc::new(options), by_address: Mutex::default() }
    }

    /// The link to this address; made if there is none. Must be called within a tokio runtime.
    pub fn get(&self, address: &Address) -> Arc<dyn Link> {
        let mut links = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(address) {
            return link.clone();
        }
        let link = Arc::new(SocketLink::new(address.clone(), self.options.clone()));
        links.insert(address.clone(), link.clone());
        link
    }

    /// What it takes to connect to this address apart from its link.
    pub(super) fn dialler(&self, address: &Address, protocol: Protocol) -> Dialler {
        Dialler { address: address.clone(), protocol, options: self.options.clone() }
    }

    /// Lets go of the links to all other addresses. What is in flight on them is still answered.
    pub fn retain(&self, is_known: impl Fn(&Address) -> bool) {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner).retain(|address, _| is_known(address));
    }

    /// The addresses that there are links to.
    pub fn addresses(&self) -> Vec<Address> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}
