//! Which guests there are, and what they have registered under which names.
//!
//! Nodes know a reducer by its name alone, so there is one of a name in a server. A guest that leaves takes along what it has
//! registered, unless a request uses some of it: the guest then has to stay.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::guest::Guest;
use super::reducer::GuestReducer;
use crate::module::server::shared_api::foreign_reducer::ForeignReducer;
use crate::reduce;

/// Read by inner commands and by requests, from any thread.
static REGISTRY: Mutex<Registry> = Mutex::new(Registry { guests: BTreeMap::new(), reducers: BTreeMap::new() });

#[derive(Default)]
struct Registry {
    guests: BTreeMap<String, Arc<Guest>>,
    reducers: BTreeMap<&'static str, Arc<ForeignReducer>>,
}

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Takes out all that a guest has registered, and the guest.
    fn take(&mut self, guest: &str) -> Registry {
        let reducers = std::mem::take(&mut self.reducers);
        let (theirs, others) = reducers.into_iter().partition(|(_, reducer)| reducer.guest().name() == guest);
        self.reducers = others;
        Registry { guests: self.guests.remove_entry(guest).into_iter().collect(), reducers: theirs }
    }
}

/// Takes in a guest. What an earlier load of the module has left is forgotten: it may have failed to load.
pub(in crate::module) fn enter(guest: Guest) {
    let name = guest.name().to_owned();
    let left = {
        let mut registry = registry();
        let left = registry.take(&name);
        registry.guests.insert(name, Arc::new(guest));
        left
    };
    // Code may be unmapped by this.
    drop(left);
}

/// Returns the guest of this name.
pub(in crate::module) fn guest(name: &str) -> Option<Arc<Guest>> {
    registry().guests.get(name).cloned()
}

/// Forgets a guest that leaves, unless requests use its code.
///
/// # Errors
/// Why it has to stay.
pub(in crate::module) fn leave(name: &str) -> Result<(), String> {
    let mut registry = registry();
    let Some(guest) = registry.guests.get(name) else { return Ok(()) };
    let theirs = registry.reducers.values().filter(|reducer| Arc::ptr_eq(reducer.guest(), guest));
    let (mut registered, mut used) = (0, 0);
    for reducer in theirs {
        registered += 1;
        used += Arc::strong_count(reducer) - 1;
    }
    // Each of its reducers holds the guest, and so does each of its requests.
    used += Arc::strong_count(guest) - 1 - registered;
    if used > 0 {
        return Err(format!("requests with code of {name} are under way; try again when they are done"));
    }
    let left = registry.take(name);
    drop(registry);
    drop(left);
    Ok(())
}

/// Forgets a guest that the server has unloaded, if it has not said so itself.
pub(in crate::module) fn forget(name: &str) {
    let left = registry().take(name);
    drop(left);
}

/// Registers a reducer.
///
/// # Errors
/// Why it is not.
pub(in crate::module) fn add_reducer(reducer: ForeignReducer) -> Result<(), String> {
    let name = reducer.name();
    if reduce::of_all_modules(name, &[]).is_some() || reduce::Builtin::named(name.as_bytes()).is_some() {
        return Err(format!("'{name}' is a reducer of rmr"));
    }
    let mut registry = registry();
    if let Some(known) = registry.reducers.get(name) {
        return Err(format!("'{name}' is a reducer of {} already", known.guest().name()));
    }
    registry.reducers.insert(name, Arc::new(reducer));
    Ok(())
}

/// Finds the reducer of this name with these arguments.
pub(in crate::module) fn reducer(name: &str, arguments: &[u8]) -> Option<GuestReducer> {
    let reducer = registry().reducers.get(name)?.clone();
    GuestReducer::new(reducer, arguments)
}
