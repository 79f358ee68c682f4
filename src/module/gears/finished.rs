//! The commands about executions: which there are, how far they are, what has come of them, and the words that end and drop
//! them.

use super::arguments::{self, ShownShards};
use super::asking::{self, GearsAsked};
use super::cluster::ClusterView;
use super::command::{GearsCommand, argument, control, own, said};
use super::questions;
use super::replies;
use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::module::commands::spec::{Arg, ArgKind, Call};
use crate::module::inquiry::AskingUser;
use crate::module::request::running::Work;
use crate::reply::Reply;

const ID: Arg = Arg::new(c"id", ArgKind::String);

pub(super) const GETRESULTS: GearsCommand =
    own(c"RG.GETRESULTS", c"Returns the results and errors of an execution that is done.", -2, get_results)
        .with_args(&[ID]);

pub(super) const GETRESULTSBLOCKING: GearsCommand = own(
    c"RG.GETRESULTSBLOCKING",
    c"Waits until an execution is done, and returns its results and errors.",
    2,
    get_results_blocking,
)
.with_args(&[ID]);

pub(super) const GETEXECUTION: GearsCommand =
    control(c"RG.GETEXECUTION", c"Shows how far an execution is on each shard.", -2, get_execution).with_args(&[
        ID,
        Arg::one_of(c"where", &[Arg::word(c"shard", c"SHARD"), Arg::word(c"cluster", c"CLUSTER")]).optional(),
    ]);

pub(super) const DUMPEXECUTIONS: GearsCommand =
    control(c"RG.DUMPEXECUTIONS", c"Lists the executions in which this node takes part.", 1, dump_executions);

pub(super) const DROPEXECUTION: GearsCommand =
    control(c"RG.DROPEXECUTION", c"Forgets an execution that is done.", 2, drop_execution).with_args(&[ID]);

pub(super) const ABORTEXECUTION: GearsCommand =
    control(c"RG.ABORTEXECUTION", c"Ends an execution on all shards.", 2, abort_execution).with_args(&[ID]);

fn ask(call: &Call<'_>, asked: GearsAsked) -> Result<Work, Error> {
    let (requests, user) = (call.request()?, AskingUser::of(call.ctx));
    Ok(Box::pin(async move { questions::ask(asked, requests, user).await }))
}

fn get_results(call: &Call<'_>) -> Result<Work, Error> {
    ask(call, GearsAsked::Results { id: argument(call, 0), blocks: false })
}

fn get_results_blocking(call: &Call<'_>) -> Result<Work, Error> {
    ask(call, GearsAsked::Results { id: argument(call, 0), blocks: true })
}

fn drop_execution(call: &Call<'_>) -> Result<Work, Error> {
    ask(call, GearsAsked::Drop { id: argument(call, 0) })
}

fn abort_execution(call: &Call<'_>) -> Result<Work, Error> {
    ask(call, GearsAsked::Abort { id: argument(call, 0) })
}

fn get_execution(call: &Call<'_>) -> Result<Work, Error> {
    if call.args.len() > 2 {
        return said(Err("ERR wrong number of arguments for 'rg.getexecution' command".into()));
    }
    let shards = match arguments::shown_shards(&call.args[1..]) {
        Ok(shards) => shards,
        Err(error) => return said(Err(error)),
    };
    let id = argument(call, 0);
    let (requests, user) = (call.request()?, AskingUser::of(call.ctx));
    Ok(Box::pin(async move {
        let view = ClusterView::of(&*requests.clone().begin().pinned_topology().await?);
        if shards == ShownShards::All && !view.is_cluster {
            return Ok(replies::error("no cluster detected - use `RG.GETEXECUTION <id> [SHARD]` instead"));
        }
        let all = questions::ask(GearsAsked::Status { id }, requests, user).await?;
        let is_one = shards == ShownShards::This;
        Ok(if is_one { replies::only_of_shard(all, &view.padded_id()) } else { all })
    }))
}

fn dump_executions(call: &Call<'_>) -> Result<Work, Error> {
    let (requests, user) = (call.request()?, AskingUser::of(call.ctx));
    Ok(Box::pin(async move { all_executions(user, requests).await }))
}

/// Returns the executions of this node, and those of the others that answer.
async fn all_executions(user: AskingUser, requests: RequestBuilder) -> Result<Reply, Error> {
    let mut all = Vec::new();
    let here = questions::ask(GearsAsked::List, requests.clone(), user.clone()).await?;
    let there = asking::ask_others(&GearsAsked::List, requests, &user).await?;
    for reply in std::iter::once(here).chain(there.into_iter().flatten()) {
        if let Reply::Array(executions) = reply {
            all.extend(executions);
        }
    }
    Ok(Reply::Array(all))
}
