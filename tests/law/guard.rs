//! Guards, which keep a server from running commands. A guard that holds for a plain command holds for the same command by any
//! road.

use std::fs;
use std::time::Duration;

use super::generate::Argv;
use crate::common::{Loading, Server, Wire, eventually};

/// The longest that a `BGSAVE` may take to fail.
const LIMIT: Duration = Duration::from_secs(20);

/// The file that a `BGSAVE` is to write while it has to fail: a folder has the name.
const BROKEN: &str = "broken.rdb";

/// One of them, or none. It is set on all servers of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    None,
    /// `min-replicas-to-write` without replicas.
    NoReplicas,
    /// The last `BGSAVE` has failed.
    MisConf,
    /// No memory is left.
    Oom,
    /// `CLIENT PAUSE WRITE`: writes wait.
    Paused,
    /// The server is a replica, of nobody who can be reached. Not in a cluster, where such a node sends one elsewhere.
    ReadOnly,
    /// The server reads its data from the disk. Not in a cluster, where all other databases are missing.
    Loading,
}

impl Guard {
    /// Those of a cluster.
    pub const OF_A_CLUSTER: [Self; 5] = [Self::None, Self::NoReplicas, Self::MisConf, Self::Oom, Self::Paused];

    /// Those of a single server.
    pub const OF_ONE: [Self; 7] =
        [Self::None, Self::NoReplicas, Self::MisConf, Self::Oom, Self::Paused, Self::ReadOnly, Self::Loading];

    /// Returns how many commands a sequence has under it: each that waits takes its time.
    pub fn length(self) -> usize {
        if matches!(self, Self::Paused | Self::Loading) { 15 } else { 60 }
    }

    /// Sets it.
    pub fn set(self, server: &Server, wire: &mut Wire) -> Set {
        if self == Self::Loading {
            return Set { guard: self, loading: Some(Loading::begin(server)) };
        }
        if self == Self::MisConf {
            fail_to_save(server, wire);
        }
        self.lines().iter().for_each(|line| run(wire, line));
        Set { guard: self, loading: None }
    }

    /// Returns the commands that set it.
    fn lines(self) -> &'static [&'static str] {
        match self {
            Self::None | Self::Loading => &[],
            Self::NoReplicas => &["CONFIG SET min-replicas-to-write 1"],
            Self::MisConf => &["CONFIG SET stop-writes-on-bgsave-error yes", "CONFIG SET save 3600_1"],
            Self::Oom => &["CONFIG SET maxmemory 1"],
            Self::Paused => &["CLIENT PAUSE 1000000 WRITE"],
            Self::ReadOnly => &["REPLICAOF 127.0.0.1 1"],
        }
    }

    /// Returns the commands that lift it.
    fn opposite(self) -> &'static [&'static str] {
        match self {
            Self::None | Self::Loading => &[],
            Self::NoReplicas => &["CONFIG SET min-replicas-to-write 0"],
            Self::MisConf => &["CONFIG SET save _"],
            Self::Oom => &["CONFIG SET maxmemory 0"],
            Self::Paused => &["CLIENT UNPAUSE"],
            Self::ReadOnly => &["REPLICAOF NO ONE"],
        }
    }
}

/// A guard that is set on one server.
pub struct Set {
    guard: Guard,
    loading: Option<Loading>,
}

impl Set {
    /// Lifts it.
    pub fn lift(self, wire: &mut Wire) {
        self.guard.opposite().iter().for_each(|line| run(wire, line));
        if let Some(loading) = self.loading {
            loading.end(wire);
        }
    }
}

/// Runs one command, typed with blanks between its words; `_` is a blank within one.
fn run(wire: &mut Wire, line: &str) {
    let words: Argv = line.split(' ').map(|word| word.replace('_', " ").trim().as_bytes().to_vec()).collect();
    let reply = wire.ask(&words);
    assert!(!reply.starts_with('-'), "{line}: {reply}");
}

/// Has a `BGSAVE` fail, unless the last one did.
fn fail_to_save(server: &Server, wire: &mut Wire) {
    let mut is_broken = || wire.ask(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err");
    if is_broken() {
        return;
    }
    fs::create_dir_all(server.dir().join(BROKEN).join("not-empty")).expect("a folder");
    let mut other = server.wire();
    run(&mut other, &format!("CONFIG SET dbfilename {BROKEN}"));
    run(&mut other, "BGSAVE");
    eventually(LIMIT, "a BGSAVE into a folder fails", is_broken);
    run(&mut other, "CONFIG SET dbfilename dump.rdb");
}
