//! [`ConfigNode`]: the plain Redis through which all agree, and the keys and scripts that everybody uses there.
//!
//! All writes are scripts, so a change happens as a whole or not at all, and the time is the server's. Each change has a number,
//! the epoch, which grows by one; what a number was given out for is told apart from what came before and after it by whoever
//! compares the numbers. The keys, with the prefix `{rmr:NAME}:`, or none:
//!
//! | key | type | content |
//! |---|---|---|
//! | `epoch` | string | the number of the last change |
//! | `settings` | hash | what all have to agree on |
//! | `log` | stream | the changes, about 10000 of them, with the epoch as id: `what`, `who`, `slots`, and `at`, in milliseconds |
//! | `changes` | channel | `epoch what`, a hint that something has changed: it may be lost |
//!
//! It may have several addresses: that of its primary, and those of replicas that may be promoted. Of those that are primaries
//! the one with the highest epoch counts, so one that was replaced and comes back is not taken for the real one. All
//! scripts can be run twice with the same result, and are, when a connection breaks.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisConnectionInfo, RedisError, RedisResult, Script};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::error::Error;

/// The beginning of every script.
const PREAMBLE: &str = include_str!("config_node.lua");

/// The time that a server may take to be connected and to say what it is: a machine may be busy, and nobody waits but
/// for this.
const DIAL_LIMIT: Duration = Duration::from_secs(2);

/// The time for which the others are waited for when the first primary has answered.
const OTHERS_LIMIT: Duration = Duration::from_millis(100);

/// The number of times that a script is sent in all, if connections break.
const ATTEMPTS: usize = 2;

/// A script at the configuration node.
pub(crate) struct ConfigScript {
    script: Script,
    /// Tells whether a replica has to have what it wrote before that counts.
    is_change: bool,
}

impl ConfigScript {
    /// Makes a script that changes something: a replica is waited for, if there is one.
    pub(crate) fn change(parts: &[&str]) -> Self {
        Self { script: Script::new(&[&[PREAMBLE], parts].concat().concat()), is_change: true }
    }

    /// Makes a script that only reads, or writes what need not last.
    pub(crate) fn look(parts: &[&str]) -> Self {
        Self { is_change: false, ..Self::change(parts) }
    }
}

/// The configuration node, at whichever of its addresses it is.
pub(crate) struct ConfigNode {
    clients: Vec<Client>,
    prefix: String,
    limit: Duration,
    connected: Mutex<Option<Connected>>,
    /// The number of connections so far: what is known from an earlier one may have been lost with its server.
    generation: watch::Sender<u64>,
    /// The address of the last connection.
    place: AtomicUsize,
    /// The highest epoch that was seen.
    seen: AtomicU64,
}

#[derive(Clone)]
struct Connected {
    connection: MultiplexedConnection,
    client: Client,
    generation: u64,
    has_replicas: bool,
}

/// The facts that a server tells about itself.
struct LivePrimary {
    place: usize,
    connection: MultiplexedConnection,
    has_replicas: bool,
    epoch: u64,
}

impl ConfigNode {
    /// Takes the addresses, as `redis://[user:password@]host:port[/database]`, and the name of what is configured, if it has one.
    /// A command may take as long as `limit`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no address, for one that cannot be read, and for a name with braces or spaces.
    pub(crate) fn new(addresses: &[String], name: Option<&str>, limit: Duration) -> Result<Self, Error> {
        if let Some(name) = name.filter(|name| name.is_empty() || name.contains(['{', '}']) || has_spaces(name)) {
            return Err(Error::Invalid(format!("the name '{name}' is empty, or has braces or spaces in it")));
        }
        let open = |address: &String| {
            let refused = |error: RedisError| Error::Invalid(format!("the configuration node '{address}': {error}"));
            Client::open(address.as_str()).map_err(refused)
        };
        let clients = addresses.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        if clients.is_empty() {
            return Err(Error::Invalid("the configuration node has no address".into()));
        }
        let prefix = name.map(|name| format!("{{rmr:{name}}}:")).unwrap_or_default();
        let (generation, _) = watch::channel(0);
        let (place, seen) = (AtomicUsize::new(0), AtomicU64::new(0));
        Ok(Self { clients, prefix, limit, connected: Mutex::new(None), generation, place, seen })
    }

    /// Returns the name of a key as it is at the server.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Notes an epoch, so that nobody is given a lower one.
    pub(crate) fn saw(&self, epoch: u64) {
        self.seen.fetch_max(epoch, Ordering::Relaxed);
    }

    /// Returns the number of the connection, and wakes who waits for another one.
    pub(crate) fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Runs a script. Its arguments begin at `ARGV[3]`.
    ///
    /// # Errors
    /// [`Error::Node`] if no primary can be reached, or does not answer in time; its words if it refuses the script.
    pub(crate) async fn run<T: FromRedisValue>(&self, script: &ConfigScript, args: &[&str]) -> Result<T, Error> {
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            let Connected { mut connection, generation, has_replicas, .. } = self.connected().await?;
            let seen = self.seen.load(Ordering::Relaxed);
            let mut invocation = script.script.key(self.key("epoch"));
            invocation.arg(&self.prefix).arg(seen).arg(args);
            match invocation.invoke_async(&mut connection).await {
                Ok(answer) => {
                    if script.is_change && has_replicas {
                        // A replica that is late is no reason to refuse what has been done.
                        let wait = redis::cmd("WAIT").arg(1).arg(100).to_owned();
                        let _: RedisResult<i64> = wait.query_async(&mut connection).await;
                    }
                    return Ok(answer);
                }
                Err(error) => {
                    let is_final = !is_passing(&error);
                    failed = Some(self.failure(&error));
                    if is_final {
                        break;
                    }
                    self.forget(generation).await;
                }
            }
        }
        Err(failed.unwrap_or_else(|| Error::Internal("a script was never sent".into())))
    }

    /// Listens to the channel of changes, at the server where scripts run.
    pub(crate) async fn hints(&self) -> Result<PubSub, Error> {
        let Connected { client, .. } = self.connected().await?;
        let listen = async {
            let mut listener = client.get_async_pubsub().await?;
            listener.subscribe(self.key("changes")).await?;
            Ok(listener)
        };
        match timeout(self.limit, listen).await {
            Ok(listener) => listener.map_err(|error| self.failure(&error)),
            Err(_) => Err(self.silence()),
        }
    }

    /// Returns whether it lets those in who say no password.
    ///
    /// # Errors
    /// [`Error::Node`] if it does not answer.
    pub(crate) async fn is_open(&self) -> Result<bool, Error> {
        let Connected { client, .. } = self.connected().await?;
        let known = client.get_connection_info();
        let stranger = known.clone().set_redis_settings(RedisConnectionInfo::default());
        let knock = async {
            let mut connection = Client::open(stranger)?.get_multiplexed_async_connection().await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await
        };
        match timeout(self.limit, knock).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if is_passing(&error) => Err(self.failure(&error)),
            Ok(Err(_)) => Ok(false),
            Err(_) => Err(self.silence()),
        }
    }

    async fn connected(&self) -> Result<Connected, Error> {
        let mut connected = self.connected.lock().await;
        if let Some(connected) = &*connected {
            return Ok(connected.clone());
        }
        let LivePrimary { place, connection, has_replicas, .. } = self.find().await?;
        let generation = *self.generation.borrow() + 1;
        if self.place.swap(place, Ordering::Relaxed) != place && generation > 1 {
            // Another server has taken over. Its epoch is raised with the next renewal, so that it is ahead of the old one if
            // that comes back as a primary.
            self.seen.fetch_add(1, Ordering::Relaxed);
        }
        let new = Connected { connection, client: self.clients[place].clone(), generation, has_replicas };
        *connected = Some(new.clone());
        self.generation.send_replace(generation);
        Ok(new)
    }

    /// Asks all addresses at once, and takes the primary with the highest epoch.
    async fn find(&self) -> Result<LivePrimary, Error> {
        let ask = |(place, client)| async move {
            timeout(DIAL_LIMIT, self.ask(place, client)).await.map_err(|_| self.silence())?
        };
        let mut asked: FuturesUnordered<_> = self.clients.iter().enumerate().map(ask).collect();
        let mut best: Option<LivePrimary> = None;
        let mut failed = None;
        loop {
            let limit = if best.is_some() { OTHERS_LIMIT } else { 2 * DIAL_LIMIT };
            let Ok(Some(answer)) = timeout(limit, asked.next()).await else { break };
            match answer {
                Ok(found) if best.as_ref().is_none_or(|best| (found.epoch, best.place) > (best.epoch, found.place)) => {
                    best = Some(found);
                }
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        best.ok_or_else(|| failed.unwrap_or_else(|| self.silence()))
    }

    async fn ask(&self, place: usize, client: &Client) -> Result<LivePrimary, Error> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(DIAL_LIMIT))
            .set_response_timeout(Some(DIAL_LIMIT));
        let look = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
            let epoch: Option<u64> = redis::cmd("GET").arg(self.key("epoch")).query_async(&mut connection).await?;
            connection.set_response_timeout(self.limit);
            Ok((connection, role, epoch.unwrap_or_default()))
        };
        let (connection, role, epoch) = look.await.map_err(|error: RedisError| self.failure(&error))?;
        let name = role.first().map(String::from_redis_value_ref).and_then(Result::ok);
        if name.as_deref() != Some("master") {
            let cause = "none of its addresses is that of a primary".into();
            return Err(Error::Node { node: self.name(), cause, outcome_unknown: false });
        }
        let has_replicas = matches!(role.get(2), Some(redis::Value::Array(replicas)) if !replicas.is_empty());
        Ok(LivePrimary { place, connection, has_replicas, epoch })
    }

    /// Looks for the server again, unless somebody has done so already.
    async fn forget(&self, generation: u64) {
        let mut connected = self.connected.lock().await;
        if connected.as_ref().is_some_and(|connected| connected.generation == generation) {
            *connected = None;
        }
    }

    /// Returns where it is looked for, without passwords.
    pub(crate) fn addresses(&self) -> String {
        let addresses = self.clients.iter().map(|client| client.get_connection_info().addr().to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    fn name(&self) -> String {
        format!("configuration node {}", self.addresses())
    }

    fn failure(&self, error: &RedisError) -> Error {
        Error::Node { node: self.name(), cause: error.to_string(), outcome_unknown: false }
    }

    fn silence(&self) -> Error {
        let cause = format!("no answer in {} ms", self.limit.as_millis());
        Error::Node { node: self.name(), cause, outcome_unknown: false }
    }
}

/// Returns whether another connection may help: this one is gone, or its server is no primary any more, or not yet.
fn is_passing(error: &RedisError) -> bool {
    let is_of_server = matches!(error.code(), Some("READONLY" | "LOADING" | "MASTERDOWN" | "NOREPLICAS"));
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || is_of_server
}

/// Returns whether a text would fall apart where words are told apart by spaces.
pub(crate) fn has_spaces(text: &str) -> bool {
    text.chars().any(|char| char.is_whitespace() || char.is_control())
}
