//! Auto-batching: neighbours for one host become one command.
//!
//! `GET`s become an `MGET`, `SET`s without options an `MSET`, and reads of one key's parts their plural. Commands merge
//! where each of them can still be answered as if it had been sent alone, and only neighbours do, so their order stays.
//!
//! What cannot be merged: a `SET` with options (`MSET` takes none); `DEL`, `EXISTS`, `UNLINK`, `TOUCH`, `SADD`, `HSET` and
//! their like, which answer how many of all, and not which.
//!
//! Two things a merged command does not say. `MGET` answers nil for a key of another type, where `GET` is an error. And a
//! server that refuses a merged command, for one forbidden key perhaps, refuses all of it. Both are mended by asking
//! again ([`deliver`](super::deliver)), which happens after everything else of the batch. So a command is merged only if
//! nothing behind it in the batch could make a difference to it: no later write of a key that it reads, no later command
//! at all on a key that it writes.

use std::collections::HashSet;
use std::iter::repeat_n;

use foldhash::fast::RandomState;

use super::deliver::Item;
use crate::command::Command;
use crate::reply::Reply;
use crate::shard::key_slot;

/// At most so many commands become one, which keeps the server from its other clients for half a millisecond or so. More
/// gain nothing.
const MOST_MERGED: usize = 512;

/// A command, and the one that does many of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    single: &'static str,
    pub(super) many: &'static str,
    /// How many arguments the single one has, its name included.
    args: usize,
    /// All of them are of one key.
    one_key: bool,
    is_write: bool,
    /// Nil in the reply may mean a key of another type.
    pub(super) hides_type: bool,
}

static PAIRS: [Pair; 5] = [
    Pair { single: "GET", many: "MGET", args: 2, one_key: false, is_write: false, hides_type: true },
    Pair { single: "SET", many: "MSET", args: 3, one_key: false, is_write: true, hides_type: false },
    Pair { single: "HGET", many: "HMGET", args: 3, one_key: true, is_write: false, hides_type: false },
    Pair { single: "ZSCORE", many: "ZMSCORE", args: 3, one_key: true, is_write: false, hides_type: false },
    Pair { single: "SISMEMBER", many: "SMISMEMBER", args: 3, one_key: true, is_write: false, hides_type: false },
];

impl Pair {
    pub(super) fn of(command: &Command) -> Option<&'static Self> {
        let name = command.name();
        PAIRS.iter().find(|pair| command.word_count() == pair.args && name.eq_ignore_ascii_case(pair.single.as_bytes()))
    }

    /// The command that does these at once.
    pub(super) fn merged(&self, notes: &[Note<'_>]) -> Command {
        let room = notes.iter().map(|note| note.args.len()).sum();
        let mut command = Command::with_room(self.many, room);
        for (index, note) in notes.iter().enumerate() {
            // A key that all of them have stands there once.
            command.push_args(note.args, self.args - 1, usize::from(self.one_key && index > 0));
        }
        let apart = notes.first().filter(|note| note.is_apart);
        match apart.and_then(|note| note.item.command.routing_key()) {
            Some(key) => command.route_by(key),
            None => command.route_by_argument(1),
        }
        command.read_only(!self.is_write)
    }

    /// Each one's part of the reply to all; `None` if that is no such reply.
    pub(super) fn parts(&self, reply: Reply, count: usize) -> Option<impl Iterator<Item = Reply>> {
        let (own, same) = match reply {
            Reply::Array(parts) if !self.is_write && parts.len() == count => (parts, repeat_n(Reply::Null, 0)),
            Reply::Simple(_) if self.is_write => (Vec::new(), repeat_n(reply, count)),
            _ => return None,
        };
        Some(own.into_iter().chain(same))
    }
}

/// An item, and what says how it may merge. That is noted when the item is at hand anyway: those of one host are far from
/// each other, and going back to each would be a cache miss or two.
pub(super) struct Note<'a> {
    pub(super) item: &'a Item,
    /// Its arguments as they travel, without its name.
    args: &'a [u8],
    /// As what it may merge.
    pair: Option<&'static Pair>,
    /// The only key that it touches is known.
    has_key: bool,
    is_read: bool,
    /// It is routed by a key that is not its own.
    is_apart: bool,
    /// It goes to a node that is named.
    is_at_node: bool,
}

impl<'a> Note<'a> {
    pub(super) fn of(item: &'a Item) -> Self {
        Self {
            item,
            args: item.command.args_wire(),
            pair: Pair::of(&item.command).filter(|_| item.script.is_none()),
            has_key: item.only_key().is_some(),
            is_read: item.command.is_read_only(),
            is_apart: item.command.is_routed_apart(),
            is_at_node: item.node.is_some(),
        }
    }

    /// The only key that it touches. To be asked for only where it matters.
    fn key(&self) -> Option<&'a [u8]> {
        self.item.only_key()
    }
}

/// A part of a host's batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// How many commands, in order.
    pub(super) length: usize,
    /// What they become; `None` for a command as it is.
    pub(super) pair: Option<&'static Pair>,
}

/// What is used behind the place that is looked at.
#[derive(Default)]
struct Later<'a> {
    read: HashSet<&'a [u8], RandomState>,
    written: HashSet<&'a [u8], RandomState>,
    /// Something may read, or write, whatever it wants.
    reads_any: bool,
    writes_any: bool,
    /// Nothing is written at all, so that it is all the same what is read.
    ignores_reads: bool,
}

impl<'a> Later<'a> {
    fn add_all(&mut self, notes: &[Note<'a>]) {
        self.written.reserve(notes.iter().filter(|note| !note.is_read).count());
        notes.iter().for_each(|note| self.add(note));
    }

    fn add(&mut self, note: &Note<'a>) {
        let is_read = note.is_read;
        if is_read && self.ignores_reads {
            return;
        }
        match note.key() {
            Some(key) if is_read => self.read.insert(key),
            Some(key) => self.written.insert(key),
            None => {
                self.reads_any = true;
                self.writes_any |= !is_read;
                false
            }
        };
    }

    /// Whether this one, which is of this kind, may just as well run last.
    fn allows(&self, pair: &Pair, note: &Note<'_>) -> bool {
        let has = |keys: &HashSet<&[u8], _>| !keys.is_empty() && note.key().is_none_or(|key| keys.contains(key));
        let is_written = self.writes_any || has(&self.written);
        !is_written && !(pair.is_write && (self.reads_any || has(&self.read)))
    }
}

/// Parts a batch for one host. With `parts_slots`, only what has its keys in one slot may merge.
pub(super) fn runs(notes: &[Note<'_>], parts_slots: bool) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut later = Later { ignores_reads: notes.iter().all(|note| note.is_read), ..Later::default() };
    // The end of the run that is being looked at; what is behind it is in `later`.
    let mut end = notes.len();
    // Backwards, since what is behind a command says whether it may merge.
    for (at, note) in notes.iter().enumerate().rev() {
        let pair = note.pair;
        let fits_run = runs.last().filter(|run| {
            run.length < MOST_MERGED && run.pair.zip(pair).is_some_and(|(own, other)| std::ptr::eq(own, other))
        });
        let joins = match (pair, fits_run) {
            (Some(pair), Some(_)) => are_together(pair, note, &notes[at + 1], parts_slots),
            _ => false,
        };
        if !joins {
            later.add_all(&notes[at + 1..end]);
            end = at + 1;
        }
        let may_merge = |pair: &&Pair| note.has_key && later.allows(pair, note);
        match (pair.filter(may_merge), runs.last_mut()) {
            (Some(_), Some(run)) if joins => run.length += 1,
            (pair, _) => {
                if joins {
                    later.add_all(&notes[at + 1..end]);
                    end = at + 1;
                }
                runs.push(Run { length: 1, pair });
            }
        }
    }
    runs.reverse();
    // A run of one gains nothing.
    runs.iter_mut().filter(|run| run.length == 1).for_each(|run| run.pair = None);
    runs
}

/// Whether two neighbours of one kind may stand in one command.
fn are_together(pair: &Pair, one: &Note<'_>, other: &Note<'_>, parts_slots: bool) -> bool {
    if !(one.has_key && other.has_key) || (one.is_at_node, one.is_apart) != (other.is_at_node, other.is_apart) {
        return false;
    }
    if pair.one_key && one.key() != other.key() {
        return false;
    }
    let slots = |note: &Note<'_>| [note.key(), note.item.command.routing_key()].map(|key| key.map(key_slot));
    !parts_slots || slots(one) == slots(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(line: &str) -> Item {
        let mut words = line.split(' ');
        let command = Command::new(words.next().unwrap());
        let command = match words.next() {
            Some(key) => command.key(key),
            None => command,
        };
        let command = words.fold(command, Command::arg);
        let is_read = ["GET", "HGET", "ZSCORE", "DBSIZE"].iter().any(|name| line.to_uppercase().starts_with(name));
        let has_one_key = command.routing_key().is_some();
        Item { has_one_key, ..Item::keyed(command.read_only(is_read)) }
    }

    /// The commands as they leave.
    fn sent_to(lines: &[&str], parts_slots: bool) -> Vec<String> {
        let items: Vec<Item> = lines.iter().map(|line| item(line)).collect();
        let notes: Vec<Note<'_>> = items.iter().map(Note::of).collect();
        let mut at = 0;
        let shown = |run: Run| {
            let notes = &notes[at..at + run.length];
            at += run.length;
            run.pair.map_or_else(|| notes[0].item.command.to_string(), |pair| pair.merged(notes).to_string())
        };
        runs(&notes, parts_slots).into_iter().map(shown).collect()
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
        let items: Vec<Item> = lines.iter().map(|line| item(line)).collect();
        let notes: Vec<Note<'_>> = items.iter().map(Note::of).collect();
        let lengths: Vec<usize> = runs(&notes, false).iter().map(|run| run.length).collect();
        assert_eq!(lengths, [1200 - 2 * MOST_MERGED, MOST_MERGED, MOST_MERGED]);
    }
}
