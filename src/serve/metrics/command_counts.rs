//! [`CommandCounts`]: how often a command was sent, and how often it failed in which way.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The outcomes of a command: `ok`, the first word of an error that is known, or `other`. There are no more names than
/// these, whatever scripts and modules say.
pub(in crate::serve) const OUTCOMES: [&str; 25] = [
    "ok",
    "ERR",
    "WRONGTYPE",
    "NOAUTH",
    "NOPERM",
    "WRONGPASS",
    "EXECABORT",
    "CROSSSLOT",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "BUSY",
    "NOSCRIPT",
    "RMRTIMEOUT",
    "RMRNODE",
    "RMRSHARD",
    "RMRSLOTS",
    "RMRTOOBIG",
    "RMRBUSY",
    "other",
];

/// Counts how often a command was sent, and how often it failed in which way. Successes are not counted by themselves:
/// the way of most commands is the shortest.
#[derive(Debug, Default)]
pub(in crate::serve) struct CommandCounts {
    sent: AtomicU64,
    failed: [AtomicU64; OUTCOMES.len()],
}

impl CommandCounts {
    /// Counts commands that were sent.
    pub(in crate::serve) fn sent(&self, commands: usize) {
        self.sent.fetch_add(commands as u64, Relaxed);
    }

    /// Counts an error, by its first word.
    pub(in crate::serve) fn failed(&self, error: &[u8]) {
        let word = error.split(|&byte| byte == b' ').next().unwrap_or_default();
        let outcome = OUTCOMES[1..].iter().position(|known| known.as_bytes() == word);
        self.failed[outcome.map_or(OUTCOMES.len() - 1, |at| at + 1)].fetch_add(1, Relaxed);
    }

    /// Adds up what has become of the command, in the order of [`OUTCOMES`].
    pub(in crate::serve) fn add_to(&self, outcomes: &mut [u64; OUTCOMES.len()]) {
        let failed: [u64; OUTCOMES.len()] = std::array::from_fn(|at| self.failed[at].load(Relaxed));
        let sent = self.sent.load(Relaxed);
        outcomes[0] += sent.saturating_sub(failed.iter().sum());
        outcomes.iter_mut().zip(failed).for_each(|(outcome, failed)| *outcome += failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_words_that_are_known() {
        let counts = CommandCounts::default();
        counts.sent(5);
        for error in [&b"WRONGTYPE Operation against a key"[..], b"ERR no such key", b"MYSCRIPT says no", b"ok"] {
            counts.failed(error);
        }
        let mut outcomes = [0; OUTCOMES.len()];
        counts.add_to(&mut outcomes);
        let of = |name: &str| outcomes[OUTCOMES.iter().position(|outcome| *outcome == name).unwrap()];
        assert_eq!((of("ok"), of("ERR"), of("WRONGTYPE"), of("other")), (1, 1, 1, 2));
    }
}
