//! `RMR.FANOUT`: one command to all shards.

use super::options;
use super::spec::{self, Call, Spec};
use crate::command::{Command, printable};
use crate::engine::{Options, Replies, Step};
use crate::error::Error;
use crate::exec::{by_node, failures};
use crate::module::request::running::Work;
use crate::reduce::{Builtin, CountOfSingle};
use crate::reply::Reply;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.FANOUT",
    summary: c"Sends a command to all shards, or to the nodes that are named, and gathers the replies.",
    complexity: c"O(N) commands where N is the number of nodes",
    arity: -2,
    flags: c"blocking",
    acl_categories: "slow blocking",
    args: &spec::to_nodes(spec::REDUCER_OF_NODES.after(c"REDUCE").optional()),
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let typed = options::fan_out(&call.args)?;
    let (with_nodes, partial) = (typed.with_nodes, typed.partial);
    let reducer = typed.reducer.unwrap_or(Builtin::List);
    if reducer == Builtin::Count {
        check_count(typed.args)?;
    }
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
        Builtin::Count => reduced(partial, fan_out.combine_beside_failures(CountOfSingle)),
        _ => reduced(partial, fan_out.combine_beside_failures(reducer)),
    })
}

/// Refuses to count the replies of a command that lists something: that would be the number of nodes, and be taken for
/// the number of what is listed.
fn check_count(args: &[&[u8]]) -> Result<(), Error> {
    let is = |at: usize, word: &str| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let instead = if is(0, "KEYS") || (is(0, "CLUSTER") && is(1, "GETKEYSINSLOT")) {
        "RMR.MAP COUNT MATCH counts keys, REDUCE CONCAT gives those of all nodes"
    } else if is(0, "SCAN") {
        "RMR.MAP COUNT MATCH counts keys, RMR.SCAN gives those of all shards"
    } else {
        return Ok(());
    };
    let name = printable(args[0]).to_ascii_uppercase();
    Err(Error::Invalid(format!(
        "REDUCE COUNT counts replies, of which each node gives one, and not the keys that {name} lists; {instead}, \
         REDUCE SUM DBSIZE is the number of all keys"
    )))
}

/// Does the work of a reducer.
pub(super) fn reduced(
    partial: bool,
    work: impl Future<Output = Result<(Reply, Replies), Error>> + Send + 'static,
) -> Work {
    Box::pin(async move { work.await.map(|reduced| beside_failures(partial, reduced)) })
}

/// Puts failures, where they are allowed, beside the result of the rest: an array of the value and a map of node to
/// error, which is empty when nothing is missing.
fn beside_failures(partial: bool, (value, missing): (Reply, Replies)) -> Reply {
    if partial { Reply::Array(vec![value, failures(&missing)]) } else { value }
}
