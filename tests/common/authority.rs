//! A certificate authority of a test, and servers that believe it.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rmr::testing::{StartError, free_port};

use super::server::{Server, ServerBuilder};

/// A certificate authority, and a directory with the files of what it signed.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: PathBuf,
}

impl Authority {
    /// Makes a new authority, whose files go to a directory of a server that lives as long as they are needed.
    pub fn new(dir: &Path, name: &str) -> Self {
        let dir = dir.join(name);
        fs::create_dir(&dir).expect("a directory for certificates");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("the {name} authority"));
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(dir.join("ca.crt"), certificate.pem()).expect("a file");
        let authority = Self { issuer: Issuer::new(params, key), dir };
        authority.sign("node");
        authority
    }

    /// Makes `<name>.crt` and `<name>.key`.
    pub fn sign(&self, name: &str) {
        let key = KeyPair::generate().expect("a key");
        // The name is none that nodes are reached by: they are known by their addresses.
        let mut params = CertificateParams::new(vec![format!("{name}.example")]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, format!("{name}.example"));
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(self.file(name, "crt"), certificate.pem()).expect("a file");
        fs::write(self.file(name, "key"), key.serialize_pem()).expect("a file");
    }

    pub fn file(&self, name: &str, kind: &str) -> String {
        self.dir.join(format!("{name}.{kind}")).to_str().expect("a path that is text").to_owned()
    }

    /// Returns a server with a TLS port, which believes this authority and shows a certificate of it.
    pub fn server(&self, tls_port: u16) -> ServerBuilder {
        Server::builder()
            .config("tls-port", tls_port.to_string())
            .config("tls-ca-cert-file", self.file("ca", "crt"))
            .config("tls-cert-file", self.file("node", "crt"))
            .config("tls-key-file", self.file("node", "key"))
            .config("tls-cluster", "yes")
    }
}

/// Somewhere to keep certificates, unless this server knows no TLS: then there is nothing to test, which is said.
pub fn with_tls() -> Option<(Server, Authority)> {
    let keeper = Server::builder().module(false).start();
    let authority = Authority::new(keeper.dir(), "trusted");
    match authority.server(free_port()).module(false).try_start() {
        Ok(_) => Some((keeper, authority)),
        Err(StartError::Exited(log)) => {
            let reason = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            println!("not tested: this server was built without TLS ({reason})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
