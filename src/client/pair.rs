//! [`Pair`]: which commands have a plural, as `GET` has `MGET`, and how they become one and its reply theirs.

use std::iter::repeat_n;

use crate::command::Command;
use crate::reply::Reply;

/// Names a command, and the one that does many of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    single: &'static str,
    pub(super) many: &'static str,
    /// The number of words of the single command, its name included.
    args: usize,
    /// The keys of the merged command are one key.
    pub(super) one_key: bool,
    pub(super) is_write: bool,
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
    /// Finds the pair of which a command is the single one.
    pub(super) fn of(command: &Command) -> Option<&'static Self> {
        let name = command.name();
        PAIRS.iter().find(|pair| command.word_count() == pair.args && name.eq_ignore_ascii_case(pair.single.as_bytes()))
    }

    /// Makes the command that does several at once, of the arguments of each as they travel. With `routed_by` it goes where
    /// that key is, else where its own first one is.
    pub(super) fn merged<'a>(&self, each: impl Iterator<Item = &'a [u8]> + Clone, routed_by: Option<&[u8]>) -> Command {
        let mut command = Command::with_room(self.many, each.clone().map(<[u8]>::len).sum());
        for (index, args) in each.enumerate() {
            // A key that all of them have stands there once.
            command.push_args(args, self.args - 1, usize::from(self.one_key && index > 0));
        }
        match routed_by {
            Some(key) => command.route_by(key),
            None => command.route_by_argument(1),
        }
        command.read_only(!self.is_write)
    }

    /// Cuts the reply to a merged command into one reply for each; `None` if it is no such reply.
    pub(super) fn parts(&self, reply: Reply, count: usize) -> Option<impl Iterator<Item = Reply>> {
        let (own, same) = match reply {
            Reply::Array(parts) if !self.is_write && parts.len() == count => (parts, repeat_n(Reply::Null, 0)),
            Reply::Simple(_) if self.is_write => (Vec::new(), repeat_n(reply, count)),
            _ => return None,
        };
        Some(own.into_iter().chain(same))
    }
}
