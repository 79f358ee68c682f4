//! [`RegistryAsked`]: what nodes ask each other about their registries.

use serde::{Deserialize, Serialize};

use super::set::RegistryChange;

/// A question of one node to another about its registry. Whoever asks may do everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) enum RegistryAsked {
    /// Asks whether the node can have a change; it then keeps others out for a while.
    Prepare { id: String, change: RegistryChange },
    /// The change was decided.
    Commit { id: String, change: RegistryChange, aborts_pending: bool },
    /// The change is not made.
    Drop { id: String },
    /// Asks whether its registry has this digest, and if not, which versions it has.
    Compare { digest: u128 },
    /// Takes what is later than what it has.
    Take { change: RegistryChange },
    /// Sets whether registrations read their streams.
    SetPaused { ids: Vec<String>, is_paused: bool, aborts_pending: bool },
    /// Begins to count anew.
    ClearStats,
}
