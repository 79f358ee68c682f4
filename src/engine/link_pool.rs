//! [`LinkPool`]: where the engine gets its links, so that its rules can be tested without sockets.

use std::sync::Arc;

use super::dedicated_link::DedicatedLink;
use crate::link::{Failure, Link, Links, Protocol, Session};
use crate::topology::{BoxFuture, Endpoint};

/// Opens links to endpoints.
pub(super) trait LinkPool: Send + Sync {
    /// Returns the link to an endpoint, which all requests share; opens one if there is none.
    fn shared(&self, endpoint: Endpoint) -> Arc<dyn Link>;

    /// Returns a link for one command that may block.
    fn dedicated(self: Arc<Self>, endpoint: Endpoint) -> Arc<dyn Link>;

    /// Opens a connection that one conversation has to itself.
    fn session(self: Arc<Self>, endpoint: Endpoint, protocol: Protocol)
    -> BoxFuture<'static, Result<Session, Failure>>;

    /// Returns the command by which nodes with the same module speak to each other, if there is one.
    fn inner_command(&self) -> Option<&str>;

    /// Lets go of the shared links to all other endpoints. Requests in flight on them are still answered.
    fn retain(&self, is_known: &dyn Fn(&Endpoint) -> bool);
}

impl LinkPool for Links {
    fn shared(&self, endpoint: Endpoint) -> Arc<dyn Link> {
        self.get(endpoint)
    }

    fn dedicated(self: Arc<Self>, endpoint: Endpoint) -> Arc<dyn Link> {
        Arc::new(DedicatedLink::new(self, endpoint))
    }

    fn session(
        self: Arc<Self>,
        endpoint: Endpoint,
        protocol: Protocol,
    ) -> BoxFuture<'static, Result<Session, Failure>> {
        Box::pin(async move { self.open_session(endpoint, protocol).await })
    }

    fn inner_command(&self) -> Option<&str> {
        Self::inner_command(self)
    }

    fn retain(&self, is_known: &dyn Fn(&Endpoint) -> bool) {
        Self::retain(self, is_known);
    }
}
