//! TLS between nodes, with the server's own certificates.
//!
//! As Redis does between its nodes, the peer's certificate must be signed by a known authority; its name is not
//! compared, since nodes are addressed by IP.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::Error;
use crate::topology::{BoxFuture, TlsFiles};

/// Says which files to use. Asked anew for each connection, so that a renewed certificate needs no restart.
pub trait TlsSource: Send + Sync + 'static {
    /// Returns the files for the next connection.
    fn files(&self) -> BoxFuture<'_, Result<TlsFiles, Error>>;
}

/// Always the same files.
impl TlsSource for TlsFiles {
    fn files(&self) -> BoxFuture<'_, Result<TlsFiles, Error>> {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file that cannot be read or used.
    pub(super) fn load(&self) -> Result<Arc<ClientConfig>, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(self.roots()?);
        let chain = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| unusable("the TLS authorities cannot be used".into(), error))?;
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable("TLS cannot be used".into(), error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName { chain, provider }));
        let config = match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable_file(key, error))?;
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| unusable(format!("the TLS certificate {}", cert.display()), error))?
            }
            _ => config.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut files: Vec<PathBuf> = self.ca_file.iter().cloned().collect();
        if let Some(dir) = &self.ca_dir {
            let entries = std::fs::read_dir(dir).map_err(|error| unusable_file(dir, error))?;
            files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()));
        }
        let mut roots = RootCertStore::empty();
        for file in files {
            roots.add_parsable_certificates(certificates(&file)?);
        }
        if roots.is_empty() {
            return Err(Error::Invalid("TLS needs tls-ca-cert-file or tls-ca-cert-dir with a certificate".into()));
        }
        Ok(roots)
    }
}

fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| unusable_file(file, error))
}

fn unusable_file(file: &Path, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    unusable(format!("the TLS file {} cannot be used", file.display()), cause)
}

fn unusable(what: String, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unusable { what, cause: cause.into() }
}

/// Checks the chain and the signature, and takes any name.
#[derive(Debug)]
struct AnyName {
    chain: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The chain is verified before the name is compared, so a wrong name means a right chain.
        match self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
