//! [`KeptRegistry`]: registrations as they are saved and replicated, with the packages that they need.

use std::ffi::CStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::flow::messages;
use crate::module::gears::carried::CarriedRequirements;
use crate::module::gears::registry::set::RegistryChange;

/// The command that has them in the AOF and for replicas.
pub(super) const COMMAND: &CStr = c"RG.INNERREGISTER";

/// Sets of registrations, and packages.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptRegistry {
    pub(super) packages: Vec<CarriedRequirements>,
    pub(super) change: RegistryChange,
}

impl KeptRegistry {
    /// Adds to sets the packages that this server has for them.
    pub(super) fn of(change: RegistryChange) -> Self {
        let living = change.sets.iter().filter(|set| !set.registrations.is_empty());
        let mut packages: Vec<CarriedRequirements> = Vec::new();
        for carried in living.filter_map(|set| CarriedRequirements::here(&set.requirements)) {
            if !packages.contains(&carried) {
                packages.push(carried);
            }
        }
        Self { packages, change }
    }

    /// Returns the form in which it is kept.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        messages::encode(self)
    }

    /// Reads that form.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Error> {
        messages::decode(bytes).map_err(|_| Error::Invalid("these are no registrations of this version of rmr".into()))
    }
}
