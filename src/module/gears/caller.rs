//! [`GearsCaller`]: on whose account functions run, and what a flow of theirs has to know of this server.

use std::any::Any;
use std::sync::Arc;

use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::flow::keyspace::Keyspace;
use crate::flow::messages::CallerId;
use crate::link::Protocol;
use crate::module::config::{self, GearsRights};
use crate::module::flow::keyspace_with;
use crate::module::flow::rights::ShareRights;
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::module::state;

/// RedisGears knows this database alone.
pub(super) const DATABASE: i32 = 0;

/// A user, as far as functions need to know.
#[derive(Clone)]
pub(super) struct GearsCaller {
    /// The ACL user's name.
    pub(super) user: String,
    /// Prepares requests within the user's rights.
    pub(super) requests: RequestBuilder,
    pub(super) rights: Arc<ShareRights>,
    /// The user as other nodes know it; [`None`] for one who may do everything.
    pub(super) caller: Option<CallerId>,
    /// The keys of this server, within the user's rights.
    pub(super) keyspace: Arc<dyn Keyspace>,
}

impl GearsCaller {
    /// Returns who runs the command of this context. On the main thread.
    ///
    /// # Errors
    /// If the engine cannot be started.
    pub(super) fn of(ctx: Ctx<'_>) -> Result<Self, Error> {
        let user = ctx.user_name().unwrap_or_else(|| b"default".to_vec());
        let rights = match config::gears_rights() {
            GearsRights::Caller => ShareRights::of(ctx, None)?,
            GearsRights::Server => ShareRights::default(),
        };
        Self::with(String::from_utf8_lossy(&user).into_owned(), Arc::new(rights))
    }

    /// Returns on whose account code runs that has these rights.
    ///
    /// # Errors
    /// If the rights are none that a server gives, or the engine cannot be started.
    pub(super) async fn of_code(user: String, rights: Arc<dyn Any + Send + Sync>) -> Result<Self, Error> {
        let rights = rights.downcast::<ShareRights>();
        let rights = rights.map_err(|_| Error::Internal("internal error: the code has no rights".into()))?;
        main_thread::run(move |_| Self::with(user, rights)).await?
    }

    fn with(user: String, rights: Arc<ShareRights>) -> Result<Self, Error> {
        Ok(Self {
            user,
            requests: state::engine()?.request().gate(Arc::new(rights.gate())).database(DATABASE),
            caller: rights.caller(),
            keyspace: keyspace_with(DATABASE, rights.clone(), Protocol::Resp3),
            rights,
        })
    }
}
