//! [`Proxy`]: listeners, and a task for each client.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::connection::serve;
use super::metrics::{Cut, ProxyMetrics};
use super::options::ProxyOptions;
use super::state::ProxyState;
use crate::engine::Engine;

/// Serves clients of a single Redis from a whole cluster. Cheap to clone; clones share everything.
///
/// ```no_run
/// use rmr::serve::{Listener, Proxy, ProxyOptions};
/// use rmr::{Address, Engine};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().cluster(vec![Address::parse("10.0.0.1:6379")?]).build();
/// let proxy = Proxy::new(engine, ProxyOptions::new().max_clients(500));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:6380").await?;
/// proxy.listen(Listener::Tcp(listener)).await;
/// # Ok(())
/// # }
/// ```
///
/// Longer pages: [when a proxy is what you want](crate::_docs::which_of_the_three), [what an answer is worth](crate::_docs::guarantees).
#[derive(Clone)]
pub struct Proxy {
    state: Arc<ProxyState>,
}

/// A listener for clients.
#[non_exhaustive]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// TLS over TCP.
    Tls(TcpListener, TlsAcceptor),
    /// A Unix socket.
    Unix(UnixListener),
}

/// The time that the next client waits after one could not be accepted, since there are too many open files for
/// example.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The longest that a client may take to agree on TLS.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

impl Proxy {
    /// Makes a proxy of the nodes that this engine knows. The engine is used to follow them and to ask about commands; what
    /// clients send goes over links of their own users. Must be called within a tokio runtime.
    pub fn new(engine: Engine, options: ProxyOptions) -> Self {
        Self { state: Arc::new(ProxyState::new(engine, options)) }
    }

    /// Returns all that was counted so far.
    pub fn metrics(&self) -> ProxyMetrics {
        self.state.metrics()
    }

    /// Returns whether commands find nodes, and the proxy is not about to end.
    pub fn is_ready(&self) -> bool {
        self.state.engine.topology().is_some() && !*self.state.drain.borrow()
    }

    /// Accepts clients until [`drain`](Self::drain) is called.
    pub async fn listen(&self, listener: Listener) {
        let mut drain = self.state.drain.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&listener) => accepted,
                _ = drain.wait_for(|&is_draining| is_draining) => return,
            };
            if let Err(error) = accepted {
                log::warn!("a client could not be accepted: {error}");
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }

    async fn accept(&self, listener: &Listener) -> std::io::Result<()> {
        match listener {
            Listener::Tcp(tcp) => {
                let (stream, peer) = tcp.accept().await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?.to_string();
                tokio::spawn(serve(self.state.clone(), stream, peer.to_string(), local));
            }
            Listener::Tls(tcp, acceptor) => {
                let (stream, peer) = tcp.accept().await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?.to_string();
                let (state, acceptor) = (self.state.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match tokio::time::timeout(TLS_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => serve(state, stream, peer.to_string(), local).await,
                        Ok(Err(error)) => {
                            state.clients.cuts.count(Cut::Tls);
                            log::debug!("{peer} does not speak TLS: {error}");
                        }
                        Err(_) => {
                            state.clients.cuts.count(Cut::Tls);
                            log::debug!("{peer} did not agree on TLS in time");
                        }
                    }
                });
            }
            Listener::Unix(unix) => {
                let (stream, _) = unix.accept().await?;
                let path = stream.local_addr()?.as_pathname().map(|path| path.display().to_string());
                let local = format!("{}:0", path.unwrap_or_default());
                tokio::spawn(serve(self.state.clone(), stream, local.clone(), local));
            }
        }
        Ok(())
    }

    /// Accepts no more clients, lets those that are there have the answers to what they have sent, and closes their
    /// connections. Returns whether all were gone within this time. Other proxies of the same placement stay connected until
    /// [`end_peers`](Self::end_peers).
    pub async fn drain(&self, within: Duration) -> bool {
        self.state.drain.send_replace(true);
        self.until(within, || self.state.clients.len() <= self.state.end_peers.receiver_count()).await
    }

    /// Closes the connections of other proxies of the same placement once they have been silent for a moment: to be called when they
    /// know that this proxy orders no slots any more, after `Store::sign_off`. Returns whether all were gone within this time.
    pub async fn end_peers(&self, within: Duration) -> bool {
        self.state.end_peers.send_replace(true);
        self.until(within, || self.state.end_peers.receiver_count() == 0).await
    }

    /// Waits until a condition holds. Returns whether it does within this time.
    async fn until(&self, within: Duration, condition: impl Fn() -> bool) -> bool {
        let holds = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(within, holds).await.is_ok()
    }
}
