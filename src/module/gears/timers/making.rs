//! Making a timer that lives in a key.

use serde_bytes::ByteBuf;

use super::due::is_ours;
use super::kept::{COMMAND, KeptTimer};
use super::value::{TYPE, TimerValue};
use crate::command::Command;
use crate::error::Error;
use crate::flow::messages;
use crate::module::catalog;
use crate::module::flow::rights::ShareRights;
use crate::module::gears::carried::CarriedRequirements;
use crate::module::gears::persistence::saved::check_kept;
use crate::module::gears::state;
use crate::module::server::call::{self, WritesNow};
use crate::module::server::context::{self, Ctx};
use crate::module::server::data_type::{self, KeyHolds, ReplicateTo};
use crate::python::SessionHandle;

/// The reason why a timer does not live in a key.
pub(in crate::module) enum NotKept {
    /// Writes are paused.
    NotNow,
    Refused(Error),
}

impl From<Error> for NotKept {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl KeptTimer {
    /// Makes a timer of a session, by the name that processes call it, with its function.
    pub(in crate::module) fn of(session: &SessionHandle, timer: String, period_s: u64, blob: &[u8]) -> Self {
        let listed = state::sessions().list();
        let facts = listed.iter().find(|listed| listed.facts.name == session.id()).map(|listed| &listed.facts);
        let requirements = facts.map(|facts| facts.requirements.clone()).unwrap_or_default();
        Self {
            session: session.id().to_owned(),
            user: session.user().to_owned(),
            packages: CarriedRequirements::here(&requirements),
            requirements,
            timer,
            period_s,
            blob: ByteBuf::from(blob),
        }
    }
}

/// Has a timer live in a key. Returns `false` if there is one of this name. In database 0, within a context that ends.
///
/// # Errors
/// If it may not live there.
pub(in crate::module) fn keep(
    ctx: Ctx<'_>,
    key: &[u8],
    timer: KeptTimer,
    rights: &ShareRights,
) -> Result<bool, NotKept> {
    check_kept().map_err(Error::Refused)?;
    let write = Command::new("SET").key(key).arg("");
    let facts = catalog::facts(ctx, (&write).into());
    for user in rights.users()? {
        user.check(ctx, (&write).into(), facts)??;
    }
    if context::writes_are_paused() {
        return Err(NotKept::NotNow);
    }
    if let WritesNow::Refused(wire) = call::writes_now(ctx, None) {
        let line = String::from_utf8_lossy(&wire).trim_start_matches('-').trim_end().to_owned();
        return Err(Error::Refused(line).into());
    }
    if !is_ours(ctx, key) {
        return Err(
            Error::Refused("the key of a time event must belong to this shard; hashtag() names one".into()).into()
        );
    }
    if TYPE.find(ctx, key, |_| ()) != KeyHolds::Nothing {
        return Ok(false);
    }
    let bytes = messages::encode(&timer)?;
    let value = TimerValue::new(key, bytes.clone(), timer);
    value.is_in_process();
    if !TYPE.set(ctx, key, value) {
        return Err(Error::Internal("the server does not take the value of a time event".into()).into());
    }
    data_type::replicate(ctx, ReplicateTo::AofAndReplicas, COMMAND, &[key, &bytes]);
    Ok(true)
}
