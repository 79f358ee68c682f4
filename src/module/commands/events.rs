//! `RMR.EVENTS`: reads the keyspace events of all nodes, as `XREAD` reads streams.

use std::sync::Arc;
use std::time::Duration;

use super::options;
use super::spec::{Arg, ArgKind, Call, Spec};
use crate::error::Error;
use crate::module::events::{EventsAsked, KeyspaceReader};
use crate::module::flow::rights::ShareRights;
use crate::module::request::running::Work;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.EVENTS",
    summary: c"Reads what has happened to keys on all nodes after a cursor; waits for it if there is nothing.",
    complexity: c"O(N+M) where N is the number of nodes and M the number of events since the cursor",
    arity: -4,
    flags: c"readonly blocking",
    acl_categories: "keyspace read slow blocking",
    args: &[
        Arg::new(c"cursor", ArgKind::String),
        Arg::new(c"block-ms", ArgKind::Integer).after(c"BLOCK").optional(),
        Arg::new(c"count", ArgKind::Integer).after(c"COUNT").optional(),
        Arg::new(c"pattern", ArgKind::String).after(c"MATCH"),
        Arg::new(c"event", ArgKind::String).after(c"TYPES").optional().multiple(),
    ],
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let asked = options::events(&call.args, call.ctx.selected_database())?;
    // A caller that cannot wait gets the events that there are.
    let wait = if call.ctx.why_not_wait().is_some() { Duration::ZERO } else { asked.wait };
    let rights = Arc::new(ShareRights::of(call.ctx, None)?);
    let reader = KeyspaceReader::new(EventsAsked { wait, ..asked }, rights);
    let requests = call.request()?;
    Ok(Box::pin(reader.read(requests)))
}
