//! [`Setup`]: how a module's engine is built: from the configuration, or from what a module author gives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::config::{self, Provider, ShardBy};
use super::event_loop::socket::EventLoop;
use super::guests::registry;
use super::identity::ServersOwn;
use super::local::link::LocalLink;
use super::local::source::InServer;
use super::server::context::Ctx;
use super::server::{call, main_thread};
use super::store;
use crate::combine::{AnyCombine, Combine};
use crate::engine::Engine;
use crate::error::Error;
use crate::flow::BatchStep;
use crate::link::LinkOptions;
use crate::reduce;
use crate::shard::{Crc16Slots, Crc32Partition, Ketama, Rendezvous, ShardFunc};
use crate::topology::{Address, BoxFuture, NodeProvider, RedisCluster, Single, StaticList, Topology};

/// Says how a module's engine is built. Everything that is left out is as in `librmr.so` with its default
/// configuration.
///
/// ```no_run
/// use rmr::{Setup, StaticList};
/// use rmr::shard::Crc32Partition;
///
/// # fn setup() -> Result<Setup, rmr::Error> {
/// let nodes = StaticList::parse("10.0.0.1:6379 10.0.0.2:6379")?;
/// Ok(Setup::new().provider(nodes).shard_func(Crc32Partition))
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Setup {
    provider: Option<Arc<dyn NodeProvider>>,
    shard_func: Option<Arc<dyn ShardFunc>>,
    threads: Option<usize>,
    reducers: HashMap<&'static str, Arc<dyn AnyCombine>>,
    steps: HashMap<String, Arc<dyn BatchStep>>,
    inner_command: Option<String>,
    /// The inner command is used only while the setting says so.
    heeds_pushdown: bool,
}

impl Setup {
    /// Makes a setup with all defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the provider, which says which nodes there are. Default: `rmr.provider`, which finds out whether the server
    /// is a node of a cluster.
    #[must_use]
    pub fn provider(mut self, provider: impl NodeProvider) -> Self {
        self.provider = Some(Arc::new(provider));
        self
    }

    /// Sets the function that says which node a command belongs to. Default: `rmr.shard-func`, which is CRC16 slots on
    /// a cluster.
    #[must_use]
    pub fn shard_func(mut self, shard_func: impl ShardFunc) -> Self {
        self.shard_func = Some(Arc::new(shard_func));
        self
    }

    /// Sets the number of threads that do the work. Default: `rmr.threads`, 1.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// Adds a reducer that nodes with the same module run on their own share, known to them by its name. One with
    /// arguments makes others [with theirs](Combine::with_arguments).
    #[must_use]
    pub fn reducer(mut self, reducer: impl Combine) -> Self {
        self.reducers.insert(Combine::name(&reducer), Arc::new(reducer));
        self
    }

    /// Adds a step of flows that nodes with the same module run on their own keys, known to them by its name.
    ///
    /// ```no_run
    /// use rmr::flow::{BatchStep, Records};
    /// use rmr::topology::BoxFuture;
    /// use rmr::{Error, Setup};
    ///
    /// /// Keeps the records whose value is not empty.
    /// struct NotEmpty;
    ///
    /// impl BatchStep for NotEmpty {
    ///     fn name(&self) -> &str {
    ///         "NOT-EMPTY"
    ///     }
    ///
    ///     fn run<'a>(&'a self, _arguments: &'a [u8], records: Records) -> BoxFuture<'a, Result<Records, Error>> {
    ///         Box::pin(async move {
    ///             let mut kept = Records::new();
    ///             for (key, reply) in records.replies() {
    ///                 let reply = reply?;
    ///                 if reply.bytes().is_some_and(|value| !value.is_empty()) {
    ///                     kept.push_reply(key, &reply);
    ///                 }
    ///             }
    ///             Ok(kept)
    ///         })
    ///     }
    /// }
    ///
    /// let setup = Setup::new().inner_command("MYMODULE.INNER").step(NotEmpty);
    /// ```
    #[must_use]
    pub fn step(mut self, step: impl BatchStep) -> Self {
        self.steps.insert(step.name().to_owned(), Arc::new(step));
        self
    }

    /// Sets the command by which nodes with the same module are asked to reduce their share, such as `MYMODULE.INNER`;
    /// it is registered with the server. Default: none, and all replies come to the node that was asked.
    #[must_use]
    pub fn inner_command(mut self, name: impl Into<String>) -> Self {
        self.inner_command = Some(name.into());
        self
    }

    /// Leaves it to `rmr.pushdown` whether other nodes are asked to reduce.
    pub(super) fn heeding_pushdown(mut self) -> Self {
        self.heeds_pushdown = true;
        self
    }

    pub(super) fn reducer_named(&self, name: &str, arguments: &[u8]) -> Option<Arc<dyn AnyCombine>> {
        match self.reducers.get(name) {
            Some(own) => own.clone().with_arguments(arguments),
            None => reduce::of_all_modules(name, arguments).or_else(|| {
                let of_guest = registry::reducer(name, arguments)?;
                Some(Arc::new(of_guest) as Arc<dyn AnyCombine>)
            }),
        }
    }

    pub(super) fn step_named(&self, name: &str) -> Option<Arc<dyn BatchStep>> {
        self.steps.get(name).cloned().or_else(|| registry::step(name))
    }

    pub(super) fn name_of_inner(&self) -> Option<&str> {
        self.inner_command.as_deref()
    }

    pub(super) fn worker_threads(&self) -> usize {
        self.threads.unwrap_or_else(config::threads)
    }

    /// Builds the engine. On the main thread, within the runtime.
    pub(super) fn engine(&self) -> Result<Engine, Error> {
        // Another module may have the first request made on a thread of its own.
        let server = main_thread::with_detached(ThisServer::describe)
            .or_else(|| main_thread::with_current(ThisServer::describe))
            .ok_or_else(|| Error::Refused("rmr is not registered".into()))?;
        let with_tls = server.with_tls;
        let own_links = move || {
            LinkOptions::new()
                .connect_timeout_by(config::connect_timeout)
                .credentials(ServersOwn)
                .tls(ServersOwn)
                .tls_by_default(with_tls)
        };
        let mut links = own_links();
        // A node of a store would do its share in process, and pass by those who watch over the copies of a key.
        let is_store = self.provider.is_none() && config::provider() == Provider::Placement;
        if let Some(name) = self.inner_command.as_deref().filter(|_| !is_store) {
            links = links.inner_command(name).reduces_there(!self.heeds_pushdown || config::pushdown());
        }
        let mut builder = Engine::builder().watcher(EventLoop).local_link(Arc::new(LocalLink::default()));
        builder = match &self.provider {
            Some(provider) => builder.provider(SharedProvider(provider.clone())).links(links),
            None if config::provider() == Provider::Placement => {
                store::provide(builder, config::configuration_node(), links, own_links)?
            }
            None => server.provide(builder)?.links(links),
        };
        builder = match &self.shard_func {
            Some(shard_func) => builder.shard_func(SharedFunc(shard_func.clone())),
            None => match config::shard_by() {
                ShardBy::Auto => builder,
                ShardBy::Crc16 => builder.shard_func(Crc16Slots),
                ShardBy::Crc32 => builder.shard_func(Crc32Partition),
                ShardBy::Ketama => builder.shard_func(Ketama::new()),
                ShardBy::KetamaRb => builder.shard_func(Ketama::like_rb()),
                ShardBy::Rendezvous => builder.shard_func(Rendezvous),
            },
        };
        let engine = builder.build();
        set_limits(&engine);
        Ok(engine)
    }
}

/// Hands the limits that are set to an engine.
pub(super) fn set_limits(engine: &Engine) {
    engine.set_timeout(config::timeout());
    engine.set_max_in_flight(config::max_in_flight());
    engine.set_max_reply_bytes(config::max_reply_bytes());
    engine.set_consistent(config::consistent());
}

/// The facts that the engine has to know about the server that it lives in.
struct ThisServer {
    is_cluster: bool,
    own_addresses: Vec<Address>,
    with_tls: bool,
}

impl ThisServer {
    fn describe(ctx: Ctx<'_>) -> Self {
        let text = |name: &str| String::from_utf8_lossy(&call::config_get(ctx, name)).into_owned();
        let port = |name: &str| text(name).parse::<u16>().ok().filter(|&port| port != 0);
        let with_tls = text("tls-cluster") == "yes";
        let tls_port = port("tls-port");
        let plain_port = port("port");
        // The first address is the one that the server is named by.
        let ports = if with_tls { [tls_port, plain_port] } else { [plain_port, tls_port] };
        let bound = text("bind");
        let announced = [text("cluster-announce-ip"), text("replica-announce-ip")];
        let hosts = ["127.0.0.1", "localhost", "::1"].into_iter();
        let hosts = hosts.chain(bound.split_whitespace()).chain(announced.iter().map(String::as_str));
        let hosts =
            hosts.map(|host| host.trim_start_matches('-')).filter(|host| !matches!(*host, "" | "*" | "0.0.0.0"));
        let hosts: Vec<&str> = hosts.collect();
        let at = |port: u16| hosts.iter().map(move |host| Address::new(*host, port));
        let mut own_addresses: Vec<Address> = ports.into_iter().flatten().flat_map(at).collect();
        let socket = text("unixsocket");
        if !socket.is_empty() {
            // Its path may be relative to the server's folder.
            let path = std::path::Path::new(&text("dir")).join(socket);
            own_addresses.push(Address::unix(path.to_string_lossy()));
        }
        if own_addresses.is_empty() {
            own_addresses.extend(at(6379));
        }
        Self { is_cluster: ctx.flags().is_cluster(), own_addresses, with_tls }
    }

    fn provide(&self, builder: crate::engine::Builder) -> Result<crate::engine::Builder, Error> {
        let single = || Single::local(self.own_addresses[0].clone()).cluster_enabled(self.is_cluster);
        let cluster = || RedisCluster::new(InServer, config::refresh_every);
        let list = || Ok::<_, Error>(StaticList::parse(&config::nodes())?.with_local(&self.own_addresses));
        Ok(match config::provider() {
            Provider::Single => builder.provider(single()),
            Provider::Static => builder.provider(list()?),
            Provider::Cluster if self.is_cluster => builder.provider(cluster()),
            Provider::Cluster => {
                return Err(Error::Invalid("rmr.provider is cluster, but cluster-enabled is no".into()));
            }
            Provider::Placement => return Err(Error::Internal("a store is provided with its links".into())),
            Provider::Auto if !config::nodes().is_empty() => builder.provider(list()?),
            Provider::Auto if self.is_cluster => builder.provider(cluster()),
            Provider::Auto => builder.provider(single()),
        })
    }
}

/// A provider that outlives the engines that it serves.
struct SharedProvider(Arc<dyn NodeProvider>);

impl NodeProvider for SharedProvider {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        self.0.topology()
    }

    fn refresh_every(&self) -> Option<Duration> {
        self.0.refresh_every()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        self.0.changed()
    }
}

/// A shard function that outlives the engines that it serves.
struct SharedFunc(Arc<dyn ShardFunc>);

impl ShardFunc for SharedFunc {
    fn node<'t>(
        &self,
        topology: &'t Topology,
        command: &crate::command::Command,
    ) -> Result<&'t Arc<crate::topology::Node>, Error> {
        self.0.node(topology, command)
    }

    fn shards_of_keys(
        &self,
        topology: &Topology,
        keys: &mut dyn Iterator<Item = &[u8]>,
        put: &mut dyn FnMut(usize),
    ) -> Option<Result<(), Error>> {
        self.0.shards_of_keys(topology, keys, put)
    }
}
