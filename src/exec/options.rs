//! The options of a command that is run cluster-wide.

use std::sync::Arc;

use super::policy::Overrides;
use crate::engine::Targets;

/// The wishes of the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExecOptions {
    /// Sends the command to these nodes, whatever the policy says.
    pub(crate) targets: Option<Targets>,
    /// Allows failures among the replies.
    pub(crate) partial: bool,
    /// Allows answers that slots on the move make inexact.
    pub(crate) inconsistent: bool,
    /// Asks for a map of node to reply.
    pub(crate) with_nodes: bool,
    /// Allows a write to be split, which is then not atomic.
    pub(crate) nonatomic: bool,
    /// The words by which a caller whose write must not be split asks for that; `RMR.EXEC NONATOMIC` if nothing else is
    /// said.
    pub(crate) way_to_split: Option<&'static str>,
    /// Says that the command changes nothing: it is all the same how much of it was done. Known from its description.
    pub(crate) is_read: bool,
    /// The operator's word about policies.
    pub(crate) overrides: Arc<Overrides>,
}
