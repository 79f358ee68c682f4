//! The node that this module runs in, as the engine sees it: a link like any other, whose commands run in process.

mod client_kill;
pub(crate) mod direct;
pub(crate) mod guards;
pub(crate) mod link;
pub(crate) mod own_slots;
pub(crate) mod share;
pub(crate) mod source;
pub(crate) mod spoiled;
