//! A child process which never outlives the program that started it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::wait::eventually;

/// Waits for a line on its standard input. When that ends without one, the parent is gone: kill
/// process `$0` and remove directory `$1`.
const WATCHDOG: &str = r#"trap '' HUP INT TERM; read -r _ || { kill -KILL "$0"; rm -rf "$1"; }"#;

/// A running child with a watchdog next to it.
///
/// Dropping the value kills the child. The watchdog covers what `drop` cannot: a test process which
/// is killed, which aborts, or which holds the value in a `static`.
pub struct Process {
    child: Child,
    watchdog: Child,
    stopped: bool,
}

impl Process {
    /// Runs `command`, whose files are all in `dir`.
    pub fn spawn(command: &mut Command, dir: &Path) -> Self {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {:?}: {error}", command.get_program()));
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, &child.id().to_string()])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot run sh");
        Self { child, watchdog, stopped: false }
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns how it has ended; `None` while it exists.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Tells whether the process still exists, be it stopped or not.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Tells whether the process was stopped with [`stop`](Self::stop) and not continued since.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Sends SIGSTOP, and waits until every thread stands still: on a busy machine one may run on for some milliseconds.
    pub fn stop(&mut self) {
        self.signal("STOP");
        self.stopped = true;
        eventually(Duration::from_secs(5), "all threads of the process stand still", || self.stands_still());
    }

    /// Returns whether the system says that all threads are stopped. True where it does not tell.
    fn stands_still(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid())) else { return true };
        let mut stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
        // The state stands behind the name, which is in parentheses and may hold any character.
        stats.all(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
    }

    /// Sends SIGCONT.
    pub fn cont(&mut self) {
        self.signal("CONT");
        self.stopped = false;
    }

    /// Sends a signal, `TERM` for example, with the `kill` that every shell has built in.
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", r#"kill -s "$0" "$1""#, name, &self.pid().to_string()])
            .status()
            .expect("cannot run sh");
        assert!(status.success(), "cannot send SIG{name}");
    }
}

impl Drop for Process {
    /// Kills the process. SIGKILL ends a stopped process too, so there is no need to continue it first.
    fn drop(&mut self) {
        // Errors mean that one of the two has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(mut stdin) = self.watchdog.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let _ = self.watchdog.wait();
    }
}
