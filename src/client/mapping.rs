//! [`Mapping`]: many commands to many hosts at once, and a [`Promise`] for each.

use std::time::Duration;

use super::deliver::{How, Item, deliver};
use super::hosts::{self, ByHost, Hosts};
use super::promise::Promise;
use super::{Client, is_wrong_type};
use crate::argument::Argument;
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::Topology;

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
#[must_use = "a mapping sends nothing before it is joined"]
pub struct Mapping {
    client: Client,
    items: Vec<Item>,
    /// What becomes of each item.
    tos: Vec<To>,
}

/// Where an item goes, and whose result it has.
enum To {
    /// To the host of a key.
    HostOfKey(Promise<Reply>),
    Host(usize, Promise<Reply>),
    Hosts(Box<Hosts>, Promise<ByHost>),
}

impl To {
    fn reject(&self, reason: &Error) {
        // A promise that is settled already is fine as it is.
        let _ = match self {
            Self::HostOfKey(promise) | Self::Host(_, promise) => promise.reject(reason.clone()),
            Self::Hosts(_, promise) => promise.reject(reason.clone()),
        };
    }
}

impl Mapping {
    pub(super) fn new(client: Client) -> Self {
        Self { client, items: Vec::new(), tos: Vec::new() }
    }

    /// The most that a join may take, from its call to the last result. What is not answered by then is rejected with
    /// [`Error::Timeout`]. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.client.timeout = Some(timeout);
        self
    }

    /// How many hosts are spoken to at once; the others wait for their turn, within the timeout. It bounds hosts and
    /// not commands, since a host gets all its commands in one write. Default: 64.
    pub fn max_concurrency(mut self, hosts: usize) -> Self {
        self.client.max_concurrency = hosts;
        self
    }

    /// Whether neighbours for one host may become one command, `GET`s an `MGET`. Default: the client's, which is `true`.
    pub fn auto_batch(mut self, auto_batch: bool) -> Self {
        self.client.auto_batch = auto_batch;
        self
    }

    /// How many commands wait to be sent.
    pub fn len(&self) -> usize {
        self.tos.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.tos.is_empty()
    }

    /// A command for the host of its one key. [`Error::Unroutable`] rejects one that has none, or several.
    pub fn send(&mut self, command: Command) -> Promise<Reply> {
        self.one(Item::keyed(command), To::HostOfKey)
    }

    /// A command for the host that a key belongs to, whatever keys it has itself.
    pub fn send_to_key(&mut self, key: impl Argument, command: Command) -> Promise<Reply> {
        self.one(Item::chosen(command.routed_by(key)), To::HostOfKey)
    }

    /// A command for the host of this id.
    pub fn send_to_host(&mut self, host: usize, command: Command) -> Promise<Reply> {
        self.one(Item::chosen(command), |promise| To::Host(host, promise))
    }

    /// A command for each host of these ids.
    pub fn send_to_hosts(&mut self, hosts: impl IntoIterator<Item = usize>, command: Command) -> Promise<ByHost> {
        self.many(command, Hosts::Of(hosts.into_iter().collect()))
    }

    /// A command for all hosts.
    pub fn send_to_all(&mut self, command: Command) -> Promise<ByHost> {
        self.many(command, Hosts::All)
    }

    /// The values of keys wherever they are, in order; nil for a key that does not exist or is no string, as `MGET` has
    /// it. Rejected with the first failure.
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

    fn one(&mut self, item: Item, to: impl FnOnce(Promise<Reply>) -> To) -> Promise<Reply> {
        let promise = Promise::new();
        self.items.push(item);
        self.tos.push(to(promise.clone()));
        promise
    }

    fn many(&mut self, command: Command, hosts: Hosts) -> Promise<ByHost> {
        let promise = Promise::new();
        self.items.push(Item::chosen(command));
        self.tos.push(To::Hosts(hosts.into(), promise.clone()));
        promise
    }

    /// Sends everything, and returns when every promise is settled: by its result, its failure, or the timeout.
    pub async fn join(&mut self) {
        let mut flight = Flight { tos: std::mem::take(&mut self.tos) };
        run(&self.client, std::mem::take(&mut self.items), &mut flight.tos).await;
    }

    /// Gives up everything that was not joined: nothing of it is sent, and its promises are rejected with
    /// [`Error::Cancelled`].
    pub fn cancel(&mut self) {
        self.items.clear();
        for to in self.tos.drain(..) {
            to.reject(&Error::Cancelled { outcome_unknown: false });
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Promises of commands that have left or are about to. At the end all of them are settled, whatever the end is.
struct Flight {
    tos: Vec<To>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.tos.iter().for_each(|to| to.reject(&Error::Cancelled { outcome_unknown: true }));
    }
}

/// Runs all items within the client's timeout, and settles their promises.
async fn run(client: &Client, items: Vec<Item>, tos: &mut Vec<To>) {
    let engine = client.timed_engine();
    let (mut items, mut refused, mut hosts) = (items, Vec::new(), Vec::new());
    if tos.iter().any(|to| matches!(to, To::Host(..) | To::Hosts(..))) {
        match engine.pinned_topology().await {
            Ok(topology) => (items, hosts) = placed(items, tos, &topology, &mut refused),
            Err(error) => {
                let for_hosts = |(_, to): &(usize, &To)| matches!(to, To::Host(..) | To::Hosts(..));
                refused.extend(tos.iter().enumerate().filter(for_hosts).map(|(place, _)| (place, error.clone())));
            }
        }
    }
    refused.extend(client.catalog.route(&engine, &mut items).await.refused);
    let mut outcomes = deliver(&engine, &items, refused, client.how()).await;
    let mut hosts = hosts.into_iter();
    for to in tos.drain(..) {
        // A promise that its holder has settled stays as it is.
        let _ = match to {
            To::HostOfKey(promise) | To::Host(_, promise) => outcomes.next().map(|outcome| promise.settle(outcome)),
            To::Hosts(_, promise) => match hosts.next() {
                Some(ids) => {
                    let mut outcome = |missing: Option<Error>| missing.map(Err).or_else(|| outcomes.next());
                    let by_host = ids.into_iter().filter_map(|(id, missing)| Some((id, outcome(missing)?)));
                    Some(promise.resolve(by_host.collect()))
                }
                // It was refused as a whole.
                None => outcomes.next().and_then(Result::err).map(|error| promise.reject(error)),
            },
        };
    }
}

/// The hosts of one item, with the reason for each that there is none.
type Ids = Vec<(usize, Option<Error>)>;

/// The items with the nodes that they are for; one for several hosts becomes one for each that there is.
fn placed(
    items: Vec<Item>,
    tos: &[To],
    topology: &Topology,
    refused: &mut Vec<(usize, Error)>,
) -> (Vec<Item>, Vec<Ids>) {
    let mut placed = Vec::with_capacity(items.len());
    let mut hosts = Vec::new();
    for (item, to) in items.into_iter().zip(tos) {
        match to {
            To::HostOfKey(_) => placed.push(item),
            To::Host(id, _) => {
                let node = hosts::host(topology, *id).map_err(|error| refused.push((placed.len(), error)));
                placed.push(Item { node: node.ok(), ..item });
            }
            To::Hosts(several, _) => {
                let ids = several.nodes(topology).into_iter().map(|(id, node)| {
                    let missing = node.map(|node| placed.push(Item { node: Some(node), ..item.clone() }));
                    (id, missing.err())
                });
                hosts.push(ids.collect());
            }
        }
    }
    (placed, hosts)
}

/// Runs commands of which each goes to its key's host, for whoever needs no promises.
pub(super) async fn run_keyed(
    client: &Client,
    commands: impl IntoIterator<Item = Command>,
) -> Vec<Result<Reply, Error>> {
    let engine = client.timed_engine();
    let mut items: Vec<Item> = commands.into_iter().map(Item::keyed).collect();
    let routed = client.catalog.route(&engine, &mut items).await;
    deliver(&engine, &items, routed.refused, client.how()).await.collect()
}

impl Client {
    /// How this client's batches are delivered.
    pub(super) fn how(&self) -> How {
        How { max_concurrency: self.max_concurrency, auto_batch: self.auto_batch }
    }
}
