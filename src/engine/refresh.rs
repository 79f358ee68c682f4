//! The topology as requests see it is kept fresh here.
//!
//! A request loads the current [`Snapshot`] and keeps it; a refresh puts a new one in its place, and links whose address
//! stays are the same in both.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::deadline::Deadline;
use super::guard::panicked;
use super::link_pool::LinkPool;
use super::snapshot::Snapshot;
use super::stats::Stats;
use crate::error::Error;
use crate::link::{Failure, Link, Protocol, Session};
use crate::topology::{Endpoint, Node, NodeProvider, Topology};

/// Between two refreshes, however many ask for one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// The pause after a refresh that failed, if nobody asks for one before.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(200);

/// The longest that one refresh may take, so that a provider that hangs is asked again.
const LONGEST_REFRESH: Duration = Duration::from_secs(5);

/// Holds the current snapshot, and fetches the next one.
pub(super) struct Refresher {
    provider: Option<Arc<dyn NodeProvider>>,
    links: Arc<dyn LinkPool>,
    local: Option<Arc<dyn Link>>,
    stats: Arc<Stats>,
    current: ArcSwapOption<Snapshot>,
    state: Mutex<RefreshState>,
    turn: tokio::sync::Mutex<()>,
    hint: Arc<Notify>,
}

#[derive(Default)]
struct RefreshState {
    /// The moments when the last refresh that was not given up began and ended.
    began: Option<Instant>,
    ended: Option<Instant>,
    /// The moment when the topology was last fetched.
    confirmed: Option<Instant>,
    error: Option<Error>,
}

impl Refresher {
    pub(super) fn new(
        provider: Option<Arc<dyn NodeProvider>>,
        links: Arc<dyn LinkPool>,
        local: Option<Arc<dyn Link>>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            provider,
            links,
            local,
            stats,
            current: ArcSwapOption::empty(),
            state: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            hint: Arc::default(),
        }
    }

    pub(super) fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// Returns the current snapshot; the first request fetches the first one. A request that cannot wait does so by itself, whoever
    /// else is about to.
    pub(super) async fn pinned(&self, deadline: Deadline, can_wait: bool) -> Result<Arc<Snapshot>, Error> {
        if let Some(snapshot) = self.current() {
            return Ok(snapshot);
        }
        if can_wait {
            // Whoever fetched it, and whenever.
            self.in_turn(deadline, || self.current().map(|_| Ok(()))).await?;
        } else {
            self.fetch().await?;
        }
        self.current().ok_or_else(|| Error::Topology("the topology is not known yet".into()))
    }

    /// Returns a link over a socket, even where the node is the one that we live in.
    pub(super) fn link_to(&self, node: &Node) -> Arc<dyn Link> {
        self.links.shared(node.endpoint())
    }

    /// Returns a link over which nothing but one command goes.
    pub(super) fn dedicated_link_to(&self, node: &Node) -> Arc<dyn Link> {
        self.links.clone().dedicated(node.endpoint())
    }

    /// Opens a connection to a node that one conversation has to itself.
    pub(super) async fn session(&self, node: &Node, protocol: Protocol) -> Result<Session, Failure> {
        self.links.clone().session(node.endpoint(), protocol).await
    }

    /// Returns the command by which nodes with the same module speak to each other, if there is one.
    pub(super) fn inner_command(&self) -> Option<&str> {
        self.links.inner_command()
    }

    /// Returns whether this node is the process that we run in, and served by it.
    pub(super) fn is_in_process(&self, topology: &Topology, node: &Arc<Node>) -> bool {
        self.local.is_some() && topology.is_local(node)
    }

    pub(super) fn age(&self) -> Option<Duration> {
        self.state().confirmed.map(|confirmed| confirmed.elapsed())
    }

    pub(super) fn last_error(&self) -> Option<Error> {
        self.state().error.clone()
    }

    pub(super) fn hint(&self) {
        self.hint.notify_one();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, RefreshState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns after a refresh that began after this call. Callers that come together share one.
    pub(super) async fn refresh(&self, deadline: Deadline) -> Result<(), Error> {
        let asked = Instant::now();
        let is_fresh = || self.state().began.is_some_and(|began| began >= asked);
        self.in_turn(deadline, || is_fresh().then(|| self.last_error().map_or(Ok(()), Err))).await
    }

    /// Fetches the topology unless, when it is this caller's turn, that is done.
    async fn in_turn(&self, deadline: Deadline, done: impl Fn() -> Option<Result<(), Error>>) -> Result<(), Error> {
        let late = || Error::Topology("the topology could not be fetched in time".into());
        let shared = async {
            let _turn = self.turn.lock().await;
            if let Some(result) = done() {
                return result;
            }
            let ended = self.state().ended;
            if let Some(pause) = ended.and_then(|ended| SHORTEST_PAUSE.checked_sub(ended.elapsed())) {
                tokio::time::sleep(pause).await;
            }
            self.fetch().await
        };
        tokio::select! {
            biased;
            result = shared => result,
            () = deadline.passed() => Err(late()),
        }
    }

    async fn fetch(&self) -> Result<(), Error> {
        let Some(provider) = &self.provider else {
            return Err(Error::Topology("the engine has no provider of nodes".into()));
        };
        let began = Instant::now();
        let fetched = AssertUnwindSafe(async { provider.topology().await }).catch_unwind();
        let fetched = tokio::select! {
            biased;
            fetched = fetched => fetched.unwrap_or_else(|panic| Err(panicked("node provider", &*panic))),
            () = tokio::time::sleep(LONGEST_REFRESH) => Err(Error::Topology("the node provider did not answer".into())),
        };
        self.stats.refreshes.fetch_add(1, Relaxed);
        let result = fetched.map(|topology| self.install(topology));
        let mut state = self.state();
        state.began = Some(began);
        state.ended = Some(Instant::now());
        state.error = result.as_ref().err().cloned();
        match &result {
            Ok(()) => state.confirmed = state.ended,
            Err(_) => {
                self.stats.refresh_failures.fetch_add(1, Relaxed);
            }
        }
        result
    }

    /// Puts a topology in place if it differs from the current one.
    fn install(&self, topology: Topology) {
        let current = self.current();
        if current.as_ref().is_some_and(|snapshot| snapshot.topology.same_as(&topology)) {
            return;
        }
        let snapshot = Snapshot::after(current.as_deref(), topology, |topology, node| self.link_for(topology, node));
        let known: HashSet<Endpoint> = snapshot.topology.all_nodes().map(|node| node.endpoint()).collect();
        self.current.store(Some(Arc::new(snapshot)));
        self.links.retain(&|endpoint| known.contains(endpoint));
    }

    fn link_for(&self, topology: &Topology, node: &Arc<Node>) -> Arc<dyn Link> {
        match &self.local {
            Some(link) if topology.is_local(node) => link.clone(),
            _ => self.links.shared(node.endpoint()),
        }
    }
}

/// Ends [`follow`], which waits without holding the engine.
impl Drop for Refresher {
    fn drop(&mut self) {
        self.hint.notify_one();
    }
}

/// Refreshes when it is time, when somebody has seen signs of a change, and when the provider has heard of one. Ends with
/// the engine, whose refresher it is.
pub(super) async fn follow(refresher: Weak<Refresher>) {
    loop {
        let Some(refresher) = refresher.upgrade() else { return };
        let Some(provider) = refresher.provider.clone() else { return };
        let hint = refresher.hint.clone();
        // Listened for from before the look, so that no change falls between the two.
        let changed = catch_unwind(AssertUnwindSafe(|| provider.changed()));
        let changed = changed.unwrap_or_else(|_| Box::pin(std::future::pending()));
        // The error is kept in the state, and the next request that needs a topology reports it.
        let _ = refresher.refresh(Deadline::after(LONGEST_REFRESH)).await;
        let every = if refresher.last_error().is_some() {
            PAUSE_AFTER_FAILURE
        } else {
            provider.refresh_every().unwrap_or(Duration::from_secs(3600))
        };
        drop(refresher);
        tokio::select! {
            () = hint.notified() => {}
            () = AssertUnwindSafe(changed).catch_unwind().map(|_| ()) => {}
            () = tokio::time::sleep(every) => {}
        }
    }
}
