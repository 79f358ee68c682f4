//! [`CarriedRequirements`]: requirements with their packages, as they go from server to server.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::error::Error;
use crate::flow::messages;
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

/// The version of exports. RedisGears' own are something else, and cannot be read.
const EXPORT_VERSION: u32 = 3;

impl CarriedRequirements {
    /// Writes them as `RG.PYEXPORTREQ` gives them away.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn to_export(&self) -> Result<Vec<u8>, Error> {
        messages::encode(&(EXPORT_VERSION, compiled_os(), &self.names, &self.wheels))
    }

    /// Reads what another server has exported.
    ///
    /// # Errors
    /// The error says what is wrong with it, in the words of RedisGears.
    pub(super) fn from_export(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        let version: u32 = next(&mut rest, "requirement version")?;
        if version != EXPORT_VERSION {
            return Err("Requirement version is not compatible, upgrade to newer RedisGears.".into());
        }
        // pip knows whether the wheels are for this one.
        let _: String = next(&mut rest, "requirement os")?;
        let names = next(&mut rest, "requirement name")?;
        let count: usize = next(&mut rest, "requirement wheels amount")?;
        let mut wheels = Vec::new();
        for _ in 0..count {
            wheels.push((next(&mut rest, "wheel file name")?, next(&mut rest, "wheel file data")?));
        }
        Ok(Self { names, wheels, again: false })
    }

    /// Makes some of their packages.
    pub(super) fn new(names: BTreeSet<String>, wheels: &[Wheel], again: bool) -> Self {
        let wheels = wheels.iter().map(|wheel| (wheel.name.clone(), ByteBuf::from(wheel.data.to_vec())));
        Self { names, wheels: wheels.collect(), again }
    }

    /// Returns some with the packages that this server has for them; `None` if they take none.
    pub(super) fn here(requirements: &[String]) -> Option<Self> {
        let names: BTreeSet<String> = requirements.iter().cloned().collect();
        if names.is_empty() {
            return None;
        }
        let (names, wheels) = module_state::python_sessions().ok()?.requirements().kept(&names)?;
        (!wheels.is_empty()).then(|| Self::new(names, &wheels, false))
    }

    /// Makes this server have those that come with packages, which are installed when they are needed: no process can be
    /// started while data is loaded.
    pub(super) fn keep_for_later(self) {
        let wheel = |(name, data): (String, ByteBuf)| Wheel { name, data: data.into_vec().into() };
        if let Ok(sessions) = module_state::python_sessions() {
            sessions.requirements().keep_for_later(self.names, self.wheels.into_iter().map(wheel).collect());
        }
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

/// Returns what this server is made for.
pub(super) fn compiled_os() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Reads the next part of an export.
fn next<'a, T: Deserialize<'a>>(rest: &mut &'a [u8], what: &str) -> Result<T, String> {
    let (part, left) =
        postcard::take_from_bytes(rest).map_err(|_| format!("Bad serialization format on reading {what}"))?;
    *rest = left;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_read_and_refused_part_by_part() {
        let wheel = Wheel { name: "a.whl".into(), data: "bytes".into() };
        let carried = CarriedRequirements::new(BTreeSet::from(["a".to_owned()]), &[wheel], false);
        let export = carried.to_export().unwrap();
        assert_eq!(CarriedRequirements::from_export(&export).unwrap(), carried);
        let refused = |bytes: &[u8]| CarriedRequirements::from_export(bytes).unwrap_err();
        let os = compiled_os().len();
        let ends = [
            (0, "requirement version"),
            (1, "requirement os"),
            (2 + os, "requirement name"),
            (5 + os, "requirement wheels amount"),
            (6 + os, "wheel file name"),
            (12 + os, "wheel file data"),
        ];
        for (end, what) in ends {
            assert_eq!(refused(&export[..end]), format!("Bad serialization format on reading {what}"));
        }
        let other = "Requirement version is not compatible, upgrade to newer RedisGears.";
        assert_eq!(refused(&[&[EXPORT_VERSION as u8 + 1], &export[1..]].concat()), other);
    }
}
