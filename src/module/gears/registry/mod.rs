//! The registrations that this node knows, and how they change: all at once, on the main thread.
//!
//! - `registration`: a function that waits for events, as it is kept and sent
//! - `set`: all that one session has registered, and which version of it holds
//! - `live`: a registration as it lives on this node, and its counts
//! - `described`: what a script has registered, as its worker says; `numbers`: the ids of registrations

pub(super) mod described;
pub(super) mod live;
pub(in crate::module) mod numbers;
pub(super) mod registration;
pub(super) mod set;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::sessions::{NewSession, SessionFacts};
use super::{events, state};
use crate::error::Error;
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use live::LiveRegistration;
use registration::{EventReader, Registration, StreamEvents};
use set::{RegistrationSet, Registry, RegistryChange};

static REGISTRY: Mutex<Option<NodeRegistry>> = Mutex::new(None);

#[derive(Default)]
struct NodeRegistry {
    registry: Registry,
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

/// Makes a change on this node: checks it, lets the session whose change it is take its place, and [applies](apply) it.
///
/// # Errors
/// Why it is not made; then nothing has changed.
pub(super) async fn decide(
    change: RegistryChange,
    session: Option<NewSession>,
    aborts_pending: bool,
) -> Result<(), String> {
    let sessions: Vec<String> = change.sets.iter().map(|set| set.session.clone()).collect();
    let decided = main_thread::run(move |ctx| -> Result<(), String> {
        with(|registry| registry.check(&change))?;
        change.sets.iter().flat_map(|set| &set.registrations).try_for_each(|it| events::check(it))?;
        if let Some(session) = session {
            session.succeed();
        }
        apply(ctx, change, aborts_pending);
        Ok(())
    });
    decided.await.map_err(|error: Error| error.to_string())??;
    for session in &sessions {
        events::come_to_life(session).await;
    }
    Ok(())
}

/// Takes those sets of a change that are later than what is here. Events that were not begun of registrations which end are
/// aborted, or run yet. On the main thread.
pub(super) fn apply(ctx: Ctx<'_>, change: RegistryChange, aborts_pending: bool) {
    let sets = change.sets.clone();
    let moves = {
        let mut locked = lock();
        let node = locked.get();
        let moves = node.registry.apply(change);
        for set in &sets {
            let stays = node.registry.sets().any(|it| it.session == set.session && !it.registrations.is_empty());
            if stays && !node.sessions.contains_key(&set.session) {
                node.sessions.insert(set.session.clone(), state::sessions().hold(set.session_facts()));
            } else if !stays {
                node.sessions.remove(&set.session);
            }
            set.registrations.iter().for_each(|registration| numbers::see(&registration.id));
        }
        moves
    };
    moves.ended.iter().for_each(|live| events::ended(live, aborts_pending));
    moves.began.iter().for_each(|live| events::began(ctx, live));
}

/// Begins anew.
pub(super) fn reset() {
    *lock().0 = None;
    numbers::reset();
}
