//! Connecting to a node: by TCP, TLS or a Unix socket, up to the end of the handshake.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::handshake::{Credentials, Greeting, greet};
use super::options::LinkOptions;
use super::stats::{LinkState, LinkStats};
use super::stream::Stream;
use crate::resp::Protocol;
use crate::topology::{Address, Endpoint, TlsFiles};

/// The facts and options by which a connection is made.
#[derive(Clone)]
pub(super) struct Dialler {
    pub(super) endpoint: Endpoint,
    pub(super) protocol: Protocol,
    pub(super) options: Arc<LinkOptions>,
    /// The offer of the node's inner command, which is updated by what the node answers. Without it the node is not
    /// asked.
    pub(super) inner: Option<Arc<Offer>>,
    /// The time, beyond the limit for connecting, that the node may keep silent at the handshake: it reads nothing for
    /// a while when it begins to run a long script.
    pub(super) patience: Duration,
}

impl Dialler {
    pub(super) async fn dial(&self, stats: &LinkStats) -> Result<Box<dyn Stream>, String> {
        stats.set_state(LinkState::Connecting);
        let limit = (self.options.connect_timeout)();
        let connected = tokio::time::timeout(limit + self.patience, async {
            let login = self.endpoint.login.as_ref().filter(|_| !self.options.ignores_logins);
            let candidates = match (login, &self.options.credentials) {
                (Some(login), _) => vec![Credentials::of(login)],
                (None, Some(source)) => source.credentials().await,
                (None, None) => Vec::new(),
            };
            let late = || format!("no connection within {} ms", limit.as_millis());
            let mut stream = tokio::time::timeout(limit, self.connect()).await.map_err(|_| late())??;
            let greeting = Greeting {
                protocol: self.protocol,
                database: self.endpoint.database,
                inner_command: self.inner.as_deref().and_then(Offer::command),
            };
            let offers_inner = greet(&mut *stream, &candidates, &greeting).await?;
            self.inner.iter().for_each(|inner| inner.learn(offers_inner));
            if let Some(check) = &self.options.check {
                // Asked now, the node is the one at the other end of this connection, or the connection is broken.
                check.check(&self.endpoint.address).await?;
            }
            Ok(stream)
        });
        connected
            .await
            .unwrap_or_else(|_| Err(format!("no connection within {} ms", (limit + self.patience).as_millis())))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let (host, port) = match &self.endpoint.address {
            Address::Tcp { host, port } => (host, *port),
            Address::Unix { path } => {
                return Ok(Box::new(UnixStream::connect(path).await.map_err(|error| error.to_string())?));
            }
        };
        let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
        // Without this, small batches wait for the acknowledgement of the ones before.
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let Some(files) = self.certificates().await? else { return Ok(Box::new(tcp)) };
        let config = files.load().map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host.clone()).map_err(|error| format!("'{host}': {error}"))?;
        let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| format!("TLS: {error}"))?;
        Ok(Box::new(tls))
    }

    /// Returns the certificates for TLS; `None` if the connection does without TLS.
    async fn certificates(&self) -> Result<Option<TlsFiles>, String> {
        let by_default = self.options.tls_by_default && self.options.tls.is_some();
        if !self.endpoint.tls.unwrap_or(by_default) {
            return Ok(None);
        }
        match (&self.endpoint.tls_files, &self.options.tls) {
            (Some(files), _) => Ok(Some(files.clone())),
            (None, Some(source)) => source.files().await.map(Some).map_err(|error| error.to_string()),
            (None, None) => Err("TLS needs certificates, and neither the host nor the engine's links have any".into()),
        }
    }
}

/// Remembers whether the node takes inner commands. A node that has declined is not asked for a while; a module that is
/// loaded later may make it take them.
pub(super) struct Offer {
    command: Option<String>,
    /// Milliseconds of the link's life until which it is not asked.
    declined_until: AtomicU64,
    began: Instant,
}

impl Offer {
    /// The time for which a node that has declined is not asked.
    const PAUSE: Duration = Duration::from_secs(5);

    /// Makes an offer of this inner command to a node that nothing is known about.
    pub(super) fn new(command: Option<String>) -> Self {
        Self { command, declined_until: AtomicU64::new(0), began: Instant::now() }
    }

    /// Returns the inner command, if there is one.
    pub(super) fn command(&self) -> Option<&str> {
        self.command.as_deref()
    }

    pub(super) fn is_offered(&self) -> bool {
        let until = self.declined_until.load(Ordering::Relaxed);
        self.command().is_some() && (until == 0 || self.age() >= until)
    }

    pub(super) fn learn(&self, is_offered: bool) {
        let until = if is_offered { 0 } else { self.age() + Self::PAUSE.as_millis() as u64 };
        self.declined_until.store(until, Ordering::Relaxed);
    }

    fn age(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}
