//! `RMR.EXPLAIN RMR.MAP ...`: what would run where.

use std::collections::BTreeMap;

use super::options::{self, KeysByPattern, MapArgs, MapOver, NamedReducer};
use super::spec::Call;
use crate::command::{Command, CommandSet, printable};
use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::flow::explained;
use crate::flow::plan::FlowReader;
use crate::module::config;
use crate::module::flow::fit::{self, FittingCommand};
use crate::module::request::running::Work;
use crate::reduce::Builtin;
use crate::reply::Reply;
use crate::topology::SlotRange;

/// Begins to explain a map of these arguments.
///
/// # Errors
/// The error says why the map would be refused.
pub(super) fn explain(call: &Call<'_>, args: &[&[u8]]) -> Result<Work, Error> {
    let MapArgs { reducer, over, .. } = options::map(args)?;
    let requests = call.request()?;
    Ok(match over {
        MapOver::Given(commands) => Box::pin(given(requests, reducer, commands)),
        MapOver::Matching { keys, how } => {
            let command = keys.command.as_ref().map(|command| fit::check(call.ctx, command)).transpose()?;
            Box::pin(matching(requests, reducer, keys, command, how.on_replicas))
        }
    })
}

async fn given(requests: RequestBuilder, reducer: NamedReducer, commands: CommandSet) -> Result<Reply, Error> {
    let request = requests.begin();
    let topology = request.pinned_topology().await?;
    let mut of_nodes: BTreeMap<String, (bool, i64)> = BTreeMap::new();
    for command in commands.iter() {
        let node = request.owner(&topology, &command.command())?;
        let (is_here, count) = of_nodes.entry(node.to_string()).or_default();
        (*is_here, *count) = (request.is_in_process(&topology, node), *count + 1);
    }
    let is_pushed_down = config::pushdown() && !is_list(&reducer);
    let way = |is_here: bool| match (is_here, is_pushed_down) {
        (true, _) => "here, in process",
        (false, true) => "one inner command, if the node takes it",
        (false, false) => "plain commands",
    };
    let part = |(node, (is_here, count)): (String, (bool, i64))| {
        Reply::Array(vec![node.into(), count.into(), way(is_here).into()])
    };
    let reduced = if is_pushed_down { "each part on its node, the parts here" } else { "here" };
    Ok(Reply::Map(vec![
        ("command".into(), "rmr.map".into()),
        ("keys".into(), (commands.len() as i64).into()),
        ("reducer".into(), shown(&reducer).into()),
        ("reduced".into(), reduced.into()),
        ("parts".into(), of_nodes.into_iter().map(part).collect::<Vec<Reply>>().into()),
    ]))
}

async fn matching(
    requests: RequestBuilder,
    reducer: NamedReducer,
    keys: KeysByPattern,
    command: Option<FittingCommand>,
    on_replicas: bool,
) -> Result<Reply, Error> {
    let request = requests.begin();
    let KeysByPattern { filter, limit, .. } = keys;
    if let Some(command) = &command {
        command.check_other_keys(&*request.pinned_topology().await?, &filter.pattern)?;
    }
    let of_type = filter.type_name.iter().map(|name| format!(" of type {name}")).collect::<String>();
    let mut steps = vec![format!("keys that match '{}'{of_type}", printable(&filter.pattern))];
    let mut shares_run = "all at once";
    if let Some(limit) = limit {
        steps.push(format!("{limit} of them at most"));
        shares_run = "one after the other, for LIMIT";
    }
    let mut effect = "reads";
    if let Some(FittingCommand { command, .. }) = &command {
        steps.push(Command::to_string(&command.for_keys([&b"{}"[..]]).command(0)));
        effect = if command.is_read_only { "reads" } else { "writes" };
    }
    let reduced = if is_list(&reducer) { "here" } else { "each share on its node, the shares here" };
    let shares = explained::explain(&request, &FlowReader::Keys(filter), on_replicas).await?;
    let slots = |ranges: &Vec<SlotRange>| ranges.iter().map(|&(first, last)| i64::from(last - first) + 1).sum::<i64>();
    let shares = shares.into_iter().map(|share| {
        let count = share.slots.as_ref().map_or(Reply::Null, |ranges| slots(ranges).into());
        Reply::Array(vec![share.name.into(), count, share.way.into()])
    });
    Ok(Reply::Map(vec![
        ("command".into(), "rmr.map".into()),
        ("steps".into(), steps.into_iter().map(Reply::from).collect::<Vec<_>>().into()),
        ("effect".into(), effect.into()),
        ("reducer".into(), shown(&reducer).into()),
        ("reduced".into(), reduced.into()),
        ("shares-run".into(), shares_run.into()),
        ("shares".into(), shares.collect::<Vec<Reply>>().into()),
    ]))
}

fn is_list(reducer: &NamedReducer) -> bool {
    *reducer == NamedReducer::Builtin(Builtin::List)
}

fn shown(reducer: &NamedReducer) -> &'static str {
    match reducer {
        NamedReducer::Builtin(reducer) => reducer.name(),
        NamedReducer::ByPrefix(_) => "PREFIX",
    }
}
