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

use crate::error::Error;
use crate::flow::Records;
use crate::flow::keyspace::Keyspace;
use crate::flow::plan::ValuesRead;
use crate::flow::values::WantedValues;
use crate::link::Protocol;
use crate::module::server::context::Ctx;
use keyspace::ServerKeyspace;
use rights::ShareRights;

/// Returns the keys that this server has in a database, for whoever has these rights.
pub(super) fn keyspace_with(database: i32, rights: Arc<ShareRights>, protocol: Protocol) -> Arc<dyn Keyspace> {
    Arc::new(ServerKeyspace::new(database, rights, protocol))
}

/// Returns the [typed](ValuesRead::Typed) values of keys of the first database, in order, each as it is when its turn comes.
/// A key that does not exist has the letter that says so; one that has gone to another node is left out.
///
/// # Errors
/// If the server answers with an error.
pub(super) async fn values_of(keys: Records) -> Result<Records, Error> {
    let wanted = WantedValues { values: ValuesRead::Typed, with_missing: true };
    let (mut rest, mut values) = (keys, Records::new());
    while !rest.is_empty() {
        let read = values::read(rest, 0, wanted, false).await?;
        values.append(&read.records);
        rest = read.rest;
    }
    Ok(values)
}

/// Returns the [typed](ValuesRead::Typed) value that a key has now. On the main thread.
///
/// # Errors
/// If the server answers with an error.
pub(super) fn value_now(ctx: Ctx<'_>, key: &[u8]) -> Result<Vec<u8>, Error> {
    values::read_now(ctx, key)
}
