//! `RMR.BATCH`: lists of commands, each for the shard of its routing key.

use super::options;
use super::spec::{self, Arg, ArgKind, Call, Spec};
use crate::client::{Action, DeliveryOptions, MAX_CONCURRENCY, RoutedCommand, deliver_in_order, list_of};
use crate::command::Command;
use crate::engine::{Request, RequestBuilder};
use crate::error::Error;
use crate::exec;
use crate::module::request::running::Work;
use crate::reply::Reply;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.BATCH",
    summary: c"Runs lists of commands, each list at the shard of its routing key and in order, all shards at once.",
    complexity: c"O(N) commands where N is the number of commands, besides what they take themselves",
    arity: -5,
    flags: c"blocking",
    acl_categories: "slow blocking",
    args: &[
        spec::TIMEOUT,
        Arg::word(c"nomerge", c"NOMERGE").optional(),
        spec::END_OF_OPTIONS,
        Arg::block(
            c"list",
            &[
                Arg::new(c"routing-key", ArgKind::String),
                Arg::new(c"numcommands", ArgKind::Integer),
                Arg::block(c"counted-command", &[Arg::new(c"numargs", ArgKind::Integer), spec::COMMAND, spec::ARGS])
                    .multiple(),
            ],
        )
        .multiple(),
    ],
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let typed = options::batch(&call.args)?;
    let prepared = call.request_for_handing_on()?;
    let request = typed.timeout.into_iter().fold(prepared, RequestBuilder::timeout).begin();
    let keys = typed.lists.iter().map(|(key, commands)| (key.to_vec(), commands.len())).collect();
    let commands = typed.lists.iter().flat_map(|(_, commands)| commands).copied().filter_map(Command::from_args);
    let how = DeliveryOptions { max_concurrency: MAX_CONCURRENCY, auto_batch: !typed.no_merge };
    Ok(Box::pin(batch(request, keys, commands.collect(), how)))
}

/// Runs lists of so many commands each.
async fn batch(
    request: Request,
    keys: Vec<(Vec<u8>, usize)>,
    commands: Vec<Command>,
    how: DeliveryOptions,
) -> Result<Reply, Error> {
    // The rights are those to the commands as they were given, and are looked at before anything leaves.
    let commands = request.admitted(commands).await?;
    let name_keys: Vec<bool> = commands.iter().map(Command::names_keys).collect();
    let items = items(&keys, commands);
    let topology = request.pinned_topology().await?;
    for item in items.iter().filter(|item| !item.is_followed) {
        request.may_reach(&topology, request.owner(&topology, &item.command)?)?;
    }
    let mut replies = Vec::with_capacity(items.len());
    let outcomes = deliver_in_order(&request.without_gate(), &items, Vec::new(), how).await.map(in_place);
    for (reply, names_keys) in outcomes.zip(name_keys) {
        replies.push(if names_keys { request.without_hidden_keys(reply).await? } else { reply });
    }
    let mut replies = replies.into_iter();
    let lists = keys.into_iter().map(|(key, length)| {
        let results: Vec<Reply> = replies.by_ref().take(length).collect();
        (Reply::from(key), Reply::Array(results))
    });
    Ok(Reply::Map(lists.collect()))
}

/// Returns the lists' commands.
fn items(keys: &[(Vec<u8>, usize)], commands: Vec<Command>) -> Vec<RoutedCommand> {
    let mut commands = commands.into_iter();
    let mut items = Vec::with_capacity(commands.len());
    for (key, length) in keys {
        items.extend(list_of(key, commands.by_ref().take(*length).map(Action::Command)));
    }
    items
}

/// Returns the outcome of a command: the server's own words where it has spoken.
fn in_place(result: Result<Reply, Error>) -> Reply {
    result.unwrap_or_else(|error| exec::refusal(&error).unwrap_or_else(|| Reply::Error(error.to_line().into())))
}
