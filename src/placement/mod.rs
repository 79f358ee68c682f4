//! Slots over plain servers: who holds which slot, agreed on through one Redis.
//!
//! [`slot`] says to which slot an object belongs, [`balance`] who ought to hold a slot. Both are pure: the same input has the
//! same result on every machine, so those who know the same participants agree without a word. [`Store`] is data on plain
//! servers, whose slots a configuration node knows.

pub mod balance;
mod config_node;
pub mod member;
mod proxies;
pub mod slot;
mod store;

pub use proxies::Proxies;
pub(crate) use store::changes;
pub use store::{Store, StoreFigures};
