//! The program `rmr-proxy`, started on a free port in front of a cluster or of some servers.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rmr::testing::{Process, ScratchDir, eventually, poll};

use super::artifacts::proxy_path;
use super::cluster::Cluster;
use super::server::Server;
use super::wire::Wire;

/// The longest that a start may take, the first one of a program that was just built too.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The number of log lines that a failing test prints.
const LOG_TAIL: usize = 60;

/// Builds the arguments of an `rmr-proxy`, and starts it.
#[derive(Clone, Default)]
pub struct RmrProxyBuilder {
    args: Vec<String>,
    env: Vec<(String, String)>,
    is_on_tcp: bool,
}

impl RmrProxyBuilder {
    /// Adds an argument without its dashes and its value: `set("max-clients", "5")`.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.args.extend([format!("--{name}"), value.to_string()]);
        self
    }

    /// Adds one word to the command line as it is.
    pub fn arg(mut self, word: &str) -> Self {
        self.args.push(word.to_owned());
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the proxy and waits until it serves clients.
    ///
    /// # Panics
    ///
    /// When it does not start; the message contains its log.
    pub fn start(self) -> RmrProxy {
        self.try_start().unwrap_or_else(|log| panic!("rmr-proxy has not started:\n{log}"))
    }

    /// Starts the proxy and waits until it serves clients, or gives its log.
    pub fn try_start(self) -> Result<RmrProxy, String> {
        let dir = ScratchDir::new();
        let log = dir.path().join("rmr-proxy.log");
        let file = File::create(&log).expect("a log");
        let mut command = Command::new(proxy_path());
        command.args(&self.args).envs(self.env).env("RMR_LOG", "debug").stdout(Stdio::null()).stderr(file);
        if self.is_on_tcp {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let process = Mutex::new(Process::spawn(&mut command, dir.path()));
        let mut proxy = RmrProxy { port: 0, process, log, dir };
        let ready = poll(START_LIMIT, || {
            let log = proxy.log();
            let is_ready = log.lines().any(|line| line.ends_with("is ready"));
            (is_ready || !proxy.alive()).then_some(is_ready)
        });
        if ready != Some(true) {
            return Err(proxy.log());
        }
        let log = proxy.log();
        let port = log.split("listening at 127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        proxy.port = port.map_or(0, |port| port.parse().expect("a port"));
        Ok(proxy)
    }
}

/// A running `rmr-proxy`.
pub struct RmrProxy {
    port: u16,
    // Dropped before the directory, so that nothing writes there any more when it is removed.
    process: Mutex<Process>,
    log: PathBuf,
    dir: ScratchDir,
}

impl RmrProxy {
    /// Returns a builder with the defaults.
    pub fn builder() -> RmrProxyBuilder {
        RmrProxyBuilder { is_on_tcp: true, ..Default::default() }
    }

    /// Returns a builder without the listener on a port of 127.0.0.1.
    pub fn elsewhere() -> RmrProxyBuilder {
        RmrProxyBuilder::default()
    }

    /// Starts in front of a cluster, of which the proxy is told the first two nodes.
    pub fn before(cluster: &Cluster) -> RmrProxyBuilder {
        let seeds: Vec<String> = cluster.nodes().iter().take(2).map(Server::address).collect();
        Self::builder().set("cluster", seeds.join(","))
    }

    /// Starts in front of servers that know nothing of each other.
    pub fn before_list(servers: &[Server]) -> RmrProxyBuilder {
        let addresses: Vec<String> = servers.iter().map(Server::address).collect();
        Self::builder().set("nodes", addresses.join(" "))
    }

    /// Returns the port of 127.0.0.1 where clients connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its directory, for what a test needs besides.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// Returns whether the process exists.
    pub fn alive(&self) -> bool {
        self.process().alive()
    }

    /// Freezes the process: its port still takes connections, but nothing is answered.
    pub fn stop_signal(&self) {
        self.process().stop();
    }

    /// Lets a frozen process go on.
    pub fn cont_signal(&self) {
        self.process().cont();
    }

    /// Kills the process with SIGKILL; see [`end`](Self::end).
    pub fn kill(&self) {
        self.process().signal("KILL");
    }

    /// Asks the process to end; see [`end`](Self::end).
    pub fn terminate(&self) {
        self.process().signal("TERM");
    }

    /// Waits until the process has ended, and returns how.
    #[track_caller]
    pub fn end(&self, within: Duration) -> ExitStatus {
        poll(within, || self.process().ended()).unwrap_or_else(|| panic!("rmr-proxy runs on:\n{}", self.log()))
    }

    /// All that it has logged, at the level of debugging.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The memory that the process really takes, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it has taken so far.
    pub fn peak_bytes(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the status of rmr-proxy");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kilobytes.expect("the memory of rmr-proxy") * 1024
    }

    /// A raw connection that speaks RESP2.
    #[track_caller]
    pub fn wire(&self) -> Wire {
        Wire::connect(self.port)
    }

    /// A raw connection that speaks RESP3.
    #[track_caller]
    pub fn wire3(&self) -> Wire {
        let mut wire = self.wire();
        assert_eq!(wire.call(&["HELLO", "3"])[0], b'%', "no RESP3 at rmr-proxy");
        wire
    }

    /// Returns the answer to one command, typed with blanks between its words, on a connection of its own.
    #[track_caller]
    pub fn reply(&self, line: &str) -> String {
        self.wire().reply(line)
    }

    /// Waits until only so many clients are connected, the one that asks among them.
    #[track_caller]
    pub fn await_clients(&self, count: usize) {
        let mut wire = self.wire();
        eventually(Duration::from_secs(10), &format!("{count} clients are connected"), || {
            wire.reply("INFO clients").contains(&format!("connected_clients:{count}\\r"))
        });
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RmrProxy {
    /// Ends the process. The directory goes by itself.
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
            eprintln!("--- log of rmr-proxy at {}\n{}", self.port, tail.join("\n"));
        }
    }
}
