//! Auto-batching: neighbours for one host become one command.
//!
//! `GET`s become an `MGET`, `SET`s without options an `MSET`, and reads of one key's parts their plural. Commands merge
//! where each of them can still be answered as if it had been sent alone, and only neighbours do, so their order stays.
//!
//! These cannot be merged: a `SET` with options (`MSET` takes none); `DEL`, `EXISTS`, `UNLINK`, `TOUCH`, `SADD`, `HSET` and
//! their like, which answer how many of all, and not which.
//!
//! Two things a merged command does not say. `MGET` answers nil for a key of another type, where `GET` is an error. And a
//! server that refuses a merged command, for one forbidden key perhaps, refuses all of it. Both are mended by asking
//! again ([`deliver`](super::deliver)), which happens after everything else of the batch. So a command is merged only if
//! nothing behind it in the batch could make a difference to it: no later write of a key that it reads, no later command
//! at all on a key that it writes.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::pair::Pair;
use super::routed_command::RoutedCommand;
use crate::command::Command;
use crate::topology::Topology;

/// The most commands that become one, which keeps the server from its other clients for half a millisecond or so. More
/// gain nothing.
const MOST_MERGED: usize = 512;

/// Holds a command with what says how it may merge. That is noted when the command is at hand anyway: those of one host
/// are far from each other, and going back to each would be a cache miss or two.
pub(super) struct MergeInfo<'a> {
    pub(super) routed: &'a RoutedCommand,
    /// Its arguments as they travel, without its name.
    args: &'a [u8],
    /// The pair that the command may be merged by.
    pair: Option<&'static Pair>,
    /// The only key that it touches is known.
    has_key: bool,
    is_read: bool,
    /// The command is routed by a key that is not its own.
    is_apart: bool,
    /// The command goes to a node that is named.
    is_at_node: bool,
}

impl<'a> MergeInfo<'a> {
    pub(super) fn of(routed: &'a RoutedCommand) -> Self {
        Self {
            routed,
            args: routed.command.args_wire(),
            pair: Pair::of(&routed.command).filter(|_| routed.script.is_none()),
            has_key: routed.only_key().is_some(),
            is_read: routed.command.is_read_only(),
            is_apart: routed.command.is_routed_apart(),
            is_at_node: routed.node.is_some(),
        }
    }

    /// Returns the only key that the command touches. To be asked for only where it matters.
    fn key(&self) -> Option<&'a [u8]> {
        self.routed.only_key()
    }
}

/// A stretch of a host's batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MergeRun {
    /// The number of commands, in order.
    pub(super) length: usize,
    /// The pair that they are merged by; `None` for a command as it is.
    pub(super) pair: Option<&'static Pair>,
}

/// The keys that are used behind the place that is looked at.
#[derive(Default)]
struct Later<'a> {
    read: HashSet<&'a [u8], RandomState>,
    written: HashSet<&'a [u8], RandomState>,
    /// Something may read, or write, whatever it wants.
    reads_any: bool,
    writes_any: bool,
    /// Nothing is written at all, so that it does not matter what is read.
    ignores_reads: bool,
}

impl<'a> Later<'a> {
    fn add_all(&mut self, infos: &[MergeInfo<'a>]) {
        self.written.reserve(infos.iter().filter(|info| !info.is_read).count());
        infos.iter().for_each(|info| self.add(info));
    }

    fn add(&mut self, info: &MergeInfo<'a>) {
        let is_read = info.is_read;
        if is_read && self.ignores_reads {
            return;
        }
        match info.key() {
            Some(key) if is_read => self.read.insert(key),
            Some(key) => self.written.insert(key),
            None => {
                self.reads_any = true;
                self.writes_any |= !is_read;
                false
            }
        };
    }

    /// Tells whether this command, which is of this kind, may just as well run last.
    fn allows(&self, pair: &Pair, info: &MergeInfo<'_>) -> bool {
        let has = |keys: &HashSet<&[u8], _>| !keys.is_empty() && info.key().is_none_or(|key| keys.contains(key));
        let is_written = self.writes_any || has(&self.written);
        !is_written && !(pair.is_write && (self.reads_any || has(&self.read)))
    }
}

/// Cuts a batch for one host into runs. With `same_slot`, only what has its keys in one slot of
/// that topology may merge.
pub(super) fn runs(infos: &[MergeInfo<'_>], same_slot: Option<&Topology>) -> Vec<MergeRun> {
    let mut runs: Vec<MergeRun> = Vec::new();
    let mut later = Later { ignores_reads: infos.iter().all(|info| info.is_read), ..Later::default() };
    // The end of the run that is being looked at; what is behind it is in `later`.
    let mut end = infos.len();
    // Backwards, since what is behind a command says whether it may merge.
    for (at, info) in infos.iter().enumerate().rev() {
        let pair = info.pair;
        let fits_run = runs.last().filter(|run| {
            run.length < MOST_MERGED && run.pair.zip(pair).is_some_and(|(own, other)| std::ptr::eq(own, other))
        });
        let joins = match (pair, fits_run) {
            (Some(pair), Some(_)) => are_together(pair, info, &infos[at + 1], same_slot),
            _ => false,
        };
        if !joins {
            later.add_all(&infos[at + 1..end]);
            end = at + 1;
        }
        let may_merge = |pair: &&Pair| info.has_key && later.allows(pair, info);
        match (pair.filter(may_merge), runs.last_mut()) {
            (Some(_), Some(run)) if joins => run.length += 1,
            (pair, _) => {
                if joins {
                    later.add_all(&infos[at + 1..end]);
                    end = at + 1;
                }
                runs.push(MergeRun { length: 1, pair });
            }
        }
    }
    runs.reverse();
    // A run of one gains nothing.
    runs.iter_mut().filter(|run| run.length == 1).for_each(|run| run.pair = None);
    runs
}

/// Makes the command that does all of a run at once.
pub(super) fn merged(pair: &Pair, infos: &[MergeInfo<'_>]) -> Command {
    let apart = infos.first().filter(|info| info.is_apart);
    let routed_by = apart.and_then(|info| info.routed.command.routing_key());
    pair.merged(infos.iter().map(|info| info.args), routed_by)
}

/// Tells whether two neighbours of one kind may stand in one command.
fn are_together(pair: &Pair, one: &MergeInfo<'_>, other: &MergeInfo<'_>, same_slot: Option<&Topology>) -> bool {
    if !(one.has_key && other.has_key) || (one.is_at_node, one.is_apart) != (other.is_at_node, other.is_apart) {
        return false;
    }
    if pair.one_key && one.key() != other.key() {
        return false;
    }
    let Some(topology) = same_slot else { return true };
    let slots = |info: &MergeInfo<'_>| {
        [info.key(), info.routed.command.routing_key()].map(|key| key.map(|key| topology.slot_of(key)))
    };
    slots(one) == slots(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(line: &str) -> RoutedCommand {
        let mut words = line.split(' ');
        let command = Command::new(words.next().unwrap());
        let command = match words.next() {
            Some(key) => command.key(key),
            None => command,
        };
        let command = words.fold(command, Command::arg);
        let is_read = ["GET", "HGET", "ZSCORE", "DBSIZE"].iter().any(|name| line.to_uppercase().starts_with(name));
        let has_one_key = command.routing_key().is_some();
        RoutedCommand { has_one_key, ..RoutedCommand::keyed(command.read_only(is_read)) }
    }

    /// Shows the commands as they leave.
    fn sent_to(lines: &[&str], same_slot: bool) -> Vec<String> {
        let items: Vec<RoutedCommand> = lines.iter().map(|line| routed(line)).collect();
        let infos: Vec<MergeInfo<'_>> = items.iter().map(MergeInfo::of).collect();
        let mut at = 0;
        let shown = |run: MergeRun| {
            let infos = &infos[at..at + run.length];
            at += run.length;
            run.pair.map_or_else(|| infos[0].routed.command.to_string(), |pair| merged(pair, infos).to_string())
        };
        runs(&infos, same_slot.then(|| Topology::with_slots("test", Vec::new())).as_ref())
            .into_iter()
            .map(shown)
            .collect()
    }

    fn sent(lines: &[&str]) -> Vec<String> {
        sent_to(lines, false)
    }

    #[test]
    fn neighbours_merge_and_order_stays() {
        assert_eq!(sent(&["GET a", "get b", "GET c"]), ["MGET a b c"]);
        assert_eq!(sent(&["SET a 1", "SET b 2", "GET c", "GET d", "INCR e"]), ["MSET a 1 b 2", "MGET c d", "INCR e"]);
        assert_eq!(sent(&["GET a", "INCR x", "GET b"]), ["GET a", "INCR x", "GET b"]);
        assert_eq!(sent(&["SET k 1", "SET k 2"]), ["MSET k 1 k 2"]);
        assert_eq!(sent(&[]), [""; 0]);
    }

    #[test]
    fn options_and_odd_arguments_keep_a_command_apart() {
        assert_eq!(sent(&["SET a 1 EX 10", "SET b 2"]), ["SET a 1 EX 10", "SET b 2"]);
        assert_eq!(sent(&["SET a 1", "SET b", "SET c 3"]), ["SET a 1", "SET b", "SET c 3"]);
        assert_eq!(sent(&["GET a x", "GET"]), ["GET a x", "GET"]);
        assert_eq!(sent(&["DEL a", "DEL b"]), ["DEL a", "DEL b"]);
    }

    #[test]
    fn parts_of_one_key_merge() {
        let hash = ["HGET h a", "HGET h b", "HGET i a", "ZSCORE z a", "ZSCORE z b"];
        assert_eq!(sent(&hash), ["HMGET h a b", "HGET i a", "ZMSCORE z a b"]);
    }

    #[test]
    fn what_could_tell_the_difference_keeps_a_command_apart() {
        assert_eq!(sent(&["GET a", "GET b", "GET c", "SET b 1"]), ["GET a", "GET b", "GET c", "SET b 1"]);
        assert_eq!(sent(&["GET a", "GET b", "GET c", "SET a 1"]), ["GET a", "MGET b c", "SET a 1"]);
        assert_eq!(sent(&["SET a 1", "SET b 2", "GET b"]), ["SET a 1", "SET b 2", "GET b"]);
        assert_eq!(sent(&["SET a 1", "SET b 2", "GET c"]), ["MSET a 1 b 2", "GET c"]);
        assert_eq!(sent(&["GET a", "GET b", "FLUSHALL"]), ["GET a", "GET b", "FLUSHALL"]);
        assert_eq!(sent(&["GET a", "GET b", "DBSIZE"]), ["MGET a b", "DBSIZE"]);
        assert_eq!(sent(&["SET a 1", "SET b 2", "DBSIZE"]), ["SET a 1", "SET b 2", "DBSIZE"]);
    }

    #[test]
    fn where_slots_matter_only_keys_of_one_slot_merge() {
        assert_eq!(sent_to(&["GET a", "GET b"], true), ["GET a", "GET b"]);
        assert_eq!(sent_to(&["GET {t}a", "GET {t}b", "GET c"], true), ["MGET {t}a {t}b", "GET c"]);
    }

    #[test]
    fn long_runs_are_parted() {
        let lines: Vec<String> = (0..1200).map(|number| format!("GET k{number}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let items: Vec<RoutedCommand> = lines.iter().map(|line| routed(line)).collect();
        let infos: Vec<MergeInfo<'_>> = items.iter().map(MergeInfo::of).collect();
        let lengths: Vec<usize> = runs(&infos, None).iter().map(|run| run.length).collect();
        assert_eq!(lengths, [1200 - 2 * MOST_MERGED, MOST_MERGED, MOST_MERGED]);
    }
}
