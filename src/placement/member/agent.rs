//! [`Agent`]: what keeps a member alive and informed, beside the program.
//!
//! One task renews the member's key each quarter of the timeout, or when the key of another member is about to run out, and reads
//! what has changed when it hears that something has. Another one listens for hints; when one is lost, the next renewal finds out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until};

use super::event::Event;
use super::options::Settings;
use super::scripts::{self, Joined, Renewed};
use super::state::State;
use super::table::Holder;
use crate::error::Error;
use crate::placement::config_node::ConfigNode;

/// The pause after something has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// The time that is added to the moment at which a key runs out: the server tells milliseconds.
const MARGIN: Duration = Duration::from_millis(2);

pub(super) struct Agent {
    pub(super) node: ConfigNode,
    pub(super) settings: Settings,
    state: Mutex<State>,
    changes: watch::Sender<()>,
    wakes: Notify,
    /// The highest epoch that a hint or an answer has named.
    hinted: AtomicU64,
    /// The connection by which the state was read.
    generation: AtomicU64,
    /// Hints may have been lost.
    is_late: AtomicBool,
    is_stopped: AtomicBool,
}

impl Agent {
    pub(super) fn new(node: ConfigNode, settings: Settings, events: UnboundedSender<Event>) -> Self {
        let state = Mutex::new(State::new(settings.clone(), events, Instant::now()));
        let (changes, _) = watch::channel(());
        Self {
            node,
            settings,
            state,
            changes,
            wakes: Notify::new(),
            hinted: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            is_late: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.settings.id
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known_incarnation(&self) -> Option<u64> {
        self.state().incarnation()
    }

    /// Returns as whom to ask about a slot.
    pub(super) fn incarnation(&self, slot: u16) -> Result<u64, Error> {
        let slots = self.settings.slots.slots();
        if slot >= slots {
            return Err(Error::Invalid(format!("slot {slot}: the slots are 0 to {}", slots - 1)));
        }
        self.known_incarnation().ok_or_else(|| self.no_member())
    }

    /// Notes that this member is none any more, and has the agent join again.
    pub(super) fn removed(&self) -> Error {
        self.wake();
        self.no_member()
    }

    fn no_member(&self) -> Error {
        Error::Refused(format!("'{}' is no member: it was removed, or has left", self.id()))
    }

    pub(super) fn changed(&self, incarnation: u64, slot: u16, epoch: u64, holders: Vec<Holder>) {
        self.saw(epoch);
        self.state().changed(incarnation, slot, epoch, holders, Instant::now());
        self.changes.send_replace(());
    }

    /// Returns what is told of each change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Has the agent look around at once.
    pub(super) fn wake(&self) {
        self.wakes.notify_one();
    }

    /// Has the agent do nothing more: what it would do comes too late.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    fn saw(&self, epoch: u64) {
        self.node.saw(epoch);
        self.hinted.fetch_max(epoch, Ordering::Relaxed);
    }

    /// Joins, for the first time or again.
    pub(super) async fn join(&self) -> Result<(), Error> {
        let nonce = format!("{:016x}", nonce());
        let mut runs_out = None;
        loop {
            let sent = Instant::now();
            match scripts::join(&self.node, &self.settings, &nonce).await? {
                Joined::As(incarnation) => {
                    self.saw(incarnation);
                    self.state().joined(incarnation, sent, Instant::now());
                    return Ok(());
                }
                // The key of who has died runs out; that of the living is there again.
                Joined::Taken(left) if runs_out.is_none_or(|runs_out| sent < runs_out) => {
                    let left = Duration::from_millis(left) + MARGIN;
                    runs_out.get_or_insert(sent + left);
                    sleep(left).await;
                }
                Joined::Taken(_) => {
                    return Err(Error::Refused(format!("a living member has the id '{}'", self.id())));
                }
            }
        }
    }

    /// Reads what has changed.
    pub(super) async fn sync(&self) -> Result<(), Error> {
        let since = {
            let generation = *self.node.generation().borrow();
            let mut state = self.state();
            if self.generation.swap(generation, Ordering::Relaxed) != generation {
                state.forget_epoch();
            }
            state.epoch()
        };
        let sent = Instant::now();
        let news = scripts::sync(&self.node, since).await?;
        if *self.node.generation().borrow() != self.generation.load(Ordering::Relaxed) {
            // Read from another server than what it was to be added to.
            return Box::pin(self.sync()).await;
        }
        self.saw(news.epoch);
        let members = news.members.as_ref();
        let targets = members.and_then(|members| State::targets_of(&self.settings, members));
        let is_member = self.state().take(news, targets, sent, Instant::now());
        self.changes.send_replace(());
        if is_member { Ok(()) } else { self.join_again().await }
    }

    async fn join_again(&self) -> Result<(), Error> {
        if self.is_stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        log::warn!("'{}' was removed from the members, and joins again", self.id());
        self.state().removed();
        self.changes.send_replace(());
        self.join().await?;
        Box::pin(self.sync()).await
    }

    /// Says that the member is alive. Returns when to say so again.
    async fn renew(&self) -> Result<Instant, Error> {
        let Some(incarnation) = self.known_incarnation() else {
            self.join_again().await?;
            return Ok(Instant::now());
        };
        let sent = Instant::now();
        match scripts::renew(&self.node, &self.settings, incarnation).await? {
            Renewed::Gone => self.join_again().await.map(|()| Instant::now()),
            Renewed::Here { epoch, soonest } => {
                self.saw(epoch);
                let mut state = self.state();
                if state.epoch() == Some(epoch) {
                    state.confirmed(sent);
                }
                state.renewed(sent, Instant::now());
                let soonest = Duration::from_millis(soonest) + MARGIN;
                Ok(Instant::now() + soonest.min(self.settings.timeout / 4))
            }
        }
    }

    fn is_behind(&self) -> bool {
        let is_other = *self.node.generation().borrow() != self.generation.load(Ordering::Relaxed);
        is_other || self.state().epoch().is_none_or(|epoch| epoch < self.hinted.load(Ordering::Relaxed))
    }

    /// Keeps the member alive and informed, until the task is aborted.
    pub(super) async fn run(self: Arc<Self>) {
        let mut renewal = Instant::now() + self.settings.timeout / 4;
        let mut is_away = false;
        while !self.is_stopped.load(Ordering::Acquire) {
            let due = self.state().next_tick(Instant::now()).map_or(renewal, |due| due.min(renewal));
            tokio::select! {
                () = sleep_until(due.into()) => {}
                () = self.wakes.notified() => {}
            }
            let is_late = self.is_late.swap(false, Ordering::Relaxed);
            let must_renew = is_late || Instant::now() >= renewal || self.known_incarnation().is_none();
            let done = async {
                if must_renew {
                    renewal = self.renew().await?;
                }
                if self.is_behind() {
                    self.sync().await?;
                }
                Ok::<(), Error>(())
            };
            match done.await {
                Ok(()) if is_away => {
                    log::info!("'{}' has found the configuration node again", self.id());
                    is_away = false;
                }
                Ok(()) => {}
                Err(error) => {
                    if !is_away {
                        log::warn!("'{}' goes on with what it knows: {error}", self.id());
                    }
                    is_away = true;
                    renewal = Instant::now() + PAUSE.min(self.settings.timeout / 4);
                }
            }
            // After the renewal: who was removed while it was stopped hears that first.
            self.state().tick(Instant::now());
            self.changes.send_replace(());
        }
    }

    /// Listens for hints, until the task is aborted.
    pub(super) async fn listen(self: Arc<Self>) {
        loop {
            let mut generation = self.node.generation();
            generation.mark_unchanged();
            let Ok(listener) = self.node.hints().await else {
                sleep(PAUSE).await;
                continue;
            };
            // Something may have happened before it listened.
            self.is_late.store(true, Ordering::Relaxed);
            self.wake();
            let mut hints = listener.into_on_message();
            loop {
                let hint = tokio::select! {
                    hint = hints.next() => hint,
                    // The server is another one now.
                    _ = generation.changed() => None,
                };
                let Some(text) = hint.and_then(|hint| hint.get_payload::<String>().ok()) else { break };
                if let Some(epoch) = text.split(' ').next().and_then(|epoch| epoch.parse().ok()) {
                    self.saw(epoch);
                    self.wake();
                }
            }
        }
    }
}

/// Returns a number that no other process has.
fn nonce() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((std::process::id(), Instant::now()))
}
