//! Makes each write definite: the same command on equal data then leaves equal data, on every copy of a slot.
//!
//! The copies of a slot get its writes in one order. That keeps them equal only if no write depends on a node's clock, on
//! chance, or on an order that a node keeps for itself. [`definite`] says how a write is to be run so that none does:
//!
//! | [`Definite`] | for example |
//! |---|---|
//! | [`AsIs`](Definite::AsIs) | `INCR`, `LPUSH`, `SET k v`, a script that does no more than such |
//! | [`Rewritten`](Definite::Rewritten) | `EXPIRE k 10` is `PEXPIREAT k <ms>`, `XTRIM s MAXLEN ~ 9` is `XTRIM s MAXLEN = 9` |
//! | [`First`](Definite::First) | `SPOP` runs on the first copy, the others get `SREM` of what came out |
//! | [`CarryOver`](Definite::CarryOver) | any other script, commands of modules, and what is not known here |
//!
//! An error of a command is the same on every copy, in the server's own words, and changes nothing.
//!
//! Nothing here asks a server or a clock: `now_ms` is the time of whoever orders the slot's writes.
//!
//! Not made equal, for no command can set it: when a consumer of a group was last seen, the delivery time of a pending entry
//! that is no longer in its stream, how long ago a key was used, and the count that `PFCOUNT` keeps in its key.
//! Doubles are taken to be those of IEEE 754, and the servers to compare texts alike (`LC_COLLATE`).
//!
//! - [`made`]: what is made of a write
//! - [`rules`], [`table`]: the commands that are known
//! - [`expiry`], [`streams`], [`once`], [`stored`]: what is made of some of them
//! - [`script`]: which scripts are definite as they are
//! - [`transaction`]: the same for the commands of one `MULTI` and `EXEC`

mod expiry;
mod made;
mod once;
mod rules;
mod script;
mod stored;
mod streams;
mod table;
#[cfg(test)]
mod tests;
mod transaction;

#[cfg(test)]
pub(crate) use made::CopyRefusal;
pub(crate) use {
    made::{CarriedKeys, Definite, FollowUp, Rewritten, WriteCall},
    rules::definite,
    transaction::{DefiniteTransaction, Others, definite_transaction},
};
