//! The built-in reducers, by name: `LIST`, `SUM`, `AVG`, `MIN`, `MAX`, `COUNT`, `CONCAT`, `UNION`.
//!
//! All but `LIST` can be split ([`Combine`]). What they make of the replies does not depend on their order, nor on which of
//! them were reduced where: sums of doubles are exact until the end, ties and elements go by their places.

mod builtin;
mod elements;
mod exact;
#[cfg(feature = "module")]
mod sum_of_numbers;
mod total;

#[cfg(feature = "module")]
use std::sync::Arc;

pub(crate) use builtin::in_place;
pub use builtin::{Builtin, BuiltinPartial};
#[cfg(feature = "module")]
pub(crate) use sum_of_numbers::SumOfNumbers;
pub use total::Total;

#[cfg(feature = "module")]
use crate::combine::{AnyCombine, Combine};

/// Finds the reducer of this name, of those that can be split and that every node with rmr has.
#[cfg(feature = "module")]
pub(crate) fn of_all_modules(name: &str) -> Option<Arc<dyn AnyCombine>> {
    if name == Combine::name(&SumOfNumbers) {
        return Some(Arc::new(SumOfNumbers));
    }
    let builtin = Builtin::named(name.as_bytes()).filter(|builtin| builtin.can_be_split())?;
    Some(Arc::new(builtin))
}
