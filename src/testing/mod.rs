//! Real servers for tests: started on free ports of 127.0.0.1 in a fraction of a second, and gone at the end.
//!
//! Needs the feature `testing`, and `redis-server` on `PATH` (or what the environment variable `REDIS_SERVER` names):
//!
//! ```toml
//! [dev-dependencies]
//! rmr = { version = "0.1", default-features = false, features = ["testing"] }
//! ```
//!
//! ```
//! use rmr::testing::Servers;
//! use rmr::{Command, Error};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let servers = Servers::start(4);
//!     let client = servers.client();
//!     client.execute(Command::new("SET").arg("foo").arg(1)).await?;
//!     // Which of them has it, by its own word.
//!     let found = servers.iter().filter(|server| server.call(Command::new("GET").arg("foo")).is_ok_and(|reply| !reply.is_null()));
//!     assert_eq!(found.count(), 1);
//!     Ok(())
//! }
//! ```
//!
//! Each server has a directory of its own, and keeps nothing on disk. It is killed by its process id when its value is
//! dropped, in a panic too; a watchdog beside it does so when the program dies without dropping anything. A test that
//! panics prints the end of the servers' logs.
//!
//! These functions block their thread and panic where a test has no use for an error.

mod ports;
mod process;
mod scratch;
mod server;
mod servers;
mod wait;

pub use ports::free_port;
// For the crate's own tests, which run more than servers.
#[doc(hidden)]
pub use process::Process;
#[doc(hidden)]
pub use scratch::ScratchDir;
pub use scratch::random;
pub use server::{PORT_ATTEMPTS, Server, ServerBuilder, StartError, binary};
pub use servers::Servers;
pub use wait::{eventually, poll};
