//! One real `redis-server` of [`rmr::testing`], with the module unless told otherwise, and clients for it.

use std::ops::Deref;
use std::time::Duration;

use redis::{
    Connection, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisResult,
};
use rmr::testing::eventually;
pub use rmr::testing::{PORT_ATTEMPTS, StartError, binary};

use super::artifacts::module_path;
use super::errors::error_text;
use super::wire::Wire;

/// The time that a connection waits for a reply before the test fails instead of hanging.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// The longest for which work that goes on by itself may need the module.
const UNLOAD_LIMIT: Duration = Duration::from_secs(10);

/// The arguments with which the module can be unloaded from every server.
///
/// From Redis 7.2 on the module has a data type unless it is told to keep no functions, and no server unloads a module with
/// a data type. On Redis 7.0 this is the default.
const UNLOADABLE: [&str; 2] = ["gears", "batch"];

/// Builds a server: standalone and with the module, unless told otherwise.
#[derive(Clone)]
pub struct ServerBuilder {
    module: bool,
    module_args: Vec<String>,
    plain: rmr::testing::ServerBuilder,
}

impl ServerBuilder {
    /// Sets whether to load the module; yes by default.
    pub fn module(mut self, load: bool) -> Self {
        self.module = load;
        self
    }

    /// Returns whether the server loads the module when it starts.
    pub fn loads_module(&self) -> bool {
        self.module
    }

    /// Adds arguments for the module.
    pub fn module_args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.module_args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Says that the module is to be unloaded: it then keeps no functions, and so has no data type.
    pub fn unloadable(self) -> Self {
        self.module_args(UNLOADABLE)
    }

    /// Adds one word to the command line as it is.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.plain = self.plain.arg(arg);
        self
    }

    /// Adds an option: `config("maxmemory", "1mb")`.
    ///
    /// With `requirepass` the password is also used for replication and by all connections that
    /// the harness makes.
    pub fn config(mut self, name: &str, value: impl Into<String>) -> Self {
        self.plain = self.plain.config(name, value);
        self
    }

    /// Gives the server a configuration file with these lines, which `CONFIG REWRITE` writes back to.
    ///
    /// The file outlives a restart; a module that it loads needs no [`module`](Self::module) besides.
    pub fn config_file(mut self, lines: impl Into<String>) -> Self {
        self.plain = self.plain.config_file(lines);
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not start; the message contains its log.
    pub fn start(self) -> Server {
        self.try_start().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the server and waits until it answers, or says why it did not start.
    pub fn try_start(self) -> Result<Server, StartError> {
        self.complete().try_start().map(|server| Server { server })
    }

    /// Returns a server with its port and its directory, yet without a process.
    pub fn prepare(&self) -> Server {
        Server { server: self.complete().prepare() }
    }

    /// Returns the whole command line. The module comes last, as its arguments end with the next option only.
    fn complete(&self) -> rmr::testing::ServerBuilder {
        if !self.module {
            return self.plain.clone();
        }
        let path = module_path().into_os_string().into_string().expect("a path that is text");
        let words = ["--loadmodule".to_owned(), path].into_iter().chain(self.module_args.iter().cloned());
        words.fold(self.plain.clone(), rmr::testing::ServerBuilder::arg)
    }
}

/// A server of [`rmr::testing`], which it stands for in all respects, and what clients of it need.
pub struct Server {
    server: rmr::testing::Server,
}

impl Deref for Server {
    type Target = rmr::testing::Server;

    fn deref(&self) -> &Self::Target {
        &self.server
    }
}

impl Server {
    /// Returns a builder with the defaults.
    pub fn builder() -> ServerBuilder {
        ServerBuilder { module: true, module_args: Vec::new(), plain: rmr::testing::Server::builder() }
    }

    /// Returns a standalone server with the module.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// Returns how a client reaches the server, password included.
    pub fn connection_info(&self, protocol: ProtocolVersion) -> ConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_protocol(protocol);
        if let Some(password) = self.password() {
            settings = settings.set_password(password);
        }
        ConnectionAddr::Tcp("127.0.0.1".to_owned(), self.port())
            .into_connection_info()
            .expect("a valid address")
            .set_redis_settings(settings)
    }

    /// Returns a connection that speaks RESP2.
    #[track_caller]
    pub fn connection(&self) -> Connection {
        self.connect(ProtocolVersion::RESP2)
    }

    /// Returns a connection that speaks RESP3.
    #[track_caller]
    pub fn connection3(&self) -> Connection {
        self.connect(ProtocolVersion::RESP3)
    }

    /// Runs one command on a connection of its own.
    ///
    /// # Panics
    ///
    /// When the reply is an error or not of type `T`.
    #[track_caller]
    pub fn run<T: FromRedisValue>(&self, args: &[&str]) -> T {
        match self.try_run(args) {
            Ok(reply) => reply,
            Err(error) => panic!("{args:?} at {}: {}", self.address(), error_text(&error)),
        }
    }

    /// Runs one command on a connection of its own; an error of the server is a result.
    #[track_caller]
    pub fn try_run<T: FromRedisValue>(&self, args: &[&str]) -> RedisResult<T> {
        redis::cmd(args[0]).arg(&args[1..]).query(&mut self.connection())
    }

    /// Returns a connection that speaks RESP2, or why there is none: a server that was killed, as by another thread.
    pub fn try_connection(&self) -> RedisResult<Connection> {
        self.try_connect(ProtocolVersion::RESP2)
    }

    /// Loads the module so that it can be unloaded again, as [`ServerBuilder::unloadable`] does, with these arguments.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    #[track_caller]
    pub fn load_unloadable(&self, args: &[&str]) {
        let path = module_path();
        let path = path.to_str().expect("a path that is text");
        self.run::<()>(&[&["MODULE", "LOAD", path][..], &UNLOADABLE, args].concat());
    }

    /// Unloads the module, as soon as nobody waits for it and no timer of its own is about to fire.
    ///
    /// # Panics
    ///
    /// When the server goes on refusing.
    #[track_caller]
    pub fn unload(&self) {
        eventually(UNLOAD_LIMIT, "the module is unloaded", || self.reply("MODULE UNLOAD rmr") == "+OK");
    }

    /// Opens a connection whose reads are limited.
    #[track_caller]
    fn connect(&self, protocol: ProtocolVersion) -> Connection {
        match self.try_connect(protocol) {
            Ok(connection) => connection,
            Err(error) => panic!("cannot connect to {}: {}", self.address(), error_text(&error)),
        }
    }

    fn try_connect(&self, protocol: ProtocolVersion) -> RedisResult<Connection> {
        let client = redis::Client::open(self.connection_info(protocol))?;
        let connection = client.get_connection_with_timeout(REPLY_LIMIT)?;
        connection.set_read_timeout(Some(REPLY_LIMIT))?;
        Ok(connection)
    }
}
