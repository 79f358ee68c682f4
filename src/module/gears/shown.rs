//! [`ShownStep`]: a step of a flow as clients see it.

use serde::{Deserialize, Serialize};

/// A step as `RG.GETEXECUTION` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShownStep {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) argument: String,
}
