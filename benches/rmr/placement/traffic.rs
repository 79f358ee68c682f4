//! [`Traffic`]: clients that read and write keys at a steady rate, and write down how long each request has waited.
//!
//! A request is due at a moment that does not depend on the answers before it, and is timed from that moment: so a client that
//! stands still for a second has waited for all that it would have sent in that second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::common::{RmrProxy, Server, Wire};
use crate::rounds::{millis, percentile};

/// The longest time for a reply.
const PATIENCE: Duration = Duration::from_secs(30);

/// The requests of clients. Those that read and those that write are different ones, so that none waits for the other kind.
pub struct Traffic {
    port: u16,
    clients: usize,
    /// Requests a second, of all clients together.
    rate: usize,
    /// Keys are `key:0` and so on, as of `DEBUG POPULATE`.
    keys: Vec<usize>,
    writes: bool,
}

/// A request that was answered.
pub struct Answer {
    pub took: Duration,
    /// The words of the reply if it was an error.
    pub error: Option<String>,
}

impl Traffic {
    /// So many clients that read through a proxy.
    pub fn reads(proxy: &RmrProxy, clients: usize, rate: usize, keys: impl IntoIterator<Item = usize>) -> Self {
        Self { port: proxy.port(), clients, rate, keys: keys.into_iter().collect(), writes: false }
    }

    /// So many clients that read at a server.
    pub fn reads_at(server: &Server, clients: usize, rate: usize, keys: impl IntoIterator<Item = usize>) -> Self {
        Self { port: server.port(), clients, rate, keys: keys.into_iter().collect(), writes: false }
    }

    /// So many clients that write through a proxy.
    pub fn writes(proxy: &RmrProxy, clients: usize, rate: usize, keys: impl IntoIterator<Item = usize>) -> Self {
        Self { writes: true, ..Self::reads(proxy, clients, rate, keys) }
    }

    /// Runs while something is done, and returns all answers and what was done.
    pub fn during<R>(&self, work: impl FnOnce() -> R) -> Result<(Vec<Answer>, R), Failure> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|client| {
                    let is_over = &is_over;
                    scope.spawn(move || self.client(client, is_over))
                })
                .collect();
            // Ends them in a panic, too.
            let over = Over(&is_over);
            let done = work();
            drop(over);
            let mut answers = Vec::new();
            for client in clients {
                answers.extend(client.join().map_err(|_| "a client panicked")??);
            }
            Ok((answers, done))
        })
    }

    fn client(&self, client: usize, is_over: &AtomicBool) -> Result<Vec<Answer>, Failure> {
        let mut wire = Wire::try_connect(self.port, PATIENCE)?;
        let value = "x".repeat(100);
        let pace = Duration::from_secs_f64(self.clients as f64 / self.rate as f64);
        let mut due = Instant::now() + pace.mul_f64(client as f64 / self.clients as f64);
        let mut answers = Vec::new();
        let mut chance = client as u64 + 1;
        while !is_over.load(Ordering::Relaxed) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // A generator of Marsaglia's (xorshift64): no two clients have the same keys in the same order.
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let name = format!("key:{}", self.keys[chance as usize % self.keys.len()]);
            let reply = match self.writes {
                true => wire.try_call(&["SET", &name, &value])?,
                false => wire.try_call(&["GET", &name])?,
            };
            let error = (reply[0] == b'-').then(|| reply.escape_ascii().to_string());
            answers.push(Answer { took: due.elapsed(), error });
            due += pace;
        }
        Ok(answers)
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs clients that read and clients that write while something is done. Returns how long the reads took, and the writes.
pub fn both<R>(reads: &Traffic, writes: &Traffic, work: impl FnOnce() -> R) -> Result<([Waits; 2], R), Failure> {
    let (read, written) = reads.during(|| writes.during(work))?;
    let (written, done) = written?;
    Ok(([Waits::of(&read), Waits::of(&written)], done))
}

/// The times that answers took, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waits {
    pub p50: f64,
    pub p99: f64,
    /// The longest one.
    pub max: f64,
    pub errors: usize,
    /// The number of answers.
    pub count: usize,
}

impl Waits {
    /// Sums up answers. The first error is shown on the side.
    pub fn of(answers: &[Answer]) -> Self {
        let mut took: Vec<Duration> = answers.iter().map(|answer| answer.took).collect();
        took.sort_unstable();
        let errors: Vec<&String> = answers.iter().filter_map(|answer| answer.error.as_ref()).collect();
        if let Some(first) = errors.first() {
            eprintln!("{} errors, the first one: {first}", errors.len());
        }
        Self {
            p50: millis(percentile(&took, 50)),
            p99: millis(percentile(&took, 99)),
            max: millis(percentile(&took, 100)),
            errors: errors.len(),
            count: took.len(),
        }
    }
}
