//! [`CarriedSteps`]: the code of the steps that a flow was given, for where it is not known by its name.

use std::collections::HashMap;
use std::sync::Arc;

use super::code::{CodeShare, OpeningCode};
use super::registry::StepsAndReducers;
use super::step::BatchStep;
use crate::combine::AnyCombine;

/// Steps that a flow was given, by name.
#[derive(Clone, Default)]
pub(super) struct CarriedSteps(HashMap<String, Arc<dyn BatchStep>>);

impl CarriedSteps {
    pub(super) fn add(&mut self, step: Arc<dyn BatchStep>) {
        self.0.insert(step.name().to_owned(), step);
    }

    /// Returns these and the flow's reducer beside what a server knows.
    pub(super) fn beside(
        self,
        combine: Option<Arc<dyn AnyCombine>>,
        known: Option<Arc<dyn StepsAndReducers>>,
    ) -> CarriedAndKnown {
        CarriedAndKnown { carried: self, combine, known }
    }
}

/// The code that a flow was given, and all else that its server knows.
pub(super) struct CarriedAndKnown {
    carried: CarriedSteps,
    combine: Option<Arc<dyn AnyCombine>>,
    known: Option<Arc<dyn StepsAndReducers>>,
}

impl StepsAndReducers for CarriedAndKnown {
    fn step(&self, name: &str) -> Option<Arc<dyn BatchStep>> {
        self.carried.0.get(name).cloned().or_else(|| self.known.as_ref()?.step(name))
    }

    fn reducer(&self, name: &str, arguments: &[u8]) -> Option<Arc<dyn AnyCombine>> {
        let own = self.combine.as_ref().filter(|own| own.name() == name && own.arguments() == arguments);
        own.cloned().or_else(|| self.known.as_ref()?.reducer(name, arguments))
    }

    fn code(&self, name: &str, arguments: &[u8], share: CodeShare) -> Option<OpeningCode> {
        self.known.as_ref()?.code(name, arguments, share)
    }
}
