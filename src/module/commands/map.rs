//! `RMR.MAP`: one command a key, each sent to its key's shard.

use super::fanout::beside_failures;
use super::options;
use super::spec::{self, Arg, ArgKind, Call, Spec};
use crate::engine::{Replies, Step};
use crate::error::Error;
use crate::module::request::running::Work;
use crate::reduce::Builtin;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.MAP",
    summary: c"Sends a command for each key to the key's shard, and reduces the replies.",
    complexity: c"O(N) commands where N is the number of keys",
    arity: -5,
    flags: c"blocking",
    acl_categories: "slow blocking",
    args: &[
        spec::TIMEOUT,
        spec::PARTIAL,
        Arg::one_of(c"reducer", spec::REDUCERS),
        Arg::new(c"numkeys", ArgKind::Integer),
        Arg::new(c"key", ArgKind::String).multiple(),
        spec::COMMAND,
        spec::ARGS,
    ],
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let typed = options::map(&call.args)?;
    let (reducer, partial) = (typed.reducer, typed.partial);
    let map = call.request_for_handing_on()?.map_commands(typed.commands).with_options(typed.options);
    Ok(match reducer {
        Builtin::List => map.reduce(move |replies: Replies| Ok(Step::Reply(reducer.reduce(replies)?))),
        _ => Box::pin(async move {
            map.combine_beside_failures(reducer).await.map(|reduced| beside_failures(partial, reduced))
        }),
    })
}
