//! Requests as the caller of a command may make them.

use std::sync::Arc;

use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::module::acl::CallersRights;
use crate::module::flow::home::ServersHome;
use crate::module::server::context::Ctx;
use crate::module::state;

/// Prepares a request within the caller's rights, in its database, and without waiting where it cannot wait.
pub(crate) fn request(ctx: Ctx<'_>) -> Result<RequestBuilder, Error> {
    let request = request_of(ctx)?;
    Ok(match ctx.why_not_wait() {
        Some(why) => request.in_process_only(why),
        None => request,
    })
}

/// Prepares a request that may run flows, within the caller's rights and in its database.
pub(crate) fn request_with_home(ctx: Ctx<'_>) -> Result<RequestBuilder, Error> {
    Ok(request(ctx)?.with_home(ServersHome::of(ctx)?))
}

/// Prepares a request within the caller's rights and in its database, for which the caller does not wait.
pub(crate) fn request_of(ctx: Ctx<'_>) -> Result<RequestBuilder, Error> {
    let request = state::engine()?.request().gate(Arc::new(CallersRights::of(ctx)));
    Ok(request.database(ctx.selected_database()).caller(ctx.client_id()))
}
