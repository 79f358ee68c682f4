//! Results that are not there yet: a [`Promise`], and the [`PromiseSet`] of a mapping.
//!
//! Thousands of promises are made and settled at once, so they do not each have a place of their own: see [`ledger`].

mod ledger;
mod set;
mod single;

pub(super) use ledger::BoxedResult;
pub(super) use set::PromiseSet;
pub use single::Promise;
