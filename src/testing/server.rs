//! One real `redis-server`: started on a free port, watched, and gone when the value is.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult};

use super::ports::{BUS_OFFSET, free_port};
use super::process::Process;
use super::scratch::ScratchDir;
use super::wait::poll;
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;
use crate::resp::ServerErrorKind;
use crate::topology::Address;

/// The number of ports that are tried before a start is given up.
pub const PORT_ATTEMPTS: usize = 20;

/// The time that a start may take.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The time that one look at a starting server waits for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The time that [`Server::call`] waits for a reply before it fails instead of hanging.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// The number of lines of the log that a failing test prints.
const LOG_TAIL: usize = 60;

/// Options of every server; what a test adds comes later on the command line and wins.
const BASE_OPTIONS: [(&str, &str); 9] = [
    ("save", ""),
    ("appendonly", "no"),
    // Where a test turns that on: what is answered outlives a kill. Else a busy disk has the server write up to 2 s later.
    ("appendfsync", "always"),
    ("daemonize", "no"),
    ("bind", "127.0.0.1"),
    ("loglevel", "notice"),
    ("enable-debug-command", "yes"),
    ("enable-module-command", "yes"),
    ("protected-mode", "no"),
];

/// Sets up a server to start: a standalone one that keeps nothing on disk, unless told otherwise.
///
/// The program is `redis-server` on `PATH`, or what the environment variable `REDIS_SERVER` names.
#[derive(Debug, Clone, Default)]
pub struct ServerBuilder {
    args: Vec<String>,
    config_file: Option<String>,
    password: Option<String>,
}

impl ServerBuilder {
    /// Adds one word to the command line as it is.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds an option: `config("maxmemory", "1mb")`.
    ///
    /// With `requirepass` the password is also used for replication, and by [`Server::call`].
    #[must_use]
    pub fn config(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if name == "requirepass" {
            self.password = Some(value.clone());
            self = self.arg("--masterauth").arg(&value);
        }
        self.arg(format!("--{name}")).arg(value)
    }

    /// Gives the server a configuration file with these lines, which `CONFIG REWRITE` writes back to. The file outlives a
    /// restart.
    #[must_use]
    pub fn config_file(mut self, lines: impl Into<String>) -> Self {
        self.config_file = Some(lines.into());
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

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// The error says why it did not start.
    pub fn try_start(self) -> Result<Server, StartError> {
        for _ in 0..PORT_ATTEMPTS {
            let server = self.prepare();
            server.launch();
            match server.await_ready() {
                Ok(()) => return Ok(server),
                Err(StartError::PortTaken) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StartError::PortTaken)
    }

    /// Makes a server with its port and its directory, yet without a process.
    pub fn prepare(&self) -> Server {
        let dir = ScratchDir::new();
        let port = free_port();
        Server {
            port,
            args: self.command_line(port, dir.path()),
            password: self.password.clone(),
            process: Mutex::new(None),
            dir,
        }
    }

    /// Returns all arguments of the process.
    fn command_line(&self, port: u16, dir: &Path) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        if let Some(lines) = &self.config_file {
            let path = dir.join("redis.conf");
            fs::write(&path, lines).expect("cannot write redis.conf");
            args.push(path.into());
        }
        args.extend(["--port".into(), port.to_string().into()]);
        args.extend(["--dir".into(), dir.into()]);
        args.extend(["--logfile".into(), log_file(dir).into()]);
        for (name, value) in BASE_OPTIONS {
            args.extend([format!("--{name}").into(), value.into()]);
        }
        args.extend(self.args.iter().map(Into::into));
        args
    }
}

/// The reason why a server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Somebody else took the port after it was found free.
    PortTaken,
    /// The process ended; with its log.
    Exited(String),
    /// The process runs but does not answer; with its log.
    Silent(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken => f.write_str("the server's port was taken by another process"),
            Self::Exited(log) => write!(f, "the server ended at its start:\n{log}"),
            Self::Silent(log) => write!(f, "no answer after {START_LIMIT:?}:\n{log}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A server with its port and its directory; its process can be stopped, killed and restarted.
///
/// All methods take `&self`, so that threads may share a server.
pub struct Server {
    port: u16,
    args: Vec<OsString>,
    password: Option<String>,
    // Dropped before the directory, so that nothing writes there any more when it is removed.
    process: Mutex<Option<Process>>,
    dir: ScratchDir,
}

impl Server {
    /// Sets up a server that is started later.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Starts a standalone server.
    ///
    /// # Panics
    ///
    /// When it does not start; the message contains its log.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the port of its cluster bus, if it is a node of a cluster.
    pub fn bus_port(&self) -> u16 {
        self.port + BUS_OFFSET
    }

    /// Returns the address at which it listens.
    pub fn address(&self) -> Address {
        Address::new("127.0.0.1", self.port)
    }

    /// Returns its directory: log, `nodes.conf`, data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the password it was started with.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Returns the id of the process.
    ///
    /// # Panics
    ///
    /// When it was killed.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().expect("a running server").pid()
    }

    /// Tells whether the process exists, be it stopped or not.
    pub fn alive(&self) -> bool {
        self.process().as_mut().is_some_and(Process::alive)
    }

    /// Tells whether the process exists and was not stopped with [`stop_signal`](Self::stop_signal).
    pub fn running(&self) -> bool {
        let mut process = self.process();
        process.as_mut().is_some_and(|process| process.alive() && !process.stopped())
    }

    /// Freezes the process: its port still takes connections, but nothing is answered.
    pub fn stop_signal(&self) {
        self.process().as_mut().expect("a running server").stop();
    }

    /// Lets a frozen process go on.
    pub fn cont_signal(&self) {
        self.process().as_mut().expect("a running server").cont();
    }

    /// Kills the process with SIGKILL and waits for its end. Does nothing if it has ended already.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// Kills the process if need be, starts it anew with the same port, directory and arguments,
    /// and waits until it answers.
    ///
    /// A cluster node is the same node afterwards. Data is gone, unless an option says otherwise.
    pub fn restart(&self) {
        self.kill();
        self.launch();
        self.await_ready().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Returns the log of the server since its first start, together with all that it or a module printed.
    pub fn log(&self) -> String {
        let bytes = fs::read(log_file(self.dir.path())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Runs one command on a connection of its own; blocks its thread meanwhile.
    ///
    /// # Errors
    /// [`Error::Shard`] for an error reply, [`Error::Node`] if the server cannot be reached.
    pub fn call(&self, command: Command) -> Result<Reply, Error> {
        let node = self.address().to_string();
        match self.converse(&[command], REPLY_LIMIT) {
            Ok(replies) => match replies.into_iter().next() {
                Some(Reply::Error(message)) => Err(Error::Shard { node, message: message.into(), key: None }),
                reply => Ok(reply.unwrap_or(Reply::Null)),
            },
            Err(error) => Err(Error::Node { node, cause: error.to_string(), outcome_unknown: true }),
        }
    }

    /// Sends commands over a new connection and returns their replies.
    fn converse(&self, commands: &[Command], patience: Duration) -> RedisResult<Vec<Reply>> {
        // Nothing but the commands: tests count what a server is asked.
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let settings = match &self.password {
            Some(password) => settings.set_password(password),
            None => settings,
        };
        let address = ConnectionAddr::Tcp(Ipv4Addr::LOCALHOST.to_string(), self.port).into_connection_info()?;
        let client = redis::Client::open(address.set_redis_settings(settings))?;
        let mut connection = client.get_connection_with_timeout(patience)?;
        connection.set_read_timeout(Some(patience))?;
        let send = |command: &Command| {
            let mut wire = Vec::new();
            command.write_to(&mut wire);
            connection.send_packed_command(&wire)?;
            connection.recv_response().map(Reply::from)
        };
        commands.iter().map(send).collect()
    }

    /// Starts the process of a server that was [prepared](ServerBuilder::prepare), or killed.
    pub fn launch(&self) {
        let binary = binary();
        // Errors in the options and panics of the module go to the standard outputs.
        let output =
            OpenOptions::new().create(true).append(true).open(log_file(self.dir.path())).expect("cannot open the log");
        let mut program = Program::new(binary);
        program.args(&self.args).stdout(output.try_clone().expect("cannot share the log")).stderr(output);
        // Files that a server leaves there when it is killed go with the directory.
        program.env("TMPDIR", self.dir.path());
        *self.process() = Some(Process::spawn(&mut program, self.dir.path()));
    }

    /// Waits until the launched process answers.
    ///
    /// # Errors
    /// The error says why it does not.
    pub fn await_ready(&self) -> Result<(), StartError> {
        poll(START_LIMIT, || {
            if !self.alive() {
                return Some(Err(self.why_exited()));
            }
            self.answers().then_some(Ok(()))
        })
        .unwrap_or_else(|| Err(StartError::Silent(self.log())))
    }

    /// Tells whether the port is answered by this very process, ready for commands.
    ///
    /// The process id tells it from a server of another test that was quicker to take the port.
    fn answers(&self) -> bool {
        let looks = [Command::new("PING"), Command::new("INFO").arg("server")];
        let Ok(replies) = self.converse(&looks, ANSWER_LIMIT) else { return false };
        let is_loading =
            matches!(&replies[0], Reply::Error(message) if ServerErrorKind::of(message) == ServerErrorKind::Loading);
        let process_id = format!("process_id:{}\r\n", self.pid());
        !is_loading && replies[1].bytes().is_some_and(|info| String::from_utf8_lossy(info).contains(&process_id))
    }

    /// Tells a taken port from all other reasons, for which the log must do.
    fn why_exited(&self) -> StartError {
        let log = self.log();
        if log.contains("Address already in use") { StartError::PortTaken } else { StartError::Exited(log) }
    }

    /// Returns the process, also after a panic of another thread.
    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    /// Prints the end of the log if a test panics. The process and the directory go by themselves.
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
            eprintln!("--- log of {}\n{}", self.address(), tail.join("\n"));
        }
    }
}

/// Returns the log of a server which runs in `dir`.
fn log_file(dir: &Path) -> PathBuf {
    dir.join("redis.log")
}

/// Returns the program that is started.
pub fn binary() -> OsString {
    std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}
