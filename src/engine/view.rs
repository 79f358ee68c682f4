//! The topology as requests see it, and how it is kept fresh.
//!
//! A [`View`] joins one immutable topology with the links to its nodes. A request loads the current one and keeps it;
//! a refresh puts a new one in its place, and links whose address stays are the same in both.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use tokio::sync::Notify;

use super::stats::Stats;
use super::step::panicked;
use super::{Deadline, Shared};
use crate::command::Command;
use crate::command::CommandSet;
use crate::error::Error;
use crate::link::{Batch, Budget, Link, Links, Mode, Protocol};
use crate::reply::Reply;
use crate::topology::{Address, Answer, AskCluster, BoxFuture, Endpoint, Node, NodeProvider, Topology};

/// Between two refreshes, however many ask for one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// The longest that one refresh may take, so that a provider that hangs is asked again.
const LONGEST_REFRESH: Duration = Duration::from_secs(5);

/// One topology and the links to its nodes.
pub(super) struct View {
    pub(super) topology: Arc<Topology>,
    links: Vec<(Arc<Node>, Arc<dyn Link>)>,
    /// When slots were last seen to lose their owner; `None` if all have one, or none had any before.
    lost_slots: Option<Instant>,
}

impl View {
    /// The link to a node of this topology.
    pub(super) fn link(&self, node: &Arc<Node>) -> Option<&Arc<dyn Link>> {
        self.links.iter().find(|(known, _)| Arc::ptr_eq(known, node)).map(|(_, link)| link)
    }

    pub(super) fn links(&self) -> impl Iterator<Item = (&Arc<Node>, &Arc<dyn Link>)> {
        self.links.iter().map(|(node, link)| (node, link))
    }

    /// For how long slots have had no owner that had one before.
    pub(super) fn has_lost_slots_for(&self) -> Option<Duration> {
        self.lost_slots.map(|lost| lost.elapsed())
    }

    /// Whether this node is the process that we run in, and served by it.
    pub(super) fn is_in_process(&self, node: &Arc<Node>) -> bool {
        self.topology.is_local(node)
    }
}

pub(super) struct Views {
    provider: Option<Arc<dyn NodeProvider>>,
    links: Arc<Links>,
    local: Option<Arc<dyn Link>>,
    current: ArcSwapOption<View>,
    state: Mutex<RefreshState>,
    turn: tokio::sync::Mutex<()>,
    hint: Arc<Notify>,
}

#[derive(Default)]
struct RefreshState {
    /// When the last refresh that was not given up began and ended.
    began: Option<Instant>,
    ended: Option<Instant>,
    /// When the topology was last fetched.
    confirmed: Option<Instant>,
    error: Option<Error>,
}

impl Views {
    pub(super) fn new(
        provider: Option<Arc<dyn NodeProvider>>,
        links: Arc<Links>,
        local: Option<Arc<dyn Link>>,
    ) -> Self {
        Self {
            provider,
            links,
            local,
            current: ArcSwapOption::empty(),
            state: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            hint: Arc::default(),
        }
    }

    pub(super) fn current(&self) -> Option<Arc<View>> {
        self.current.load_full()
    }

    /// The current view; the first request fetches the first one. A request that cannot wait does so by itself, whoever
    /// else is about to.
    pub(super) async fn pinned(&self, deadline: Deadline, can_wait: bool, stats: &Stats) -> Result<Arc<View>, Error> {
        if let Some(view) = self.current() {
            return Ok(view);
        }
        if can_wait {
            // Whoever fetched it, and whenever.
            self.in_turn(deadline, stats, || self.current().map(|_| Ok(()))).await?;
        } else {
            self.fetch(stats).await?;
        }
        self.current().ok_or_else(|| Error::Topology("the topology is not known yet".into()))
    }

    /// The links of the engine.
    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    /// A link over a socket, even where the node is the one that we live in.
    pub(super) fn link_to(&self, node: &Node) -> Arc<dyn Link> {
        self.links.get(node.endpoint())
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
    pub(super) async fn refresh(&self, deadline: Deadline, stats: &Stats) -> Result<(), Error> {
        let asked = Instant::now();
        let is_fresh = || self.state().began.is_some_and(|began| began >= asked);
        self.in_turn(deadline, stats, || is_fresh().then(|| self.last_error().map_or(Ok(()), Err))).await
    }

    /// Fetches the topology unless, when it is this caller's turn, that is done.
    async fn in_turn(
        &self,
        deadline: Deadline,
        stats: &Stats,
        done: impl Fn() -> Option<Result<(), Error>>,
    ) -> Result<(), Error> {
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
            self.fetch(stats).await
        };
        tokio::select! {
            biased;
            result = shared => result,
            () = deadline.passed() => Err(late()),
        }
    }

    async fn fetch(&self, stats: &Stats) -> Result<(), Error> {
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
        stats.refreshes.fetch_add(1, Relaxed);
        let result = fetched.map(|topology| self.install(topology));
        let mut state = self.state();
        state.began = Some(began);
        state.ended = Some(Instant::now());
        state.error = result.as_ref().err().cloned();
        match &result {
            Ok(()) => state.confirmed = state.ended,
            Err(_) => {
                stats.refresh_failures.fetch_add(1, Relaxed);
            }
        }
        result
    }

    /// Puts a topology in place if it differs from the current one.
    fn install(&self, topology: Topology) {
        let current = self.current();
        if current.as_ref().is_some_and(|view| view.topology.same_as(&topology)) {
            return;
        }
        let before = current.as_deref();
        let lost_slots = match before {
            _ if topology.uncovered().is_empty() => None,
            Some(before) if topology.has_lost_slots_of(&before.topology) => Some(Instant::now()),
            before => before.and_then(|before| before.lost_slots),
        };
        let epoch = before.map_or(0, |view| view.topology.epoch()) + 1;
        let topology = Arc::new(topology.with_epoch(epoch));
        let links = topology.all_nodes().map(|node| (node.clone(), self.link_for(&topology, node))).collect();
        self.current.store(Some(Arc::new(View { topology: topology.clone(), links, lost_slots })));
        let known: HashSet<Endpoint> = topology.all_nodes().map(|node| node.endpoint()).collect();
        self.links.retain(|endpoint| known.contains(endpoint));
    }

    fn link_for(&self, topology: &Topology, node: &Arc<Node>) -> Arc<dyn Link> {
        match &self.local {
            Some(link) if topology.is_local(node) => link.clone(),
            _ => self.links.get(node.endpoint()),
        }
    }
}

/// Ends [`follow`], which waits without holding the engine.
impl Drop for Views {
    fn drop(&mut self) {
        self.hint.notify_one();
    }
}

/// Refreshes when it is time, when somebody has seen signs of a change, and when the provider has heard of one. Ends with
/// the engine.
pub(super) async fn follow(shared: Weak<Shared>) {
    loop {
        let Some(engine) = shared.upgrade() else { return };
        let Some(provider) = engine.views.provider.clone() else { return };
        let hint = engine.views.hint.clone();
        // Listened for from before the look, so that no change falls between the two.
        let changed = catch_unwind(AssertUnwindSafe(|| provider.changed()));
        let changed = changed.unwrap_or_else(|_| Box::pin(std::future::pending()));
        // The error is kept in the state, and the next request that needs a topology reports it.
        let _ = engine.views.refresh(Deadline::after(LONGEST_REFRESH), &engine.stats).await;
        let every = if engine.views.last_error().is_some() {
            Duration::from_millis(200)
        } else {
            provider.refresh_every().unwrap_or(Duration::from_secs(3600))
        };
        drop(engine);
        tokio::select! {
            () = hint.notified() => {}
            () = AssertUnwindSafe(changed).catch_unwind().map(|_| ()) => {}
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Asks the nodes of a Redis Cluster from outside: those that a link exists to, then the seeds.
pub(super) struct ThroughSeeds {
    pub(super) links: Arc<Links>,
    pub(super) seeds: Vec<Address>,
}

impl AskCluster for ThroughSeeds {
    fn ask(&self, command: Command) -> BoxFuture<'_, Result<Answer, Error>> {
        /// Longer than a healthy node takes, so that a silent one does not use up the whole refresh.
        const PATIENCE: Duration = Duration::from_secs(1);
        /// Room for the description of a thousand nodes.
        const DESCRIPTION: usize = 64 << 20;
        Box::pin(async move {
            let commands = Arc::new(CommandSet::from(vec![command]));
            let mut failure = Error::Topology("no seed node was given".into());
            let mut addresses = self.links.addresses();
            addresses.extend(self.seeds.iter().filter(|seed| !self.links.addresses().contains(seed)).cloned());
            for address in addresses {
                let budget = Arc::new(Budget::new(DESCRIPTION));
                let batch = Batch {
                    commands: commands.clone(),
                    picks: vec![0],
                    mode: Mode::Plain,
                    protocol: Protocol::Resp3,
                    database: 0,
                    budget,
                    reduction: None,
                };
                let sent = self.links.get(address.clone().into()).send(batch);
                let Ok(delivery) = tokio::time::timeout(PATIENCE, sent).await else {
                    failure = Error::Topology(format!("{address} did not describe the cluster in time"));
                    continue;
                };
                match delivery.replies.into_iter().next() {
                    Some(Reply::Error(message)) => {
                        failure = Error::Shard { node: address.to_string(), message: message.into(), key: None };
                    }
                    Some(reply) => return Ok(Answer { reply, host: address.host().to_owned() }),
                    None => failure = Error::Topology(format!("{address} cannot be reached")),
                }
            }
            Err(failure)
        })
    }
}
