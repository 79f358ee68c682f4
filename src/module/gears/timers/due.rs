//! Tells whether a timer is to be called here and now.

use super::table;
use super::value::TYPE;
use crate::link::Protocol;
use crate::module::gears::caller::DATABASE;
use crate::module::server::call::{CallKind, CommandRunner};
use crate::module::server::context::Ctx;
use crate::module::server::data_type::KeyHolds;

/// Tells whether the slot of a key belongs to this node.
pub(super) fn is_ours(ctx: Ctx<'_>, key: &[u8]) -> bool {
    if !ctx.flags().is_cluster() {
        return true;
    }
    let words = [&b"EXISTS"[..], key];
    !CommandRunner::new(ctx, Protocol::Resp2).call(words.into_iter(), CallKind::Plain).is_not_here()
}

/// Tells whether a timer is to be called here and now.
pub(super) fn is_due_here(ctx: Ctx<'_>, id: u64) -> bool {
    let flags = ctx.flags();
    if !flags.is_primary() || flags.is_loading() || flags.is_serving_while_loading() {
        return false;
    }
    let Some(key) = table::key_of(id) else { return false };
    let look = || is_ours(ctx, &key) && TYPE.find(ctx, &key, |value| value.id() == id) == KeyHolds::Value(true);
    ctx.in_database(DATABASE, look).unwrap_or_default()
}
