//! [`KeptTimer`]: a timer as it is saved.

use std::ffi::CStr;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::module::gears::carried::CarriedRequirements;

/// The command that has a timer and its key in the AOF and for replicas.
pub(super) const COMMAND: &CStr = c"RG.INNERTIMER";

/// The facts that are needed to call the function of a timer in any process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module) struct KeptTimer {
    /// The session's name between nodes.
    pub(super) session: String,
    /// The ACL user on whose account it is called.
    pub(super) user: String,
    /// The packages that the session requires, and these.
    pub(super) requirements: Vec<String>,
    pub(super) packages: Option<CarriedRequirements>,
    /// The name by which processes call it.
    pub(super) timer: String,
    pub(super) period_s: u64,
    /// The function.
    pub(super) blob: ByteBuf,
}
