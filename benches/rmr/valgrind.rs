//! A server with the module under valgrind, which counts what it does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rmr::testing::binary;

use crate::Failure;
use crate::common::{Wire, free_port, module_path, poll};

/// The longest that a server may take to start or to stop: everything is some fifty times slower than usual.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time that one look at a starting server waits for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The events that valgrind counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Instructions of all threads.
    Instructions,
    /// Allocations of the server, the module and the libraries.
    Allocations,
}

impl Counted {
    /// Returns the tool that counts it, and its options.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Instructions => &["--tool=callgrind", "--callgrind-out-file=/dev/null"],
            // The second one has it see the calls to an allocator that is not the C library's.
            Self::Allocations => &[
                "--tool=memcheck",
                "--soname-synonyms=somalloc=libjemalloc.so.2",
                "--leak-check=no",
                "--undef-value-errors=no",
            ],
        }
    }

    /// Returns the words before the number in the tool's last line.
    fn label(self) -> &'static str {
        match self {
            Self::Instructions => "Collected :",
            Self::Allocations => "total heap usage:",
        }
    }
}

/// Returns whether valgrind is installed.
pub fn is_there() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// A server that is counted, from its start to its end.
pub struct Watched {
    child: Child,
    counted: Counted,
    port: u16,
    log: PathBuf,
}

impl Watched {
    /// Starts it, and waits until it answers. Logs go to a directory that somebody else removes.
    pub fn start(counted: Counted, dir: &Path) -> Result<Self, Failure> {
        let (port, log) = (free_port(), dir.join("valgrind.log"));
        let child = Command::new("valgrind")
            // Threads take turns in order, and so do the same in each run, as nearly as they can.
            .arg("--fair-sched=yes")
            .args(counted.options())
            .arg(format!("--log-file={}", log.display()))
            .arg(binary())
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            // Background work of the server is not measured: there is as little of it as can be.
            .args(["--hz", "1"])
            .arg("--dir")
            .arg(dir)
            .arg("--loadmodule")
            .arg(module_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut watched = Self { child, counted, port, log };
        let answers = poll(PATIENCE, || match watched.child.try_wait() {
            Ok(None) => watched.answers().then_some(true),
            Ok(Some(_)) | Err(_) => Some(false),
        });
        if answers == Some(true) { Ok(watched) } else { Err(watched.failure("the server does not start")) }
    }

    /// Returns its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops it, and says how much was counted.
    pub fn stop(mut self) -> Result<u64, Failure> {
        // It is answered by the end of the connection, or not at all.
        Wire::connect(self.port).send(&["SHUTDOWN", "NOSAVE"]);
        poll(PATIENCE, || self.child.try_wait().ok().flatten())
            .ok_or_else(|| self.failure("the server does not stop"))?;
        let text = fs::read_to_string(&self.log)?;
        let number = text.lines().rev().find_map(|line| number_after(self.counted.label(), line));
        number.ok_or_else(|| self.failure("valgrind does not say what it counted"))
    }

    fn answers(&self) -> bool {
        let reply = Wire::try_connect(self.port, ANSWER_LIMIT).and_then(|mut wire| wire.try_call(&["PING"]));
        reply.is_ok_and(|reply| reply == b"+PONG\r\n")
    }

    fn failure(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        format!("under valgrind {what}:\n{log}").into()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `12,345` after a label somewhere in a line.
fn number_after(label: &str, line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(label)?;
    let digits: String = rest.split_whitespace().next()?.chars().filter(|&c| c != ',').collect();
    digits.parse().ok()
}
