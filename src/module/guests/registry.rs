//! The registry of guests: which there are, and what they have registered under which names.
//!
//! Nodes know a reducer by its name alone, so there is one of a name in a server. A guest that leaves takes along what it has
//! registered, unless a request uses some of it: the guest then has to stay.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::guest::Guest;
use super::reducer::GuestReducer;
use super::step::GuestStep;
use crate::flow::BatchStep;
use crate::module::server::shared_api::foreign_reducer::ForeignReducer;
use crate::module::server::shared_api::foreign_step::ForeignStep;
use crate::reduce;

/// Read by inner commands and by requests, from any thread.
static REGISTRY: Mutex<GuestRegistry> =
    Mutex::new(GuestRegistry { guests: BTreeMap::new(), reducers: BTreeMap::new(), steps: BTreeMap::new() });

#[derive(Default)]
struct GuestRegistry {
    guests: BTreeMap<String, Arc<Guest>>,
    reducers: BTreeMap<&'static str, Arc<ForeignReducer>>,
    steps: BTreeMap<String, Arc<ForeignStep>>,
}

fn registry() -> MutexGuard<'static, GuestRegistry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GuestRegistry {
    /// Takes out all that a guest has registered, and the guest.
    fn take(&mut self, guest: &str) -> GuestRegistry {
        let (reducers, others) =
            std::mem::take(&mut self.reducers).into_iter().partition(|(_, reducer)| reducer.guest().name() == guest);
        self.reducers = others;
        let (steps, others) =
            std::mem::take(&mut self.steps).into_iter().partition(|(_, step)| step.guest().name() == guest);
        self.steps = others;
        GuestRegistry { guests: self.guests.remove_entry(guest).into_iter().collect(), reducers, steps }
    }
}

/// Takes in a guest. Entries that an earlier load of the module has left are forgotten: it may have failed to load.
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
/// The error says why it has to stay.
pub(in crate::module) fn leave(name: &str) -> Result<(), String> {
    let mut registry = registry();
    let Some(guest) = registry.guests.get(name) else { return Ok(()) };
    let reducers = registry.reducers.values().filter(|reducer| Arc::ptr_eq(reducer.guest(), guest));
    let steps = registry.steps.values().filter(|step| Arc::ptr_eq(step.guest(), guest));
    let uses: Vec<usize> = reducers.map(Arc::strong_count).chain(steps.map(Arc::strong_count)).collect();
    // Each of its registrations holds the guest, and so does each of its requests.
    let requests = Arc::strong_count(guest) - 1 - uses.len();
    if requests > 0 || uses.iter().any(|&holders| holders > 1) {
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
/// The error says why it is not.
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

/// Registers a step of flows.
///
/// # Errors
/// The error says why it is not.
pub(in crate::module) fn add_step(step: ForeignStep) -> Result<(), String> {
    let mut registry = registry();
    let name = step.name();
    if let Some(known) = registry.steps.get(name) {
        return Err(format!("'{name}' is a step of {} already", known.guest().name()));
    }
    registry.steps.insert(name.to_owned(), Arc::new(step));
    Ok(())
}

/// Finds the step of this name.
pub(in crate::module) fn step(name: &str) -> Option<Arc<dyn BatchStep>> {
    let step = registry().steps.get(name)?.clone();
    Some(Arc::new(GuestStep::new(step)))
}

/// Finds the reducer of this name with these arguments.
pub(in crate::module) fn reducer(name: &str, arguments: &[u8]) -> Option<GuestReducer> {
    let reducer = registry().reducers.get(name)?.clone();
    GuestReducer::new(reducer, arguments)
}
