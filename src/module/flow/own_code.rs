//! [`OwnCode`]: the steps and reducers that flows name, as this module has them.

use std::sync::Arc;

use super::rights::ShareRights;
use crate::combine::AnyCombine;
use crate::flow::BatchStep;
use crate::flow::code::{CodeShare, OpeningCode};
use crate::flow::registry::StepsAndReducers;
use crate::module::{python, state};
use crate::python::stage;

/// The code of this module, and of its author.
pub(crate) struct OwnCode {
    /// The rights of the user for whom the code runs.
    rights: Arc<ShareRights>,
}

impl OwnCode {
    /// Returns the code, as it runs with these rights.
    pub(crate) fn with(rights: Arc<ShareRights>) -> Self {
        Self { rights }
    }
}

impl StepsAndReducers for OwnCode {
    fn step(&self, name: &str) -> Option<Arc<dyn BatchStep>> {
        state::step(name)
    }

    fn reducer(&self, name: &str, arguments: &[u8]) -> Option<Arc<dyn AnyCombine>> {
        state::reducer(name, arguments)
    }

    fn code(&self, name: &str, arguments: &[u8], share: CodeShare) -> Option<OpeningCode> {
        let sessions = (name == stage::NAME).then(state::python_sessions)?.ok()?;
        Some(stage::open(sessions, python::contexts(), self.rights.clone(), arguments, share))
    }
}
