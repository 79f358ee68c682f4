//! The clients of the proxy: how many there may be, and what others are told of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::metrics::{Cut, CutCounts};
use crate::command::printable;
use crate::resp::Protocol;

/// The facts about a client that others may know, and the ways to act on it.
pub(super) struct ClientEntry {
    pub(super) id: u64,
    /// The addresses that it connects from and to.
    pub(super) address: String,
    pub(super) local_address: String,
    began: Instant,
    /// Milliseconds from the beginning to its last command.
    last_active: AtomicU64,
    killed: AtomicBool,
    kill: Notify,
    /// Bytes that wait to be written to it.
    pub(super) output: AtomicUsize,
    cuts: Arc<CutCounts>,
    about: Mutex<AboutClient>,
}

/// The facts that change as a client talks.
#[derive(Debug, Clone)]
pub(super) struct AboutClient {
    pub(super) name: String,
    pub(super) library: String,
    pub(super) library_version: String,
    pub(super) user: String,
    pub(super) last_command: String,
    pub(super) protocol: Protocol,
    /// The number of commands that are kept for `EXEC`; `None` outside of a transaction.
    pub(super) queued: Option<usize>,
    pub(super) channels: usize,
    pub(super) patterns: usize,
    pub(super) shard_channels: usize,
}

impl AboutClient {
    /// Says what the client has sent last. Most send the same again.
    pub(super) fn show_command(&mut self, name: &[u8]) {
        if !self.last_command.as_bytes().eq_ignore_ascii_case(name) {
            self.last_command = printable(&name.to_ascii_lowercase());
        }
    }
}

impl ClientEntry {
    /// Counts that the client is cut off.
    pub(super) fn is_cut(&self, reason: Cut) {
        self.cuts.count(reason);
    }

    /// Ends the client's connection, as soon as it is not busy.
    pub(super) fn kill(&self, reason: Cut) {
        if !self.killed.swap(true, Relaxed) {
            self.is_cut(reason);
        }
        self.kill.notify_waiters();
        self.kill.notify_one();
    }

    /// Returns whether the connection is to end.
    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }

    /// Waits until the connection is to end.
    pub(super) async fn killed(&self) {
        while !self.is_killed() {
            self.kill.notified().await;
        }
    }

    /// Says that the client has just sent something.
    pub(super) fn is_active(&self) {
        self.last_active.store(self.began.elapsed().as_millis() as u64, Relaxed);
    }

    /// Changes what others are told.
    pub(super) fn about(&self) -> MutexGuard<'_, AboutClient> {
        self.about.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what kind of client this is, as `CLIENT LIST TYPE` and `CLIENT KILL TYPE` name it.
    pub(super) fn kind(&self) -> &'static str {
        let about = self.about();
        if about.channels + about.patterns + about.shard_channels > 0 { "pubsub" } else { "normal" }
    }

    /// Returns the line of `CLIENT LIST`.
    pub(super) fn line(&self) -> String {
        let about = self.about().clone();
        let age = self.began.elapsed();
        let idle = (age.as_millis() as u64).saturating_sub(self.last_active.load(Relaxed)) / 1000;
        let flags = match (about.queued, about.channels + about.patterns + about.shard_channels) {
            (Some(_), 0) => "x",
            (_, 0) => "N",
            _ => "P",
        };
        format!(
            "id={} addr={} laddr={} name={} age={} idle={idle} flags={flags} db=0 sub={} psub={} ssub={} multi={} \
             omem={} cmd={} user={} resp={} lib-name={} lib-ver={}\n",
            self.id,
            self.address,
            self.local_address,
            about.name,
            age.as_secs(),
            about.channels,
            about.patterns,
            about.shard_channels,
            about.queued.map_or(-1, |queued| queued as i64),
            self.output.load(Relaxed),
            about.last_command,
            about.user,
            match about.protocol {
                Protocol::Resp2 => 2,
                Protocol::Resp3 => 3,
            },
            about.library,
            about.library_version,
        )
    }
}

/// The clients that are connected.
#[derive(Default)]
pub(super) struct Clients {
    last_id: AtomicU64,
    by_id: Mutex<BTreeMap<u64, Arc<ClientEntry>>>,
    /// The number of clients that have come since the start.
    pub(super) accepted: AtomicU64,
    /// The number of clients that were sent away, since there were too many.
    pub(super) refused: AtomicU64,
    /// The numbers of clients that were cut off.
    pub(super) cuts: Arc<CutCounts>,
}

impl Clients {
    /// Takes a client in; `None` if there are too many.
    pub(super) fn enter(self: &Arc<Self>, address: String, local_address: String, most: usize) -> Option<Present> {
        let mut clients = self.locked();
        if clients.len() >= most {
            self.refused.fetch_add(1, Relaxed);
            return None;
        }
        self.accepted.fetch_add(1, Relaxed);
        let id = self.last_id.fetch_add(1, Relaxed) + 1;
        let about = AboutClient {
            name: String::new(),
            library: String::new(),
            library_version: String::new(),
            user: "default".into(),
            last_command: "NULL".into(),
            protocol: Protocol::Resp2,
            queued: None,
            channels: 0,
            patterns: 0,
            shard_channels: 0,
        };
        let entry = Arc::new(ClientEntry {
            id,
            address,
            local_address,
            began: Instant::now(),
            last_active: AtomicU64::new(0),
            killed: AtomicBool::new(false),
            kill: Notify::new(),
            output: AtomicUsize::new(0),
            cuts: self.cuts.clone(),
            about: Mutex::new(about),
        });
        clients.insert(id, entry.clone());
        Some(Present { clients: self.clone(), entry })
    }

    /// Returns all clients, by their ids.
    pub(super) fn all(&self) -> Vec<Arc<ClientEntry>> {
        self.locked().values().cloned().collect()
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.locked().len()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<ClientEntry>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that is connected, as long as this is kept.
pub(super) struct Present {
    clients: Arc<Clients>,
    pub(super) entry: Arc<ClientEntry>,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.clients.locked().remove(&self.entry.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_and_go_up_to_a_number() {
        let clients = Arc::new(Clients::default());
        let enter = || clients.enter("127.0.0.1:1".into(), "127.0.0.1:2".into(), 2);
        let first = enter().unwrap();
        let second = enter().unwrap();
        assert!(enter().is_none() && clients.refused.load(Relaxed) == 1);
        drop(first);
        assert_eq!(clients.all().iter().map(|client| client.id).collect::<Vec<_>>(), [second.entry.id]);
        assert!(enter().unwrap().entry.line().starts_with("id=3 addr=127.0.0.1:1 laddr=127.0.0.1:2 name= "));
        assert_eq!(clients.len(), 1);
    }

    #[tokio::test]
    async fn a_client_that_is_killed_hears_of_it_before_and_after_it_waits() {
        let clients = Arc::new(Clients::default());
        let client = clients.enter(String::new(), String::new(), 1).unwrap();
        client.entry.kill(Cut::Killed);
        client.entry.killed().await;
        assert!(client.entry.is_killed());
    }
}
