//! A batch of commands to many hosts: each host's share in one write and in order, each command with its own outcome.
//!
//! Nearly all of it is done in one round trip. The rest is asked again, all of it at once: commands whose merged form
//! was refused, keys that a merged command said nothing about, scripts that a server did not know. None of these can be
//! told from having run in its place ([`merge`], [`RoutedCommand::is_followed`]).
//!
//! A server is asked whether it knows a script in the same write, right before the first call: a script may end in the words
//! of a server that does not know it. To ask afterwards would be too late, as others may have brought it meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use futures_util::{StreamExt, stream};

use super::merge::{self, MergeInfo};
use super::pair::Pair;
use super::promise::BoxedResult;
use super::routed_command::RoutedCommand;
use super::script::Script;
use crate::command::Command;
use crate::describe::special::may_run_code;
use crate::engine::{Options, PlacedOn, Request, ShardReply, check_each_fit};
use crate::error::Error;
use crate::reply::Reply;
use crate::resp::ServerErrorKind;
use crate::topology::{Node, Shard, Topology};

/// Says how a batch is delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeliveryOptions {
    /// The number of hosts that are spoken to at once.
    pub(crate) max_concurrency: usize,
    pub(crate) auto_batch: bool,
}

/// Lists what has become of a host's items: their places in the batch, and the result of each.
pub(super) type HostResults = (Vec<usize>, Vec<BoxedResult<Reply>>);

/// Delivers all items but those that were refused already, within the deadline of the request. Calls with what has become of
/// them: once for each host as it is done, and once for those that were not sent.
pub(super) async fn deliver(
    request: &Request,
    items: &[RoutedCommand],
    refused: Vec<(usize, Error)>,
    options: DeliveryOptions,
    mut settle: impl FnMut(HostResults),
) {
    let topology = request.pinned_topology().await;
    let HostShares { shares, refused } = HostShares::of(request, topology.as_deref(), items, refused);
    if let Ok(topology) = &topology {
        let mut runs = Vec::with_capacity(shares.len());
        for share in shares {
            runs.push(share.run(topology, options.auto_batch));
        }
        let mut done = stream::iter(runs).buffer_unordered(options.max_concurrency.max(1));
        while let Some(outcomes) = done.next().await {
            settle(outcomes);
        }
    }
    settle(refused.into_iter().map(|(place, error)| (place, Err(error.into()))).unzip());
}

/// Delivers the commands for a caller that waits for all of them: one outcome each, in order.
pub(crate) async fn deliver_in_order(
    request: &Request,
    items: &[RoutedCommand],
    refused: Vec<(usize, Error)>,
    options: DeliveryOptions,
) -> impl ExactSizeIterator<Item = Result<Reply, Error>> + use<> {
    let mut outcomes: Vec<Option<BoxedResult<Reply>>> = items.iter().map(|_| None).collect();
    deliver(request, items, refused, options, |(places, settled)| {
        places.into_iter().zip(settled).for_each(|(place, outcome)| outcomes[place] = Some(outcome));
    })
    .await;
    let missing = || Err(Error::Topology("no host was found for the command".into()));
    outcomes.into_iter().map(move |outcome| outcome.map_or_else(missing, |outcome| outcome.map_err(|error| *error)))
}

/// Holds items, parted by the nodes that they are for.
struct HostShares<'a> {
    shares: Vec<HostShare<'a>>,
    /// The commands that are not sent, with the reasons.
    refused: Vec<(usize, Error)>,
}

impl<'a> HostShares<'a> {
    /// Parts items by their nodes. One that cannot be sent harms no other.
    fn of(
        request: &'a Request,
        topology: Result<&Topology, &Error>,
        items: &'a [RoutedCommand],
        mut refused: Vec<(usize, Error)>,
    ) -> Self {
        refused.sort_by_key(|(place, _)| *place);
        let mut shares = Self { shares: Vec::new(), refused: Vec::new() };
        let mut known_refused = refused.into_iter().peekable();
        let mut by_node: HashMap<*const Node, usize, RandomState> = HashMap::default();
        let nodes = topology.map_or(1, |topology| topology.data_shards().count().max(1));
        let even_share = items.len() / nodes * 5 / 4 + 1;
        let keys = items.iter().map(|item| item.command.routing_key().unwrap_or_default());
        let shards = topology.ok().and_then(|topology| request.shards_of_keys(topology, keys));
        let mut last_fit = None;
        for (place, item) in items.iter().enumerate() {
            let destination = match (known_refused.next_if(|(of, _)| *of == place), topology) {
                (Some((_, error)), _) => Err(error),
                (None, Err(error)) => Err(error.clone()),
                (None, Ok(topology)) => {
                    let shard = shards.as_ref().map(|shards| &topology.shards()[shards[place]]);
                    destination(request, topology, item, shard, &mut last_fit).map(|node| (topology, node))
                }
            };
            match destination {
                Ok((topology, node)) => {
                    let share = *by_node.entry(Arc::as_ptr(node)).or_insert_with(|| {
                        shares.shares.push(HostShare::new(request, topology, node, even_share));
                        shares.shares.len() - 1
                    });
                    shares.shares[share].add(place, item);
                }
                Err(error) => shares.refused.push((place, error)),
            }
        }
        shares
    }
}

/// Finds the node that an item is for; `shard` is that of its key, if it has one and somebody has looked. The last name
/// that was found fit need not be looked at again.
fn destination<'a>(
    request: &Request,
    topology: &'a Topology,
    item: &'a RoutedCommand,
    shard: Option<&'a Shard>,
    last_fit: &mut Option<&'a [u8]>,
) -> Result<&'a Arc<Node>, Error> {
    // A batch has few names; most often it is the one before.
    if *last_fit != Some(item.command.name()) {
        check_each_fit(std::slice::from_ref(&item.command))?;
        *last_fit = (item.command.word_count() < 2 || item.has_one_key).then(|| item.command.name());
    }
    match (&item.node, shard) {
        (Some(node), _) => Ok(node),
        (None, Some(shard)) if item.command.routing_key().is_some() => Ok(&shard.primary),
        _ => request.owner(topology, &item.command),
    }
}

/// Holds what one host gets.
struct HostShare<'a> {
    request: &'a Request,
    node: Arc<Node>,
    /// The node once more, so that the engine need not place the items again.
    placed: Option<PlacedOn>,
    items: Vec<MergeInfo<'a>>,
    /// The place of each item in the batch.
    places: Vec<usize>,
    outcomes: Vec<Option<BoxedResult<Reply>>>,
    /// Tells which scripts the host had right before their first calls, by their SHA-1.
    had: HashMap<&'a str, bool, RandomState>,
}

/// Says what a command on the wire is for.
enum DeliveryPart {
    /// Asks whether the host has the script that this item is about to call.
    HasScript(usize),
    /// Sends this item.
    One(usize),
    /// Sends this item, a script's call, with the text of the script.
    Text(usize),
    /// Sends this number of items from this one on, merged.
    Merged(&'static Pair, usize, usize),
    /// Asks whether any of these items has a key at all.
    Exists(Vec<usize>),
}

/// Lists what is to be asked again.
#[derive(Default)]
struct Leftovers {
    /// The items that are sent as they are.
    single: Vec<usize>,
    /// Calls of scripts that the server does not know.
    unknown: Vec<usize>,
    /// The items whose key is gone, or of another type; by the command that left it open.
    unclear: Vec<Vec<usize>>,
}

impl<'a> HostShare<'a> {
    fn new(request: &'a Request, topology: &Topology, node: &Arc<Node>, room: usize) -> Self {
        let (items, places) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let placed = PlacedOn::primary(topology, node);
        Self { request, node: node.clone(), placed, items, places, outcomes: Vec::new(), had: HashMap::default() }
    }

    fn add(&mut self, place: usize, item: &'a RoutedCommand) {
        self.items.push(MergeInfo::of(item));
        self.places.push(place);
    }

    /// Does it all.
    async fn run(mut self, topology: &Topology, auto_batch: bool) -> HostResults {
        let mut parts: Vec<DeliveryPart> = Vec::new();
        let mut at = 0;
        let single = || merge::MergeRun { length: 1, pair: None };
        let runs = match auto_batch {
            true => merge::runs(&self.items, Some(topology).filter(|topology| topology.requires_same_slot())),
            false => self.items.iter().map(|_| single()).collect(),
        };
        let mut told: HashSet<&[u8], RandomState> = HashSet::default();
        let mut asked: HashSet<&str, RandomState> = HashSet::default();
        for run in runs {
            let item = self.items[at].routed;
            // A call that has to keep its place cannot be made again: the script's text goes with the first one.
            let to_tell = item.script.as_ref().filter(|_| item.is_followed);
            let part = match run.pair {
                Some(pair) => DeliveryPart::Merged(pair, at, run.length),
                None if to_tell.is_some_and(|script| told.insert(script.body())) => DeliveryPart::Text(at),
                None => {
                    if let Some(script) = item.script.as_ref().filter(|script| script.may_be_asked_for())
                        && asked.insert(script.sha1())
                    {
                        parts.push(DeliveryPart::HasScript(at));
                    }
                    DeliveryPart::One(at)
                }
            };
            parts.push(part);
            at += run.length;
        }
        let mut leftovers = self.send(parts, true).await;
        // Second the leftovers, third those of them whose key turned out to be there.
        for _ in 0..2 {
            let Leftovers { single, unknown, unclear } = leftovers;
            if single.is_empty() && unknown.is_empty() && unclear.is_empty() {
                break;
            }
            let mut parts: Vec<(usize, DeliveryPart)> =
                single.into_iter().map(|at| (at, DeliveryPart::One(at))).collect();
            parts.extend(unknown.into_iter().map(|at| (at, DeliveryPart::Text(at))));
            parts.sort_unstable_by_key(|(at, _)| *at);
            let parts = parts.into_iter().map(|(_, part)| part);
            leftovers = self.send(parts.chain(unclear.into_iter().map(DeliveryPart::Exists)).collect(), false).await;
        }
        let Self { node, places, outcomes, .. } = self;
        let missing = || Err(Error::Topology(format!("{node} gave no answer")).into());
        (places, outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect())
    }

    /// Sends commands in one write and reads what is said to them. Commands that can be settled by asking again are not
    /// settled the first time.
    async fn send(&mut self, parts: Vec<DeliveryPart>, is_first: bool) -> Leftovers {
        let commands = parts.iter().map(|part| self.command(part)).collect();
        let options = Options::keeping_failures(is_first);
        let mut leftovers = Leftovers::default();
        let replied = self.request.addressed(commands, self.placed, &options).await;
        // Not before there are any: that memory would have gone cold.
        self.outcomes.resize_with(self.items.len(), || None);
        match replied {
            Ok(replies) => {
                for (part, entry) in parts.into_iter().zip(replies) {
                    self.read(part, entry, is_first, &mut leftovers);
                }
            }
            Err(error) => {
                for part in parts {
                    let entry = ShardReply { node: self.node.clone(), result: Err(error.clone()) };
                    self.read(part, entry, false, &mut leftovers);
                }
            }
        }
        leftovers
    }

    fn command(&self, part: &DeliveryPart) -> (Command, Option<Arc<Node>>) {
        let (first, command) = match part {
            DeliveryPart::HasScript(at) => {
                let sha1 = self.items[*at].routed.script.as_ref().map_or("", Script::sha1);
                return (Command::new("SCRIPT").arg("EXISTS").arg(sha1).read_only(true), Some(self.node.clone()));
            }
            DeliveryPart::One(at) => (*at, self.items[*at].routed.command.clone()),
            DeliveryPart::Text(at) => {
                let RoutedCommand { command, script, .. } = self.items[*at].routed;
                (*at, script.as_ref().map_or_else(|| command.clone(), |script| script.by_text(command)))
            }
            DeliveryPart::Merged(pair, at, length) => (*at, merge::merged(pair, &self.items[*at..at + length])),
            DeliveryPart::Exists(items) => {
                let keys = items.iter().filter_map(|&at| self.items[at].routed.only_key());
                let command = keys.fold(Command::new("EXISTS"), Command::key).read_only(true);
                let apart =
                    items.first().map(|&at| &self.items[at].routed.command).filter(|first| first.is_routed_apart());
                let command = apart.and_then(Command::routing_key).into_iter().fold(command, Command::routed_by);
                (items.first().copied().unwrap_or_default(), command)
            }
        };
        (command, self.items[first].routed.node.clone())
    }

    fn put(&mut self, at: usize, outcome: BoxedResult<Reply>) {
        self.outcomes[at] = Some(outcome);
    }

    fn read(&mut self, part: DeliveryPart, entry: ShardReply, is_first: bool, leftovers: &mut Leftovers) {
        let ShardReply { node, result } = entry;
        let refusal = result.as_ref().err().and_then(refusal);
        match part {
            DeliveryPart::HasScript(at) => {
                let script = self.items[at].routed.script.as_ref();
                match (script, result.as_ref().ok().and_then(Reply::elements)) {
                    (Some(script), Some([has, ..])) => {
                        self.had.insert(script.sha1(), has.integer() == Some(1));
                    }
                    (Some(script), _) if refusal.is_some() => script.is_not_to_be_asked_for(),
                    _ => {}
                }
            }
            DeliveryPart::Text(at) => self.put(at, result.map_err(Box::new)),
            DeliveryPart::One(at) => {
                let RoutedCommand { command, script, .. } = self.items[at].routed;
                // A slot that is being moved: the server sends nobody on who asks for several keys at once. The error of
                // a script is the script's answer; the engine finds out whether it has run.
                let is_for_later = refusal == Some(ServerErrorKind::TryAgain) && !may_run_code(command.into());
                // One that the host had has run, and has said so itself. Nobody has asked which scripts another node has,
                // to which the call was sent on.
                let has_run = |script: &Script| node.id == self.node.id && self.had.get(script.sha1()) == Some(&true);
                let is_unknown = script.as_ref().is_some_and(|script| !has_run(script));
                if is_first && is_unknown && result.as_ref().is_err_and(is_unknown_script) {
                    leftovers.unknown.push(at);
                } else if is_first && is_for_later {
                    leftovers.single.push(at);
                } else {
                    self.put(at, result.map_err(Box::new));
                }
            }
            DeliveryPart::Merged(_, at, length) if refusal.is_some() => leftovers.single.extend(at..at + length),
            DeliveryPart::Merged(pair, at, length) => match result.map(|reply| pair.parts(reply, length)) {
                Ok(Some(replies)) => {
                    let mut unclear = Vec::new();
                    for (at, reply) in (at..).zip(replies) {
                        match pair.hides_type && reply.is_null() {
                            true => unclear.push(at),
                            false => self.put(at, Ok(reply)),
                        }
                    }
                    leftovers.unclear.extend(Some(unclear).filter(|unclear| !unclear.is_empty()));
                }
                Ok(None) => leftovers.single.extend(at..at + length),
                Err(error) => (at..at + length).for_each(|at| self.put(at, Err(error.clone().into()))),
            },
            DeliveryPart::Exists(items) => match result {
                // None of them is there, so nil was the whole truth.
                Ok(count) if count.integer() == Some(0) => {
                    items.into_iter().for_each(|at| self.put(at, Ok(Reply::Null)));
                }
                Err(error) if refusal.is_none() => {
                    items.into_iter().for_each(|at| self.put(at, Err(error.clone().into())));
                }
                _ => leftovers.single.extend(items),
            },
        }
    }
}

/// Returns the kind of the error with which a server has refused a command instead of running it.
fn refusal(error: &Error) -> Option<ServerErrorKind> {
    match error {
        Error::Shard { message, .. } => Some(message.kind()),
        _ => None,
    }
}

/// Tells whether a server has refused the call of a script that it does not know, in exactly its own words. A script may end
/// in these too, which is why the host is asked whether it has the script.
fn is_unknown_script(error: &Error) -> bool {
    let words: [&[u8]; 2] = [b"NOSCRIPT No matching script. Please use EVAL.", b"NOSCRIPT No matching script."];
    matches!(error, Error::Shard { message, .. } if words.contains(&message.as_bytes()))
}
