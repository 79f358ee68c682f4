//! The caller's rights reach as far as its own connection would let it, and no further; and the links between nodes
//! have rights of their own, which must be theirs to have.

mod common;

#[path = "rights/callers.rs"]
mod callers;
#[path = "rights/credentials.rs"]
mod credentials;
#[path = "rights/inner.rs"]
mod inner;
#[path = "rights/paths.rs"]
mod paths;
#[path = "rights/users.rs"]
mod users;
