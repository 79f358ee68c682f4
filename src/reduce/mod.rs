//! The built-in reducers, by name ([`Builtin`]), and [`Prefix`], which is any of them for each prefix of the keys.
//!
//! All but `LIST` can be [split](crate::Combine). Their results depend neither on the order of the replies nor on which
//! node has reduced which of them: sums of doubles are exact until the end, ties and elements are ordered by place or key, and a
//! sketch takes over at a fixed number of different values, which is the same on all nodes.

mod builtin;
#[cfg(feature = "module")]
mod count_of_single;
mod distinct;
mod elements;
mod exact;
mod groups;
mod hyperloglog;
mod limit;
mod order;
mod prefix;
mod quantiles;
mod ranking;
mod same;
mod squares;
#[cfg(feature = "module")]
mod sum_of_numbers;
mod summary;
#[cfg(test)]
mod tests;
mod total;

#[cfg(feature = "module")]
use std::sync::Arc;

pub(crate) use builtin::in_place;
pub use builtin::{Builtin, BuiltinPartial};
#[cfg(feature = "module")]
pub(crate) use count_of_single::CountOfSingle;
pub use prefix::{Prefix, PrefixPartial};
#[cfg(feature = "module")]
pub(crate) use sum_of_numbers::SumOfNumbers;
pub use total::Total;

#[cfg(feature = "module")]
use crate::combine::{AnyCombine, Combine};

/// Finds the reducer of this name with these arguments, of those that can be split and that every node with rmr has.
#[cfg(feature = "module")]
pub(crate) fn of_all_modules(name: &str, arguments: &[u8]) -> Option<Arc<dyn AnyCombine>> {
    match (name, arguments) {
        (name, []) if name == Combine::name(&SumOfNumbers) => Some(Arc::new(SumOfNumbers)),
        ("COUNT", CountOfSingle::ARGUMENTS) => Some(Arc::new(CountOfSingle)),
        ("PREFIX", arguments) => Some(Arc::new(Prefix::from_arguments(arguments)?)),
        (name, arguments) => {
            let builtin = Builtin::named(name.as_bytes()).filter(|builtin| builtin.can_be_split())?;
            match arguments {
                [] if builtin.most().is_none() => Some(Arc::new(builtin)),
                arguments => Some(Arc::new(builtin.with_arguments(arguments)?)),
            }
        }
    }
}
