//! [`Mapping`]: many commands to many hosts at once, and a [`Promise`] for each.

use std::time::Duration;

use super::catalog::Routed;
use super::deliver::{How, Item, deliver};
use super::hosts::{self, ByHost, Hosts};
use super::promise::Promise;
use super::{Client, is_wrong_type};
use crate::argument::Argument;
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;

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
    queue: Vec<(Command, To)>,
}

/// Where a command goes, and whose result it has.
enum To {
    ItsKey(Promise<Reply>),
    KeyOf(Vec<u8>, Promise<Reply>),
    Host(usize, Promise<Reply>),
    Hosts(Hosts, Promise<ByHost>),
}

impl To {
    fn reject(&self, reason: &Error) {
        // A promise that is settled already is fine as it is.
        let _ = match self {
            Self::ItsKey(promise) | Self::KeyOf(_, promise) | Self::Host(_, promise) => promise.reject(reason.clone()),
            Self::Hosts(_, promise) => promise.reject(reason.clone()),
        };
    }
}

impl Mapping {
    pub(super) fn new(client: Client) -> Self {
        Self { client, queue: Vec::new() }
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
        self.queue.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A command for the host of its one key. [`Error::Unroutable`] rejects one that has none, or several.
    pub fn send(&mut self, command: Command) -> Promise<Reply> {
        self.one(command, To::ItsKey)
    }

    /// A command for the host that a key belongs to, whatever keys it has itself.
    pub fn send_to_key(&mut self, key: impl Argument, command: Command) -> Promise<Reply> {
        let key = key.to_argument().into_owned();
        self.one(command, |promise| To::KeyOf(key, promise))
    }

    /// A command for the host of this id.
    pub fn send_to_host(&mut self, host: usize, command: Command) -> Promise<Reply> {
        self.one(command, |promise| To::Host(host, promise))
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

    fn one(&mut self, command: Command, to: impl FnOnce(Promise<Reply>) -> To) -> Promise<Reply> {
        let promise = Promise::new();
        self.queue.push((command, to(promise.clone())));
        promise
    }

    fn many(&mut self, command: Command, hosts: Hosts) -> Promise<ByHost> {
        let promise = Promise::new();
        self.queue.push((command, To::Hosts(hosts, promise.clone())));
        promise
    }

    /// Sends everything, and returns when every promise is settled: by its result, its failure, or the timeout.
    pub async fn join(&mut self) {
        let (commands, tos) = std::mem::take(&mut self.queue).into_iter().unzip();
        let flight = Flight { tos };
        run(&self.client, commands, &flight.tos).await;
    }

    /// Gives up everything that was not joined: nothing of it is sent, and its promises are rejected with
    /// [`Error::Cancelled`].
    pub fn cancel(&mut self) {
        for (_, to) in self.queue.drain(..) {
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

/// A promise that waits for the outcomes of its items.
enum Waits<'a> {
    One(&'a Promise<Reply>),
    /// For one item of each host that there is.
    ByHost(&'a Promise<ByHost>, Vec<(usize, Option<Error>)>),
}

/// Runs all commands within the client's timeout, and settles their promises.
async fn run(client: &Client, commands: Vec<Command>, tos: &[To]) {
    let engine = client.timed_engine();
    let routed = client.catalog.route(&engine, commands, |place| matches!(tos[place], To::ItsKey(_))).await;
    let topology = match tos.iter().any(|to| matches!(to, To::Host(..) | To::Hosts(..))) {
        true => engine.pinned_topology().await,
        false => Err(Error::Topology("no topology was needed".into())),
    };
    let (mut items, mut waits) = (Vec::with_capacity(tos.len()), Vec::with_capacity(tos.len()));
    for (routed, to) in routed.into_iter().zip(tos) {
        let Routed { command, has_one_key, .. } = match routed {
            Ok(routed) => routed,
            Err(error) => {
                to.reject(&error);
                continue;
            }
        };
        match (to, &topology) {
            (To::ItsKey(promise), _) => {
                items.push(Item::keyed(command, has_one_key));
                waits.push(Waits::One(promise));
            }
            (To::KeyOf(key, promise), _) => {
                items.push(Item::chosen(command.routed_by(key), None));
                waits.push(Waits::One(promise));
            }
            (To::Host(..) | To::Hosts(..), Err(error)) => to.reject(error),
            (To::Host(id, promise), Ok(topology)) => match hosts::host(topology, *id) {
                Ok(node) => {
                    items.push(Item::chosen(command, Some(node)));
                    waits.push(Waits::One(promise));
                }
                Err(error) => to.reject(&error),
            },
            (To::Hosts(hosts, promise), Ok(topology)) => {
                let ids = hosts.nodes(topology).into_iter().map(|(id, node)| {
                    let missing = node.map(|node| items.push(Item::chosen(command.clone(), Some(node))));
                    (id, missing.err())
                });
                waits.push(Waits::ByHost(promise, ids.collect()));
            }
        }
    }
    let mut outcomes = deliver(&engine, items, client.how()).await.into_iter();
    for waits in waits {
        // A promise that its holder has settled stays as it is.
        let _ = match waits {
            Waits::One(promise) => outcomes.next().map(|outcome| promise.settle(outcome)),
            Waits::ByHost(promise, hosts) => {
                let mut outcome = |missing: Option<Error>| missing.map(Err).or_else(|| outcomes.next());
                let by_host = hosts.into_iter().filter_map(|(id, missing)| Some((id, outcome(missing)?)));
                Some(promise.resolve(by_host.collect()))
            }
        };
    }
}

/// Runs commands of which each goes to its key's host, for whoever needs no promises.
pub(super) async fn run_keyed(client: &Client, commands: Vec<Command>) -> Vec<Result<Reply, Error>> {
    let engine = client.timed_engine();
    let routed = client.catalog.route(&engine, commands, |_| true).await;
    let mut items = Vec::with_capacity(routed.len());
    let mut refused = Vec::with_capacity(routed.len());
    for routed in routed {
        refused.push(routed.map(|routed| items.push(Item::keyed(routed.command, routed.has_one_key))).err());
    }
    let mut outcomes = deliver(&engine, items, client.how()).await.into_iter();
    refused.into_iter().filter_map(|refused| refused.map(Err).or_else(|| outcomes.next())).collect()
}

impl Client {
    /// How this client's batches are delivered.
    pub(super) fn how(&self) -> How {
        How { max_concurrency: self.max_concurrency, auto_batch: self.auto_batch }
    }
}
