//! Map/reduce inside Redis: commands go to the shards that hold the data, a reducer merges what comes back.
//!
//! rmr is three things in one crate. As a loadable module, `librmr.so`, it gives every client of a Redis Cluster, or of
//! a list of plain servers, commands that answer for all shards: `RMR.SUM`, `RMR.FANOUT`, `RMR.MAP`. To the author of a
//! Redis module it is the engine behind commands like these. To any tokio program it is a client.
//!
//! # Which part you want
//!
//! | you have | take | because |
//! |---|---|---|
//! | clients in any language, and servers into which you may load a module | the module, `librmr.so` | one command to one node answers for all shards; no code of yours |
//! | a command of your own that needs more than one shard | the crate with the feature `module`: `register`, `map`, `fan_out`, `run` | your reducers and steps run on the shards |
//! | a program with tokio, servers without a module | [`Engine`] for maps and fan-outs, [`Client`] for single commands with promises | the same engine from outside; nothing is loaded anywhere |
//! | programs written for a single Redis | the program `rmr-proxy` | they keep their client library and need one address |
//!
//! Longer pages: [which of the three](crate::_docs::which_of_the_three) you want, [what an answer is worth](crate::_docs::guarantees),
//! [writing a reducer](crate::_docs::writing_a_reducer), [writing a step](crate::_docs::writing_a_step).
//!
//! # Writing a distributed command
//!
//! A whole module; `examples/sum.rs` is the same as a file. The reply goes out when the shards have answered, and
//! nothing blocks the server meanwhile.
//!
//! ```no_run
//! # #[cfg(feature = "module")] {
//! use redis_module::{Context, RedisResult, RedisString, Status};
//! use rmr::{Command, Replies, Setup, Step};
//!
//! fn init(ctx: &Context, _args: &[RedisString]) -> Status {
//!     rmr::register(ctx, Setup::new()).map_or(Status::Err, |()| Status::Ok)
//! }
//!
//! /// SUMX.SUM key [key ...]
//! fn sum(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
//!     let gets = args.iter().skip(1).map(|key| Command::new("GET").key(key));
//!     rmr::map(ctx, gets, |replies: Replies| Ok(Step::reply(replies.integers().sum::<i64>())))
//! }
//! # }
//! ```
//!
//! # Work over all keys that match
//!
//! A [`Flow`](flow::Flow) reads keys by pattern on the shards that hold them, runs a command for each, and reduces what
//! comes. A step of one's own sees the records a batch at a time, also there: nodes know it by its name, from
//! [`Setup::step`](https://docs.rs/rmr/latest/rmr/struct.Setup.html#method.step). `examples/flow.rs` is a whole module.
//!
//! ```
//! use rmr::flow::{BatchStep, Flow, Records};
//! use rmr::reduce::Builtin;
//! use rmr::topology::BoxFuture;
//! use rmr::{Command, Engine, Error, Reply};
//!
//! /// Makes the first word of each text.
//! struct FirstWord;
//!
//! impl BatchStep for FirstWord {
//!     fn name(&self) -> &str {
//!         "FIRST-WORD"
//!     }
//!
//!     fn run<'a>(&'a self, _arguments: &'a [u8], records: Records) -> BoxFuture<'a, Result<Records, Error>> {
//!         Box::pin(async move {
//!             let mut words = Records::new();
//!             for (key, text) in records.replies() {
//!                 let text = text?;
//!                 let word = text.bytes().unwrap_or_default().split(|byte| *byte == b' ').next();
//!                 words.push_reply(key, &Reply::from(word.unwrap_or_default().to_vec()));
//!             }
//!             Ok(words)
//!         })
//!     }
//! }
//!
//! /// How often each first word occurs in the texts of a pattern.
//! async fn first_words(engine: &Engine, pattern: &str) -> Result<Reply, Error> {
//!     let texts = Flow::keys(pattern).key_type("string").command(Command::new("GET").read_only(true));
//!     texts.step(FirstWord).reduce(Builtin::Group).run(engine).await
//! }
//! ```
//!
//! # Using it as a client
//!
//! Without the feature `module`, which is off unless it is asked for, the crate needs no Redis headers and is an ordinary
//! tokio library.
//!
//! ```no_run
//! use rmr::{Address, Command, Engine};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), rmr::Error> {
//!     let engine = Engine::builder().cluster(vec![Address::new("127.0.0.1", 7001)]).build();
//!     let prices = ["cart:1", "cart:2", "cart:3"].map(|key| Command::new("HGET").key(key).arg("price"));
//!     let replies = engine.map(prices).await?;
//!     println!("{}", replies.numbers().map(|price| price.as_f64()).sum::<f64>());
//!     Ok(())
//! }
//! ```
//!
//! # Plain servers
//!
//! Servers that know nothing of each other are a [`StaticList`]: hosts, each a database of a server, and a [`ShardFunc`]
//! says which of them a key belongs to. [`Crc32Partition`] and [`Ketama::like_rb`] share a data set with the Python library rb.
//!
//! ```no_run
//! use rmr::{Command, Engine, StaticList};
//! use rmr::engine::Targets;
//! use rmr::shard::Ketama;
//!
//! # async fn run() -> Result<(), rmr::Error> {
//! let hosts = StaticList::parse("*=redis://:secret@10.0.0.1 :6379/0 :6379/1 :6380/0 unix:///run/redis.sock")?;
//! let engine = Engine::builder().provider(hosts).shard_func(Ketama::new()).build();
//! engine.map([Command::new("SET").key("user:1").arg("ada")]).await?;
//! // One command to the host of a key, whatever the command is about.
//! engine.fan_out(Command::new("DBSIZE")).targets(Targets::Keys(vec![b"user:1".into()])).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] is for programs that do not care where keys are: each command goes to the host of its key, thousands at
//! once with a [`Promise`] for each.
//!
//! ```no_run
//! use rmr::{Client, Command, Engine, StaticList};
//!
//! # async fn run() -> Result<(), rmr::Error> {
//! let engine = Engine::builder().provider(StaticList::parse("10.0.0.1:6379 10.0.0.2:6379")?).build();
//! let client = Client::new(engine);
//! let mut map = client.map();
//! let visits = ["home", "search"].map(|page| map.send(Command::new("INCR").arg(page)));
//! map.join().await;
//! println!("{:?}", visits.map(|promise| promise.value()));
//! # Ok(())
//! # }
//! ```
//!
//! The module [`from_rb`] is for those who know the Python library rb.
//!
//! # What holds for every request
//!
//! - **Complete or an error.** A reply that misses a shard is an error, unless partial results were asked for by name.
//! - **One deadline** for queueing, connecting, sending, waiting and all steps; the error says who did not answer.
//! - **The topology tracks itself.** `MOVED`, `ASK`, failovers and lost nodes are followed; nobody calls refresh.
//! - **A write whose outcome is unknown is never sent twice.** Mark what only reads with [`Command::read_only`]; inside
//!   a server that is known.
//! - **A panic** in a reducer, a [`ShardFunc`] or a [`NodeProvider`] is an error of the request.
//!
//! # Layout
//!
//! Floors, each of which knows only those below it:
//!
//! - `module`: the server, and the only one that does: commands, settings, rights, blocked clients
//! - `python`: processes in which functions of users run
//! - `serve`: a proxy that is no Redis server: any client, by the protocol of Redis
//! - `placement`: slots over plain servers, who holds which, agreed on through one Redis
//! - `exec`: any Redis command, by what the server says about it
//! - `flow`: work over all keys that match, on the shards that hold them
//! - `client`: programs that do not care where keys are: routing, mapping, promises
//! - `reduce`: the built-in reducers
//! - `engine`: map, fan-out, steps, deadlines, redirects
//! - `link`, `shard`: how to talk to one node; which node a command belongs to
//! - `peer`: what nodes with rmr say to each other
//! - `topology`: who is there and who holds what
//! - `describe`: what the server says about its commands
//! - `resp`: the wire format
//! - `command`, `reply`, `number`, `convert`, `combine`: the words everything is said in
//! - `error`: every error, its text, and its prefix on the wire
//! - `interop`: replies and commands as those of the crate `redis`
//! - `words`: enums that are words of a text
//!
//! [`Crc32Partition`]: shard::Crc32Partition
//! [`Ketama::like_rb`]: shard::Ketama::like_rb
//! [`NodeProvider`]: topology::NodeProvider
//! [`Promise`]: client::Promise
//! [`ShardFunc`]: shard::ShardFunc

#![deny(unsafe_code)]
// The docs of modules name their files, for those who read the source.
#![allow(rustdoc::private_intra_doc_links)]
#![warn(unnameable_types, unreachable_pub)]

#[cfg(doc)]
pub mod _docs {
    //! Longer pages about one subject each, with examples that are tests.

    #[doc = include_str!("_docs/guarantees.md")]
    pub mod guarantees {}
    #[doc = include_str!("_docs/which_of_the_three.md")]
    pub mod which_of_the_three {}
    #[doc = include_str!("_docs/writing_a_reducer.md")]
    pub mod writing_a_reducer {}
    #[doc = include_str!("_docs/writing_a_step.md")]
    pub mod writing_a_step {}
}
pub mod client;
mod combine;
pub mod command;
mod convert;
mod describe;
pub mod engine;
pub mod error;
pub mod flow;
#[cfg(any(test, fuzzing))]
mod fuzz;
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/how-to/from-rb.md")]
pub mod from_rb {}
#[cfg_attr(
    not(feature = "module"),
    allow(dead_code, unused_imports, reason = "only the module answers for a whole cluster yet")
)]
mod exec;
mod histogram;
#[cfg(feature = "redis")]
mod interop;
pub mod link;
#[cfg(feature = "module")]
mod module;
mod number;
mod peer;
#[cfg(feature = "placement")]
pub mod placement;
mod printable;
#[cfg(feature = "module")]
mod python;
pub mod reduce;
mod reply;
pub mod resp;
pub mod serve;
pub mod shard;
#[cfg(feature = "testing")]
pub mod testing;
pub mod topology;
mod words;

pub use client::Client;
pub use combine::{Combine, Origin};
pub use command::Command;
pub use convert::FromReply;
pub use engine::{Engine, Reducer, Replies, Step};
pub use error::Error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use fuzz::{fuzz_inner, fuzz_requests};
#[cfg(feature = "module")]
pub use module::{ModuleAlloc, Setup, fan_out, load, map, register, run, unregister};
pub use number::Number;
pub use reply::Reply;
pub use topology::{Address, RedisCluster, StaticList};
