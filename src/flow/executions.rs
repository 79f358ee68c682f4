//! [`Executions`]: the flows that run or have run at this node: the last thousand, and what the last ones came to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::execution::{Execution, ExecutionState};
use crate::error::Error;
use crate::reply::Reply;

/// The number of executions that are remembered after they have ended.
const MOST_ENDED: usize = 1000;

/// The time for which results are kept, and the most bytes of them.
const RESULTS_FOR: Duration = Duration::from_secs(3600);
const MOST_RESULT_BYTES: usize = 64 * 1024 * 1024;

/// The executions of this node.
pub(crate) struct Executions {
    /// The oldest first.
    all: Mutex<VecDeque<Arc<Execution>>>,
    next: AtomicU64,
    /// The numbers of executions that have ended: done, failed, cancelled.
    ended: [AtomicU64; 3],
}

/// Numbers about the executions of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExecutionFigures {
    pub(crate) running: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    /// The memory that kept results take, in bytes.
    pub(crate) kept_result_bytes: u64,
}

/// The answer to the wish to forget an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// The execution is forgotten.
    Yes,
    /// The execution still runs; it has to be cancelled first.
    StillRuns,
    /// There was none.
    Unknown,
}

impl Executions {
    /// Makes a list without executions. Its numbers begin at the time, so that an id from before a restart is nobody's.
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { all: Mutex::default(), next: AtomicU64::new(now.as_millis() as u64), ended: Default::default() }
    }

    /// Begins an execution at the node of this id.
    pub(crate) fn begin(&self, node_id: &str, user: &str, command: String) -> Arc<Execution> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.add(Execution::new(format!("{node_id}-{number}"), user.to_owned(), command))
    }

    /// Begins an execution that has its id from the caller, who also says when it is [forgotten](Self::forget): it counts for
    /// none of the limits of this list.
    pub(crate) fn begin_kept(&self, id: String, user: &str, command: String) -> Arc<Execution> {
        self.add(Execution::new(id, user.to_owned(), command).with_keeper())
    }

    fn add(&self, execution: Execution) -> Arc<Execution> {
        let execution = Arc::new(execution);
        let mut all = self.lock();
        all.push_back(execution.clone());
        tidy(&mut all);
        execution
    }

    /// Finds an execution.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Execution>> {
        let mut all = self.lock();
        tidy(&mut all);
        all.iter().find(|execution| execution.id() == id).cloned()
    }

    /// Returns all executions, the newest first.
    pub(crate) fn list(&self) -> Vec<Arc<Execution>> {
        let mut all = self.lock();
        tidy(&mut all);
        all.iter().rev().cloned().collect()
    }

    /// Gives an execution its end, and counts it.
    pub(crate) fn end(&self, execution: &Execution, result: Result<Reply, Error>) {
        self.end_with(execution, result.map(Arc::new));
    }

    /// Ends an execution with a reply that others keep as well.
    pub(crate) fn end_with(&self, execution: &Execution, result: Result<Arc<Reply>, Error>) {
        execution.end_with(result);
        let at = match execution.state() {
            ExecutionState::Running => return,
            ExecutionState::Done => 0,
            ExecutionState::Failed => 1,
            ExecutionState::Cancelled => 2,
        };
        self.ended[at].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many there are and were, and what they take.
    pub(crate) fn figures(&self) -> ExecutionFigures {
        let mut all = self.lock();
        tidy(&mut all);
        let running = all.iter().filter(|execution| !execution.has_ended()).count() as u64;
        let kept = all.iter().filter_map(|execution| execution.kept()).map(|(_, bytes)| bytes as u64);
        let [done, failed, cancelled] = self.ended.each_ref().map(|count| count.load(Ordering::Relaxed));
        ExecutionFigures { running, done, failed, cancelled, kept_result_bytes: kept.sum() }
    }

    /// Forgets an execution that has ended.
    pub(crate) fn forget(&self, id: &str) -> Forgotten {
        let mut all = self.lock();
        match all.iter().position(|execution| execution.id() == id) {
            None => Forgotten::Unknown,
            Some(at) if !all[at].has_ended() => Forgotten::StillRuns,
            Some(at) => {
                all.remove(at);
                Forgotten::Yes
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Execution>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the results that are too old or too many, and the executions that are too many. Those that run are kept.
fn tidy(all: &mut VecDeque<Arc<Execution>>) {
    let mut bytes = 0;
    for execution in all.iter().rev().filter(|execution| !execution.has_keeper()) {
        if let Some((ended, size)) = execution.kept() {
            bytes += size;
            if bytes > MOST_RESULT_BYTES || ended.elapsed() >= RESULTS_FOR {
                bytes -= size;
                execution.drop_result();
            }
        }
    }
    let may_go = |execution: &Execution| execution.has_ended() && !execution.has_keeper();
    let mut too_many = all.iter().filter(|execution| may_go(execution)).count().saturating_sub(MOST_ENDED);
    all.retain(|execution| {
        let goes = too_many > 0 && may_go(execution);
        too_many -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_thousand_are_kept_and_those_that_run() {
        let executions = Executions::new();
        let running = executions.begin("n", "u", "first".into());
        let ended: Vec<_> = (0..1001).map(|_| executions.begin("n", "u", String::new())).collect();
        ended.iter().for_each(|execution| execution.end(Ok(Reply::OK)));
        assert_eq!(executions.list().len(), 1001);
        assert!(executions.get(ended[0].id()).is_none() && executions.get(ended[1].id()).is_some());
        assert_eq!(executions.list()[0].id(), ended[1000].id());
        assert_eq!(executions.forget(running.id()), Forgotten::StillRuns);
        assert_eq!(executions.forget(ended[9].id()), Forgotten::Yes);
        assert_eq!(executions.forget(ended[9].id()), Forgotten::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_else_keeps_stays() {
        let executions = Executions::new();
        let kept = executions.begin_kept("own-1".into(), "u", String::new());
        executions.end_with(&kept, Ok(Arc::new(Reply::OK)));
        for _ in 0..1001 {
            executions.begin("n", "u", String::new()).end(Ok(Reply::OK));
        }
        tokio::time::advance(RESULTS_FOR).await;
        assert_eq!(executions.list().len(), 1001);
        assert!(executions.get("own-1").unwrap().ended(None).await.unwrap().is_ok());
        assert_eq!(executions.forget("own-1"), Forgotten::Yes);
        assert_eq!(executions.list().len(), 1000);
    }

    #[test]
    fn executions_are_counted_by_their_end() {
        let executions = Executions::new();
        let [done, failed, cancelled, _running] = [(); 4].map(|()| executions.begin("n", "u", String::new()));
        executions.end(&done, Ok(Reply::from("kept")));
        executions.end(&failed, Err(Error::Refused("no".into())));
        cancelled.cancel();
        executions.end(&cancelled, Err(Error::Cancelled { outcome_unknown: false }));
        let figures = executions.figures();
        assert_eq!((figures.running, figures.done, figures.failed, figures.cancelled), (1, 1, 1, 1));
        assert!(figures.kept_result_bytes > 4);
    }

    #[tokio::test(start_paused = true)]
    async fn results_are_kept_for_an_hour_or_64_mib() {
        let executions = Executions::new();
        let large = || Reply::Bulk(vec![0; 25 * 1024 * 1024].into());
        let of_large: Vec<_> = (0..3).map(|_| executions.begin("n", "u", String::new())).collect();
        of_large.iter().for_each(|execution| execution.end(Ok(large())));
        executions.list();
        assert!(of_large[0].ended(None).await.unwrap().is_err());
        assert!(of_large[1].ended(None).await.unwrap().is_ok() && of_large[2].ended(None).await.unwrap().is_ok());
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(executions.get(of_large[2].id()).unwrap().ended(None).await.unwrap().is_err());
    }
}
