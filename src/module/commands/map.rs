//! `RMR.MAP`: one command a key, each sent to its key's shard.

use super::fanout::reduced;
use super::options::{self, NamedReducer};
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
        spec::REDUCER,
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
        NamedReducer::Builtin(Builtin::List) => {
            map.reduce(|replies: Replies| Ok(Step::Reply(Builtin::List.reduce(replies)?)))
        }
        NamedReducer::Builtin(reducer) => reduced(partial, map.combine_beside_failures(reducer)),
        NamedReducer::ByPrefix(reducer) => reduced(partial, map.combine_beside_failures(reducer)),
    })
}
