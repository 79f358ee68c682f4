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

use crate::flow::keyspace::Keyspace;
use crate::link::Protocol;
use keyspace::ServerKeyspace;
use rights::ShareRights;

/// Returns the keys that this server has in a database, for whoever has these rights.
pub(super) fn keyspace_with(database: i32, rights: Arc<ShareRights>, protocol: Protocol) -> Arc<dyn Keyspace> {
    Arc::new(ServerKeyspace::new(database, rights, protocol))
}
