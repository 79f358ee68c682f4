//! One request of a client: how it runs, who waits for it, and how it is answered.

pub(crate) mod reply;
pub(crate) mod running;
