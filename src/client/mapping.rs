//! [`Mapping`]: many commands to many hosts at once, and a [`Promise`] for each.

use std::sync::Arc;
use std::time::Duration;

use super::deliver::{DeliveryOptions, deliver, deliver_in_order};
use super::hosts::{self, ByHost, Hosts};
use super::promise::{Promise, PromiseSet};
use super::routed_command::RoutedCommand;
use super::{Client, is_wrong_type};
use crate::command::Argument;
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{Node, Topology};

/// Gathers commands, and sends them all when it is joined: each host's in one write, all hosts at once. Their results
/// are promises, which are settled when [`join`](Self::join) returns.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// # use rmr::{Command, Error};
/// # #[tokio::main] async fn main() -> Result<(), Error> {
/// # let servers = rmr::testing::Servers::start(2);
/// # let client = servers.client();
/// let mut map = client.map();
/// for number in 0..100 {
///     map.send(Command::new("SET").arg(format!("key:{number}")).arg(number));
/// }
/// let numbers: Vec<_> = (0..100).map(|number| map.send(Command::new("GET").arg(format!("key:{number}")))).collect();
/// map.join().await;
/// assert_eq!(numbers.iter().filter_map(|number| number.value()?.integer()).sum::<i64>(), 4950);
/// # Ok(()) }
/// # main().unwrap(); }
/// ```
///
/// # Order
///
/// Commands for one host run in the order in which they were sent; nothing is said about those for different hosts.
///
/// # Failures
///
/// A failure is that of its command, and is found in its promise: all others go on. A mapping that is dropped has
/// cancelled what was not joined. So has one whose future of `join` is dropped, as `tokio::select!` and
/// `tokio::time::timeout` do: what has not left is not sent, and every promise that is pending is rejected with
/// [`Error::Cancelled`].
///
/// # Memory
///
/// The results of a join are kept together, for as long as any of its promises is. Whoever wants to keep a few of many
/// large ones should keep the values, and not the promises.
#[must_use = "a mapping sends nothing before it is joined"]
pub struct Mapping {
    client: Client,
    queued: QueuedCommands,
}

/// Holds commands that wait for a join, and what is promised of each. None has left; what never does is rejected in the end.
#[derive(Default)]
struct QueuedCommands {
    items: Vec<RoutedCommand>,
    /// The result of each item.
    promises: PromiseSet<Reply>,
    /// The items that are for a host of some id: their places, and the ids.
    at_hosts: Vec<(usize, usize)>,
    fan_outs: Vec<HostFanOut>,
}

/// Holds a command for several hosts, and what is promised of it.
struct HostFanOut {
    /// The item that it stands before.
    place: usize,
    command: Command,
    hosts: Hosts,
    promise: Promise<ByHost>,
}

impl Mapping {
    fn new(client: Client) -> Self {
        Self { client, queued: QueuedCommands::default() }
    }

    /// Sets the most time that a join may take, from its call to the last result. Commands that are not answered by
    /// then are rejected with [`Error::Timeout`]. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.client.timeout = Some(timeout);
        self
    }

    /// Sets how many hosts are spoken to at once; the others wait for their turn, within the timeout. It bounds hosts and
    /// not commands, since a host gets all its commands in one write. Default: 64.
    pub fn max_concurrency(mut self, hosts: usize) -> Self {
        self.client.max_concurrency = hosts;
        self
    }

    /// Sets whether neighbours for one host may become one command, `GET`s an `MGET`. Default: the client's, which is `true`.
    pub fn auto_batch(mut self, auto_batch: bool) -> Self {
        self.client.auto_batch = auto_batch;
        self
    }

    /// Returns how many commands wait to be sent.
    pub fn len(&self) -> usize {
        self.queued.items.len() + self.queued.fan_outs.len()
    }

    /// Tells whether no command waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues a command for the host of its one key. [`Error::Unroutable`] rejects one that has none, or several.
    pub fn send(&mut self, command: Command) -> Promise<Reply> {
        self.queued.add(RoutedCommand::keyed(command))
    }

    /// Queues a command for the host that a key belongs to, whatever keys it has itself.
    pub fn send_to_key(&mut self, key: impl Argument, command: Command) -> Promise<Reply> {
        self.queued.add(RoutedCommand::chosen(command.routed_by(key)))
    }

    /// Queues a command for the host of this id.
    pub fn send_to_host(&mut self, host: usize, command: Command) -> Promise<Reply> {
        self.queued.at_hosts.push((self.queued.items.len(), host));
        self.queued.add(RoutedCommand::chosen(command))
    }

    /// Queues a command for each host of these ids.
    pub fn send_to_hosts(&mut self, hosts: impl IntoIterator<Item = usize>, command: Command) -> Promise<ByHost> {
        self.queued.fan_out(command, Hosts::Of(hosts.into_iter().collect()))
    }

    /// Queues a command for all hosts.
    pub fn send_to_all(&mut self, command: Command) -> Promise<ByHost> {
        self.queued.fan_out(command, Hosts::All)
    }

    /// Queues reads of the values of keys wherever they are, in order; nil for a key that does not exist or is no
    /// string, as `MGET` has it. Rejected with the first failure.
    pub fn mget<K: Argument>(&mut self, keys: impl IntoIterator<Item = K>) -> Promise<Vec<Reply>> {
        let gets = keys.into_iter().map(|key| {
            let no_string = |error| if is_wrong_type(&error) { Ok(Reply::Null) } else { Err(error) };
            self.send(Command::new("GET").key(key)).then_or(Ok, no_string)
        });
        Promise::all(gets.collect::<Vec<_>>())
    }

    /// Sets keys wherever they are. Over several hosts that is not atomic. Rejected with the first failure.
    pub fn mset<K: Argument, V: Argument>(&mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Promise<()> {
        let sets = pairs.into_iter().map(|(key, value)| self.send(Command::new("SET").key(key).arg(value)));
        Promise::all(sets.collect::<Vec<_>>()).then(|_| Ok(()))
    }

    /// Sends everything, and returns when every promise is settled: by its result, its failure, or the timeout.
    pub async fn join(&mut self) {
        let mut join = JoinInProgress::default();
        join.run(&self.client, std::mem::take(&mut self.queued)).await;
    }

    /// Gives up everything that was not joined: nothing of it is sent, and its promises are rejected with
    /// [`Error::Cancelled`].
    pub fn cancel(&mut self) {
        self.queued = QueuedCommands::default();
    }
}

impl QueuedCommands {
    fn add(&mut self, item: RoutedCommand) -> Promise<Reply> {
        self.items.push(item);
        self.promises.add()
    }

    fn fan_out(&mut self, command: Command, hosts: Hosts) -> Promise<ByHost> {
        let promise = Promise::new();
        self.fan_outs.push(HostFanOut { place: self.items.len(), command, hosts, promise: promise.clone() });
        promise
    }
}

impl Drop for QueuedCommands {
    fn drop(&mut self) {
        let reason = Error::Cancelled { outcome_unknown: false };
        self.promises.reject(&reason);
        reject_all(self.fan_outs.drain(..).map(|fan_out| fan_out.promise), &reason);
    }
}

fn reject_all(promises: impl Iterator<Item = Promise<ByHost>>, reason: &Error) {
    // One that is settled stays as it is.
    promises.for_each(|promise| drop(promise.reject(reason.clone())));
}

/// A host's id, and what it answers.
type ResultOfHost = (usize, Promise<Reply>);

/// Holds the promises of commands that have left or are about to. At the end all of them are settled, whatever the end is.
#[derive(Default)]
struct JoinInProgress {
    /// The results of items.
    promises: PromiseSet<Reply>,
    /// The place of each item's promise among them; empty if they are in the same order.
    places: Vec<usize>,
    /// The promises of fan-outs, with the result of each host.
    by_host: Vec<(Promise<ByHost>, Vec<ResultOfHost>)>,
}

impl Drop for JoinInProgress {
    fn drop(&mut self) {
        let reason = Error::Cancelled { outcome_unknown: true };
        self.promises.reject(&reason);
        reject_all(self.by_host.drain(..).map(|(promise, _)| promise), &reason);
    }
}

impl JoinInProgress {
    /// Runs everything within the client's timeout, and settles the promises.
    async fn run(&mut self, client: &Client, mut queued: QueuedCommands) {
        let request = client.request();
        let mut refused = Vec::new();
        let topology = match queued.at_hosts.is_empty() && queued.fan_outs.is_empty() {
            true => None,
            false => Some(request.pinned_topology().await),
        };
        self.promises = std::mem::take(&mut queued.promises);
        let mut items = match topology {
            None => std::mem::take(&mut queued.items),
            Some(topology) => self.place(&mut queued, topology.as_deref(), &mut refused),
        };
        refused.extend(client.catalog.route(&request, &mut items).await.refused);
        deliver(&request, &items, refused, client.delivery_options(), |(mut places, outcomes)| {
            if !self.places.is_empty() {
                places.iter_mut().for_each(|place| *place = self.places[*place]);
            }
            self.promises.settle(&places, outcomes);
        })
        .await;
        for (promise, hosts) in self.by_host.drain(..) {
            let outcomes = hosts.into_iter().filter_map(|(id, result)| Some((id, result.outcome()?)));
            // A promise that its holder has settled stays as it is.
            let _ = promise.resolve(outcomes.collect());
        }
    }

    /// Finds the nodes of items that are not for the node of their key; a fan-out becomes an item for each node.
    fn place(
        &mut self,
        queued: &mut QueuedCommands,
        topology: Result<&Topology, &Error>,
        refused: &mut Vec<(usize, Error)>,
    ) -> Vec<RoutedCommand> {
        let mut at_hosts = queued.at_hosts.drain(..).peekable();
        let mut fan_outs = queued.fan_outs.drain(..).peekable();
        let mut items = Vec::with_capacity(queued.items.len());
        let mut queued = queued.items.drain(..).enumerate();
        loop {
            let next = queued.next();
            while let Some(fan_out) =
                fan_outs.next_if(|fan_out| next.as_ref().is_none_or(|(place, _)| fan_out.place <= *place))
            {
                self.fan_out(fan_out, topology, &mut items);
            }
            let Some((place, mut item)) = next else { return items };
            if let Some((_, id)) = at_hosts.next_if(|(of, _)| *of == place) {
                match topology.map_err(Error::clone).and_then(|topology| hosts::host(topology, id)) {
                    Ok(node) => item.node = Some(node),
                    Err(error) => refused.push((items.len(), error)),
                }
            }
            items.push(item);
            self.places.push(place);
        }
    }

    fn fan_out(&mut self, fan_out: HostFanOut, topology: Result<&Topology, &Error>, items: &mut Vec<RoutedCommand>) {
        let HostFanOut { command, hosts, promise, .. } = fan_out;
        let topology = match topology {
            Ok(topology) => topology,
            Err(error) => return drop(promise.reject(error.clone())),
        };
        let item = RoutedCommand::chosen(command);
        let to_host = |(id, node): (usize, Result<Arc<Node>, Error>)| match node {
            Ok(node) => {
                items.push(RoutedCommand { node: Some(node), ..item.clone() });
                self.places.push(self.promises.len());
                (id, self.promises.add())
            }
            Err(missing) => (id, Promise::rejected(missing)),
        };
        self.by_host.push((promise, hosts.nodes(topology).into_iter().map(to_host).collect()));
    }
}

/// Runs commands of which each goes to its key's host, for whoever needs no promises.
async fn run_keyed(client: &Client, commands: impl IntoIterator<Item = Command>) -> Vec<Result<Reply, Error>> {
    let request = client.request();
    let mut items: Vec<RoutedCommand> = commands.into_iter().map(RoutedCommand::keyed).collect();
    let routed = client.catalog.route(&request, &mut items).await;
    deliver_in_order(&request, &items, routed.refused, client.delivery_options()).await.collect()
}

impl Client {
    /// Sends each command to the host of its one key, all at once. One result each, in order: a failure is that of its
    /// command and of no other.
    ///
    /// The same as a [`map`](Self::map) whose promises are awaited, for those who need none.
    pub async fn execute_all(&self, commands: impl IntoIterator<Item = Command>) -> Vec<Result<Reply, Error>> {
        run_keyed(self, commands).await
    }

    /// Begins a mapping: many commands at once, and a promise for each.
    pub fn map(&self) -> Mapping {
        Mapping::new(self.clone())
    }

    /// Says how this client's batches are delivered.
    pub(super) fn delivery_options(&self) -> DeliveryOptions {
        DeliveryOptions { max_concurrency: self.max_concurrency, auto_batch: self.auto_batch }
    }
}
