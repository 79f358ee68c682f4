//! Safeguards that a debug build leaves out when it is told to, to see that tests miss them. A release build leaves out none.
//!
//! | name | what is left out |
//! |---|---|
//! | `order` | Each proxy sends writes to the copies itself, and not by the slot's sequencer |
//! | `process` | A server that was started again at the address of a node is taken for that node |
//! | `in-force` | A write that lost a copy is acknowledged before all proxies know that it is none any more |
//! | `fence` | The slots of a proxy are taken over, and it is not kept from the nodes |
//! | `lease` | A proxy that does not hear of changes serves on |
//! | `suspect` | Copies of slots that were taken over count as equal, and nobody makes them so |
//! | `ABSTTL` | Each copy counts a time to live from when it hears of it |

use std::sync::LazyLock;

/// Returns whether the environment variable `RMR_WITHOUT` names this safeguard.
pub(super) fn is_without(safeguard: &str) -> bool {
    static NAMED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("RMR_WITHOUT").ok());
    cfg!(debug_assertions) && NAMED.as_deref() == Some(safeguard)
}
