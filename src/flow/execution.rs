//! [`Execution`]: a flow that runs, or has run, at this node: how far it is, what came of it, and the word that ends it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::messages::LeafProgress;
use crate::error::Error;
use crate::reply::Reply;
use crate::words::words;

/// A flow that runs, or has run.
pub(crate) struct Execution {
    id: String,
    user: String,
    command: String,
    /// Whoever has begun it says how long it is kept.
    has_keeper: bool,
    /// Milliseconds since 1970.
    started_ms: u64,
    began: Instant,
    cancelled: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    so_far: Mutex<SoFar>,
}

/// The state of an execution so far.
#[derive(Default)]
struct SoFar {
    shares: Vec<LeafProgress>,
    end: Option<Ended>,
}

/// The end of an execution.
struct Ended {
    at: Instant,
    state: ExecutionState,
    error: Option<Error>,
    /// [`None`] once it is kept no more.
    reply: Option<Arc<Reply>>,
    bytes: usize,
}

/// The state of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExecutionState {
    Running,
    Done,
    Failed,
    Cancelled,
}

words!(pub(crate) ExecutionState { Running = "running", Done = "done", Failed = "failed", Cancelled = "cancelled" });

/// The report about an execution, which other nodes get too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExecutionStatus {
    pub(crate) id: String,
    pub(crate) state: ExecutionState,
    pub(crate) user: String,
    pub(crate) command: String,
    /// Milliseconds since 1970.
    pub(crate) started_ms: u64,
    pub(crate) elapsed_ms: u64,
    /// The part of the reading that is done, in percent; [`None`] while nobody knows how much there is.
    pub(crate) percent: Option<f64>,
    /// Keys that have gone through all steps.
    pub(crate) keys: u64,
    pub(crate) slots: u64,
    pub(crate) slots_left: u64,
    /// The time that it will probably still run, in milliseconds.
    pub(crate) eta_ms: Option<u64>,
    /// Records that went into each stage, and that came out.
    pub(crate) stages: Vec<(u64, u64)>,
    pub(crate) error: Option<String>,
}

impl Execution {
    pub(super) fn new(id: String, user: String, command: String) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id,
            user,
            command,
            has_keeper: false,
            started_ms: now.as_millis() as u64,
            began: Instant::now(),
            cancelled: watch::Sender::new(false),
            ended: watch::Sender::new(false),
            so_far: Mutex::default(),
        }
    }

    /// Leaves it to whoever has begun it how long it is kept.
    pub(super) fn with_keeper(self) -> Self {
        Self { has_keeper: true, ..self }
    }

    /// Tells whether somebody else than the list of executions says how long it is kept.
    pub(super) fn has_keeper(&self) -> bool {
        self.has_keeper
    }

    /// Returns the id, by which any node knows it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the user who has begun it.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// Ends it soon; without effect on one that has ended.
    pub(crate) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Tells whether somebody has ended it.
    pub(crate) fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Waits until somebody ends it.
    pub(crate) async fn cancelled(&self) {
        // The sender lives as long as the execution does.
        let _ = self.cancelled.subscribe().wait_for(|is_cancelled| *is_cancelled).await;
    }

    /// Takes what has come of it. The first end counts.
    pub(crate) fn end(&self, result: Result<Reply, Error>) {
        self.end_with(result.map(Arc::new));
    }

    /// Ends the execution with a reply that others keep as well.
    pub(super) fn end_with(&self, result: Result<Arc<Reply>, Error>) {
        let mut so_far = self.lock();
        if so_far.end.is_some() {
            return;
        }
        let (reply, error) = match result {
            Ok(reply) => (Some(reply), None),
            Err(error) => (None, Some(error)),
        };
        let state = match &error {
            None => ExecutionState::Done,
            Some(_) if *self.cancelled.borrow() => ExecutionState::Cancelled,
            Some(_) => ExecutionState::Failed,
        };
        let bytes = reply.as_deref().map_or(0, reply_bytes);
        so_far.end = Some(Ended { at: Instant::now(), state, error, reply, bytes });
        drop(so_far);
        self.ended.send_replace(true);
    }

    /// Waits for the end, at most so long, and returns what came of it; [`None`] while it runs.
    ///
    /// # Errors
    /// In the result: the execution's own, or that its result is kept no more.
    pub(crate) async fn ended(&self, wait: Option<Duration>) -> Option<Result<Arc<Reply>, Error>> {
        if let Some(wait) = wait {
            let mut ended = self.ended.subscribe();
            let _ = tokio::time::timeout(wait, ended.wait_for(|has_ended| *has_ended)).await;
        }
        let so_far = self.lock();
        let end = so_far.end.as_ref()?;
        Some(match (&end.error, &end.reply) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(reply)) => Ok(reply.clone()),
            (None, None) => Err(Error::Refused(format!("the result of {} is kept no more", self.id))),
        })
    }

    /// Returns its state.
    pub(crate) fn state(&self) -> ExecutionState {
        self.lock().end.as_ref().map_or(ExecutionState::Running, |end| end.state)
    }

    /// Tells whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Returns when it has ended and how many bytes its result takes.
    pub(super) fn kept(&self) -> Option<(Instant, usize)> {
        self.lock().end.as_ref().map(|end| (end.at, end.bytes))
    }

    /// Keeps the result no more.
    pub(crate) fn drop_result(&self) {
        if let Some(end) = &mut self.lock().end {
            (end.reply, end.bytes) = (None, 0);
        }
    }

    /// Says how far a share is. Returns whether it is further than it was.
    pub(super) fn set_share(&self, share: usize, progress: LeafProgress) -> bool {
        let mut so_far = self.lock();
        if so_far.shares.len() <= share {
            so_far.shares.resize_with(share + 1, LeafProgress::default);
        }
        let is_further = so_far.shares[share] != progress;
        so_far.shares[share] = progress;
        is_further
    }

    /// Returns how many keys have gone through all steps.
    pub(crate) fn keys_done(&self) -> u64 {
        self.lock().shares.iter().map(done).sum()
    }

    /// Returns what is to be said of it now.
    pub(crate) fn status(&self) -> ExecutionStatus {
        let so_far = self.lock();
        let shares = &so_far.shares;
        let ended = so_far.end.as_ref();
        let elapsed = ended.map_or_else(|| self.began.elapsed(), |end| end.at.saturating_duration_since(self.began));
        let part = match ended.map(|end| end.state) {
            Some(ExecutionState::Done) => Some(1.0),
            _ => part_read(shares),
        };
        let slots: u64 = shares.iter().map(|share| u64::from(share.slots)).sum();
        let slots_read: u64 = shares.iter().map(|share| u64::from(share.slots_read)).sum();
        let stage_count = shares.iter().map(|share| share.records_in.len()).max().unwrap_or(0);
        let sum = |stage: usize, of: fn(&LeafProgress) -> &Vec<u64>| -> u64 {
            shares.iter().filter_map(|share| of(share).get(stage)).sum()
        };
        let eta = part.filter(|part| *part > 0.0 && ended.is_none());
        ExecutionStatus {
            id: self.id.clone(),
            state: ended.map_or(ExecutionState::Running, |end| end.state),
            user: self.user.clone(),
            command: self.command.clone(),
            started_ms: self.started_ms,
            elapsed_ms: elapsed.as_millis() as u64,
            percent: part.map(|part| part * 100.0),
            keys: shares.iter().map(done).sum(),
            slots,
            slots_left: slots.saturating_sub(slots_read),
            eta_ms: eta.map(|part| (elapsed.as_millis() as f64 * (1.0 - part) / part) as u64),
            stages: (0..stage_count)
                .map(|at| (sum(at, |share| &share.records_in), sum(at, |share| &share.records_out)))
                .collect(),
            error: ended
                .and_then(|end| end.error.as_ref())
                .map(|error| String::from_utf8_lossy(&error.to_line()).into_owned()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how many records of a share have gone through all steps.
fn done(share: &LeafProgress) -> u64 {
    share.records_out.last().copied().unwrap_or(0)
}

/// Returns the part of the slots, or of the keys, that has been read.
fn part_read(shares: &[LeafProgress]) -> Option<f64> {
    let slots: u64 = shares.iter().map(|share| u64::from(share.slots)).sum();
    let (read, all) = match slots {
        0 => (shares.iter().map(|share| share.keys_read).sum(), shares.iter().map(|share| share.keys_in_table).sum()),
        slots => (shares.iter().map(|share| u64::from(share.slots_read)).sum::<u64>(), slots),
    };
    (all > 0).then(|| (read as f64 / all as f64).min(1.0))
}

/// Returns about how much memory a reply takes, in bytes.
fn reply_bytes(reply: &Reply) -> usize {
    let all = |replies: &[Reply]| replies.iter().map(reply_bytes).sum::<usize>();
    let pairs = |pairs: &[(Reply, Reply)]| {
        pairs.iter().map(|(key, value)| reply_bytes(key) + reply_bytes(value)).sum::<usize>()
    };
    let inside = match reply {
        Reply::Array(elements) | Reply::Set(elements) => all(elements),
        Reply::Map(map) => pairs(map),
        Reply::Attributed { attributes, reply } => pairs(attributes) + reply_bytes(reply),
        Reply::Error(text) => text.len(),
        other => other.bytes().map_or(0, <[u8]>::len),
    };
    size_of::<Reply>() + inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution() -> Execution {
        Execution::new("n-1".into(), "default".into(), "RMR.MAP COUNT MATCH *".into())
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_how_far_it_is_and_how_long_it_will_run() {
        let execution = execution();
        assert_eq!((execution.status().percent, execution.status().state), (None, ExecutionState::Running));
        let progress = |slots_read, out| LeafProgress {
            slots_read,
            slots: 8192,
            records_in: vec![out + 1],
            records_out: vec![out],
            ..LeafProgress::default()
        };
        execution.set_share(1, progress(0, 0));
        execution.set_share(0, progress(4096, 10));
        tokio::time::advance(Duration::from_secs(3)).await;
        let status = execution.status();
        assert_eq!((status.percent, status.eta_ms, status.slots_left), (Some(25.0), Some(9000), 12288));
        assert_eq!((status.keys, &status.stages[..]), (10, &[(12, 10)][..]));
        assert_eq!(status.elapsed_ms, 3000);
        execution.end(Ok(Reply::OK));
        tokio::time::advance(Duration::from_secs(3)).await;
        let status = execution.status();
        assert_eq!((status.percent, status.eta_ms, status.elapsed_ms), (Some(100.0), None, 3000));
    }

    #[tokio::test(start_paused = true)]
    async fn its_first_end_counts_and_is_waited_for() {
        let execution = Arc::new(execution());
        assert!(execution.ended(Some(Duration::from_millis(5))).await.is_none());
        let waiting = execution.clone();
        let waiting = tokio::spawn(async move { waiting.ended(Some(Duration::from_secs(9))).await });
        tokio::task::yield_now().await;
        execution.cancel();
        execution.cancelled().await;
        execution.end(Err(Error::Cancelled { outcome_unknown: false }));
        execution.end(Ok(Reply::OK));
        assert!(matches!(waiting.await.unwrap(), Some(Err(Error::Cancelled { .. }))));
        let status = execution.status();
        assert_eq!(status.state, ExecutionState::Cancelled);
        assert!(status.error.unwrap().starts_with("RMRCANCELLED"));
    }
}
