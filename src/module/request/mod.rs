//! One request of a client: how it runs, who waits for it, and how it is answered.

mod blocked;
pub(super) mod caller;
pub(super) mod reply_writer;
pub(super) mod running;
