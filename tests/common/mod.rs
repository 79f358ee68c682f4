//! The integration-test harness: real servers, real clusters, raw bytes on the wire.
//!
//! # Layout
//!
//! - [`server`]: one `redis-server` process with the module. From start to clean end it is run by the code that the
//!   crate offers everybody: [`rmr::testing`], with its ports, directories and waiting.
//! - [`cluster`]: several of them as one cluster; how it is formed ([`formation`]), what its nodes
//!   believe ([`topology`]), how slots and roles move ([`migration`], [`crowded`]).
//! - [`slot`]: from a key to its hash slot, computed locally.
//! - [`wire`]: a RESP client which hands out replies byte for byte.
//! - [`fake_node`]: a node which answers whatever bytes a test wants.
//! - [`events`]: reads keyspace events.
//! - [`load`]: work that goes on while something happens; [`constant_total`]: the sum that must stay right meanwhile.
//! - [`loading`]: a server that loads its data for as long as a test wants.
//! - [`proxy`]: a network with faults between two servers.
//! - [`rmr_proxy`]: the program `rmr-proxy` in front of a cluster, or of some servers.
//! - [`node`]: the same in JavaScript.
//! - [`python`]: programs that use the Redis client of real programs.
//! - [`random`]: chance that can be repeated.
//! - [`figures`]: what `INFO` and `/proc` say about a server.
//! - [`in_time`]: what must be quick, on a machine that does other things too.
//! - [`authority`]: certificates, and servers that speak TLS.
//! - [`c_module`]: builds modules in C.
//! - [`artifacts`]: builds and finds `librmr.so` and the examples.
//!
//! # Environment
//!
//! - `REDIS_SERVER`: the server binary; `redis-server` on `PATH` if not set.
//! - `RMR_MODULE`: a ready module to load; nothing is built then.
//! - `RMR_PROXY`: a ready `rmr-proxy` to run.
//!
//! Each test binary includes the whole harness and uses a part of it, hence the `allow` below.
#![allow(dead_code, unused_imports)]

mod artifacts;
mod authority;
mod c_module;
mod cluster;
mod constant_total;
mod crowded;
mod errors;
mod events;
mod fake_node;
mod figures;
mod formation;
mod in_time;
mod load;
mod loading;
mod migration;
mod node;
mod proxy;
mod python;
mod random;
mod rmr_proxy;
mod server;
mod shown;
mod slot;
mod topology;
mod version;
mod wire;

pub use artifacts::{example_bin, example_path, module_path, proxy_path, rg_path, target_dir};
pub use authority::{Authority, with_tls};
pub use c_module::c_module;
pub use cluster::{Cluster, ClusterBuilder};
pub use constant_total::{Answers, ConstantTotal};
pub use errors::error_text;
pub use events::{read_events, shown_event};
pub use fake_node::FakeNode;
pub use figures::text_of;
pub use in_time::in_time;
pub use load::while_repeating;
pub use loading::Loading;
pub use node::run_node;
pub use proxy::{Fault, Proxy};
pub use python::{functions_python, run_python, run_python_with_celery, run_python_with_rb, run_python_with_redgrease};
pub use random::Random;
pub use rmr::testing::{eventually, free_port, poll};
pub use rmr_proxy::{RmrProxy, RmrProxyBuilder};
pub use server::{Server, ServerBuilder, StartError};
pub use shown::{elements, show};
pub use slot::{SLOTS, slot_of};
pub use topology::{SlotRange, View};
pub use wire::Wire;
