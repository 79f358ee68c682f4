//! A model of how the slots of plain servers are written, read and taken over, for a model checker.
//!
//! One slot with one key, two nodes that hold copies of it, two proxies, a configuration node. The first proxy is the slot's
//! sequencer; the second takes the slot over at any moment, also while the first is alive, or is given it as planned.
//! [`SlotModel`] says what each of them may do next, and the checker tries every order in which it can happen. A
//! command that was sent may arrive at any later time; a proxy that crashes or is stopped is one that is never, or for a long while, the next to
//! do something; a node that crashes loses its memory.
//!
//! The key is a list to which each write appends a number of its own. So a write that is lost, done twice, or done in another
//! order on the other node shows.
//!
//! These must hold, by the numbers of the claims:
//!
//! * S1: every node of the recorded copy set that has its memory has every acknowledged write.
//! * S2: the copies of a slot that is not suspect, and of which no write is in flight, are equal.
//! * S3: reads in order and writes are linearizable.
//! * S4: a read of any copy has every write that was acknowledged before the read began.
//! * S5: once a slot is taken over no node of its copy set does anything that the former sequencer has sent.
//!
//! The model has taught two rules of its own. A read in order is not told to the client while a write is in flight that it may
//! have seen, also if it was sent before the write: the write may come to nothing. And the last change of a slot, whoever
//! made it, has to be in force before a write is acknowledged: a sequencer inherits the changes of the one before it. It is
//! the last change of its copies that counts: nobody waits because another proxy orders the same copies.
//!
//! [`Safeguards`] takes one rule away at a time; `tests/claims.rs` shows that the checker then finds a fault.

mod history;
mod slot;
mod world;

pub use history::{ListSpec, Operation, Returned};
pub use slot::{Action, Safeguards, SlotModel};
pub use world::{Node, Proxy, Sent, Table, Waiting, World};
