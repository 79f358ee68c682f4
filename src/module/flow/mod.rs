//! The part of flows that a server plays: its keys, and what is done with them where they are.

pub(super) mod fit;
pub(super) mod home;
pub(super) mod jobs;
mod key_commands;
mod keyspace;
pub(super) mod leaves;
mod name_reader;
pub(crate) mod own_code;
pub(super) mod rights;
mod sieve;
mod slot_reader;
mod table_reader;
mod values;

use std::sync::Arc;

use super::server::context::Ctx;
use crate::error::Error;
use crate::flow::keyspace::Keyspace;
use crate::flow::messages::CallerId;
use crate::link::Protocol;
use keyspace::ServerKeyspace;
use rights::ShareRights;

/// Returns this server's keys for a share of a flow that the command of this context asks for, on the account of its own user
/// and of the caller. Replies to commands have the types of the protocol. On the main thread.
///
/// # Errors
/// If the caller does not exist here, or is another user.
pub(super) fn keyspace_of(
    ctx: Ctx<'_>,
    caller: Option<&CallerId>,
    protocol: Protocol,
) -> Result<Arc<dyn Keyspace>, Error> {
    Ok(Arc::new(ServerKeyspace::new(ctx, ShareRights::of(ctx, caller)?, protocol)))
}
