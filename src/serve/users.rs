//! The users as whom clients are logged in: each user of the nodes has links of its own, and nobody's command goes over
//! another's.
//!
//! The nodes check passwords, each time that a client names one; the proxy knows no users. A client that has named none is
//! what a node lets everybody be: its default user without a password, or nobody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pubsub::Hub;
use super::refusal::is_refusal;
use super::shared_topology::SharedTopology;
use crate::engine::{Engine, Stats};
use crate::error::Error;
use crate::link::{Credentials, LinkOptions, LinkStats, StatsByNode};
use crate::shard::ShardFunc;
use crate::topology::Address;

/// The time for which the links of a user without clients stay open, for those who connect again and again.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Makes what all engines of users have in common.
pub(super) struct EngineParts {
    /// Makes the options of links, but for credentials.
    pub(super) links: Box<dyn Fn() -> LinkOptions + Send + Sync>,
    /// Makes the function that says which node a key belongs to, where nodes have no slots.
    pub(super) shard_func: Option<Box<dyn Fn() -> Box<dyn ShardFunc> + Send + Sync>>,
    pub(super) topology: SharedTopology,
    pub(super) timeout: Duration,
    pub(super) max_reply_bytes: usize,
    /// The counters of all users' requests, and of all links to each node: users come and go, counters stay.
    pub(super) stats: Arc<Stats>,
    pub(super) stats_by_node: Arc<StatsByNode>,
}

impl EngineParts {
    /// Builds the engine of a user, or of those who are none.
    fn build(&self, credentials: Option<Credentials>) -> Engine {
        let links = (self.links)().ignoring_logins().gathering().counting_by_node(self.stats_by_node.clone());
        let links = credentials.into_iter().fold(links, LinkOptions::credentials);
        let builder = Engine::builder().provider(self.topology.clone()).links(links).timeout(self.timeout);
        let builder = builder.counting_in(self.stats.clone());
        let shard_func = self.shard_func.iter().map(|make| make());
        let engine = shard_func.fold(builder, |builder, shard_func| builder.boxed_shard_func(shard_func)).build();
        engine.set_max_reply_bytes(self.max_reply_bytes);
        engine.set_max_in_flight(usize::MAX);
        engine
    }
}

/// A user, and the links that only its commands go over.
pub(super) struct ProxyUser {
    pub(super) name: String,
    pub(super) engine: Engine,
    pub(super) hub: Hub,
}

impl ProxyUser {
    fn new(name: String, engine: Engine) -> Arc<Self> {
        Arc::new(Self { name, hub: Hub::new(engine.clone()), engine })
    }
}

/// The users that clients are, or were a moment ago.
pub(super) struct Users {
    parts: EngineParts,
    known: Mutex<HashMap<(String, Vec<u8>), KnownUser>>,
    anonymous: Arc<ProxyUser>,
    /// Tells whether nodes let everybody in, as far as is known.
    are_open: AtomicBool,
}

struct KnownUser {
    user: Arc<ProxyUser>,
    used: Instant,
}

impl Users {
    /// Makes the table of users, without users. Must be called within a tokio runtime.
    pub(super) fn new(parts: EngineParts) -> Self {
        let anonymous = ProxyUser::new("default".into(), parts.build(None));
        Self { parts, known: Mutex::default(), anonymous, are_open: AtomicBool::new(false) }
    }

    /// Returns what the requests of all users have come to.
    pub(super) fn stats(&self) -> &Stats {
        &self.parts.stats
    }

    /// Returns what all links to each of these nodes have come to.
    pub(super) fn stats_of_nodes(&self, nodes: &[Address]) -> Vec<Arc<LinkStats>> {
        self.parts.stats_by_node.of(nodes)
    }

    /// Returns what a client is that has named no user.
    pub(super) fn anonymous(&self) -> &Arc<ProxyUser> {
        &self.anonymous
    }

    /// Returns whether nodes serve clients that have named no user. Asked of them until they do.
    ///
    /// # Errors
    /// If no node has answered.
    pub(super) async fn are_open(&self) -> Result<bool, Error> {
        if !self.are_open.load(Relaxed) {
            match check(&self.anonymous.engine).await? {
                Ok(()) => self.are_open.store(true, Relaxed),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Has been told by a node that it does not serve clients without a user.
    pub(super) fn have_closed(&self) {
        self.are_open.store(false, Relaxed);
    }

    /// Has the nodes check a user's password, and returns the user; the words of the node that refuses it inside.
    ///
    /// # Errors
    /// If no node has answered.
    pub(super) async fn log_in(&self, name: &str, password: &[u8]) -> Result<Result<Arc<ProxyUser>, String>, Error> {
        let key = (name.to_owned(), password.to_vec());
        let known = self.known().get(&key).map(|known| known.user.clone());
        let user = known.unwrap_or_else(|| {
            ProxyUser::new(name.to_owned(), self.parts.build(Some(Credentials::new(name, password))))
        });
        if let Err(refusal) = check(&user.engine).await? {
            self.known().remove(&key);
            return Ok(Err(refusal));
        }
        let mut known = self.known();
        known.retain(|_, known| Arc::strong_count(&known.user) > 1 || known.used.elapsed() < KEPT_FOR);
        let known = known.entry(key).or_insert(KnownUser { user, used: Instant::now() });
        known.used = Instant::now();
        Ok(Ok(known.user.clone()))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(String, Vec<u8>), KnownUser>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to a node with the links of an engine. Returns the words of a node that does not take who they are for.
async fn check(engine: &Engine) -> Result<Result<(), String>, Error> {
    let request = engine.request().begin();
    let topology = request.pinned_topology().await?;
    let mut failure = Error::no_node(topology.source());
    for shard in topology.data_shards() {
        match request.session(&shard.primary).await {
            Ok(_) => return Ok(Ok(())),
            Err(Error::Node { cause, .. }) if is_refusal(&cause) => return Ok(Err(cause)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
