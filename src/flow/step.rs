//! [`BatchStep`]: a step of a flow that is written elsewhere, by authors of modules.

use super::records::Records;
use crate::error::Error;
use crate::topology::BoxFuture;

/// A step that sees records a batch at a time, on the shard that holds them. Every node of the cluster knows it by its
/// name. [Writing a step](crate::_docs::writing_a_step) has an example and the rules.
pub trait BatchStep: Send + Sync + 'static {
    /// Returns the name by which flows name the step.
    fn name(&self) -> &str;

    /// Makes new records of a batch: as many, fewer or more. Runs on the runtime, never on the server's main thread, so that
    /// it may wait; it is dropped when the flow is cancelled.
    ///
    /// # Errors
    /// The flow ends in the error that this returns.
    fn run<'a>(&'a self, arguments: &'a [u8], records: Records) -> BoxFuture<'a, Result<Records, Error>>;
}
