//! `RMR.SCAN`: a cursor over the keys of all shards.

use super::spec::{self, Arg, ArgKind, Call, Spec};
use crate::command::Command;
use crate::error::Error;
use crate::exec::{self, Scan};
use crate::module::request::running::Work;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.SCAN",
    summary: c"Iterates over the keys of all shards; any node can go on with the cursor.",
    complexity: c"O(1) for every call, O(N) for a complete iteration, where N is the number of keys and slots",
    arity: -2,
    flags: c"readonly blocking",
    acl_categories: "keyspace read slow blocking",
    args: &[
        Arg::new(c"cursor", ArgKind::Integer),
        Arg::new(c"pattern", ArgKind::String).after(c"MATCH").optional(),
        Arg::new(c"count", ArgKind::Integer).after(c"COUNT").optional(),
        Arg::new(c"type", ArgKind::String).after(c"TYPE").optional(),
        spec::PARTIAL,
    ],
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let typed = call.args.iter().fold(Command::new("SCAN"), Command::arg);
    let scan = Scan::parse_with_partial(&typed)?;
    Ok(Box::pin(exec::scan(call.request()?.begin(), scan)))
}
