//! The server's module API: the only folder that may say `unsafe`.

pub(crate) mod alloc;
pub(crate) mod api;
pub(crate) mod call;
pub(crate) mod filter;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod main_thread;
pub(crate) mod user;
