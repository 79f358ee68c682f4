//! `RMR.FANOUT`: one command to all shards.

use super::options;
use super::spec::{self, Arg, Call, Spec};
use crate::command::Command;
use crate::engine::{Options, Replies, Step};
use crate::error::Error;
use crate::exec::{by_node, failures};
use crate::module::request::running::Work;
use crate::reduce::Builtin;
use crate::reply::Reply;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.FANOUT",
    summary: c"Sends a command to all shards, or to the nodes that are named, and gathers the replies.",
    complexity: c"O(N) commands where N is the number of nodes",
    arity: -2,
    flags: c"blocking",
    acl_categories: "slow blocking",
    args: &spec::to_nodes(Arg::one_of(c"reducer", spec::REDUCERS).after(c"REDUCE").optional()),
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let typed = options::fan_out(&call.args)?;
    let (with_nodes, partial) = (typed.with_nodes, typed.partial);
    let reducer = typed.reducer.unwrap_or(Builtin::List);
    let command = typed.args[1..].iter().fold(Command::new(typed.args[0]), Command::arg);
    let options = typed
        .timeout
        .into_iter()
        .fold(Options::new().partial(partial).allow_inconsistent(typed.inconsistent), Options::timeout);
    let targets = typed.targets.unwrap_or_default();
    let fan_out = call.request_for_handing_on()?.fan_out(command).targets(targets).with_options(options);
    Ok(match reducer {
        _ if with_nodes => fan_out.reduce(|replies: Replies| Ok(Step::Reply(by_node(replies)))),
        Builtin::List => fan_out.reduce(move |replies: Replies| Ok(Step::Reply(reducer.reduce(replies)?))),
        _ => Box::pin(async move {
            fan_out.combine_beside_failures(reducer).await.map(|reduced| beside_failures(partial, reduced))
        }),
    })
}

/// Where failures are allowed they stand beside what the rest comes to: an array of the value and a map of node to error,
/// which is empty when nothing is missing.
pub(super) fn beside_failures(partial: bool, (value, missing): (Reply, Replies)) -> Reply {
    if partial { Reply::Array(vec![value, failures(&missing)]) } else { value }
}
