//! [`GearsExecutions`]: the executions of RedisGears' commands that this node has begun, with its ids and its rules of how
//! long they are kept. `RMR.JOB` shows the same ones.
//!
//! An execution that a client waits for is here as long as it runs. One that nobody waits for stays with its results, until
//! it is dropped or `MaxExecutions` newer ones have pushed it out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::sessions::SessionFacts;
use super::shown::ShownStep;
use crate::error::Error;
use crate::flow::execution::Execution;
use crate::flow::executions::Executions;
use crate::flow::messages::StepsTook;
use crate::python::SessionHandle;
use crate::reply::Reply;

/// The id that RedisGears gives a node where there is no cluster.
pub(super) const NO_NODE: &str = "0000000000000000000000000000000000000000";

/// The text before the number of a script that runs.
pub(super) const SCRIPT: &str = "-script";

/// The executions that this node has begun.
pub(super) struct GearsExecutions {
    /// The oldest first.
    all: Mutex<VecDeque<Arc<GearsExecution>>>,
    next: AtomicU64,
    /// The number of the next script.
    next_script: AtomicU64,
}

/// An execution, as the commands of RedisGears see it.
pub(super) struct GearsExecution {
    flow: Arc<Execution>,
    /// The execution is the top level of a script: not one of those that RedisGears counts.
    is_script: bool,
    /// The execution stays when it has ended.
    is_kept: bool,
    /// Events of a registration have begun it.
    is_registered: bool,
    /// The execution goes when it ends: newer ones have taken its place.
    is_pushed_out: AtomicBool,
    began: Instant,
    parts: ExecutionParts,
    session: OnceLock<KeptSession>,
    end: Mutex<Option<Arc<GearsEnd>>>,
}

/// A session that stays as long as an execution of it is kept.
pub(super) struct KeptSession {
    #[expect(dead_code, reason = "it is held")]
    pub(super) facts: Arc<SessionFacts>,
    /// The session with the process that has the profile.
    #[expect(dead_code, reason = "it is held")]
    pub(super) profiled: Option<SessionHandle>,
}

/// The parts of an execution.
#[derive(Debug, Clone, Default)]
pub(super) struct ExecutionParts {
    /// The ids of the nodes that have a share, this one's first.
    pub(super) shards: Vec<String>,
    /// The steps in the order of the flow.
    pub(super) steps: Vec<ShownStep>,
}

/// The end of an execution.
#[derive(Debug)]
pub(super) struct GearsEnd {
    pub(super) is_aborted: bool,
    /// Results and errors, as the client gets them.
    pub(super) pair: Arc<Reply>,
    pub(super) result_count: usize,
    pub(super) errors: Vec<Bytes>,
    pub(super) took: Duration,
    /// The time that reading has taken on each node, and the steps, if that was measured.
    pub(super) steps_took: Vec<StepsTook>,
}

/// The outcome of a flow.
#[derive(Debug, Default, Clone)]
pub(super) struct FlowOutcome {
    pub(super) is_aborted: bool,
    pub(super) results: Vec<Reply>,
    pub(super) errors: Vec<Bytes>,
    /// The time that reading has taken on each node, and the steps, if that was measured.
    pub(super) steps_took: Vec<StepsTook>,
}

/// The facts with which an execution begins.
pub(super) struct ExecutionStart<'a> {
    /// The id of this node, or [`NO_NODE`].
    pub(super) prefix: &'a str,
    pub(super) user: &'a str,
    pub(super) command: String,
    /// The execution stays when it has ended.
    pub(super) is_kept: bool,
    /// Events of a registration begin it.
    pub(super) is_registered: bool,
    pub(super) parts: ExecutionParts,
    /// The number of executions that are remembered; [`None`] for all.
    pub(super) most: Option<usize>,
}

/// The facts about an execution that clients are shown.
#[derive(Debug, Clone)]
pub(super) struct ShownExecution {
    pub(super) id: String,
    /// Events of a registration have begun it.
    pub(super) is_registered: bool,
    pub(super) parts: ExecutionParts,
    pub(super) end: Option<Arc<GearsEnd>>,
}

impl ShownExecution {
    /// Returns its state in a word of RedisGears.
    pub(super) fn status(&self) -> &'static str {
        match &self.end {
            None => "running",
            Some(end) if end.is_aborted => "aborted",
            Some(_) => "done",
        }
    }
}

/// Returns the id of the execution of a number.
pub(super) fn id_of(prefix: &str, number: u64) -> String {
    format!("{prefix:0>40}-{number}")
}

/// Returns the node that an id names, and the number; not of a script.
pub(super) fn number_of(id: &str) -> Option<(&str, u64)> {
    let (prefix, number) = id.rsplit_once('-')?;
    Some((prefix, number.parse().ok()?))
}

/// The answer to the wish to drop an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    Yes,
    StillRuns,
    Unknown,
}

impl GearsExecutions {
    /// Makes a list without executions, whose numbers begin at 0.
    pub(super) const fn new() -> Self {
        Self { all: Mutex::new(VecDeque::new()), next: AtomicU64::new(0), next_script: AtomicU64::new(0) }
    }

    /// Begins an execution; the oldest one beyond the limit goes, or will go when it ends.
    pub(super) fn begin(&self, start: ExecutionStart<'_>, flows: &Executions) -> Arc<GearsExecution> {
        let id = id_of(start.prefix, self.next_number());
        let most = start.most;
        let execution = GearsExecution::new(start, id, false, flows);
        let mut all = self.lock();
        all.push_back(execution.clone());
        if let Some(most) = most {
            push_out(&mut all, most, flows);
        }
        execution
    }

    /// Begins the top level of a script, so that it is seen, and can be ended, like an execution.
    pub(super) fn begin_script(&self, start: ExecutionStart<'_>, flows: &Executions) -> Arc<GearsExecution> {
        let id = format!("{:0>40}{SCRIPT}-{}", start.prefix, self.next_script.fetch_add(1, Relaxed));
        let execution = GearsExecution::new(start, id, true, flows);
        self.lock().push_back(execution.clone());
        execution
    }

    /// Takes a number for an execution that is not listed here.
    pub(super) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// Finds an execution.
    pub(super) fn get(&self, id: &str) -> Option<Arc<GearsExecution>> {
        self.lock().iter().find(|execution| execution.id() == id).cloned()
    }

    /// Returns all executions, the oldest first.
    pub(super) fn list(&self) -> Vec<Arc<GearsExecution>> {
        self.lock().iter().cloned().collect()
    }

    /// Gives an execution its end. One that is not to be kept goes.
    pub(super) fn end(&self, execution: &GearsExecution, outcome: FlowOutcome, flows: &Executions) {
        let end = Arc::new(outcome.end(execution.began.elapsed()));
        *execution.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end.clone());
        let result =
            if end.is_aborted { Err(Error::Cancelled { outcome_unknown: false }) } else { Ok(end.pair.clone()) };
        flows.end_with(&execution.flow, result);
        if !execution.is_kept || execution.is_pushed_out.load(Relaxed) {
            self.forget(execution.id(), flows);
        }
    }

    /// Drops an execution that has ended.
    pub(super) fn drop_ended(&self, id: &str, flows: &Executions) -> Dropped {
        match self.get(id) {
            None => Dropped::Unknown,
            Some(execution) if !execution.flow.has_ended() => Dropped::StillRuns,
            Some(_) => {
                self.forget(id, flows);
                Dropped::Yes
            }
        }
    }

    /// Forgets all that have ended, and begins again with the numbers.
    pub(super) fn reset(&self, flows: &Executions) {
        let all = std::mem::take(&mut *self.lock());
        for execution in all {
            flows.forget(execution.id());
        }
        self.next.store(0, Relaxed);
        self.next_script.store(0, Relaxed);
    }

    fn forget(&self, id: &str, flows: &Executions) {
        self.lock().retain(|execution| execution.id() != id);
        flows.forget(id);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<GearsExecution>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the oldest executions go that are more than so many: at once, or when they end.
fn push_out(all: &mut VecDeque<Arc<GearsExecution>>, most: usize, flows: &Executions) {
    let has_place = |execution: &GearsExecution| !execution.is_script && !execution.is_pushed_out.load(Relaxed);
    let staying = all.iter().filter(|execution| has_place(execution)).count();
    let mut too_many = staying.saturating_sub(most);
    all.retain(|execution| {
        if too_many == 0 || !has_place(execution) {
            return true;
        }
        too_many -= 1;
        execution.is_pushed_out.store(true, Relaxed);
        if execution.flow.has_ended() {
            flows.forget(execution.id());
        }
        !execution.flow.has_ended()
    });
}

impl GearsExecution {
    fn new(start: ExecutionStart<'_>, id: String, is_script: bool, flows: &Executions) -> Arc<Self> {
        Arc::new(Self {
            flow: flows.begin_kept(id, start.user, start.command),
            is_script,
            is_kept: start.is_kept,
            is_registered: start.is_registered,
            is_pushed_out: AtomicBool::new(false),
            began: Instant::now(),
            parts: start.parts,
            session: OnceLock::new(),
            end: Mutex::new(None),
        })
    }

    /// Has a session stay for as long as this is kept.
    pub(super) fn keep(&self, session: KeptSession) {
        // It has one session.
        let _ = self.session.set(session);
    }

    /// Returns the id.
    pub(super) fn id(&self) -> &str {
        self.flow.id()
    }

    /// Returns the last part of the id.
    pub(super) fn number(&self) -> Option<u64> {
        number_of(self.id()).map(|(_, number)| number)
    }

    /// Returns what clients are shown of it.
    pub(super) fn shown(&self) -> ShownExecution {
        let (id, parts, is_registered) = (self.id().to_owned(), self.parts.clone(), self.is_registered);
        ShownExecution { id, parts, is_registered, end: self.end() }
    }

    /// Returns what `RMR.JOB` sees of it.
    pub(super) fn flow(&self) -> &Arc<Execution> {
        &self.flow
    }

    /// Returns how it has ended, if it has.
    pub(super) fn end(&self) -> Option<Arc<GearsEnd>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) -> Option<Arc<GearsEnd>> {
        let _ = self.flow.ended(Some(Duration::MAX)).await;
        self.end()
    }
}

impl FlowOutcome {
    /// Returns what has come of a flow that could not be run at all.
    pub(super) fn failed(why: &str) -> Self {
        Self { errors: vec![Bytes::copy_from_slice(why.as_bytes())], ..Self::default() }
    }

    /// Returns the end of an execution that has taken so long.
    pub(super) fn end(self, took: Duration) -> GearsEnd {
        let Self { is_aborted, results, errors, steps_took } = self;
        let result_count = results.len();
        let shown = errors.iter().map(|error| Reply::Bulk(error.clone())).collect();
        let pair = Arc::new(Reply::Array(vec![Reply::Array(results), Reply::Array(shown)]));
        GearsEnd { is_aborted, pair, result_count, errors, took, steps_took }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct OneNode {
        flows: Executions,
        gears: GearsExecutions,
    }

    impl OneNode {
        fn new() -> Self {
            Self { flows: Executions::new(), gears: GearsExecutions::new() }
        }

        fn begin(&self, is_kept: bool, most: usize) -> Arc<GearsExecution> {
            let (user, command, parts) = ("default", "RG.PYEXECUTE x".into(), ExecutionParts::default());
            let most = (most > 0).then_some(most);
            let start = ExecutionStart { prefix: NO_NODE, user, command, is_kept, is_registered: false, parts, most };
            self.gears.begin(start, &self.flows)
        }

        fn end(&self, execution: &GearsExecution) {
            let outcome = FlowOutcome { results: vec![Reply::from("1")], ..FlowOutcome::default() };
            self.gears.end(execution, outcome, &self.flows);
        }

        /// Returns the numbers of the executions in both lists.
        fn numbers(&self) -> Vec<String> {
            let number = |id: &str| id.rsplit('-').next().unwrap_or_default().to_owned();
            let mut flows: Vec<String> = self.flows.list().iter().map(|execution| number(execution.id())).collect();
            flows.reverse();
            let gears: Vec<String> = self.gears.list().iter().map(|execution| number(execution.id())).collect();
            assert_eq!(gears, flows);
            gears
        }
    }

    #[test]
    fn ids_have_forty_letters_and_a_number_from_0_on() {
        let node = OneNode::new();
        assert_eq!(node.begin(true, 0).id(), format!("{NO_NODE}-0"));
        let start = ExecutionStart {
            prefix: "10.0.0.1:7001",
            user: "u",
            command: String::new(),
            is_kept: true,
            is_registered: false,
            parts: ExecutionParts::default(),
            most: None,
        };
        let id = node.gears.begin(start, &node.flows).id().to_owned();
        assert_eq!((id.len(), &id[27..]), (42, "10.0.0.1:7001-1"));
    }

    #[test]
    fn who_is_waited_for_goes_with_its_end_and_the_others_stay() {
        let node = OneNode::new();
        let (waited_for, kept) = (node.begin(false, 0), node.begin(true, 0));
        assert_eq!((node.numbers(), waited_for.shown().status()), (vec!["0".to_owned(), "1".into()], "running"));
        assert!(waited_for.end().is_none());
        node.end(&waited_for);
        node.end(&kept);
        assert_eq!((node.numbers(), waited_for.shown().status()), (vec!["1".to_owned()], "done"));
        let end = kept.end().unwrap();
        assert_eq!(*end.pair, Reply::Array(vec![Reply::Array(vec!["1".into()]), Reply::Array(vec![])]));
        assert_eq!(node.gears.drop_ended(kept.id(), &node.flows), Dropped::Yes);
        assert_eq!(node.gears.drop_ended(kept.id(), &node.flows), Dropped::Unknown);
        assert!(node.numbers().is_empty());
    }

    #[test]
    fn the_oldest_is_pushed_out_when_it_has_ended() {
        let node = OneNode::new();
        let all: Vec<_> = (0..3).map(|_| node.begin(true, 3)).collect();
        node.end(&all[1]);
        // The oldest runs yet: it has lost its place, and no other goes for it.
        let fourth = node.begin(true, 3);
        assert_eq!(node.numbers(), ["0", "1", "2", "3"]);
        assert_eq!(node.gears.drop_ended(all[0].id(), &node.flows), Dropped::StillRuns);
        node.end(&all[0]);
        assert_eq!(node.numbers(), ["1", "2", "3"]);
        node.begin(true, 3);
        assert_eq!(node.numbers(), ["2", "3", "4"]);
        node.end(&fourth);
        // A smaller limit is heeded by the next one.
        node.begin(true, 1);
        assert_eq!(node.numbers(), ["2", "4", "5"]);
        node.gears.reset(&node.flows);
        assert!(node.gears.list().is_empty());
    }

    #[test]
    fn one_that_is_aborted_keeps_what_there_is() {
        let node = OneNode::new();
        let execution = node.begin(true, 0);
        execution.flow().cancel();
        let outcome =
            FlowOutcome { is_aborted: true, results: vec![], errors: vec!["stopped".into()], steps_took: vec![] };
        node.gears.end(&execution, outcome, &node.flows);
        assert_eq!(execution.shown().status(), "aborted");
        let errors = Reply::Array(vec!["stopped".into()]);
        assert_eq!(*execution.end().unwrap().pair, Reply::Array(vec![Reply::Array(vec![]), errors]));
        assert_eq!(execution.flow().state().as_str(), "cancelled");
    }
}
