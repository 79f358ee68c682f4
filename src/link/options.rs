//! The options of links: how they connect, and how long they wait.

use std::sync::Arc;
use std::time::Duration;

use super::handshake::CredentialSource;
use super::node_link::Link;
use super::stats::StatsByNode;
use super::tls::TlsSource;
use crate::topology::{Address, BoxFuture};

/// Sets how links connect: at first within one second, without authentication, TLS or an inner command.
///
/// ```no_run
/// use std::time::Duration;
///
/// use rmr::{Engine, StaticList};
/// use rmr::link::{Credentials, LinkOptions};
///
/// let links = LinkOptions::new()
///     .connect_timeout(Duration::from_millis(300))
///     .credentials(Credentials::new("reporting", "secret"));
/// let engine = Engine::builder().provider(StaticList::parse("10.0.0.1:6379")?).links(links).build();
/// # Ok::<_, rmr::Error>(())
/// ```
pub struct LinkOptions {
    pub(super) connect_timeout: Box<dyn Fn() -> Duration + Send + Sync>,
    pub(super) credentials: Option<Box<dyn CredentialSource>>,
    pub(super) tls: Option<Box<dyn TlsSource>>,
    pub(super) tls_by_default: bool,
    pub(super) inner_command: Option<String>,
    pub(super) ignores_logins: bool,
    pub(super) gathers: bool,
    /// The place where links to the same node count together. Without it each link counts for itself.
    pub(super) stats_by_node: Option<Arc<StatsByNode>>,
    /// Stands before each shared link.
    pub(super) front: Option<Arc<dyn LinkFront>>,
    /// Looks at who is at the other end of each new connection.
    pub(super) check: Option<Arc<dyn NodeCheck>>,
    reduces_there: bool,
}

/// Puts a link of its own before the shared link to each node.
#[cfg_attr(not(feature = "placement"), allow(dead_code, reason = "only a placement has copies of what a node holds"))]
pub(crate) trait LinkFront: Send + Sync {
    /// Returns the link that requests are given in place of this one, which leads to the node itself.
    fn before(&self, address: &Address, link: Arc<dyn Link>) -> Arc<dyn Link>;
}

/// Looks at a node when a connection to it has been opened.
pub(crate) trait NodeCheck: Send + Sync {
    /// Returns why nothing is to be sent to the server that listens at this address now.
    fn check<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<(), String>>;
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Box::new(|| Duration::from_secs(1)),
            credentials: None,
            tls: None,
            tls_by_default: true,
            inner_command: None,
            ignores_logins: false,
            gathers: false,
            stats_by_node: None,
            front: None,
            check: None,
            reduces_there: true,
        }
    }
}

impl LinkOptions {
    /// Makes the options that hold where nothing else is said.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bounds the time that dialling, TLS and authentication may take together.
    #[must_use]
    pub fn connect_timeout(self, limit: Duration) -> Self {
        self.connect_timeout_by(move || limit)
    }

    /// Bounds that time by a limit that is asked for anew at each connection.
    #[must_use]
    pub fn connect_timeout_by(mut self, limit: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.connect_timeout = Box::new(limit);
        self
    }

    /// Authenticates with these credentials, where a list of hosts does not say with which.
    #[must_use]
    pub fn credentials(mut self, source: impl CredentialSource) -> Self {
        self.credentials = Some(Box::new(source));
        self
    }

    /// Authenticates with nothing but these options' credentials, whatever a list of hosts says: with none where there are
    /// none.
    #[must_use]
    pub(crate) fn ignoring_logins(mut self) -> Self {
        self.ignores_logins = true;
        self
    }

    /// Lets all tasks that are ready to run say what they have to send before any of it is written, for many who each send
    /// little.
    #[must_use]
    pub(crate) fn gathering(mut self) -> Self {
        self.gathers = true;
        self
    }

    /// Counts together with all links to the same node.
    #[must_use]
    pub(crate) fn counting_by_node(mut self, stats: Arc<StatsByNode>) -> Self {
        self.stats_by_node = Some(stats);
        self
    }

    /// Puts links of this kind before those to the nodes.
    #[cfg_attr(
        not(feature = "placement"),
        allow(dead_code, reason = "only a placement has copies of what a node holds")
    )]
    #[must_use]
    pub(crate) fn fronted_by(mut self, front: Arc<dyn LinkFront>) -> Self {
        self.front = Some(front);
        self
    }

    /// Has each new connection looked at before anything is sent.
    #[cfg_attr(not(feature = "placement"), allow(dead_code, reason = "only a placement knows its nodes' processes"))]
    #[must_use]
    pub(crate) fn checked_by(mut self, check: Arc<dyn NodeCheck>) -> Self {
        self.check = Some(check);
        self
    }

    /// Speaks TLS with these certificates; without any, links use plain TCP.
    #[must_use]
    pub fn tls(mut self, source: impl TlsSource) -> Self {
        self.tls = Some(Box::new(source));
        self
    }

    /// Sets whether links speak TLS, if there are certificates, to nodes of which no list of hosts says it. Default:
    /// `true`.
    #[must_use]
    pub fn tls_by_default(mut self, by_default: bool) -> Self {
        self.tls_by_default = by_default;
        self
    }

    /// Names the inner command by which nodes with the same module reduce their own share; without one, no node is asked
    /// to.
    #[must_use]
    pub fn inner_command(mut self, name: impl Into<String>) -> Self {
        self.inner_command = Some(name.into());
        self
    }

    /// Sets whether nodes with the inner command are asked to reduce their share of maps and fan-outs; they may be asked
    /// for other things all the same. Default: `true`.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server has a setting for it"))]
    #[must_use]
    pub(crate) fn reduces_there(mut self, reduces_there: bool) -> Self {
        self.reduces_there = reduces_there;
        self
    }

    /// Returns the inner command by which nodes are asked to reduce, if they are.
    pub(super) fn reducing_command(&self) -> Option<&str> {
        self.inner_command.as_deref().filter(|_| self.reduces_there)
    }
}
