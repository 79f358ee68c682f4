//! `RMR.PLACE`: plain servers whose slots a configuration node knows. The words are those that `rmr-proxy` serves, too.

use super::spec::{Arg, ArgKind, Call, Spec};
use crate::error::Error;
use crate::module::config::{self, Provider};
use crate::module::request::running::Work;
use crate::module::server::user::User;
use crate::module::store;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.PLACE",
    summary:
        c"Shows and changes plain servers whose slots a configuration node knows: who holds which, and who serves them.",
    complexity: c"O(N) where N is the number of slots",
    arity: -2,
    flags: c"blocking allow-stale deny-script",
    acl_categories: "slow blocking",
    args: &[Arg::one_of(
        c"subcommand",
        &[
            Arg::word(c"status", c"STATUS"),
            Arg::word(c"nodes", c"NODES"),
            Arg::word(c"proxies", c"PROXIES"),
            Arg::block(c"slots", SLOTS).after(c"SLOTS"),
            Arg::new(c"key", ArgKind::String).after(c"KEY"),
            Arg::block(c"log", &[Arg::new(c"count", ArgKind::Integer).optional()]).after(c"LOG"),
            Arg::block(c"create", CREATE).after(c"CREATE"),
            Arg::block(c"add", ADD).after(c"ADD"),
            Arg::new(c"adopt", ArgKind::String).after(c"ADOPT"),
            Arg::block(c"remove", REMOVE).after(c"REMOVE"),
            Arg::word(c"plan", c"PLAN"),
            Arg::block(c"rebalance", REBALANCE).after(c"REBALANCE"),
            Arg::block(c"move", MOVE).after(c"MOVE"),
            Arg::word(c"pause", c"PAUSE"),
            Arg::word(c"resume", c"RESUME"),
            Arg::block(c"cancel", &[Arg::new(c"slot", ArgKind::Integer).optional().multiple()]).after(c"CANCEL"),
            Arg::block(c"check", CHECK).after(c"CHECK"),
            Arg::block(c"set", &[Arg::new(c"setting", ArgKind::String), Arg::new(c"value", ArgKind::String)])
                .after(c"SET"),
            Arg::new(c"copies", ArgKind::Integer).after(c"COPIES"),
            Arg::word(c"help", c"HELP"),
        ],
    )],
    run,
};

const SLOTS: &[Arg] =
    &[Arg::block(c"range", &[Arg::new(c"first", ArgKind::Integer), Arg::new(c"last", ArgKind::Integer).optional()])
        .optional()];

const REMOVE: &[Arg] = &[Arg::new(c"node", ArgKind::String), Arg::word(c"force", c"FORCE").optional()];

const REBALANCE: &[Arg] = &[Arg::new(c"slots", ArgKind::Integer).after(c"SLOTS").optional()];

const MOVE: &[Arg] =
    &[Arg::new(c"slot", ArgKind::Integer), Arg::new(c"from", ArgKind::String), Arg::new(c"to", ArgKind::String)];

const CHECK: &[Arg] = &[
    Arg::one_of(c"which", &[Arg::new(c"slot", ArgKind::Integer), Arg::word(c"all", c"ALL")]).optional(),
    Arg::word(c"repair", c"REPAIR").optional(),
];

const CREATE: &[Arg] = &[
    Arg::new(c"slots", ArgKind::Integer).after(c"SLOTS").optional(),
    Arg::new(c"copies", ArgKind::Integer).after(c"COPIES").optional(),
    Arg::new(c"hash", ArgKind::String).after(c"HASH").optional(),
    Arg::block(c"nodes", &[Arg::new(c"node", ArgKind::String).multiple()]).after(c"NODES"),
];

const ADD: &[Arg] = &[
    Arg::new(c"node", ArgKind::String),
    Arg::new(c"weight", ArgKind::Integer).after(c"WEIGHT").optional(),
    Arg::new(c"zone", ArgKind::String).after(c"ZONE").optional(),
];

/// A command of a Redis Cluster. Users who may send it may change a store too.
const RIGHT_TO_CHANGE: [&[u8]; 4] = [b"CLUSTER", b"SETSLOT", b"0", b"STABLE"];

fn run(call: &Call<'_>) -> Result<Work, Error> {
    if store::changes(&call.args)
        && let Some(name) = call.ctx.user_name()
    {
        let user = User::named(&name);
        if !user.as_ref().is_some_and(|user| user.may_run_keyless(&RIGHT_TO_CHANGE)) {
            user.iter().for_each(|user| user.note_denied(call.ctx, b"cluster|setslot"));
            return Err(Error::NoPermission(
                "this changes a store; the user has no permissions to run the 'cluster|setslot' command".into(),
            ));
        }
    }
    if config::provider() != Provider::Placement {
        return Err(Error::Refused("RMR.PLACE is for a store; rmr.provider is not placement".into()));
    }
    let answer = store::place(config::configuration_node(), call.args.iter().map(|word| word.to_vec()).collect())?;
    Ok(Box::pin(answer))
}
