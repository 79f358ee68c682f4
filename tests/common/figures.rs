//! The figures of a server in `INFO` and in `/proc`, as numbers.

use std::fs;

use super::server::Server;
use super::wire::Wire;

impl Server {
    /// Returns a number of `INFO <section>`; 0 where the section has no such field.
    #[track_caller]
    pub fn figure(&self, section: &str, name: &str) -> u64 {
        figure_in(&self.run::<String>(&["INFO", section]), name)
    }

    /// Returns a number of `INFO rmr`, named without its `rmr_`.
    #[track_caller]
    pub fn rmr_figure(&self, name: &str) -> u64 {
        self.figure("rmr", &format!("rmr_{name}"))
    }

    /// Returns the number of times that a command was run here, by whomever.
    pub fn calls_of(&self, command: &str) -> u64 {
        // Redis 7.0 spells the names of modules' commands as the module did.
        let stats = self.run::<String>(&["INFO", "commandstats"]).to_ascii_lowercase();
        let prefix = format!("cmdstat_{}:calls=", command.to_ascii_lowercase());
        let calls = stats.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next()?.parse().ok());
        calls.unwrap_or(0)
    }

    /// Returns the number of rmr's threads in the process.
    pub fn rmr_threads(&self) -> usize {
        self.statuses_of_rmr_threads().count()
    }

    /// Returns the number of times that those threads have gone to sleep so far.
    pub fn sleeps_of_rmr_threads(&self) -> u64 {
        self.statuses_of_rmr_threads().map(|status| figure_in(&status, "voluntary_ctxt_switches")).sum()
    }

    fn statuses_of_rmr_threads(&self) -> impl Iterator<Item = String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the threads of the server");
        let statuses = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
        statuses.filter(|status| status.starts_with("Name:\trmr-io\n"))
    }

    /// Returns the memory that the process really takes, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the status of the server");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kilobytes.expect("the resident memory of the server") * 1024
    }

    /// Returns the number of bytes that its connections have received and the server has not read.
    pub fn unread_bytes(&self) -> u64 {
        let table = fs::read_to_string("/proc/net/tcp").expect("the connections of this machine");
        let local = format!(":{:04X}", self.port());
        let unread = table.lines().filter_map(|line| {
            // Number, local address, remote address, state, bytes to send and bytes to read.
            let fields: Vec<&str> = line.split_whitespace().collect();
            let queues = fields.get(4).filter(|_| fields[1].ends_with(&local))?;
            u64::from_str_radix(queues.split_once(':')?.1, 16).ok()
        });
        unread.sum()
    }

    /// Returns a raw connection, with the password given if there is one.
    pub fn wire(&self) -> Wire {
        let mut wire = Wire::connect(self.port());
        if let Some(password) = self.password() {
            assert_eq!(wire.call(&["AUTH", password]), b"+OK\r\n");
        }
        wire
    }
}

impl Wire {
    /// Sends a command and reads one frame, as text: its lines are joined by blanks.
    pub fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> String {
        text_of(&self.call(args))
    }
}

/// Returns a frame as one line of text, for comparisons and messages.
pub fn text_of(frame: &[u8]) -> String {
    let text = String::from_utf8_lossy(frame);
    text.trim_end().replace("\r\n", " ")
}

/// Returns the number after `name:`.
fn figure_in(info: &str, name: &str) -> u64 {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
