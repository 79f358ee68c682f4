//! Processor time: of the servers, and of this process, which is the client.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

use crate::Failure;
use crate::common::Cluster;

/// Processor time used so far, in user and system mode together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// By this process.
    pub client: Duration,
    /// By all nodes, with all their threads.
    pub servers: Duration,
}

impl Used {
    /// Returns the time used by both.
    pub fn together(self) -> Duration {
        self.client + self.servers
    }
}

impl Sub for Used {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { client: self.client - before.client, servers: self.servers - before.servers }
    }
}

/// Reads processor times.
pub struct Meter {
    servers: Vec<u32>,
}

impl Meter {
    /// Watches the nodes of a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self { servers: cluster.nodes().iter().map(|node| node.pid()).collect() }
    }

    /// The time used so far.
    pub fn read(&self) -> Result<Used, Failure> {
        let mut servers = Duration::ZERO;
        for pid in &self.servers {
            servers += process_time(*pid)?;
        }
        Ok(Used { client: own_time()?, servers })
    }
}

/// Returns the processor time of a process: the first number of each thread's `schedstat`: nanoseconds on a processor. `stat` counts ticks of 10 ms only.
pub fn process_time(pid: u32) -> Result<Duration, Failure> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the two looks.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

fn own_time() -> Result<Duration, Failure> {
    // SAFETY: zero is a value of every field.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives through the call.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let duration =
        |time: libc::timeval| Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64);
    Ok(duration(usage.ru_utime) + duration(usage.ru_stime))
}
