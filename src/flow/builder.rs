//! [`Flow`]: what a program or a module's author says of a flow, and how it is run.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use serde_bytes::ByteBuf;

use super::carried::CarriedSteps;
use super::coordinator::{self, FlowAnswer, FlowSpec};
use super::execution::Execution;
use super::failures::KeyFailures;
use super::home::SharedHome;
use super::plan::{FlowEnd, FlowPlan, FlowReader, KeyFilter, KeyedCommand, Passage, Stage, StepPlan, ValuesRead};
use super::records::Records;
use super::step::BatchStep;
use crate::combine::{self, AnyCombine, Combine};
use crate::command::{Argument, Command, printable};
use crate::engine::{Engine, Request, RequestBuilder};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::Topology;

/// The time that a flow of a program may take, unless the program sets another.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The most memory that a flow of a program may take on each node, in bytes.
const DEFAULT_MEMORY: u64 = 256 * 1024 * 1024;

/// Work over all keys that match a pattern, on the shards that hold them: which keys, what is done for each, and what comes
/// of that. Nothing is done before it is [run](ReducedFlow::run).
///
/// Each key that exists throughout is taken once, also while slots move; what cannot be had is an error. In a module, shards
/// with the same module work on their own keys. All others, and those of a program that is a client, are read by plain
/// commands, and the answer is the same.
///
/// ```no_run
/// use rmr::flow::Flow;
/// use rmr::reduce::Builtin;
/// use rmr::{Command, Engine, Error};
///
/// # async fn run(engine: Engine) -> Result<(), Error> {
/// let users = Flow::keys("user:*").reduce(Builtin::Count).run(&engine).await?;
/// let price = Command::new("HGET").key("{}").arg("price");
/// let dearest = Flow::keys("cart:*").key_type("hash").command(price).reduce(Builtin::Top(10)).run(&engine).await?;
/// println!("{users} users; the dearest carts: {dearest}");
///
/// let some = Flow::keys("session:*").limit(100).collect().run(&engine).await?;
/// for key in some.keys() {
///     println!("{}", String::from_utf8_lossy(key));
/// }
/// # Ok(())
/// # }
/// ```
///
/// [Writing a step](crate::_docs::writing_a_step) shows how to add a step of your own.
#[derive(Clone)]
#[must_use = "a flow does nothing before it is run"]
pub struct Flow {
    reader: FlowReader,
    limit: Option<u64>,
    /// The steps of each stage; the last one is being filled.
    stages: Vec<Vec<StepPlan>>,
    carried: CarriedSteps,
    is_partial: bool,
    on_replicas: bool,
    timeout: Option<Duration>,
}

impl Flow {
    /// Reads all keys whose name matches, by the rules of `KEYS`.
    pub fn keys(pattern: impl Argument) -> Self {
        let filter = KeyFilter { pattern: pattern.to_argument().into_owned(), type_name: None, values: ValuesRead::No };
        Self::of(FlowReader::Keys(filter))
    }

    /// Reads these keys, whether they exist or not.
    pub fn names<K: Argument>(keys: impl IntoIterator<Item = K>) -> Self {
        let names = keys.into_iter().map(|key| ByteBuf::from(key.to_argument().into_owned()));
        Self::of(FlowReader::Names(names.collect()))
    }

    fn of(reader: FlowReader) -> Self {
        Self {
            reader,
            limit: None,
            stages: vec![Vec::new()],
            carried: CarriedSteps::default(),
            is_partial: false,
            on_replicas: false,
            timeout: None,
        }
    }

    /// Leaves out all keys but those of a type, as `TYPE` says it: `hash`. Of [`names`](Self::names) it leaves out nothing.
    pub fn key_type(mut self, type_name: impl Into<String>) -> Self {
        if let FlowReader::Keys(filter) = &mut self.reader {
            filter.type_name = Some(type_name.into().to_ascii_lowercase());
        }
        self
    }

    /// Reads the values too: each record is the reply to the command that reads the whole value of its key, in RESP3. Strings,
    /// hashes, lists, sets and sorted sets have one; a key of another type ends the flow in an error. A long value that changes
    /// while it is read is no snapshot, and a key that moves to another node before it is read ends the flow in an error. Of
    /// [`names`](Self::names) no value is read.
    ///
    /// ```
    /// use rmr::flow::Flow;
    ///
    /// let texts = Flow::keys("text:*").key_type("string").with_values();
    /// ```
    pub fn with_values(mut self) -> Self {
        if let FlowReader::Keys(filter) = &mut self.reader {
            filter.values = ValuesRead::Replies;
        }
        self
    }

    /// Reads no more keys than that, of all shards together; which ones is left to the shards.
    pub fn limit(mut self, most: u64) -> Self {
        self.limit = Some(most);
        self
    }

    /// Runs a command for each key, whose reply is the record's new value. The argument by which the command is routed
    /// stands for the key; in a command without one, the key is the last argument.
    ///
    /// ```
    /// use rmr::Command;
    /// use rmr::flow::Flow;
    ///
    /// let length = Command::new("STRLEN").read_only(true);
    /// let price = Command::new("HGET").key("{}").arg("price").read_only(true);
    /// let flows = [Flow::keys("text:*").command(length), Flow::keys("cart:*").command(price)];
    /// ```
    ///
    /// A program marks what only [reads](Command::read_only); a server knows. A command that writes is sent once for a key:
    /// where its outcome is unknown the flow is an error that says so.
    pub fn command(mut self, command: Command) -> Self {
        let around = command.around_key().map(|around| around.args_before().count());
        let key_at = around.filter(|at| *at > 0).unwrap_or(command.word_count());
        let mut words: Vec<ByteBuf> = command.words().map(|word| ByteBuf::from(word.to_vec())).collect();
        if key_at < words.len() {
            words.remove(key_at);
        }
        let is_read_only = command.is_read_only();
        self.push(StepPlan::Command(KeyedCommand { words, key_at: key_at as u32, is_read_only }));
        self
    }

    /// Gives the records to a step, a batch at a time. Shards know it by its name, and where they do not it runs here.
    pub fn step(self, step: impl BatchStep) -> Self {
        self.step_with(step, Vec::new())
    }

    /// Adds a step with arguments for it, which travel with the flow.
    pub fn step_with(self, step: impl BatchStep, arguments: impl Into<Vec<u8>>) -> Self {
        self.shared_step(Arc::new(step), arguments.into())
    }

    pub(crate) fn shared_step(mut self, step: Arc<dyn BatchStep>, arguments: Vec<u8>) -> Self {
        self.push(StepPlan::Named { name: step.name().to_owned(), arguments });
        self.carried.add(step);
        self
    }

    /// Moves the records to the shards that own the slots of their keys, which steps may have changed: what follows is done
    /// there. Where shards have no slots records stay where they are, and commands go wherever the key is.
    ///
    /// They go in batches, straight from shard to shard, and a shard that is slow slows those that send to it.
    pub fn repartition(mut self) -> Self {
        self.stages.push(Vec::new());
        self
    }

    fn push(&mut self, step: StepPlan) {
        match self.stages.last_mut() {
            Some(stage) => stage.push(step),
            None => self.stages.push(vec![step]),
        }
    }

    /// Goes on when the command of a key fails. Failures are counted by kind, and are to be had by
    /// [`run_beside_failures`](ReducedFlow::run_beside_failures). Default: `false`, and the first one ends the flow.
    pub fn partial(mut self, partial: bool) -> Self {
        self.is_partial = partial;
        self
    }

    /// Reads at a replica of each shard that has one, which spares the primaries. For flows that only read. A replica may be
    /// behind; slots that move meanwhile are read at primaries. Default: `false`.
    pub fn on_replicas(mut self, on_replicas: bool) -> Self {
        self.on_replicas = on_replicas;
        self
    }

    /// Sets the most that the flow may take. Default: `rmr.flow-timeout-ms` in a server, else 60 seconds. The timeout of
    /// requests has no part in it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Has the records reduced, each shard its own: the replies of the commands, or the keys where nothing was done for
    /// them.
    pub fn reduce<C: Combine>(self, combine: C) -> ReducedFlow<C> {
        ReducedFlow { flow: self, combine: Arc::new(combine) }
    }

    /// Has the records themselves sent.
    pub fn collect(self) -> CollectedFlow {
        CollectedFlow { flow: self }
    }

    fn plan(&self, end: FlowEnd) -> FlowPlan {
        let mut stages: Vec<Stage> = Vec::with_capacity(self.stages.len());
        for (at, steps) in self.stages.iter().enumerate() {
            let limit = self.limit.filter(|_| at == 0).map(StepPlan::Limit);
            let then = if at + 1 < self.stages.len() { Passage::Repartition } else { Passage::Collect };
            stages.push(Stage { steps: limit.into_iter().chain(steps.iter().cloned()).collect(), then });
        }
        FlowPlan { reader: self.reader.clone(), stages, end, is_partial: self.is_partial, is_resp3: true, code: None }
    }

    async fn run(
        self,
        requests: RequestBuilder,
        end: FlowEnd,
        combine: Option<Arc<dyn AnyCombine>>,
    ) -> Result<(FlowAnswer, KeptFlow), Error> {
        let shown = self.to_string();
        let mut plan = self.plan(end);
        if let Some(why) = requests.why_in_process() {
            return Err(Error::Refused(format!("{why}; a flow has to wait, if only for its turn")));
        }
        let home = requests.home().and_then(|home| home.downcast_ref::<SharedHome>().cloned());
        let topology = requests.clone().begin().pinned_topology().await?;
        let execution = match &home {
            Some(home) => {
                let pattern = match &self.reader {
                    FlowReader::Keys(filter) => &filter.pattern[..],
                    FlowReader::Names(_) | FlowReader::EachShard | FlowReader::OfCode => b"*",
                };
                for step in plan.stages.iter_mut().flat_map(|stage| &mut stage.steps) {
                    if let StepPlan::Command(command) = step {
                        *command = home.fit(command.clone(), pattern, &topology).await?;
                    }
                }
                home.begin(&node_id(&topology), shown)
            }
            None => Arc::new(Execution::new(format!("{}-0", node_id(&topology)), String::new(), shown)),
        };
        let kept = KeptFlow(execution.clone());
        let spec = FlowSpec {
            on_replicas: self.on_replicas,
            only_here: false,
            keeps_results: false,
            plan,
            combine: combine.clone(),
            idle: None,
            timeout: Some(self.timeout.unwrap_or_else(|| home.as_ref().map_or(DEFAULT_TIMEOUT, |home| home.timeout()))),
            memory: home.as_ref().map_or(DEFAULT_MEMORY, |home| home.memory()),
            registry: Arc::new(self.carried.beside(combine.clone(), home.as_ref().map(|home| home.registry()))),
            caller: home.as_ref().and_then(|home| home.caller()),
            home: home.as_ref().map(|home| home.keyspace()),
        };
        match coordinator::run(spec, requests, execution).await {
            Ok(answer) => Ok((answer, kept)),
            Err(error) => {
                kept.0.end(Err(error.clone()));
                Err(error)
            }
        }
    }
}

/// Returns the id of the node that this is, as others know it.
fn node_id(topology: &Topology) -> String {
    topology.local().map_or_else(|| "client".to_owned(), |node| node.id.clone())
}

/// An execution that is cancelled and ends when its flow is dropped.
struct KeptFlow(Arc<Execution>);

impl Drop for KeptFlow {
    fn drop(&mut self) {
        self.0.cancel();
        self.0.end(Err(Error::Cancelled { outcome_unknown: false }));
    }
}

/// A flow with a reducer.
#[must_use = "a flow does nothing before it is run"]
pub struct ReducedFlow<C> {
    flow: Flow,
    combine: Arc<C>,
}

impl<C: Combine> ReducedFlow<C> {
    /// Runs the flow on an [`Engine`], or within a [`Request`] or as a [`RequestBuilder`] says: with their rights, and
    /// in a server that they belong to.
    ///
    /// Dropped before its end it ends on all shards; a command that has begun ends too.
    ///
    /// # Errors
    /// [`Error::Stopped`] for the first key that failed, with how many were done before; [`Error::Slots`] for slots that
    /// could not be settled in time; [`Error::Node`] for a shard that was lost; [`Error::Timeout`]; those of the reducer.
    pub async fn run(self, on: &impl RunsFlows) -> Result<C::Output, Error> {
        Ok(self.run_beside_failures(on).await?.0)
    }

    /// Runs the flow, and returns the failures that a [partial](Flow::partial) flow has gone on from.
    ///
    /// # Errors
    /// As of [`run`](Self::run).
    pub async fn run_beside_failures(self, on: &impl RunsFlows) -> Result<(C::Output, Failures), Error> {
        let Self { flow, combine } = self;
        let end =
            FlowEnd::Reduce { name: Combine::name(&*combine).to_owned(), arguments: Combine::arguments(&*combine) };
        let (answer, kept) = flow.run(on.requests(), end, Some(combine.clone())).await?;
        let reduced = answer.reduced.unwrap_or_else(|| combine.clone().open());
        let output = combine::finish(&*combine, reduced);
        // Its outcome is its caller's; here it counts that there is one.
        kept.0.end(output.as_ref().map(|_| Reply::OK).map_err(Clone::clone));
        Ok((output?, Failures(answer.failures)))
    }
}

/// A flow whose records are the answer.
#[must_use = "a flow does nothing before it is run"]
pub struct CollectedFlow {
    flow: Flow,
}

impl CollectedFlow {
    /// Runs the flow. The records stand in no order.
    ///
    /// # Errors
    /// As of [`ReducedFlow::run`].
    pub async fn run(self, on: &impl RunsFlows) -> Result<Records, Error> {
        Ok(self.run_beside_failures(on).await?.0)
    }

    /// Runs the flow, and returns the failures that a [partial](Flow::partial) flow has gone on from.
    ///
    /// # Errors
    /// As of [`ReducedFlow::run`].
    pub async fn run_beside_failures(self, on: &impl RunsFlows) -> Result<(Records, Failures), Error> {
        let (answer, kept) = self.flow.run(on.requests(), FlowEnd::Records, None).await?;
        kept.0.end(Ok(Reply::OK));
        Ok((answer.records, Failures(answer.failures)))
    }
}

/// The keys whose command has failed in a flow that goes on, counted by the first word of the error.
#[derive(Debug, Clone, Default)]
pub struct Failures(KeyFailures);

impl Failures {
    /// Returns how many keys have failed.
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// Returns each kind with how many keys it was, and the whole text of the first one.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, u64, &[u8])> {
        self.0.kinds().map(|(kind, of)| (kind, of.count, &of.example[..]))
    }

    /// Returns keys that have failed in this way, ten at most.
    pub fn keys(&self, kind: &str) -> Vec<&[u8]> {
        let found = self.0.kinds().find(|(known, _)| *known == kind);
        found.map(|(_, of)| of.keys.iter().map(|key| &key[..]).collect()).unwrap_or_default()
    }
}

/// Runs flows: an [`Engine`], a [`Request`], or a [`RequestBuilder`].
pub trait RunsFlows {
    /// Returns how the requests of a flow are to be.
    fn requests(&self) -> RequestBuilder;
}

impl RunsFlows for Engine {
    fn requests(&self) -> RequestBuilder {
        self.request()
    }
}

impl RunsFlows for RequestBuilder {
    fn requests(&self) -> RequestBuilder {
        self.clone()
    }
}

impl RunsFlows for Request {
    fn requests(&self) -> RequestBuilder {
        self.builder()
    }
}

/// The flow in a line, as lists of executions show it.
impl Display for Flow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.reader {
            FlowReader::Keys(filter) => {
                write!(f, "flow MATCH {}", printable(&filter.pattern))?;
                filter.type_name.iter().try_for_each(|name| write!(f, " TYPE {name}"))?;
            }
            FlowReader::Names(names) => write!(f, "flow of {} keys", names.len())?,
            FlowReader::EachShard => f.write_str("flow of shards")?,
            FlowReader::OfCode => f.write_str("flow of code")?,
        }
        self.limit.iter().try_for_each(|most| write!(f, " LIMIT {most}"))?;
        for step in self.stages.iter().flatten() {
            match step {
                StepPlan::Command(command) => {
                    f.write_str(" --")?;
                    for (at, word) in command.words.iter().enumerate() {
                        // Arguments may be secrets.
                        match at {
                            0 => write!(f, " {}", printable(word))?,
                            _ => f.write_str(" ...")?,
                        }
                    }
                }
                StepPlan::Named { name, .. } => write!(f, " -> {}", name.escape_debug())?,
                StepPlan::Limit(_) | StepPlan::Code => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_of(flow: &Flow) -> String {
        match &flow.plan(FlowEnd::Records).stages[0].steps[..] {
            [StepPlan::Command(command)] => command.for_keys([&b"k"[..]]).command(0).to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_routing_key_stands_for_each_key_and_else_it_comes_last() {
        let flow = |command| Flow::keys("*").command(command);
        assert_eq!(command_of(&flow(Command::new("HGET").key("{}").arg("price"))), "HGET k price");
        assert_eq!(command_of(&flow(Command::new("MEMORY").arg("USAGE"))), "MEMORY USAGE k");
        assert_eq!(command_of(&flow(Command::new("TYPE"))), "TYPE k");
        assert_eq!(command_of(&flow(Command::new("GET").routed_by("elsewhere"))), "GET k");
        assert_eq!(command_of(&flow(Command::new("COPY").arg("from").key("{}"))), "COPY from k");
    }

    #[test]
    fn records_move_between_stages() {
        let read = || Command::new("GET").read_only(true);
        let flow = Flow::keys("*").limit(5).command(read()).repartition().command(read());
        let plan = flow.plan(FlowEnd::Records);
        assert!(plan.is_sound() && plan.limit() == Some(5) && plan.only_reads());
        let passages: Vec<_> = plan.stages.iter().map(|stage| stage.then).collect();
        assert_eq!(passages, [Passage::Repartition, Passage::Collect]);
    }

    #[test]
    fn a_plan_is_sound_and_says_what_was_asked_for() {
        let flow = Flow::keys("user:*").key_type("HASH").limit(5).command(Command::new("HGET").key("{}").arg("secret"));
        assert_eq!(flow.to_string(), "flow MATCH user:* TYPE hash LIMIT 5 -- HGET ...");
        let plan = flow.plan(FlowEnd::Records);
        assert!(plan.is_sound() && plan.limit() == Some(5) && !plan.only_reads());
        let plan = Flow::names(["a", "b"]).command(Command::new("GET").read_only(true)).plan(FlowEnd::Records);
        assert!(plan.is_sound() && plan.only_reads());
    }
}
