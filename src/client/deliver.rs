//! A batch of commands to many hosts: each host's share in one write and in order, each command with its own outcome.
//!
//! Nearly all of it is done in one round trip. What is left over then is asked again, all of it at once: commands whose
//! merged form was refused, keys that a merged command said nothing about, scripts that a server did not know. None of
//! these can be told from having run in its place ([`merge`](super::merge), [`Item::is_followed`]).

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use futures_util::{StreamExt, stream};

use super::merge::{self, Note, Pair};
use super::script::Script;
use crate::command::Command;
use crate::engine::{Options, PlacedOn, Request, check_each_fit};
use crate::error::Error;
use crate::reply::Reply;
use crate::resp::ServerErrorKind;
use crate::topology::{Node, Shard, Topology};

/// One command of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Routed by its key, unless a node is named.
    pub(crate) command: Command,
    /// Where it is to go, whatever its key.
    pub(crate) node: Option<Arc<Node>>,
    /// The script that it calls by its SHA-1.
    pub(crate) script: Option<Script>,
    /// It goes to the host of its own key, which the catalog has to find.
    pub(crate) is_by_own_key: bool,
    /// Commands come behind it that must not run before it.
    pub(crate) is_followed: bool,
    /// It touches the one key that it names, and nothing else.
    pub(crate) has_one_key: bool,
}

impl Item {
    /// A command for the host of its key; which that is, the catalog says.
    pub(crate) fn keyed(command: Command) -> Self {
        let (node, script) = (None, None);
        Self { command, node, script, is_by_own_key: true, is_followed: false, has_one_key: false }
    }

    /// A command for a host that its caller chooses, by a node or a key of which it is not known to be its own.
    pub(crate) fn chosen(command: Command) -> Self {
        let has_one_key = merge::Pair::of(&command).is_some();
        Self { is_by_own_key: false, has_one_key, ..Self::keyed(command) }
    }

    /// The only key that it touches, if that is known.
    pub(super) fn only_key(&self) -> Option<&[u8]> {
        if !self.has_one_key {
            return None;
        }
        let key = if self.command.is_routed_apart() { None } else { self.command.routing_key() };
        key.or_else(|| self.command.words().nth(1))
    }
}

/// How a batch is delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// How many hosts are spoken to at once.
    pub(crate) max_concurrency: usize,
    pub(crate) auto_batch: bool,
}

/// What has become of an item.
type Outcome = super::ledger::Outcome<Reply>;

/// What has become of some items: their places in the batch, and the outcome of each.
pub(crate) type Outcomes = (Vec<usize>, Vec<Outcome>);

/// Delivers all items but those that were refused already, within the deadline of the request. Calls with what has become of
/// them: once for each host as it is done, and once for those that were not sent.
pub(crate) async fn deliver(
    request: &Request,
    items: &[Item],
    refused: Vec<(usize, Error)>,
    how: How,
    mut settle: impl FnMut(Outcomes),
) {
    let topology = request.pinned_topology().await;
    let parted = Parted::of(request, topology.as_deref(), items, refused);
    if let Ok(topology) = &topology {
        let mut shares = Vec::with_capacity(parted.shares.len());
        for share in parted.shares {
            shares.push(share.run(topology, how.auto_batch));
        }
        let mut done = stream::iter(shares).buffer_unordered(how.max_concurrency.max(1));
        while let Some(outcomes) = done.next().await {
            settle(outcomes);
        }
    }
    settle(parted.refused.into_iter().map(|(place, error)| (place, Err(error.into()))).unzip());
}

/// The same, for whoever waits for all of them: one outcome each, in order.
pub(crate) async fn deliver_in_order(
    request: &Request,
    items: &[Item],
    refused: Vec<(usize, Error)>,
    how: How,
) -> impl ExactSizeIterator<Item = Result<Reply, Error>> + use<> {
    let mut outcomes: Vec<Option<Outcome>> = items.iter().map(|_| None).collect();
    deliver(request, items, refused, how, |(places, settled)| {
        places.into_iter().zip(settled).for_each(|(place, outcome)| outcomes[place] = Some(outcome));
    })
    .await;
    let missing = || Err(Error::Topology("no host was found for the command".into()));
    outcomes.into_iter().map(move |outcome| outcome.map_or_else(missing, |outcome| outcome.map_err(|error| *error)))
}

/// Items that were parted by the nodes that they are for.
struct Parted<'a> {
    shares: Vec<Share<'a>>,
    /// What is not sent, and why.
    refused: Vec<(usize, Error)>,
}

impl<'a> Parted<'a> {
    /// One that cannot be sent harms no other.
    fn of(
        request: &'a Request,
        topology: Result<&Topology, &Error>,
        items: &'a [Item],
        mut refused: Vec<(usize, Error)>,
    ) -> Self {
        refused.sort_by_key(|(place, _)| *place);
        let mut parted = Self { shares: Vec::new(), refused: Vec::new() };
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
                        parted.shares.push(Share::new(request, topology, node, even_share));
                        parted.shares.len() - 1
                    });
                    parted.shares[share].add(place, item);
                }
                Err(error) => parted.refused.push((place, error)),
            }
        }
        parted
    }
}

/// The node that an item is for; `shard` is that of its key, if it has one and somebody has looked. The last name that was
/// found fit need not be looked at again.
fn destination<'a>(
    request: &Request,
    topology: &'a Topology,
    item: &'a Item,
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

/// What one host gets.
struct Share<'a> {
    request: &'a Request,
    node: Arc<Node>,
    /// The node once more, so that the engine need not place the items again.
    placed: Option<PlacedOn>,
    items: Vec<Note<'a>>,
    /// Those scripts among them that have to keep their place, and so must be there when they are called.
    scripts: Vec<Script>,
    /// Where each of the items stands in the batch.
    places: Vec<usize>,
    outcomes: Vec<Option<Outcome>>,
}

/// What a command of the wire is for.
enum Part {
    /// This script is loaded.
    Load(Script),
    /// This item.
    One(usize),
    /// So many items from this one on.
    Merged(&'static Pair, usize, usize),
    /// Whether any of these items has a key at all.
    Exists(Vec<usize>),
}

/// What is to be asked again.
#[derive(Default)]
struct Again {
    /// As they are.
    single: Vec<usize>,
    /// Whose key is gone, or of another type; by the command that left it open.
    unclear: Vec<Vec<usize>>,
}

impl<'a> Share<'a> {
    fn new(request: &'a Request, topology: &Topology, node: &Arc<Node>, room: usize) -> Self {
        let (items, places) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let placed = PlacedOn::primary(topology, node);
        Self { request, node: node.clone(), placed, items, scripts: Vec::new(), places, outcomes: Vec::new() }
    }

    fn add(&mut self, place: usize, item: &'a Item) {
        self.items.push(Note::of(item));
        if item.is_followed {
            self.scripts.extend(item.script.clone());
        }
        self.places.push(place);
    }

    /// Does it all.
    async fn run(mut self, topology: &Topology, auto_batch: bool) -> Outcomes {
        let mut parts: Vec<Part> = Vec::new();
        let mut at = 0;
        let single = || merge::Run { length: 1, pair: None };
        let runs = match auto_batch {
            true => merge::runs(&self.items, topology.parts_slots()),
            false => self.items.iter().map(|_| single()).collect(),
        };
        for run in runs {
            parts.push(match run.pair {
                Some(pair) => Part::Merged(pair, at, run.length),
                None => Part::One(at),
            });
            at += run.length;
        }
        let scripts = distinct(std::mem::take(&mut self.scripts));
        let mut again = self.send(scripts, parts, true).await;
        // Second the leftovers, third those of them whose key turned out to be there.
        for _ in 0..2 {
            if again.single.is_empty() && again.unclear.is_empty() {
                break;
            }
            again.single.sort_unstable();
            let scripts = again.single.iter().filter_map(|&at| self.items[at].item.script.clone());
            let scripts = distinct(scripts);
            let singles = again.single.into_iter().map(Part::One);
            let parts = singles.chain(again.unclear.into_iter().map(Part::Exists)).collect();
            again = self.send(scripts, parts, false).await;
        }
        let Self { node, places, outcomes, .. } = self;
        let missing = || Err(Error::Topology(format!("{node} gave no answer")).into());
        (places, outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect())
    }

    /// Sends commands in one write and reads what is said to them. What can be settled by asking again is not settled
    /// the first time.
    async fn send(&mut self, scripts: Vec<Script>, parts: Vec<Part>, is_first: bool) -> Again {
        let parts: Vec<Part> = scripts.into_iter().map(Part::Load).chain(parts).collect();
        let commands = parts.iter().map(|part| self.command(part)).collect();
        let options = Options::keeping_failures(is_first);
        let mut again = Again::default();
        let replied = self.request.addressed(commands, self.placed, &options).await;
        // Not before there are any: that memory would have gone cold.
        self.outcomes.resize_with(self.items.len(), || None);
        match replied {
            Ok(replies) => {
                for (part, entry) in parts.into_iter().zip(replies) {
                    self.read(part, entry.result, is_first, &mut again);
                }
            }
            Err(error) => parts.into_iter().for_each(|part| self.read(part, Err(error.clone()), false, &mut again)),
        }
        again
    }

    fn command(&self, part: &Part) -> (Command, Option<Arc<Node>>) {
        let (first, command) = match part {
            Part::Load(script) => return (script.load(), Some(self.node.clone())),
            Part::One(at) => (*at, self.items[*at].item.command.clone()),
            Part::Merged(pair, at, length) => (*at, pair.merged(&self.items[*at..at + length])),
            Part::Exists(items) => {
                let keys = items.iter().filter_map(|&at| self.items[at].item.only_key());
                let command = keys.fold(Command::new("EXISTS"), Command::key).read_only(true);
                let apart =
                    items.first().map(|&at| &self.items[at].item.command).filter(|first| first.is_routed_apart());
                let command = apart.and_then(Command::routing_key).into_iter().fold(command, Command::routed_by);
                (items.first().copied().unwrap_or_default(), command)
            }
        };
        (command, self.items[first].item.node.clone())
    }

    fn put(&mut self, at: usize, outcome: Outcome) {
        self.outcomes[at] = Some(outcome);
    }

    fn read(&mut self, part: Part, result: Result<Reply, Error>, is_first: bool, again: &mut Again) {
        let refusal = result.as_ref().err().and_then(refusal);
        match part {
            // One that cannot be loaded is missed by its calls.
            Part::Load(_) => {}
            Part::One(at) => {
                let is_script = self.items[at].item.script.is_some();
                // A slot that is being moved: the server sends nobody on who asks for several keys at once.
                let is_for_later = refusal.is_some_and(|kind| {
                    (is_script && kind == ServerErrorKind::NoScript) || kind == ServerErrorKind::TryAgain
                });
                match is_first && is_for_later {
                    true => again.single.push(at),
                    false => self.put(at, result.map_err(Box::new)),
                }
            }
            Part::Merged(_, at, length) if refusal.is_some() => again.single.extend(at..at + length),
            Part::Merged(pair, at, length) => match result.map(|reply| pair.parts(reply, length)) {
                Ok(Some(replies)) => {
                    let mut unclear = Vec::new();
                    for (at, reply) in (at..).zip(replies) {
                        match pair.hides_type && reply.is_null() {
                            true => unclear.push(at),
                            false => self.put(at, Ok(reply)),
                        }
                    }
                    again.unclear.extend(Some(unclear).filter(|unclear| !unclear.is_empty()));
                }
                Ok(None) => again.single.extend(at..at + length),
                Err(error) => (at..at + length).for_each(|at| self.put(at, Err(error.clone().into()))),
            },
            Part::Exists(items) => match result {
                // None of them is there, so nil was the whole truth.
                Ok(count) if count.integer() == Some(0) => {
                    items.into_iter().for_each(|at| self.put(at, Ok(Reply::Null)));
                }
                Err(error) if refusal.is_none() => {
                    items.into_iter().for_each(|at| self.put(at, Err(error.clone().into())));
                }
                _ => again.single.extend(items),
            },
        }
    }
}

/// The words of a server that has refused a command instead of running it.
fn refusal(error: &Error) -> Option<ServerErrorKind> {
    match error {
        Error::Shard { message, .. } => Some(message.kind()),
        _ => None,
    }
}

fn distinct(scripts: impl IntoIterator<Item = Script>) -> Vec<Script> {
    let mut distinct: Vec<Script> = Vec::new();
    for script in scripts {
        if !distinct.contains(&script) {
            distinct.push(script);
        }
    }
    distinct
}
