//! The heart: [`Engine`] sends commands to the shards that hold the data, and reduces what comes back.

mod addressed;
mod alone;
mod at_nodes;
mod builder;
mod exchange;
mod fanout;
mod map;
mod outcomes;
mod plan;
mod redirect;
mod replies;
mod request;
mod stats;
mod step;
mod unfit;
mod view;
mod way;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub(crate) use addressed::PlacedOn;
pub(crate) use at_nodes::Said;
pub use builder::Builder;
pub use fanout::{FanOut, Targets};
pub use map::Map;
pub use replies::{Replies, ShardReply};
pub use stats::{ErrorCounts, Histogram, Stats};
pub(crate) use step::panicked;
pub use step::{Reducer, Step};
#[cfg(feature = "module")]
pub(crate) use unfit::check as check_fit;
pub(crate) use unfit::check_each as check_each_fit;

use bytes::Bytes;

use crate::command::Command;
use crate::command::{CommandSet, PerKey};
use crate::error::Error;
use crate::link::{Budget, Link, Protocol};
use crate::shard::key_slot;
use crate::shard::{Crc16Slots, Crc32Partition, ShardFunc};
use crate::topology::{BoxFuture, Node, Topology};
use view::{View, Views};

/// Sends commands to shards. Cheap to clone; all clones share links, topology and figures.
///
/// ```no_run
/// use rmr::{Address, Command, Engine, StaticList};
///
/// # async fn run() -> Result<(), rmr::Error> {
/// let nodes = StaticList::parse("10.0.0.1:6379 10.0.0.2:6379")?;
/// let engine = Engine::builder().provider(nodes).build();
/// let sizes = engine.fan_out(Command::new("DBSIZE")).await?;
/// println!("{} keys in all", sizes.integers().sum::<i64>());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    scope: Scope,
}

struct Shared {
    views: Views,
    shard_func: Option<Box<dyn ShardFunc>>,
    limits: Limits,
    stats: Arc<Stats>,
}

/// What may be changed while the engine runs.
#[derive(Debug)]
struct Limits {
    timeout_ms: AtomicU64,
    max_in_flight: AtomicUsize,
    max_reply_bytes: AtomicUsize,
}

/// What all steps of one request have in common.
#[derive(Clone, Default)]
struct Scope {
    deadline: Option<Deadline>,
    budget: Option<Arc<Budget>>,
    gate: Option<Arc<dyn Gate>>,
    /// Nothing may leave this process, for this reason.
    in_process: Option<&'static str>,
    /// The database that the local share is served from.
    database: i32,
    /// The protocol whose types the replies have.
    protocol: Protocol,
}

impl Scope {
    /// Whether something may be sent to this node, which is another process.
    fn may_leave(&self, node: &Node) -> Result<(), Error> {
        if let Some(reason) = self.in_process {
            return Err(Error::Refused(format!("{reason}; this one needs {node}")));
        }
        if self.database != 0 {
            let database = self.database;
            return Err(Error::Refused(format!(
                "other nodes are reached in database 0 only; this needs {node}, and database {database} is selected"
            )));
        }
        Ok(())
    }
}

/// When a request must be done, and how long it had.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    fn after(timeout: Duration) -> Self {
        // A timeout beyond what the clock can say is as good as ten years.
        let at = Instant::now().checked_add(timeout);
        let at = at.unwrap_or_else(|| Instant::now() + Duration::from_secs(315_360_000));
        Self { at, timeout }
    }

    /// The error of a request for one node, which has not answered by then.
    fn missed_by(&self, waiting_on: String, outcome_unknown: bool) -> Error {
        let timeout_ms = self.timeout.as_millis() as u64;
        Error::Timeout { timeout_ms, answered: 0, asked: 1, waiting_on, outcome_unknown }
    }

    async fn passed(&self) {
        tokio::time::sleep_until(self.at.into()).await;
    }
}

/// Asked before anything of a request leaves: may this be sent? The module's gate checks the rights of the calling
/// user.
pub trait Gate: Send + Sync + 'static {
    /// Lets the commands pass, or says why not. It may mark those that change nothing as such.
    fn admit(&self, commands: CommandSet) -> BoxFuture<'_, Result<CommandSet, Error>>;

    /// Which of these keys may be shown to the caller; `None`, the default, if all may.
    fn may_read(&self, _keys: Vec<Bytes>) -> BoxFuture<'_, Result<Option<Vec<bool>>, Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// How a request is carried out.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    timeout: Option<Duration>,
    partial: bool,
    /// Whoever reads the replies looks after the failures, and decides whether the request has failed.
    keeps_failures: bool,
    /// `TRYAGAIN` is such a failure too, instead of a reason to wait.
    hands_back_tryagain: bool,
    /// Whatever a node says is left to the reader, redirects too; nothing is sent again.
    tries_once: bool,
}

impl Options {
    /// All defaults: the engine's timeout, complete or an error.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most that the whole request may take: queueing, connecting, sending, waiting, reducing. Default: the
    /// engine's timeout.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub(crate) fn keeping_failures(hands_back_tryagain: bool) -> Self {
        Self { keeps_failures: true, hands_back_tryagain, ..Self::default() }
    }

    /// Whether failures of some nodes are left to the reducer. Default: `false`, and any failure is the request's.
    #[must_use]
    pub fn partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }
}

impl Engine {
    /// Sets an engine up.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Sends each command to its shard: one write a node, replies in the order of the commands.
    pub fn map(&self, commands: impl IntoIterator<Item = Command>) -> Map {
        self.map_commands(CommandSet::Each(commands.into_iter().collect()))
    }

    /// Sends one command for each of many keys, as [`map`](Self::map) would, with less work for each key.
    ///
    /// ```no_run
    /// # use rmr::{Command, Engine, Error, PerKey};
    /// # async fn run(engine: Engine) -> Result<(), Error> {
    /// let prices = engine.map_keys(PerKey::new(Command::new("HGET"), ["cart:1", "cart:2"]).arg("price")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_keys(&self, commands: PerKey) -> Map {
        self.map_commands(commands.into())
    }

    pub(crate) fn map_commands(&self, commands: CommandSet) -> Map {
        Map::new(self.clone(), commands)
    }

    /// Sends one command to many nodes: by default to every primary that holds data, replies in slot order.
    pub fn fan_out(&self, command: Command) -> FanOut {
        FanOut::new(self.clone(), command)
    }

    /// The topology that a request would use now. `None` before the first one has been fetched.
    pub fn topology(&self) -> Option<Arc<Topology>> {
        self.shared.views.current().map(|view| view.topology.clone())
    }

    /// How long ago the topology was last confirmed.
    pub fn topology_age(&self) -> Option<Duration> {
        self.shared.views.age()
    }

    /// Why the topology could not be fetched, the last time that was tried. `None` if it could.
    pub fn topology_error(&self) -> Option<Error> {
        self.shared.views.last_error()
    }

    /// Fetches the topology now. Never needed: the engine does this by itself.
    pub async fn refresh(&self) -> Result<Arc<Topology>, Error> {
        let deadline = self.deadline();
        self.shared.views.refresh(deadline, &self.shared.stats).await?;
        self.topology().ok_or_else(|| Error::Topology("the topology is not known yet".into()))
    }

    /// Says that the topology may have changed; it is fetched soon, in the background.
    pub fn hint_change(&self) {
        self.shared.views.hint();
    }

    /// Calls with every node of the topology and its link.
    pub fn each_link(&self, mut visit: impl FnMut(&Node, &dyn Link)) {
        if let Some(view) = self.shared.views.current() {
            view.links().for_each(|(node, link)| visit(node, &**link));
        }
    }

    /// What the engine has counted so far.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.shared.stats
    }

    /// The time that a request has unless it says otherwise. Default: 5 s.
    pub fn set_timeout(&self, timeout: Duration) {
        self.shared.limits.timeout_ms.store(timeout.as_millis() as u64, Relaxed);
    }

    /// How many requests may be under way at once; more are refused. Default: 10,000.
    pub fn set_max_in_flight(&self, requests: usize) {
        self.shared.limits.max_in_flight.store(requests, Relaxed);
    }

    /// The most memory, in bytes, that the replies to one request may take. Default: 1 GiB.
    pub fn set_max_reply_bytes(&self, bytes: usize) {
        self.shared.limits.max_reply_bytes.store(bytes, Relaxed);
    }

    /// The same engine with one deadline, and one limit of bytes, for all that is sent through it: for a request of
    /// several steps.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let mut engine = self.clone();
        engine.scope.deadline = Some(Deadline::after(timeout));
        engine.scope.budget = Some(Arc::new(Budget::new(self.shared.limits.max_reply_bytes.load(Relaxed))));
        engine
    }

    /// The time that a request has unless it says otherwise.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.shared.limits.timeout_ms.load(Relaxed))
    }

    /// The same engine behind a gate.
    #[must_use]
    pub fn with_gate(&self, gate: Arc<dyn Gate>) -> Self {
        let mut engine = self.clone();
        engine.scope.gate = Some(gate);
        engine
    }

    /// The same engine behind no gate, for what a command does on its own account.
    pub(crate) fn without_gate(&self) -> Self {
        let mut engine = self.clone();
        engine.scope.gate = None;
        engine
    }

    /// The same engine, with the local share served from this database. Other nodes are reached in database 0 only.
    #[must_use]
    pub fn in_database(&self, database: i32) -> Self {
        let mut engine = self.clone();
        engine.scope.database = database;
        engine
    }

    /// The same engine, with replies in the types of this protocol. Default: RESP3, which says more; with RESP2 replies
    /// are what a RESP2 client can be handed on as they are.
    #[must_use]
    pub fn in_protocol(&self, protocol: Protocol) -> Self {
        let mut engine = self.clone();
        engine.scope.protocol = protocol;
        engine
    }

    /// The same engine, which refuses, with this reason, whatever cannot be served by the local node at once.
    #[must_use]
    pub fn in_process_only(&self, reason: &'static str) -> Self {
        let mut engine = self.clone();
        engine.scope.in_process = Some(reason);
        engine
    }

    /// The view that the request is planned by.
    async fn pinned(&self) -> Result<Arc<View>, Error> {
        let can_wait = self.scope.in_process.is_none();
        self.shared.views.pinned(self.deadline(), can_wait, &self.shared.stats).await
    }

    /// The topology that a request would be planned by.
    pub(crate) async fn pinned_topology(&self) -> Result<Arc<Topology>, Error> {
        Ok(self.pinned().await?.topology.clone())
    }

    /// What keys must share to stand in one command: their slot, or where slots do not matter their node.
    pub(crate) fn key_group(&self, topology: &Topology, key: &[u8]) -> Result<usize, Error> {
        if topology.parts_slots() {
            return Ok(usize::from(key_slot(key)));
        }
        let node = self.holder(topology, key)?;
        let is_it = |shard: &crate::topology::Shard| Arc::ptr_eq(&shard.primary, node);
        Ok(topology.shards().iter().position(is_it).unwrap_or_default())
    }

    /// The nodes of a fan-out.
    pub(crate) fn targeted(&self, topology: &Topology, targets: &Targets) -> Result<Vec<Arc<Node>>, Error> {
        self.select(topology, targets, false)
    }

    /// The commands, if the caller may send all of them; those that only read are marked.
    #[cfg(feature = "module")]
    pub(crate) async fn admitted(&self, commands: Vec<Command>) -> Result<Vec<Command>, Error> {
        let admitted = self.admit(commands.into()).await?;
        Ok(admitted.into_each())
    }

    /// Whether this node can be reached from where the request was made.
    #[cfg(feature = "module")]
    pub(crate) fn may_reach(&self, topology: &Topology, node: &Arc<Node>) -> Result<(), Error> {
        let is_local = topology.local().is_some_and(|local| Arc::ptr_eq(local, node));
        if is_local { Ok(()) } else { self.scope.may_leave(node) }
    }

    /// Whether the caller may send this.
    pub(crate) async fn check(&self, command: Command) -> Result<(), Error> {
        self.admit(vec![command].into()).await.map(drop)
    }

    /// Which of these keys may be shown to the caller; `None` if all may.
    pub(crate) async fn may_read(&self, keys: Vec<Bytes>) -> Result<Option<Vec<bool>>, Error> {
        match &self.scope.gate {
            Some(gate) => gate.may_read(keys).await,
            None => Ok(None),
        }
    }

    /// The time that is left of a request with a deadline.
    pub(crate) fn time_left(&self) -> Duration {
        self.deadline().at.saturating_duration_since(Instant::now())
    }

    fn deadline(&self) -> Deadline {
        self.scope.deadline.unwrap_or_else(|| Deadline::after(self.timeout()))
    }

    /// Begins a request, if no more are in flight than there may be.
    fn begin(&self) -> Result<Flight<'_>, Error> {
        let stats = &self.shared.stats;
        let limit = self.shared.limits.max_in_flight.load(Relaxed);
        stats.requests.fetch_add(1, Relaxed);
        let flight = Flight { stats, began: Instant::now(), is_done: false };
        let before = stats.in_flight.fetch_add(1, Relaxed);
        if before < limit { Ok(flight) } else { flight.end(Err(Error::Busy { limit })) }
    }

    async fn admit(&self, commands: CommandSet) -> Result<CommandSet, Error> {
        unfit::check(&commands)?;
        match &self.scope.gate {
            Some(gate) => gate.admit(commands).await,
            None => Ok(commands),
        }
    }

    fn scoped(&self, options: &Options) -> Self {
        match self.scope.deadline {
            Some(_) if options.timeout.is_none() => self.clone(),
            _ => self.with_timeout(options.timeout.unwrap_or_else(|| self.timeout())),
        }
    }

    fn shard_func(&self, topology: &Topology) -> &dyn ShardFunc {
        match &self.shared.shard_func {
            Some(shard_func) => &**shard_func,
            None if topology.has_slots() => &Crc16Slots,
            None => &Crc32Partition,
        }
    }
}

/// A request in flight; one that ends without being done was given up by its requester.
struct Flight<'a> {
    stats: &'a Stats,
    began: Instant,
    is_done: bool,
}

impl Flight<'_> {
    /// Counts how the request ends.
    fn end<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.is_done = true;
        result.inspect_err(|error| self.stats.errors.count(error))
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.stats.in_flight.fetch_sub(1, Relaxed);
        if self.is_done {
            self.stats.latency.record(self.began.elapsed());
        } else {
            self.stats.cancelled.fetch_add(1, Relaxed);
        }
    }
}
