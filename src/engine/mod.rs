//! The heart: [`Engine`] sends commands to the shards that hold the data, and reduces what comes back.
//!
//! The engine lives long. A [`Request`] has begun and has a deadline, and its maps and fan-outs are steps of it. Each step
//! finds a node for each command by its [`route`], and the [`exchange`] sends, gathers and [retries](retry). The topology
//! that a step is planned by is a [`snapshot`], which the [refresher](refresh) replaces meanwhile without touching the step.

mod apart;
mod ask_any;
mod builder;
mod by_key;
mod check;
mod cover;
mod deadline;
mod dedicated;
mod dedicated_link;
mod deliveries;
mod dependence;
mod doubt;
mod exact;
mod exchange;
#[cfg(test)]
mod fake;
mod fanout;
mod findings;
mod gate;
pub(crate) mod glob;
mod guard;
mod hidden_keys;
mod in_flight;
mod limits;
mod link_pool;
pub(crate) mod live_keys;
mod local_refusal;
mod look_ahead;
mod map;
mod options;
mod outcomes;
mod place;
mod read_apart;
mod redirect;
mod refresh;
mod replies;
mod request;
mod retry;
mod route;
mod seeds;
mod sessions;
mod settle;
pub(crate) mod slot_keys;
mod slot_set;
mod snapshot;
mod state;
mod stats;
mod step;
mod step_builder;
mod steps;
mod target;
mod targets;
#[cfg(test)]
mod tests;
mod to_nodes;
mod to_targets;
mod unfit;
mod units;

use std::sync::Arc;
use std::time::Duration;

pub use crate::histogram::{Doublings, Histogram};
pub use builder::Builder;
pub use fanout::FanOut;
pub use gate::Gate;
pub(crate) use guard::panicked;
#[cfg(feature = "module")]
pub(crate) use limits::{DEFAULT_MAX_IN_FLIGHT, DEFAULT_MAX_REPLY_BYTES, DEFAULT_TIMEOUT_MS};
pub use map::Map;
pub use options::Options;
pub use replies::{Replies, ShardReply};
pub use request::{Request, RequestBuilder};
pub use stats::{ErrorCounts, Stats};
pub use step::{Reducer, Step};
pub use targets::Targets;
pub(crate) use targets::slots_without_owner;
pub(crate) use to_nodes::{PlacedOn, Said};
#[cfg(feature = "module")]
pub(crate) use unfit::check as check_fit;
pub(crate) use unfit::check_each as check_each_fit;

use crate::command::{Command, PerKey};
use crate::error::Error;
use crate::link::Link;
use crate::topology::{Node, Topology};
use deadline::Deadline;
use state::EngineState;

/// Sends commands to shards. Cheap to clone; all clones share links, topology and figures.
///
/// ```no_run
/// use rmr::{Address, Command, Engine, StaticList};
///
/// # async fn run() -> Result<(), rmr::Error> {
/// let nodes = StaticList::parse("10.0.0.1:6379 10.0.0.2:6379")?;
/// let engine = Engine::builder().provider(nodes).build();
/// let sizes = engine.fan_out(Command::new("DBSIZE")).await?;
/// println!("{} keys in all", sizes.integers().sum::<i64>());
/// # Ok(())
/// # }
/// ```
///
/// Longer pages: [what an answer is worth](crate::_docs::guarantees), [writing a reducer](crate::_docs::writing_a_reducer),
/// [`Engine` or `Client`](crate::_docs::which_of_the_three).
#[derive(Clone)]
pub struct Engine {
    state: Arc<EngineState>,
}

impl Engine {
    /// Says how requests are to be: their timeout, their rights, their protocol.
    pub fn request(&self) -> RequestBuilder {
        RequestBuilder::new(self.state.clone())
    }

    /// Sends each command to its shard: one write a node, replies in the order of the commands.
    pub fn map(&self, commands: impl IntoIterator<Item = Command>) -> Map {
        self.request().map(commands)
    }

    /// Sends one command for each of many keys, as [`map`](Self::map) would, with less work for each key.
    ///
    /// ```no_run
    /// # use rmr::{Command, Engine, Error};
    /// # use rmr::command::PerKey;
    /// # async fn run(engine: Engine) -> Result<(), Error> {
    /// let prices = engine.map_keys(PerKey::new(Command::new("HGET"), ["cart:1", "cart:2"]).arg("price")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_keys(&self, commands: PerKey) -> Map {
        self.request().map_keys(commands)
    }

    /// Sends one command to many nodes: by default to every primary that holds data, replies in slot order.
    pub fn fan_out(&self, command: Command) -> FanOut {
        self.request().fan_out(command)
    }

    /// Returns the topology that a request would use now. `None` before the first one has been fetched.
    pub fn topology(&self) -> Option<Arc<Topology>> {
        self.state.refresher.current().map(|snapshot| snapshot.topology.clone())
    }

    /// Returns how long ago the topology was last confirmed.
    pub fn topology_age(&self) -> Option<Duration> {
        self.state.refresher.age()
    }

    /// Returns the reason why the topology could not be fetched, the last time that was tried. `None` if it could.
    pub fn topology_error(&self) -> Option<Error> {
        self.state.refresher.last_error()
    }

    /// Fetches the topology now. Never needed: the engine does this by itself.
    pub async fn refresh(&self) -> Result<Arc<Topology>, Error> {
        self.state.refresher.refresh(Deadline::after(self.timeout())).await?;
        self.topology().ok_or_else(|| Error::Topology("the topology is not known yet".into()))
    }

    /// Says that the topology may have changed; it is fetched soon, in the background.
    pub fn hint_change(&self) {
        self.state.refresher.hint();
    }

    /// Calls with every node of the topology and its link.
    pub fn each_link(&self, mut visit: impl FnMut(&Node, &dyn Link)) {
        if let Some(snapshot) = self.state.refresher.current() {
            snapshot.links().for_each(|(node, link)| visit(node, &**link));
        }
    }

    /// Returns what the engine has counted so far.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.state.stats
    }

    /// Returns the time that a request has unless it says otherwise.
    pub fn timeout(&self) -> Duration {
        self.state.limits.timeout()
    }

    /// Sets the time that a request has unless it says otherwise. Default: 5 s.
    pub fn set_timeout(&self, timeout: Duration) {
        self.state.limits.set_timeout(timeout);
    }

    /// Sets how many requests may be under way at once; more are refused. Default: 10,000.
    pub fn set_max_in_flight(&self, requests: usize) {
        self.state.limits.set_max_in_flight(requests);
    }

    /// Sets whether answers that depend on keys are exact or errors, unless a request
    /// [allows](Options::allow_inconsistent) others. Default: `true`.
    pub fn set_consistent(&self, is_consistent: bool) {
        self.state.limits.set_consistent(is_consistent);
    }

    /// Sets the most memory, in bytes, that the replies to one request may take. Default: 1 GiB.
    pub fn set_max_reply_bytes(&self, bytes: usize) {
        self.state.limits.set_max_reply_bytes(bytes);
    }
}
