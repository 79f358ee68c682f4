//! The identity of the links to other nodes: their credentials and their certificates.
//!
//! Credentials in this order: `rmr.user` and `rmr.password`; the secret that nodes of a cluster share from Redis 8 on; the
//! `masteruser` and `masterauth` with which the server itself follows a primary. Certificates are those with which the
//! server connects to its own cluster. All are read anew for every connection, so that a password that was rotated and a
//! certificate that was renewed need no restart.

use super::config;
use super::server::context::Ctx;
use super::server::{call, main_thread};
use crate::error::Error;
use crate::link::{CredentialSource, Credentials, TlsSource};
use crate::topology::{BoxFuture, TlsFiles};

pub(super) struct ServersOwn;

impl CredentialSource for ServersOwn {
    fn credentials(&self) -> BoxFuture<'_, Vec<Credentials>> {
        Box::pin(async {
            if let Some(configured) = config::credentials() {
                return vec![configured];
            }
            main_thread::run(find).await.unwrap_or_default()
        })
    }
}

fn find(ctx: Ctx<'_>) -> Vec<Credentials> {
    let mut found = Vec::new();
    if let Some(secret) = ctx.internal_secret() {
        found.push(Credentials::internal(secret));
    }
    let password = call::config_get(ctx, "masterauth");
    if !password.is_empty() {
        let user = call::config_get(ctx, "masteruser");
        let user = if user.is_empty() { "default".into() } else { String::from_utf8_lossy(&user).into_owned() };
        found.push(Credentials::new(user, password));
    }
    found
}

impl TlsSource for ServersOwn {
    fn files(&self) -> BoxFuture<'_, Result<TlsFiles, Error>> {
        Box::pin(main_thread::run(|ctx| {
            let setting = |name: &str| {
                let path = String::from_utf8_lossy(&call::config_get(ctx, name)).into_owned();
                (!path.is_empty()).then(|| path.into())
            };
            TlsFiles {
                ca_file: setting("tls-ca-cert-file"),
                ca_dir: setting("tls-ca-cert-dir"),
                cert_file: setting("tls-client-cert-file").or_else(|| setting("tls-cert-file")),
                key_file: setting("tls-client-key-file").or_else(|| setting("tls-key-file")),
            }
        }))
    }
}
