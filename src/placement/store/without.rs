//! Safeguards that a debug build leaves out when it is told to, to see that tests miss them. A release build leaves out none.

use std::sync::LazyLock;

/// Returns whether the environment variable `RMR_WITHOUT` names this safeguard.
pub(super) fn is_without(safeguard: &str) -> bool {
    static NAMED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("RMR_WITHOUT").ok());
    cfg!(debug_assertions) && NAMED.as_deref() == Some(safeguard)
}
