//! The cases that are measured: a table, one row a case.

/// From so many keys on, a case is measured in fewer rounds.
pub const MANY_KEYS: usize = 10_000;

/// The work of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The sum of so many keys.
    Sum { keys: usize },
    /// The number of keys of each shard.
    DbSize,
    /// The values of so many keys, by a command that is split.
    ExecMget { keys: usize },
    /// The value of one key, wherever it is.
    ExecGet,
    /// The number of all keys.
    ExecDbSize,
}

impl Work {
    /// Returns the number of keys that a request names.
    pub fn keys(self) -> usize {
        match self {
            Self::Sum { keys } | Self::ExecMget { keys } => keys,
            Self::ExecGet => 1,
            Self::DbSize | Self::ExecDbSize => 0,
        }
    }

    /// Returns the command, as the report shows it.
    pub fn command(self) -> String {
        match self {
            Self::Sum { keys } => format!("RMR.SUM of {keys} keys"),
            Self::DbSize => "RMR.FANOUT DBSIZE".to_owned(),
            Self::ExecMget { keys } => format!("RMR.EXEC MGET of {keys} keys"),
            Self::ExecGet => "RMR.EXEC GET".to_owned(),
            Self::ExecDbSize => "RMR.EXEC DBSIZE".to_owned(),
        }
    }
}

/// A kind of cluster. Each is a cluster of its own, since values that were read in place stay unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct On {
    /// The number of shards that it has.
    pub shards: usize,
    /// Says whether its nodes read strings in place: `rmr.direct-reads`.
    pub direct_reads: bool,
}

impl On {
    /// Returns the cluster, as filters and the report show it.
    pub fn name(self) -> String {
        format!("{} shards{}", self.shards, if self.direct_reads { ", direct reads" } else { "" })
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The cluster that it is asked of.
    pub on: On,
    /// The work of each request.
    pub work: Work,
    /// The number of requests that are under way at any time.
    pub in_flight: usize,
}

impl Case {
    /// Returns the command, as the report shows it.
    pub fn command(&self) -> String {
        self.work.command()
    }

    /// Returns the whole row, as filters see it.
    pub fn name(&self) -> String {
        format!("{}, {} in flight, {}", self.command(), self.in_flight, self.on.name())
    }

    /// Returns the number of rounds of which the case is measured in one: requests that take long leave time for fewer rounds.
    pub fn stride(&self) -> usize {
        if self.work.keys() >= MANY_KEYS { 3 } else { 1 }
    }
}

/// Returns the table. Further numbers of keys, clusters and commands are further rows.
pub fn all() -> Vec<Case> {
    const FEW: On = On { shards: 3, direct_reads: false };
    const FEW_DIRECT: On = On { direct_reads: true, ..FEW };
    const MANY: On = On { shards: 8, direct_reads: false };
    const MANY_DIRECT: On = On { direct_reads: true, ..MANY };
    const TABLE: [(&[On], Work, &[usize]); 8] = [
        (&[FEW, MANY], Work::Sum { keys: 10 }, &[1, 16]),
        (&[FEW, MANY], Work::Sum { keys: 100 }, &[1, 16]),
        (&[FEW, FEW_DIRECT, MANY, MANY_DIRECT], Work::Sum { keys: 1000 }, &[1, 16]),
        (&[FEW, FEW_DIRECT, MANY, MANY_DIRECT], Work::Sum { keys: MANY_KEYS }, &[1, 16]),
        (&[FEW], Work::DbSize, &[1, 16, 50]),
        (&[FEW], Work::ExecMget { keys: 100 }, &[1, 16]),
        (&[FEW], Work::ExecGet, &[1, 16]),
        (&[FEW], Work::ExecDbSize, &[1, 16]),
    ];
    let mut cases = Vec::new();
    for (clusters, work, depths) in TABLE {
        for &on in clusters {
            cases.extend(depths.iter().map(|&in_flight| Case { on, work, in_flight }));
        }
    }
    cases
}
