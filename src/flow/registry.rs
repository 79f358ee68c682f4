//! [`StepsAndReducers`]: the code that flows name, as this node knows it. The module implements it.

use std::sync::Arc;

use super::code::{CodeShare, OpeningCode};
use super::step::BatchStep;
use crate::combine::AnyCombine;

/// Finds steps and reducers by their names.
pub(crate) trait StepsAndReducers: Send + Sync {
    /// Finds the step of this name.
    fn step(&self, name: &str) -> Option<Arc<dyn BatchStep>>;

    /// Finds the reducer of this name with these arguments.
    fn reducer(&self, name: &str, arguments: &[u8]) -> Option<Arc<dyn AnyCombine>>;

    /// Begins to open the code of this name for a stage.
    fn code(&self, _name: &str, _arguments: &[u8], _share: CodeShare) -> Option<OpeningCode> {
        None
    }
}
