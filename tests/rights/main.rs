//! The caller's rights reach as far as its own connection would let it, and no further; and the links between nodes
//! have rights of their own, which must be theirs to have.

#[path = "../common/mod.rs"]
mod common;

mod callers;
mod credentials;
mod forged;
mod inner;
mod names;
mod paths;
mod secrets;
mod shares;
mod users;
