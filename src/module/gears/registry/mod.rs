//! The registrations that this node knows, and how they change: all at once, on the main thread.
//!
//! - `registration`: a function that waits for events, as it is kept and sent
//! - `set`: all that one session has registered, and which version of it holds
//! - `live`: a registration as it lives on this node, and its counts
//! - `described`: what a script has registered, as its worker says; `numbers`: the ids of registrations
//! - `distribution`: changes that are made on all shards or on none; `prepared`: those that are not decided yet
//! - `asked`, `answers`: what nodes ask each other; `catching_up`: what is given to those that have missed something

pub(super) mod answers;
pub(super) mod asked;
pub(super) mod catching_up;
pub(super) mod described;
pub(super) mod distribution;
pub(super) mod live;
pub(in crate::module) mod numbers;
mod prepared;
pub(super) mod registration;
pub(super) mod set;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::persistence::{saved, sending};
use super::sessions::SessionFacts;
use super::{events, state};
use crate::module::server::context::Ctx;
use live::{LiveRegistration, RegistrationState};
use prepared::PreparedChanges;
use registration::{EventReader, Registration, StreamEvents};
use set::{RegistrationSet, Registry, RegistryChange, RegistryMoves};

static REGISTRY: Mutex<Option<NodeRegistry>> = Mutex::new(None);

/// The function that is called when there is something new.
static HEAR_NEWS: OnceLock<fn()> = OnceLock::new();

#[derive(Default)]
struct NodeRegistry {
    registry: Registry,
    prepared: PreparedChanges,
    /// Sessions stay as long as they have registrations.
    sessions: HashMap<String, Arc<SessionFacts>>,
}

struct Locked(MutexGuard<'static, Option<NodeRegistry>>);

impl Locked {
    fn get(&mut self) -> &mut NodeRegistry {
        self.0.get_or_insert_default()
    }
}

fn lock() -> Locked {
    Locked(REGISTRY.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Does something with the registry. Nothing of it may wait.
pub(super) fn with<T>(work: impl FnOnce(&Registry) -> T) -> T {
    work(&lock().get().registry)
}

/// Returns the registrations that live on this node, the oldest first.
pub(super) fn live() -> Vec<Arc<LiveRegistration>> {
    with(|registry| registry.live().to_vec())
}

/// Returns the ids of the registrations of a session, the oldest first.
pub(super) fn of_session(name: &str) -> Vec<String> {
    live().iter().filter(|it| it.registration.session == name).map(|it| it.registration.id.clone()).collect()
}

/// Returns the change that a script makes: its session has these registrations, and one that it takes the place of has none.
pub(super) fn change_of_script(
    session: &SessionFacts,
    replaces: Option<&str>,
    mut registrations: Vec<Registration>,
    node: &str,
) -> RegistryChange {
    with(|registry| {
        let version = registry.next_version(node);
        let mut sets = Vec::new();
        let replaced = replaces.and_then(|id| registry.set_of_session(id));
        let is_replaced = |set: &RegistrationSet| replaced.is_some_and(|replaced| replaced.session == set.session);
        let others = registry.sets().filter(|set| !is_replaced(set)).flat_map(|set| &set.registrations);
        let mut streams: Vec<StreamEvents> = others.filter_map(|it| it.reader.streams().cloned()).collect();
        for registration in &mut registrations {
            if let EventReader::Stream(wanted) = &mut registration.reader {
                wanted.choose_group(streams.iter());
                streams.push(wanted.clone());
            }
        }
        if !registrations.is_empty() {
            sets.push(RegistrationSet {
                session: session.name.clone(),
                session_id: session.id.clone(),
                session_description: session.description.clone(),
                requirements: session.requirements.clone(),
                first: version.number,
                version: version.clone(),
                registrations: registrations.into_iter().map(Arc::new).collect(),
            });
        }
        sets.extend(replaced.map(|set| set.with(version, Vec::new())));
        RegistryChange { sets }
    })
}

/// Returns the change that takes a registration away.
pub(super) fn change_without(id: &str, node: &str) -> Option<RegistryChange> {
    with(|registry| {
        let set = registry.sets().find(|set| set.registrations.iter().any(|it| it.id == id))?;
        let others = set.registrations.iter().filter(|it| it.id != id).cloned().collect();
        Some(RegistryChange { sets: vec![set.with(registry.next_version(node), others)] })
    })
}

/// Has a function called when there is something new. On the main thread.
pub(super) fn hear_news(hear: fn()) {
    // It is the same one each time that the module is loaded.
    let _ = HEAR_NEWS.set(hear);
}

/// Makes a change on this node, whatever has led to it: takes those sets that are later than what is here, and tells the node's
/// replicas and files. On the main thread.
pub(super) fn commit(ctx: Ctx<'_>, mut change: RegistryChange, aborts_pending: bool) {
    with(|registry| change.sets.retain(|set| registry.is_news(set)));
    if !change.sets.is_empty() {
        let sets = change.clone();
        take(ctx, change, TakenSets::Change, aborts_pending);
        sending::replicate(ctx, &sets);
    }
}

/// The meaning of sets that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakenSets {
    /// A change of what there was.
    Change,
    /// The sets are all that there is.
    Whole,
}

/// Takes sets, and tells neither replicas nor files: a change the sets of which are later, or all that there is. Events that were
/// not begun of registrations which end are aborted, or run yet. On the main thread, and not while data is loaded.
pub(super) fn take(ctx: Ctx<'_>, change: RegistryChange, taken: TakenSets, aborts_pending: bool) {
    let moves = lock().get().take(change, taken);
    moves.ended.iter().for_each(|live| events::ended(live, aborts_pending));
    moves.began.iter().for_each(|live| events::began(ctx, live));
}

impl NodeRegistry {
    fn take(&mut self, change: RegistryChange, taken: TakenSets) -> RegistryMoves {
        let sets = change.sets.clone();
        let moves = match taken {
            TakenSets::Change => self.registry.apply(change),
            TakenSets::Whole => {
                self.sessions.retain(|name, _| change.sets.iter().any(|set| set.session == *name));
                self.registry.replace(change)
            }
        };
        for set in &sets {
            let stays = self.registry.sets().any(|it| it.session == set.session && !it.registrations.is_empty());
            if stays && !self.sessions.contains_key(&set.session) {
                self.sessions.insert(set.session.clone(), state::sessions().hold(set.session_facts()));
            } else if !stays {
                self.sessions.remove(&set.session);
            }
            set.registrations.iter().for_each(|registration| numbers::see(&registration.id));
        }
        saved::keep(&self.registry);
        if let Some(hear) = HEAR_NEWS.get() {
            hear();
        }
        moves
    }
}

/// Says whether registrations are to begin with what comes. Those that are not there are left out. On the main thread.
fn set_paused(ids: &[String], is_paused: bool, aborts_pending: bool) {
    let state = if is_paused { RegistrationState::IsPaused } else { RegistrationState::Works };
    let found: Vec<_> = with(|registry| ids.iter().filter_map(|id| registry.find(id)).cloned().collect());
    for live in found {
        live.set_state(state);
        live.abort_pending(aborts_pending);
        events::resumed(&live.registration.id);
    }
}

/// Forgets everything, as when the module is loaded.
pub(super) fn reset() {
    *lock().0 = None;
    numbers::reset();
}
