//! `RMR.MAP ... MATCH`: a map over all keys of some kind. It runs as a flow, on the shards that hold the keys.
//!
//! Whatever can be refused is, before any key is read. Then it is an execution, which `RMR.JOB` shows, be it waited for or
//! not. A client that disconnects cancels one that only reads; one that writes goes on, as a command goes on that a client
//! has sent and not waited for.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use super::options::{KeysByPattern, MatchOptions, NamedReducer};
use super::spec::Call;
use crate::combine::{self, AnyCombine, AnyPartial};
use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::flow::Records;
use crate::flow::coordinator::{self, FlowAnswer, FlowSpec};
use crate::flow::execution::Execution;
use crate::flow::failures::KeyFailures;
use crate::flow::home::FlowHome;
use crate::flow::into::{ResultKind, ResultTexts, ResultWriter};
use crate::flow::plan::{FlowEnd, FlowPlan, FlowReader, Passage, Stage, StepPlan};
use crate::link::Protocol;
use crate::module::flow::fit::{self, FittingCommand};
use crate::module::flow::home::ServersHome;
use crate::module::request::running::Work;
use crate::module::{secrets, state};
use crate::reduce::Builtin;
use crate::reply::Reply;
use crate::topology::Topology;

/// A map over a pattern, as it was typed.
pub(super) struct MatchingMap {
    pub(super) timeout: Option<Duration>,
    pub(super) partial: bool,
    pub(super) reducer: NamedReducer,
    pub(super) how: MatchOptions,
    pub(super) keys: KeysByPattern,
}

impl MatchingMap {
    /// Begins it for the caller of a command.
    ///
    /// # Errors
    /// The error says why it cannot be run.
    pub(super) fn begin(self, call: &Call<'_>) -> Result<Work, Error> {
        if let Some(why) = call.ctx.why_not_wait() {
            return Err(Error::Refused(format!("{why}; a map over a pattern has to wait, if only for its turn")));
        }
        let is_hash = self.how.into.as_ref().is_some_and(|target| target.kind == ResultKind::Hash);
        if is_hash && !self.reducer.gives_pairs() {
            return Err(Error::Invalid(format!(
                "INTO HASH needs results that have keys, and those of {} have none; give LIST, PREFIX, TOP, BOTTOM, GROUP, \
                 TOPGROUPS, STATS or DISTINCT, or INTO LIST",
                self.reducer.combine().map_or("LIST", |reducer| reducer.name())
            )));
        }
        let command = match &self.keys.command {
            Some(command) => Some(fit::check(call.ctx, command)?),
            None => None,
        };
        let plan = self.plan(command.as_ref(), call.protocol());
        let home = ServersHome::new(call.ctx, call.protocol())?;
        let shown = secrets::shown(b"RMR.MAP", &call.args);
        let default_timeout = (!self.how.is_async).then(|| home.timeout());
        let requests = call.request()?;
        let mut run = RunningMap {
            spec: FlowSpec {
                combine: self.reducer.combine(),
                timeout: self.timeout.or(default_timeout),
                idle: None,
                memory: home.memory(),
                registry: home.registry(),
                caller: home.caller(),
                on_replicas: self.how.on_replicas,
                only_here: false,
                keeps_results: false,
                home: Some(home.keyspace()),
                plan,
            },
            requests: requests.clone(),
            reducer: self.reducer,
            partial: self.partial,
            writer: None,
        };
        let runtime = state::runtime()?;
        let (is_async, into, pattern) = (self.how.is_async, self.how.into, self.keys.filter.pattern);
        Ok(Box::pin(async move {
            let topology = requests.clone().begin().pinned_topology().await?;
            if let Some(command) = &command {
                command.check_other_keys(&topology, &pattern)?;
            }
            if let Some(target) = into {
                run.writer = Some((target.kind, ResultWriter::new(requests, target).await?));
            }
            let execution = home.begin(&node_id(&topology), shown);
            let only_reads = run.spec.plan.only_reads() && run.writer.is_none();
            runtime.spawn(run.finish(execution.clone()));
            if is_async {
                return Ok(execution.id().into());
            }
            let _cancels = only_reads.then(|| CancelledWithItsClient(execution.clone()));
            result(&execution).await
        }))
    }

    fn plan(&self, command: Option<&FittingCommand>, protocol: Protocol) -> FlowPlan {
        let limit = self.keys.limit.map(StepPlan::Limit);
        let command = command.map(|fitting| StepPlan::Command(fitting.command.clone()));
        let combine = self.reducer.combine();
        FlowPlan {
            reader: FlowReader::Keys(self.keys.filter.clone()),
            stages: vec![Stage { steps: limit.into_iter().chain(command).collect(), then: Passage::Collect }],
            end: match &combine {
                Some(combine) => FlowEnd::Reduce { name: combine.name().to_owned(), arguments: combine.arguments() },
                None => FlowEnd::Records,
            },
            is_partial: self.partial,
            is_resp3: protocol == Protocol::Resp3,
            code: None,
        }
    }
}

impl NamedReducer {
    /// Returns the reducer, if it is one: `LIST` keeps everything as it is.
    fn combine(&self) -> Option<Arc<dyn AnyCombine>> {
        match self {
            Self::Builtin(Builtin::List) => None,
            Self::Builtin(reducer) => Some(Arc::new(*reducer)),
            Self::ByPrefix(reducer) => Some(Arc::new(reducer.clone())),
        }
    }

    /// Returns what the records come to.
    fn reply(&self, reduced: Box<dyn AnyPartial>) -> Result<Reply, Error> {
        match self {
            Self::Builtin(reducer) => combine::finish(reducer, reduced),
            Self::ByPrefix(reducer) => combine::finish(reducer, reduced),
        }
    }

    /// Tells whether each result has a key of its own.
    fn gives_pairs(&self) -> bool {
        match self {
            Self::Builtin(reducer) => matches!(
                reducer,
                Builtin::List
                    | Builtin::Top(_)
                    | Builtin::Bottom(_)
                    | Builtin::Group
                    | Builtin::TopGroups(_)
                    | Builtin::Stats
                    | Builtin::Distinct
            ),
            Self::ByPrefix(_) => true,
        }
    }
}

/// Returns the id of the node that this is, as others know it.
fn node_id(topology: &Topology) -> String {
    topology.local().map_or_else(|| "local".to_owned(), |node| node.id.clone())
}

/// A map with everything that it needs to run.
struct RunningMap {
    spec: FlowSpec,
    requests: RequestBuilder,
    reducer: NamedReducer,
    partial: bool,
    /// The writer of the results, if they do not go to the client.
    writer: Option<(ResultKind, ResultWriter)>,
}

impl RunningMap {
    /// Runs it, and gives the execution its end, whatever happens.
    async fn finish(self, execution: Arc<Execution>) {
        let panicked = |_| Err(Error::Internal("internal error: the map panicked; see the server's log".into()));
        let result = AssertUnwindSafe(self.run(execution.clone())).catch_unwind().await.unwrap_or_else(panicked);
        state::executions().end(&execution, result);
    }

    async fn run(self, execution: Arc<Execution>) -> Result<Reply, Error> {
        let has_command = self.spec.plan.stages[0].steps.iter().any(|step| matches!(step, StepPlan::Command(_)));
        let FlowAnswer { reduced, records, failures, .. } =
            coordinator::run(self.spec, self.requests, execution.clone()).await?;
        let reduced = reduced.map(|reduced| self.reducer.reply(reduced)).transpose()?;
        let value = match (self.writer, reduced) {
            (None, Some(reduced)) => reduced,
            (None, None) => listed(&records, has_command)?,
            (Some((kind, writer)), reduced) => {
                let texts = match reduced {
                    Some(reduced) => ResultTexts::of_reduced(&reduced, kind),
                    None => ResultTexts::of_records(&records, has_command)?,
                };
                drop(records);
                let count = writer.write(texts, &execution).await?;
                i64::try_from(count).unwrap_or(i64::MAX).into()
            }
        };
        Ok(if self.partial { Reply::Array(vec![value, by_kind(&failures)]) } else { value })
    }
}

/// Returns records as the client is told of them: their keys, or a map of key to reply.
fn listed(records: &Records, has_command: bool) -> Result<Reply, Error> {
    if !has_command {
        return Ok(Reply::Array(records.keys().map(bulk).collect()));
    }
    let pair = |(key, reply): (&[u8], Result<Reply, Error>)| Ok((bulk(key), reply?));
    Ok(Reply::Map(records.replies().map(pair).collect::<Result<_, Error>>()?))
}

/// Returns failures as a map of kind to their count, some keys and the first one's text.
fn by_kind(failures: &KeyFailures) -> Reply {
    let kinds = failures.kinds().map(|(kind, of)| {
        let keys: Vec<Reply> = of.keys.iter().map(|key| bulk(key)).collect();
        let fields = vec![
            ("count".into(), i64::try_from(of.count).unwrap_or(i64::MAX).into()),
            ("keys".into(), keys.into()),
            ("example".into(), of.example.clone().into()),
        ];
        (kind.into(), Reply::Map(fields))
    });
    Reply::Map(kinds.collect())
}

fn bulk(bytes: &[u8]) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(bytes))
}

/// Waits for the end of an execution, whose result nobody else is kept waiting for.
async fn result(execution: &Execution) -> Result<Reply, Error> {
    let ended = execution.ended(Some(Duration::MAX)).await;
    execution.drop_result();
    let lost = || Err(Error::Internal("internal error: the execution has no end".into()));
    ended.unwrap_or_else(lost).map(Arc::unwrap_or_clone)
}

/// Cancels an execution that nobody waits for any more.
struct CancelledWithItsClient(Arc<Execution>);

impl Drop for CancelledWithItsClient {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
