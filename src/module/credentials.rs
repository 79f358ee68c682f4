//! With what the links to other nodes authenticate.
//!
//! In this order: `rmr.user` and `rmr.password`; the secret that nodes of a cluster share from Redis 8 on; the
//! `masteruser` and `masterauth` with which the server itself follows a primary. Each is read anew for every
//! connection, so that a password that was rotated needs no restart.

use super::api::Ctx;
use super::{config, local, main_thread};
use crate::link::{CredentialSource, Credentials};
use crate::topology::BoxFuture;

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

fn find(ctx: Ctx) -> Vec<Credentials> {
    let mut found = Vec::new();
    if let Some(secret) = ctx.internal_secret() {
        found.push(Credentials::internal(secret));
    }
    let password = local::config_get(ctx, "masterauth");
    if !password.is_empty() {
        let user = local::config_get(ctx, "masteruser");
        let user = if user.is_empty() { "default".into() } else { String::from_utf8_lossy(&user).into_owned() };
        found.push(Credentials::new(user, password));
    }
    found
}
