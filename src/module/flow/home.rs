//! [`ServersHome`]: what a flow that begins here has to know of this server.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::fit;
use super::keyspace_with;
use super::own_code::OwnCode;
use super::rights::{ShareRights, caller_id};
use crate::error::Error;
use crate::flow::execution::Execution;
use crate::flow::home::{FlowHome, SharedHome};
use crate::flow::keyspace::Keyspace;
use crate::flow::messages::CallerId;
use crate::flow::plan::KeyedCommand;
use crate::flow::registry::StepsAndReducers;
use crate::link::Protocol;
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::module::{config, state};
use crate::topology::{BoxFuture, Topology};

/// This server, as the caller of a command sees it.
pub(in crate::module) struct ServersHome {
    keyspace: Arc<dyn Keyspace>,
    rights: Arc<ShareRights>,
    caller: Option<CallerId>,
    user: String,
}

impl ServersHome {
    /// Looks at the caller of a command, for the requests that it makes. On the main thread.
    ///
    /// # Errors
    /// If the caller is gone.
    pub(in crate::module) fn of(ctx: Ctx<'_>) -> Result<Arc<dyn Any + Send + Sync>, Error> {
        let home: SharedHome = Arc::new(Self::new(ctx, Protocol::Resp3)?);
        Ok(Arc::new(home))
    }

    /// Looks at the caller of a command; replies to commands of its flows have the types of the protocol.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(in crate::module) fn new(ctx: Ctx<'_>, protocol: Protocol) -> Result<Self, Error> {
        let rights = Arc::new(ShareRights::of(ctx, None)?);
        let user = ctx.user_name().unwrap_or_else(|| b"default".to_vec());
        Ok(Self {
            keyspace: keyspace_with(ctx.selected_database(), rights.clone(), protocol),
            rights,
            caller: caller_id(ctx),
            user: String::from_utf8_lossy(&user).into_owned(),
        })
    }
}

impl FlowHome for ServersHome {
    fn keyspace(&self) -> Arc<dyn Keyspace> {
        self.keyspace.clone()
    }

    fn registry(&self) -> Arc<dyn StepsAndReducers> {
        Arc::new(OwnCode::with(self.rights.clone()))
    }

    fn caller(&self) -> Option<CallerId> {
        self.caller.clone()
    }

    fn timeout(&self) -> Duration {
        config::flow_timeout()
    }

    fn memory(&self) -> u64 {
        config::flow_memory()
    }

    fn begin(&self, node_id: &str, flow: String) -> Arc<Execution> {
        state::executions().begin(node_id, &self.user, flow)
    }

    fn fit<'a>(
        &'a self,
        command: KeyedCommand,
        pattern: &'a [u8],
        topology: &'a Topology,
    ) -> BoxFuture<'a, Result<KeyedCommand, Error>> {
        Box::pin(async move {
            let fitting = main_thread::run(move |ctx| fit::check(ctx, &command)).await??;
            fitting.check_other_keys(topology, pattern)?;
            Ok(fitting.command)
        })
    }
}
