//! [`OwnCode`]: the steps and reducers that flows name, as this module has them.

use std::sync::Arc;

use crate::combine::AnyCombine;
use crate::flow::BatchStep;
use crate::flow::registry::StepsAndReducers;
use crate::module::state;

/// The code of this module, and of its author.
pub(crate) struct OwnCode;

impl StepsAndReducers for OwnCode {
    fn step(&self, name: &str) -> Option<Arc<dyn BatchStep>> {
        state::step(name)
    }

    fn reducer(&self, name: &str, arguments: &[u8]) -> Option<Arc<dyn AnyCombine>> {
        state::reducer(name, arguments)
    }
}
