//! [`CarriedRequirements`]: requirements with their packages, as they go from server to server.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::error::Error;
use crate::module::state as module_state;
use crate::python::{PackageFolder, Wheel};

/// Requirements with their packages. None: the interpreter has them by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CarriedRequirements {
    names: BTreeSet<String>,
    wheels: Vec<(String, ByteBuf)>,
    /// They are installed again also where they are installed.
    again: bool,
}

impl CarriedRequirements {
    /// Makes some of their packages.
    pub(super) fn new(names: BTreeSet<String>, wheels: &[Wheel], again: bool) -> Self {
        let wheels = wheels.iter().map(|wheel| (wheel.name.clone(), ByteBuf::from(wheel.data.to_vec())));
        Self { names, wheels: wheels.collect(), again }
    }

    /// Makes this server have them. Returns the folder in which they are installed.
    ///
    /// # Errors
    /// If they cannot be installed, or the interpreter lacks what it was said to have.
    pub(super) async fn keep(self) -> Result<Option<Arc<PackageFolder>>, Error> {
        let wheel = |(name, data): (String, ByteBuf)| Wheel { name, data: data.into_vec().into() };
        let wheels = self.wheels.into_iter().map(wheel).collect();
        module_state::python_sessions()?.requirements().keep(self.names, wheels, self.again).await
    }
}
