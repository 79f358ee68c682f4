//! The server's module API, as far as rmr uses it. The only folder of the crate that may say `unsafe`.
//!
//! Everything that leaves this folder is safe to use: pointers of the server are wrapped here, and callbacks of the server
//! arrive here, in small generic functions that catch panics and hand on to safe functions.
//!
//! # Invariants
//!
//! Constructors over raw pointers are `unsafe`, and who calls them vouches for one of these, to which the `SAFETY` lines
//! refer by number:
//!
//! 1. **A live context.** The context is one that the server has handed to a callback that is still running, or one that
//!    was made by this module and is not freed yet. It stays so for the lifetime of its wrapper.
//! 2. **On the main thread.** What the context leads to is used on the server's main thread, or on a thread that
//!    holds the server's lock, alone. Wrappers of contexts are not `Send`; those that may be are said to be.
//! 3. **Live strings.** Strings are the server's, and stay as they are for the lifetime of what borrows them: arguments of
//!    a command until it returns, strings of our own until they are freed.
//! 4. **Ours to free.** The server has given the object away, nobody else frees it, and its wrapper frees it once.
//! 5. **Code that stays.** Callbacks are functions of this library, which is not unmapped while the server knows them: it
//!    forgets commands, settings, filters and subscriptions itself before it unloads a module, and
//!    [`unregister`](crate::unregister) refuses while timers or jobs are outstanding.
//! 6. **Sizes as announced.** Pointers and lengths belong to one live slice, texts end in zero, and structures have the
//!    version that they say they have.

pub(super) mod alloc;
pub(super) mod api;
pub(super) mod argv;
pub(super) mod blocked;
pub(super) mod call;
mod callback;
pub(super) mod command;
pub(super) mod context;
pub(super) mod data_type;
pub(super) mod event_loop;
pub(super) mod filter;
pub(super) mod info;
pub(super) mod key;
pub(super) mod keyspace_events;
pub(super) mod log;
pub(super) mod main_thread;
mod pace;
pub(super) mod paced;
pub(super) mod scan;
pub(super) mod setting;
pub(super) mod setting_callbacks;
pub(super) mod shared_api;
pub(super) mod socket;
mod string;
mod thread;
pub(super) mod timer;
pub(super) mod user;
