//! A client of any proxy that knows what an error says of its command: that it did not happen, or that nobody knows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;

use crate::checker::NEVER;
use crate::common::{Wire, show};

/// The time that a client waits for an answer before it asks another proxy: longer than a proxy lets anything take.
const PATIENCE: Duration = Duration::from_millis(3500);

/// The beginnings of errors that say "this did not happen", unless they say that the outcome is unknown.
const REFUSALS: [&str; 8] =
    ["RMRNODE", "RMRTIMEOUT", "RMRSLOTS", "RMRBUSY", "ERRCLUSTER", "TRYAGAIN", "READONLY", "RMRSHARD"];

/// The state that all clients of a run have in common.
pub struct Clients {
    /// The ports of the proxies.
    ports: Vec<AtomicU16>,
    /// Has clients ask for reads that are in one order with the writes.
    in_order: AtomicBool,
    began: Instant,
    seen: Mutex<Seen>,
}

/// An answer that came back.
#[derive(Default)]
struct Seen {
    answers: usize,
    /// Errors, with what stands in them for nodes and times left out.
    refusals: BTreeMap<String, usize>,
    unknown: BTreeMap<String, usize>,
    faults: Vec<String>,
}

impl Clients {
    pub fn new(ports: impl Iterator<Item = u16>) -> Self {
        let ports = ports.map(AtomicU16::new).collect();
        Self { ports, in_order: AtomicBool::new(false), began: Instant::now(), seen: Mutex::default() }
    }

    /// From now on, whoever connects asks for reads that are in one order with the writes.
    pub fn read_in_order(&self) {
        self.in_order.store(true, Ordering::Relaxed);
    }

    /// Says where a proxy listens now.
    pub fn moved(&self, proxy: usize, port: u16) {
        self.ports[proxy].store(port, Ordering::Relaxed);
    }

    /// Returns the nanoseconds since the run began, counted from one.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64 + 1
    }

    /// Notes what must not be.
    pub fn fault(&self, what: String) {
        let at = self.began.elapsed();
        self.seen(|seen| seen.faults.push(format!("{at:?}: {what}")));
    }

    /// Returns what was noted so far.
    pub fn faults(&self) -> Vec<String> {
        self.seen(|seen| seen.faults.clone())
    }

    /// Says how many commands were answered how.
    pub fn figures(&self) -> String {
        let listed = |errors: &BTreeMap<String, usize>| {
            errors.iter().map(|(error, count)| format!("\n    {count} x {error}")).collect::<String>()
        };
        self.seen(|seen| {
            let (refusals, unknown) = (listed(&seen.refusals), listed(&seen.unknown));
            format!("{} answers\n  refused:{refusals}\n  outcome unknown:{unknown}", seen.answers)
        })
    }

    /// Returns how many commands were answered.
    pub fn answers(&self) -> usize {
        self.seen(|seen| seen.answers)
    }

    fn seen<R>(&self, with: impl FnOnce(&mut Seen) -> R) -> R {
        with(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Answer(Value),
    /// The command did not happen.
    Refused,
    /// The command may have happened, or may yet happen.
    Unknown,
}

/// A command's outcome, and when.
#[derive(Clone, Debug)]
pub struct Asked {
    pub called: u64,
    /// The time when the answer came; [`NEVER`] if the outcome is unknown.
    pub returned: u64,
    pub outcome: Outcome,
}

impl Asked {
    /// Returns the answer, if there is one.
    pub fn answer(&self) -> Option<&Value> {
        match &self.outcome {
            Outcome::Answer(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the number that was answered, if there is an answer.
    pub fn number(&self) -> Option<u64> {
        number(self.answer()?)
    }
}

/// Reads a number, be it sent as one or as text. Nothing counts as 0.
pub fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Nil => Some(0),
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(text) => str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// One client. It stays at a proxy while that answers.
pub struct Client<'c> {
    pub clients: &'c Clients,
    proxy: usize,
    /// It never goes to another proxy.
    stays: bool,
    wire: Option<Wire>,
}

impl<'c> Client<'c> {
    /// Returns a client that begins at this proxy.
    pub fn new(clients: &'c Clients, proxy: usize) -> Self {
        Self { clients, proxy: proxy % clients.ports.len(), stays: false, wire: None }
    }

    /// A client of this proxy alone, whatever becomes of it.
    pub fn staying(clients: &'c Clients, proxy: usize) -> Self {
        Self { stays: true, ..Self::new(clients, proxy) }
    }

    /// Sends a command once, and says what became of it.
    pub fn ask(&mut self, words: &[&str]) -> Asked {
        let called = self.clients.now();
        let outcome = self.send(words);
        let returned = if outcome == Outcome::Unknown { NEVER } else { self.clients.now() };
        Asked { called, returned, outcome }
    }

    fn send(&mut self, words: &[&str]) -> Outcome {
        let wire = match self.wire.take() {
            Some(wire) => Ok(wire),
            None => self.connected(),
        };
        let replied = match wire {
            Ok(mut wire) => wire.try_call(words).map(|frame| (wire, frame)),
            Err(error) => {
                self.next_proxy();
                return self.refused(format!("connect: {}", error.kind()));
            }
        };
        match replied {
            Ok((wire, frame)) => {
                self.wire = Some(wire);
                self.classed(words, &frame)
            }
            Err(error) => {
                self.next_proxy();
                self.unknown(format!("connection to a proxy: {}", error.kind()))
            }
        }
    }

    fn connected(&self) -> std::io::Result<Wire> {
        let mut wire = Wire::try_connect(self.clients.ports[self.proxy].load(Ordering::Relaxed), PATIENCE)?;
        if self.clients.in_order.load(Ordering::Relaxed) {
            wire.try_call(&["RMR.READS", "ordered"])?;
        }
        Ok(wire)
    }

    fn classed(&mut self, words: &[&str], frame: &[u8]) -> Outcome {
        if frame[0] == b'-' {
            let text = show(frame);
            let text = text.trim_start_matches('-');
            if text.contains("outcome is unknown") || text.contains("outcome unknown") {
                return self.unknown(without_numbers(text));
            }
            if REFUSALS.iter().any(|prefix| text.starts_with(prefix)) {
                return self.refused(without_numbers(text));
            }
            self.clients.fault(format!("{words:?} is answered: {text}"));
            return Outcome::Unknown;
        }
        self.clients.seen(|seen| seen.answers += 1);
        match redis::parse_redis_value(frame) {
            Ok(value) => Outcome::Answer(value),
            Err(error) => {
                self.clients.fault(format!("{words:?} is answered {}: {error}", show(frame)));
                Outcome::Unknown
            }
        }
    }

    fn refused(&self, why: String) -> Outcome {
        self.clients.seen(|seen| *seen.refusals.entry(why).or_default() += 1);
        Outcome::Refused
    }

    fn unknown(&self, why: String) -> Outcome {
        self.clients.seen(|seen| *seen.unknown.entry(why).or_default() += 1);
        Outcome::Unknown
    }

    /// Goes to the next proxy, as B32 has it.
    fn next_proxy(&mut self) {
        if !self.stays {
            self.proxy = (self.proxy + 1) % self.clients.ports.len();
        }
    }
}

/// Returns a text in which each number is the same one, so that errors of one kind are counted together.
fn without_numbers(text: &str) -> String {
    let mut shown = String::new();
    for char in text.chars() {
        if !char.is_ascii_digit() {
            shown.push(char);
        } else if !shown.ends_with('#') {
            shown.push('#');
        }
    }
    shown
}
