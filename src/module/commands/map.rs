//! `RMR.MAP`: one command a key, each sent to its key's shard.

use super::fanout::reduced;
use super::matching::MatchingMap;
use super::options::{self, MapArgs, MapOver, NamedReducer};
use super::spec::{self, Arg, ArgKind, Call, Spec};
use crate::command::CommandSet;
use crate::engine::{Options, Replies, Step};
use crate::error::Error;
use crate::module::request::running::Work;
use crate::reduce::Builtin;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.MAP",
    summary: c"Runs a command for each key on the key's shard, for keys that are given or that match, and reduces the replies.",
    complexity: c"O(N) commands where N is the number of keys; O(M) besides with MATCH, where M is the number of all keys",
    arity: -4,
    flags: c"blocking",
    acl_categories: "slow blocking",
    args: &[
        spec::TIMEOUT,
        spec::PARTIAL,
        Arg::word(c"async", c"ASYNC").optional(),
        INTO,
        ON,
        spec::REDUCER,
        Arg::one_of(c"keys", &[Arg::block(c"given", GIVEN), Arg::block(c"matching", MATCHING)]),
    ],
    run,
};

const INTO: Arg = Arg::block(
    c"result-key",
    &[
        Arg::one_of(
            c"type",
            &[Arg::word(c"stream", c"STREAM"), Arg::word(c"list", c"LIST"), Arg::word(c"hash", c"HASH")],
        ),
        Arg::new(c"key", ArgKind::String),
    ],
)
.after(c"INTO")
.optional();

const ON: Arg = Arg::one_of(c"nodes", &[Arg::word(c"primaries", c"PRIMARIES"), Arg::word(c"replicas", c"REPLICAS")])
    .after(c"ON")
    .optional();

const GIVEN: &[Arg] =
    &[Arg::new(c"numkeys", ArgKind::Integer), Arg::new(c"key", ArgKind::String).multiple(), spec::COMMAND, spec::ARGS];

const MATCHING: &[Arg] = &[
    Arg::new(c"pattern", ArgKind::String).after(c"MATCH"),
    Arg::new(c"type", ArgKind::String).after(c"TYPE").optional(),
    Arg::new(c"limit", ArgKind::Integer).after(c"LIMIT").optional(),
    spec::END_OF_OPTIONS,
    Arg::block(c"command-and-arguments", &[spec::COMMAND, spec::ARGS]).optional(),
];

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let typed = options::map(&call.args)?;
    match typed {
        MapArgs { timeout, partial, reducer, over: MapOver::Given(commands) } => {
            let options = timeout.into_iter().fold(Options::new().partial(partial), Options::timeout);
            given(call, commands, options, partial, reducer)
        }
        MapArgs { timeout, partial, reducer, over: MapOver::Matching { how, keys } } => {
            MatchingMap { timeout, partial, reducer, how, keys }.begin(call)
        }
    }
}

/// Maps keys that are given.
fn given(
    call: &Call<'_>,
    commands: CommandSet,
    options: Options,
    partial: bool,
    reducer: NamedReducer,
) -> Result<Work, Error> {
    let map = call.request_for_handing_on()?.map_commands(commands).with_options(options);
    Ok(match reducer {
        NamedReducer::Builtin(Builtin::List) => {
            map.reduce(|replies: Replies| Ok(Step::Reply(Builtin::List.reduce(replies)?)))
        }
        NamedReducer::Builtin(reducer) => reduced(partial, map.combine_beside_failures(reducer)),
        NamedReducer::ByPrefix(reducer) => reduced(partial, map.combine_beside_failures(reducer)),
    })
}
