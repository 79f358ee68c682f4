//! The numbers of builders and registrations, from which the ids of registrations are made.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of the next builder or registration.
static NEXT_PLAN: AtomicU64 = AtomicU64::new(0);

/// The id that stands for a node where there is no cluster.
const NO_NODE: &str = "0";

/// Returns the id of a new registration on the node of this id, which comes after so many builders: each takes a number, too.
pub(in crate::module) fn new_id(node: Option<&str>, builders: u64) -> String {
    let number = NEXT_PLAN.fetch_add(builders + 1, Relaxed) + builders;
    format!("{:0>40}-{number}", node.unwrap_or(NO_NODE))
}

/// Counts builders that have come to no registration.
pub(in crate::module::gears) fn count_builders(builders: u64) {
    NEXT_PLAN.fetch_add(builders, Relaxed);
}

/// Sees to it that no later registration gets a number that there was.
pub(super) fn see(id: &str) {
    if let Some(number) = id.rsplit('-').next().and_then(|number| number.parse::<u64>().ok()) {
        NEXT_PLAN.fetch_max(number + 1, Relaxed);
    }
}

/// Forgets everything, as when the module is loaded.
pub(super) fn reset() {
    NEXT_PLAN.store(0, Relaxed);
}
