//! A client of many hosts: each command to the host of its one key, many at once, by promises if that is liked.
//!
//! [`Client`] is what the Python library rb offers, as Rust: routing, mapping with auto-batching, fan-out, lists of
//! commands with scripts. It stands on the [`Engine`], which does all the sending, and adds what a program wants that
//! does not want to know where keys are: key positions by the servers' own word ([`catalog`]), batches of mixed commands
//! in which each has its own outcome ([`deliver`], [`merge`]), and [`Promise`]s.

mod catalog;
mod deliver;
mod execute;
mod hosts;
mod mapping;
mod merge;
mod pair;
mod promise;
mod routed_command;
mod script;

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "module")]
pub(crate) use deliver::{DeliveryOptions, deliver_in_order};
pub use execute::Action;
#[cfg(feature = "module")]
pub(crate) use execute::list_of;
pub use hosts::ByHost;
pub use mapping::Mapping;
pub use promise::Promise;
pub(crate) use routed_command::RoutedCommand;
pub use script::{Script, ScriptCall};

use crate::command::Argument;
use crate::command::Command;
use crate::engine::{Engine, Request, RequestBuilder};
use crate::error::Error;
use crate::reply::Reply;
use crate::resp::ServerErrorKind;
use catalog::{Catalog, Routed};

/// The number of hosts that are spoken to at once, unless the program sets another.
pub(crate) const MAX_CONCURRENCY: usize = 64;

/// A client of many hosts. Cheap to clone; clones share connections and what is known of commands.
///
/// Hosts are counted from 0, in the order of the list of nodes; in a Redis Cluster in slot order.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// # #[tokio::main] async fn main() -> Result<(), rmr::Error> {
/// # let servers = rmr::testing::Servers::start(3);
/// # let list = servers.iter().map(|server| server.address().to_string()).collect::<Vec<_>>().join(" ");
/// use rmr::{Client, Command, Engine, StaticList};
///
/// let engine = Engine::builder().provider(StaticList::parse(&list)?).build();
/// let client = Client::new(engine);
/// client.execute(Command::new("SET").arg("visits").arg(7)).await?;
/// assert_eq!(client.execute(Command::new("INCR").arg("visits")).await?.integer(), Some(8));
///
/// let refusal = client.execute(Command::new("DBSIZE")).await.unwrap_err();
/// assert!(refusal.to_string().starts_with("'DBSIZE' has no key"));
/// # Ok(()) }
/// # main().unwrap(); }
/// ```
///
/// Longer pages: [`Engine` or `Client`](crate::_docs::which_of_the_three), [what an answer is worth](crate::_docs::guarantees).
#[derive(Clone)]
pub struct Client {
    engine: Engine,
    catalog: Arc<Catalog>,
    timeout: Option<Duration>,
    max_concurrency: usize,
    auto_batch: bool,
}

impl Client {
    /// Makes a client of the engine's hosts.
    pub fn new(engine: Engine) -> Self {
        let catalog = Arc::default();
        Self { engine, catalog, timeout: None, max_concurrency: MAX_CONCURRENCY, auto_batch: true }
    }

    /// Sets the most time that one call may take. Default: the engine's timeout, which is 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how many hosts one call speaks to at once. Default: 64.
    #[must_use]
    pub fn max_concurrency(mut self, hosts: usize) -> Self {
        self.max_concurrency = hosts;
        self
    }

    /// Sets whether neighbours for one host may become one command, as `GET`s an `MGET`, in all that sends several. Without
    /// it, `MONITOR` and `INFO commandstats` show the commands of the code. Default: `true`.
    #[must_use]
    pub fn auto_batch(mut self, auto_batch: bool) -> Self {
        self.auto_batch = auto_batch;
        self
    }

    /// Returns the engine that it stands on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Sends a command to the host of its one key.
    ///
    /// The servers themselves tell where its key stands. A command that may block, such
    /// as `BLPOP`, has a connection to itself, and all of the timeout to wait.
    ///
    /// # Errors
    /// [`Error::Unroutable`] for a command that is unknown, has no key or has several; [`Error::Shard`] for an error of the
    /// server; what any request can end in.
    pub async fn execute(&self, command: Command) -> Result<Reply, Error> {
        let request = self.request();
        let mut item = RoutedCommand::keyed(command);
        let Routed { refused, may_block } = self.catalog.route(&request, std::slice::from_mut(&mut item)).await;
        if let Some((_, refused)) = refused.into_iter().next() {
            return Err(refused);
        }
        let command = item.command;
        if may_block {
            return request.alone(command).await;
        }
        let replies = request.map([command]).await?;
        replies.into_all()?.pop().ok_or_else(|| Error::Topology("no host was found for the command".into()))
    }

    /// Sends a command to the host of this id, whatever keys it has.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such host; as [`execute`](Self::execute).
    pub async fn execute_on_host(&self, host: usize, command: Command) -> Result<Reply, Error> {
        let mut map = self.map();
        let promise = map.send_to_host(host, command);
        map.join().await;
        promise.await
    }

    /// Sends a command to the host that a key belongs to, whatever keys it has itself.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn execute_on_host_of(&self, key: impl Argument, command: Command) -> Result<Reply, Error> {
        let mut map = self.map();
        let promise = map.send_to_key(key, command);
        map.join().await;
        promise.await
    }

    /// Sends a command to all hosts. Returns the answer of each, by its id.
    ///
    /// # Errors
    /// Only what keeps it from being sent to any; a failure of one host stands among the results.
    pub async fn fan_out(&self, command: Command) -> Result<ByHost, Error> {
        let mut map = self.map();
        let promise = map.send_to_all(command);
        map.join().await;
        promise.await
    }

    /// Sends a command to the hosts of these ids. Returns the answer of each, by its id.
    ///
    /// # Errors
    /// As [`fan_out`](Self::fan_out).
    pub async fn fan_out_to(&self, hosts: impl IntoIterator<Item = usize>, command: Command) -> Result<ByHost, Error> {
        let mut map = self.map();
        let promise = map.send_to_hosts(hosts, command);
        map.join().await;
        promise.await
    }

    /// Returns the values of keys wherever they are, in order; nil for a key that does not exist or is no string, as
    /// `MGET` has it.
    ///
    /// # Errors
    /// The first failure.
    pub async fn mget<K: Argument>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Reply>, Error> {
        let gets = keys.into_iter().map(|key| Command::new("GET").key(key));
        let no_string = |result: Result<Reply, Error>| match result {
            Err(error) if is_wrong_type(&error) => Ok(Reply::Null),
            result => result,
        };
        self.execute_all(gets).await.into_iter().map(no_string).collect()
    }

    /// Sets keys wherever they are. Over several hosts that is not atomic.
    ///
    /// # Errors
    /// The first failure; other keys may have been set all the same.
    pub async fn mset<K: Argument, V: Argument>(&self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<(), Error> {
        let sets = pairs.into_iter().map(|(key, value)| Command::new("SET").key(key).arg(value));
        self.execute_all(sets).await.into_iter().try_for_each(|result| result.map(drop))
    }

    /// Returns the id of the host that a key belongs to.
    ///
    /// # Errors
    /// If the topology is not known, or no host holds such keys.
    pub async fn host_of(&self, key: impl Argument) -> Result<usize, Error> {
        let request = self.request();
        let topology = request.pinned_topology().await?;
        let command = Command::new("GET").key(key);
        let node = request.owner(&topology, &command)?;
        let host = hosts::all(&topology).find(|(_, known)| Arc::ptr_eq(known, node)).map(|(id, _)| id);
        host.ok_or_else(|| Error::Topology(format!("{node} is no host")))
    }

    /// Begins the one request that all of a call belongs to.
    fn request(&self) -> Request {
        self.timeout.into_iter().fold(self.engine.request(), RequestBuilder::timeout).begin()
    }
}

/// Tells whether a server said that a key is of another type than the command is for.
fn is_wrong_type(error: &Error) -> bool {
    matches!(error, Error::Shard { message, .. } if message.kind() == ServerErrorKind::WrongType)
}
