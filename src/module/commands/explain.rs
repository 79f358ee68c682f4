//! `RMR.EXPLAIN`: what `RMR.EXEC` or `RMR.MAP` would do, and why.

use super::exec::{ARGS, begun, how, request};
use super::spec::{Call, Spec};
use super::{explain_map, options};
use crate::error::Error;
use crate::exec;
use crate::module::request::running::Work;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.EXPLAIN",
    summary: c"Shows what RMR.EXEC would do with a command, or what RMR.MAP would run where, and runs nothing.",
    complexity: c"O(N) where N is the number of nodes or keys that the command is for",
    arity: -2,
    flags: c"readonly",
    acl_categories: "read slow",
    args: ARGS,
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    if let [name, args @ ..] = &call.args[..]
        && name.eq_ignore_ascii_case(b"RMR.MAP")
    {
        return explain_map::explain(call, args);
    }
    let inner = options::exec(&call.args)?;
    let prepared = call.request()?;
    Ok(match request(call, &inner) {
        Ok(request) => Box::pin(exec::explain(begun(prepared, &inner), request, how(inner))),
        Err(refusal) => Box::pin(refusal.answer(prepared.begin())),
    })
}
