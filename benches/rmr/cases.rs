//! What is measured: a table, one row a case.

/// What one request asks for.
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
    /// How many keys a request names.
    pub fn keys(self) -> usize {
        match self {
            Self::Sum { keys } | Self::ExecMget { keys } => keys,
            Self::ExecGet => 1,
            Self::DbSize | Self::ExecDbSize => 0,
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// How many shards the cluster has.
    pub shards: usize,
    /// What is asked for.
    pub work: Work,
    /// How many requests are under way at any time.
    pub in_flight: usize,
}

impl Case {
    /// The command, as the report shows it.
    pub fn command(&self) -> String {
        match self.work {
            Work::Sum { keys } => format!("RMR.SUM of {keys} keys"),
            Work::DbSize => "RMR.FANOUT DBSIZE".to_owned(),
            Work::ExecMget { keys } => format!("RMR.EXEC MGET of {keys} keys"),
            Work::ExecGet => "RMR.EXEC GET".to_owned(),
            Work::ExecDbSize => "RMR.EXEC DBSIZE".to_owned(),
        }
    }

    /// The whole row, as filters see it.
    pub fn name(&self) -> String {
        format!("{}, {} in flight, {} shards", self.command(), self.in_flight, self.shards)
    }
}

/// The table. A sum of very many keys, other numbers of shards and other commands are further rows.
pub fn all() -> Vec<Case> {
    const TABLE: [(usize, Work, &[usize]); 7] = [
        (3, Work::Sum { keys: 10 }, &[1, 16]),
        (3, Work::Sum { keys: 100 }, &[1, 16]),
        (3, Work::Sum { keys: 1000 }, &[1, 16]),
        (3, Work::DbSize, &[1, 16, 50]),
        (3, Work::ExecMget { keys: 100 }, &[1, 16]),
        (3, Work::ExecGet, &[1, 16]),
        (3, Work::ExecDbSize, &[1, 16]),
    ];
    let rows = TABLE.into_iter();
    rows.flat_map(|(shards, work, depths)| depths.iter().map(move |&in_flight| Case { shards, work, in_flight }))
        .collect()
}
