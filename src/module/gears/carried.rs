//! [`CarriedRequirements`]: requirements with their packages, and which ones this server has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::error::Error;
use crate::module::state as module_state;
use crate::python::{NOT_INSTALLED, Wheel};

/// Requirements with their packages, as they go from server to server. None: the interpreter has them by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CarriedRequirements {
    names: BTreeSet<String>,
    wheels: Vec<(String, ByteBuf)>,
}

/// A requirement that this server has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownRequirement {
    /// The names of its wheels, and of those that were fetched with it; none if the interpreter has it by itself.
    pub(super) wheels: Vec<String>,
    /// The folder in which they are installed; empty without wheels.
    pub(super) path: String,
}

/// The requirements that scripts have had on this server, by what was typed.
static KNOWN: Mutex<BTreeMap<String, KnownRequirement>> = Mutex::new(BTreeMap::new());

/// Returns the requirements that scripts have had on this server, with the names of their wheels.
pub(super) fn known() -> MutexGuard<'static, BTreeMap<String, KnownRequirement>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets all.
pub(super) fn reset() {
    known().clear();
}

impl CarriedRequirements {
    /// Makes some of their packages.
    pub(super) fn new(names: BTreeSet<String>, wheels: Vec<Wheel>) -> Self {
        let wheels = wheels.into_iter().map(|wheel| (wheel.name, ByteBuf::from(wheel.data.to_vec())));
        Self { names, wheels: wheels.collect() }
    }

    /// Makes this server have them.
    ///
    /// # Errors
    /// If the interpreter lacks what it was said to have.
    pub(super) async fn keep(self) -> Result<(), Error> {
        let sessions = module_state::python_sessions()?;
        let required: Vec<String> = self.names.iter().cloned().collect();
        let wheels: Vec<String> = self.wheels.iter().map(|(name, _)| name.clone()).collect();
        let mut path = None;
        if self.wheels.is_empty() {
            if !sessions.requirements().missing(&required).await?.is_empty() {
                return Err(Error::Refused(NOT_INSTALLED.into()));
            }
        } else {
            let wheel = |(name, data): (String, ByteBuf)| Wheel { name, data: data.into_vec().into() };
            sessions.requirements().keep(self.names, self.wheels.into_iter().map(wheel).collect());
            // Only what can be installed counts.
            path = sessions.requirements().folder(&required).await?;
        }
        let requirement = KnownRequirement { wheels, path: path.unwrap_or_default() };
        known().extend(required.into_iter().map(|name| (name, requirement.clone())));
        Ok(())
    }
}
