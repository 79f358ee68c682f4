//! The sockets at which clients connect.

use std::path::Path;
use std::sync::Arc;

use rmr::serve::Listener;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tracing::info;

use crate::arguments::Arguments;

/// Opens all that the arguments name.
pub async fn open(arguments: &Arguments) -> Result<Vec<Listener>, String> {
    let acceptor = acceptor(arguments)?;
    let default = arguments.unix.is_none().then_some("127.0.0.1:6380");
    let mut listeners = Vec::new();
    for address in arguments.listen.as_deref().or(default).into_iter().flat_map(|list| list.split(',')) {
        let address = address.trim();
        let tcp = TcpListener::bind(address).await.map_err(|error| format!("--listen {address}: {error}"))?;
        let (bound, how) =
            (tcp.local_addr().map_err(|error| error.to_string())?, if acceptor.is_some() { "TLS" } else { "TCP" });
        info!("listening at {bound} ({how})");
        listeners.push(match &acceptor {
            Some(acceptor) => Listener::Tls(tcp, acceptor.clone()),
            None => Listener::Tcp(tcp),
        });
    }
    if let Some(path) = &arguments.unix {
        let unix = unix(path).map_err(|error| format!("--unix {}: {error}", path.display()))?;
        info!("listening at {}", path.display());
        listeners.push(Listener::Unix(unix));
    }
    Ok(listeners)
}

/// Returns the address and port that a listener is bound to, if it has one.
pub fn address(listener: &Listener) -> Option<String> {
    match listener {
        Listener::Tcp(tcp) | Listener::Tls(tcp, _) => tcp.local_addr().ok().map(|address| address.to_string()),
        _ => None,
    }
}

/// Binds a Unix socket, in the place of one that nobody listens at any more.
fn unix(path: &Path) -> std::io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

fn acceptor(arguments: &Arguments) -> Result<Option<TlsAcceptor>, String> {
    let (Some(cert), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else { return Ok(None) };
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("--tls-key {}: {error}", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?;
    let config = match &arguments.tls_client_ca {
        None => config.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(ca)? {
                roots.add(authority).map_err(|error| format!("--tls-client-ca {}: {error}", ca.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| format!("--tls-client-ca {}: {error}", ca.display()))?;
            config.with_client_cert_verifier(verifier)
        }
    };
    let config =
        config.with_single_cert(chain, key).map_err(|error| format!("--tls-cert {}: {error}", cert.display()))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| format!("{}: {error}", path.display()))?;
    if certificates.is_empty() {
        return Err(format!("{}: no certificate stands in it", path.display()));
    }
    Ok(certificates)
}
