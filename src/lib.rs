//! rmr
mod command;
mod engine;
mod error;
mod link;
#[cfg(feature = "module")]
mod module;
mod reduce;
mod reply;
mod shard;
mod topology;

pub use command::Command;
pub use engine::*;
pub use error::Error;
pub use link::*;
#[cfg(feature = "module")]
pub use module::{ModuleAlloc, Setup, fan_out, load, map, register, run, unregister};
pub use reduce::*;
pub use reply::*;
pub use shard::*;
pub use topology::*;
