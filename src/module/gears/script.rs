//! `RG.PYEXECUTE`: runs the top level of a script, and then the flow that it has started, on all shards.
//!
//! The script runs in a process of this node. An error that it raises is the reply; then nothing of the script stays. Whoever
//! waits may go: the script and its flow run to their end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::arguments::{self, GearsScript};
use super::caller::GearsCaller;
use super::cluster::ClusterView;
use super::command::{GearsCommand, at_once, control};
use super::executions::{ExecutionParts, ExecutionStart, FlowOutcome, GearsExecution, KeptSession};
use super::flows::{self, FlowOfSession};
use super::loaded::{LoadedScript, loaded};
use super::plans::DescribedFlow;
use super::registry::described::DescribedRegistration;
use super::registry::registration::Registration;
use super::registry::{self, distribution, numbers};
use super::sessions::{NewSession, SessionFacts, SessionWords};
use super::{replies, requirements, settings, state};
use crate::error::Error;
use crate::module::commands::spec::{Arg, ArgKind, Call};
use crate::module::request::running::Work;
use crate::module::{python, secrets, state as module_state};
use crate::python::frame::FrameKind;
use crate::python::marshal::Value;
use crate::python::stage::{self, StageResults};
use crate::python::{Context, ContextGuard, PackageFolder, SessionHandle, WorkerError};
use crate::reply::Reply;
use crate::topology::Topology;

pub(super) const PYEXECUTE: GearsCommand =
    control(c"RG.PYEXECUTE", c"Runs a script in Python, and the function that it starts on all shards.", -1, execute)
        .with_args(&[
            Arg::new(c"script", ArgKind::String),
            Arg::word(c"unblocking", c"UNBLOCKING").optional(),
            Arg::new(c"id", ArgKind::String).after(c"ID").optional(),
            Arg::new(c"description", ArgKind::String).after(c"DESCRIPTION").optional(),
            Arg::word(c"upgrade", c"UPGRADE").optional(),
            Arg::new(c"replaced-id", ArgKind::String).after(c"REPLACE_WITH").optional(),
            Arg::word(c"force-reinstall", c"FORCE_REINSTALL_REQUIREMENTS").optional(),
            Arg::new(c"requirement", ArgKind::String).after(c"REQUIREMENTS").optional().multiple(),
        ])
        .that_works();

fn execute(call: &Call<'_>) -> Result<Work, Error> {
    let refuse = |text: &str| at_once(replies::error(text));
    // Asked for before anything else.
    if call.ctx.why_not_wait().is_some() {
        return refuse("Can not run gears inside a multi exec, lua, or when blocking is not allowed");
    }
    if call.args.is_empty() {
        return refuse("ERR wrong number of arguments for 'rg.pyexecute' command");
    }
    let script = match arguments::gears_script(&call.args) {
        Ok(script) => script,
        Err(why) => return refuse(&why),
    };
    let GearsScript { script, is_unblocking, upgrades, reinstalls, replaces, id, description, requirements } = script;
    let words = SessionWords { id, upgrades, replaces, description, requirements };
    let run = ScriptRun {
        script: arguments::text(script),
        is_unblocking,
        reinstalls,
        shown: secrets::shown(b"RG.PYEXECUTE", &call.args),
        caller: GearsCaller::of(call.ctx)?,
    };
    let session = match state::sessions().begin(words) {
        Ok(session) => session,
        Err(why) => return refuse(&why),
    };
    let (answer, answered) = oneshot::channel();
    module_state::runtime()?.spawn(async move {
        let panicked = |_| Err(Error::Internal("internal error: the script's run panicked; see the log".into()));
        let reply = AssertUnwindSafe(run.run(session)).catch_unwind().await.unwrap_or_else(panicked);
        // Whoever waited may be gone.
        let _ = answer.send(reply);
    });
    let lost = || Err(Error::Internal("internal error: the script's run was lost".into()));
    Ok(Box::pin(async move { answered.await.unwrap_or_else(|_| lost()) }))
}

/// A script that is to run.
struct ScriptRun {
    script: String,
    is_unblocking: bool,
    reinstalls: bool,
    /// The command, as `RMR.JOB` shows it.
    shown: String,
    caller: GearsCaller,
}

/// A session with its worker, as long as something of it runs.
struct RunningSession {
    handle: SessionHandle,
    context: ContextGuard,
}

/// A top level that runs: among the executions, so that it can be seen and ended.
struct RunningScript(Arc<GearsExecution>);

impl RunningScript {
    fn begin(run: &ScriptRun, view: &ClusterView) -> Self {
        Self(state::begin_script(ExecutionStart {
            prefix: &view.id,
            user: &run.caller.user,
            command: run.shown.clone(),
            is_kept: false,
            is_registered: false,
            parts: ExecutionParts { shards: vec![view.padded_id()], steps: Vec::new() },
            most: None,
        }))
    }
}

impl Drop for RunningScript {
    fn drop(&mut self) {
        state::end(&self.0, FlowOutcome::default());
    }
}

impl ScriptRun {
    async fn run(self, session: NewSession) -> Result<Reply, Error> {
        let topology = self.caller.requests.clone().begin().pinned_topology().await?;
        let view = ClusterView::of(&topology);
        let name = session.facts().name.clone();
        let sessions = module_state::python_sessions()?;
        let required = &session.facts().requirements;
        let folder = match requirements::ensure(required, self.reinstalls, &self.caller, &sessions).await {
            Ok(folder) => folder,
            Err(error) => return Ok(replies::error(error.to_string())),
        };
        let handle = sessions.open(&name, &self.caller.user, &flows::for_workers(&view)).await?;
        let rights = self.caller.rights.clone();
        let context = python::contexts().open(Context { session: name, rights });
        let running = RunningSession { handle, context };
        let loaded = self.load(&running, folder, &RunningScript::begin(&self, &view)).await;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(why) => return Ok(replies::error(why)),
        };
        let facts = session.facts().clone();
        let has_registered = !loaded.registrations.is_empty();
        if let Err(refused) = self.register(session, loaded.registrations, &view).await {
            return Ok(Reply::Array(refused.into_iter().map(replies::error).collect()));
        }
        if let Some(aside) = loaded.aside.filter(|_| has_registered) {
            self.run_aside(running, facts, aside, view, &topology);
            return Ok(Reply::OK);
        }
        let Some(flow) = loaded.run else {
            drop(running);
            state::script_has_run(facts);
            return Ok(Reply::OK);
        };
        let execution = self.begin(&flow, &view, &topology);
        let is_unblocking = self.is_unblocking;
        if is_unblocking {
            let profiled = settings::profiles_executions().then(|| running.handle.clone());
            execution.keep(KeptSession { facts: facts.clone(), profiled });
        }
        let runs = self.run_to_end(running, facts, flow, view, execution.clone());
        if is_unblocking {
            tokio::spawn(runs);
            return Ok(execution.id().into());
        }
        runs.await;
        let lost = || Error::Internal("internal error: the execution has no end".into());
        Ok(Reply::clone(&execution.end().ok_or_else(lost)?.pair))
    }

    /// Has what the script has registered take effect, and the session take its place. The error is what the client gets.
    async fn register(
        &self,
        session: NewSession,
        described: Vec<DescribedRegistration>,
        view: &ClusterView,
    ) -> Result<(), Vec<String>> {
        let failed = |error: Error| vec![error.to_string()];
        let python = module_state::python_sessions().map_err(failed)?.python_version().await.map_err(failed)?;
        let facts = session.facts();
        let registration = |described: DescribedRegistration| {
            let DescribedRegistration { id, description, mode, reader, flow } = described;
            Registration {
                id,
                session: facts.name.clone(),
                user: self.caller.user.clone(),
                description,
                mode,
                reader,
                flow,
                requirements: facts.requirements.clone(),
                python: python.to_string(),
            }
        };
        let change = registry::change_of_script(
            facts,
            session.replaces(),
            described.into_iter().map(registration).collect(),
            &view.id,
        );
        distribution::decide(change, Some(session), true).await
    }

    /// Runs a flow that nobody waits for, since the script has registered something, too.
    fn run_aside(
        self,
        session: RunningSession,
        facts: Arc<SessionFacts>,
        flow: DescribedFlow,
        view: ClusterView,
        topology: &Topology,
    ) {
        let execution = self.begin(&flow, &view, topology);
        tokio::spawn(self.run_to_end(session, facts, flow, view, execution));
    }

    /// Runs a flow, and gives its execution its end. The session stays as long.
    async fn run_to_end(
        self,
        session: RunningSession,
        facts: Arc<SessionFacts>,
        flow: DescribedFlow,
        view: ClusterView,
        execution: Arc<GearsExecution>,
    ) {
        let run = self.run_flow(&session, &facts.requirements, &flow, &view, &execution);
        let outcome = AssertUnwindSafe(run).catch_unwind().await;
        let panicked = |_| FlowOutcome::failed("internal error: the execution panicked; see the server's log");
        drop(session);
        state::script_has_run(facts);
        state::end(&execution, outcome.unwrap_or_else(panicked));
    }

    /// Runs the top level; returns what it has made. The error is the one that the script raised.
    async fn load(
        &self,
        session: &RunningSession,
        folder: Option<Arc<PackageFolder>>,
        script: &RunningScript,
    ) -> Result<LoadedScript, String> {
        let path = folder.map(|folder| ("path", session.handle.import_from(&folder)));
        let head = [
            ("session", session.handle.id().into()),
            ("context", session.context.number().into()),
            ("script", self.script.as_str().into()),
        ];
        let head = Value::dict(head.into_iter().chain(path));
        let worker = session.handle.worker();
        let mut loading = std::pin::pin!(worker.ask(FrameKind::Load, &head, &[]));
        let answer = tokio::select! {
            biased;
            answer = &mut loading => answer,
            () = script.0.flow().cancelled() => {
                stage::end_code(worker, session.context.number()).await;
                loading.await
            }
        };
        let answer = answer.map_err(|error| match error {
            WorkerError::Failed { text, .. } => text,
            WorkerError::Gone(why) => why,
        })?;
        let loaded = loaded(&answer.head).ok_or("the Python process has described no flow")?;
        let registered = loaded.registrations.iter().map(|described| &described.flow.key);
        for key in loaded.flows.iter().map(|flow| &flow.key).chain(registered) {
            session.handle.has_made(key).await;
        }
        numbers::count_builders(loaded.builders);
        Ok(loaded)
    }

    fn begin(&self, flow: &DescribedFlow, view: &ClusterView, topology: &Topology) -> Arc<GearsExecution> {
        state::begin(ExecutionStart {
            prefix: &view.id,
            user: &self.caller.user,
            command: self.shown.clone(),
            is_kept: self.is_unblocking,
            is_registered: false,
            parts: flow.parts(view.shards_of(flow.is_local, topology)),
            most: settings::max_executions(),
        })
    }

    async fn run_flow(
        &self,
        session: &RunningSession,
        requirements: &[String],
        flow: &DescribedFlow,
        view: &ClusterView,
        execution: &GearsExecution,
    ) -> FlowOutcome {
        let of_session = FlowOfSession {
            session: session.handle.id(),
            requirements,
            flow: flow.runnable(),
            is_cluster: view.is_cluster,
        };
        match flows::run(of_session, &self.caller, StageResults::Replies, execution.flow().clone()).await {
            Ok(answer) => flows::outcome(answer),
            Err(error) => FlowOutcome::failed(&error.to_string()),
        }
    }
}
