//! A request: one deadline, one limit of bytes and one set of rights for all of its steps.
//!
//! The [`Engine`](super::Engine) lives long, a request does not. [`RequestBuilder`] only says how requests are to be: it
//! can be kept, and each step that is sent from it begins a request of its own. [`Request`] has begun: its clock runs.
//! Nothing can be sent without one, so nothing can be sent without a deadline.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::deadline::Deadline;
use super::gate::Gate;
use super::in_flight::InFlight;
use super::snapshot::Snapshot;
use super::state::EngineState;
use super::unfit;
use crate::command::{Command, CommandSet};
use crate::error::Error;
use crate::link::{Budget, Protocol, ReadFrom};
use crate::topology::{Node, Topology};

/// Says what a request may do and where, apart from its time.
#[derive(Clone, Default)]
struct Terms {
    gate: Option<Arc<dyn Gate>>,
    /// The reason why nothing may leave this process.
    in_process: Option<&'static str>,
    /// The database that the local share is served from.
    database: i32,
    /// The client that asks.
    caller: Option<u64>,
    /// The protocol whose types the replies have.
    protocol: Protocol,
    reads: ReadFrom,
    /// The server that the request belongs to, as floors above want it.
    home: Option<Arc<dyn Any + Send + Sync>>,
}

/// Says how requests are to be carried out. Its clock does not run: each map or fan-out that is awaited begins a request
/// of its own, unless [`begin`](Self::begin) makes them steps of one.
///
/// ```no_run
/// # use std::time::Duration;
/// # use rmr::{Command, Engine, Error};
/// # async fn run(engine: Engine) -> Result<(), Error> {
/// let request = engine.request().timeout(Duration::from_millis(500)).begin();
/// let largest = request.fan_out(Command::new("DBSIZE")).await?.integers().max();
/// // The time that the first step took is gone for the second.
/// request.map([Command::new("SET").key("largest").arg(largest.unwrap_or_default())]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing is sent before a map or a fan-out of it is awaited"]
pub struct RequestBuilder {
    engine: Arc<EngineState>,
    terms: Terms,
    timeout: Option<Duration>,
}

impl RequestBuilder {
    pub(super) fn new(engine: Arc<EngineState>) -> Self {
        Self { engine, terms: Terms::default(), timeout: None }
    }

    /// Sets the most that a request may take, with all of its steps. Default: the engine's timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Asks this gate before anything is sent.
    pub fn gate(mut self, gate: Arc<dyn Gate>) -> Self {
        self.terms.gate = Some(gate);
        self
    }

    /// Serves the local share from this database. Other nodes are reached in database 0 only.
    pub fn database(mut self, database: i32) -> Self {
        self.terms.database = database;
        self
    }

    /// Says which client of the server that we live in asks, so that it does not kill itself.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server has clients"))]
    pub(crate) fn caller(mut self, id: u64) -> Self {
        self.terms.caller = Some(id);
        self
    }

    /// Says which server the request belongs to, in a form that floors above know.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a module lives in a server"))]
    pub(crate) fn with_home(mut self, home: Arc<dyn Any + Send + Sync>) -> Self {
        self.terms.home = Some(home);
        self
    }

    /// Returns the server that the request belongs to.
    pub(crate) fn home(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.terms.home.as_ref()
    }

    /// Gives replies the types of this protocol. Default: RESP3, which says more; with RESP2 replies are what a RESP2
    /// client can be handed on as they are.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.terms.protocol = protocol;
        self
    }

    /// Says which copy of a key is read, where keys have several. Default: any.
    pub fn reads(mut self, from: ReadFrom) -> Self {
        self.terms.reads = from;
        self
    }

    /// Refuses, with this reason, whatever cannot be served by the local node at once.
    pub fn in_process_only(mut self, reason: &'static str) -> Self {
        self.terms.in_process = Some(reason);
        self
    }

    /// Returns why nothing may be waited for; `None` if it may.
    pub(crate) fn why_in_process(&self) -> Option<&'static str> {
        self.terms.in_process
    }

    /// Starts the clock.
    pub fn begin(self) -> Request {
        let limits = &self.engine.limits;
        let deadline = Deadline::after(self.timeout.unwrap_or_else(|| limits.timeout()));
        let budget = Arc::new(Budget::new(limits.max_reply_bytes()));
        Request { engine: self.engine, terms: self.terms, deadline, budget }
    }
}

/// A request that has begun. Cheap to clone; all clones, and all steps that are sent through them, share its deadline and
/// the bytes that its replies may take.
#[derive(Clone)]
pub struct Request {
    pub(super) engine: Arc<EngineState>,
    terms: Terms,
    pub(super) deadline: Deadline,
    pub(super) budget: Arc<Budget>,
}

impl Request {
    /// Gives this request another timeout, which counts from when it began.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.deadline = self.deadline.with_timeout(timeout);
        self
    }

    /// Returns how other requests are to be, with a time of their own, that belong to the same caller.
    pub(crate) fn builder(&self) -> RequestBuilder {
        RequestBuilder { engine: self.engine.clone(), terms: self.terms.clone(), timeout: None }
    }

    /// Returns the time that is left before the deadline.
    pub fn time_left(&self) -> Duration {
        self.deadline.left()
    }

    /// Returns the same request behind no gate, for what a command does on its own account.
    pub(crate) fn without_gate(&self) -> Self {
        let terms = Terms { gate: None, ..self.terms.clone() };
        Self { terms, ..self.clone() }
    }

    /// Returns which copy of a key is read.
    pub(super) fn reads(&self) -> ReadFrom {
        self.terms.reads
    }

    /// Returns the protocol whose types the replies have.
    pub(super) fn protocol(&self) -> Protocol {
        self.terms.protocol
    }

    /// Returns the database that the caller has selected.
    pub(super) fn selected_database(&self) -> i32 {
        self.terms.database
    }

    /// Returns the client that asks.
    pub(super) fn caller(&self) -> Option<u64> {
        self.terms.caller
    }

    /// Returns whether the request may wait, for other nodes or for anything else.
    pub(super) fn can_wait(&self) -> bool {
        self.terms.in_process.is_none()
    }

    /// Lets something be sent to this node, which is another process.
    ///
    /// # Errors
    /// The error says why nothing may be sent.
    pub(super) fn may_leave(&self, node: &Node) -> Result<(), Error> {
        if let Some(reason) = self.terms.in_process {
            return Err(Error::Refused(format!("{reason}; this one needs {node}")));
        }
        if self.terms.database != 0 {
            let database = self.terms.database;
            return Err(Error::Refused(format!(
                "other nodes are reached in database 0 only; this needs {node}, and database {database} is selected"
            )));
        }
        Ok(())
    }

    /// Lets this node be asked, if it can be reached from where the request was made.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only RMR.BATCH asks before it sends"))]
    pub(crate) fn may_reach(&self, topology: &Topology, node: &Arc<Node>) -> Result<(), Error> {
        let is_local = topology.local().is_some_and(|local| Arc::ptr_eq(local, node));
        if is_local { Ok(()) } else { self.may_leave(node) }
    }

    /// Returns the commands, if the caller may send all of them; those that only read are marked.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only RMR.BATCH asks before it sends"))]
    pub(crate) async fn admitted(&self, commands: Vec<Command>) -> Result<Vec<Command>, Error> {
        let admitted = self.admit(commands.into()).await?;
        Ok(admitted.into_each())
    }

    /// Lets a command pass that the caller may send.
    pub(crate) async fn check(&self, command: Command) -> Result<(), Error> {
        self.admit(vec![command].into()).await.map(drop)
    }

    /// Returns which of these keys may be shown to the caller; `None` if all may.
    pub(crate) async fn may_read(&self, keys: Vec<Bytes>) -> Result<Option<Vec<bool>>, Error> {
        match &self.terms.gate {
            Some(gate) => gate.may_read(keys).await,
            None => Ok(None),
        }
    }

    /// Returns the commands as the gate lets them pass, unless one is unfit for a shared connection.
    pub(super) async fn admit(&self, commands: CommandSet) -> Result<CommandSet, Error> {
        unfit::check(&commands)?;
        match &self.terms.gate {
            Some(gate) => gate.admit(commands).await,
            None => Ok(commands),
        }
    }

    /// Returns the snapshot that a step is planned by.
    pub(super) async fn pinned(&self) -> Result<Arc<Snapshot>, Error> {
        self.engine.refresher.pinned(self.deadline, self.can_wait()).await
    }

    /// Returns the topology that a step would be planned by.
    pub(crate) async fn pinned_topology(&self) -> Result<Arc<Topology>, Error> {
        Ok(self.pinned().await?.topology.clone())
    }

    /// Fetches the topology now, and returns it, whatever this request goes by.
    pub(crate) async fn latest_topology(&self) -> Result<Option<Arc<Topology>>, Error> {
        self.refresh().await?;
        Ok(self.engine.refresher.current().map(|snapshot| snapshot.topology.clone()))
    }

    /// Fetches the topology now.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        self.engine.refresher.refresh(self.deadline).await
    }

    /// Says that the topology may have changed; it is fetched soon, in the background.
    pub(crate) fn hint_change(&self) {
        self.engine.refresher.hint();
    }

    /// Runs one step, counted while it is in flight. It is pinned already: its state is large, and is not to be copied.
    ///
    /// # Errors
    /// [`Error::Busy`] if as many are in flight as there may be; those of the step.
    pub(super) async fn counted<T>(&self, step: Pin<&mut impl Future<Output = Result<T, Error>>>) -> Result<T, Error> {
        let in_flight = InFlight::begin(&self.engine.stats, self.engine.limits.max_in_flight())?;
        in_flight.end(step.await)
    }
}

/// The request of a map or a fan-out: one of its own, which begins when it is sent, or one that has begun.
pub(super) enum Whose {
    Own(RequestBuilder),
    Shared(Request),
}

impl Whose {
    pub(super) fn begin(self, timeout: Option<Duration>) -> Request {
        match (self, timeout) {
            (Self::Own(builder), Some(timeout)) => builder.timeout(timeout).begin(),
            (Self::Own(builder), None) => builder.begin(),
            (Self::Shared(request), Some(timeout)) => request.timeout(timeout),
            (Self::Shared(request), None) => request,
        }
    }
}
