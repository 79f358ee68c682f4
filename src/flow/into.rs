//! Results that go to a key instead of to the client: all of them at once when the flow has ended, or none.
//!
//! They are built in a key of the same shard under a name of their own, `rmr:into:...`, a batch at a time. It has a time to
//! live, which each batch renews, so that nothing is left of a node that dies meanwhile; and each batch says how many results
//! must be there before it, so that none is lost or comes twice when a shard fails over. In the end one step puts the key in
//! the place of the target.

use std::sync::Arc;
use std::time::Duration;

use super::execution::Execution;
use super::records::Records;
use super::reply_text::{pair_text, reply_text};
use crate::command::Command;
use crate::engine::{Options, Request, RequestBuilder, slot_keys};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{Node, key_slot};

/// The number of results in one batch, and about how many bytes they may have.
const MOST_IN_BATCH: usize = 1000;
const MOST_BATCH_BYTES: usize = 256 * 1024;

/// The time that a key under construction lives after its last batch, on top of the time that a request may take.
const LIVES: Duration = Duration::from_secs(60);

/// The key that results go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResultKey {
    pub(crate) kind: ResultKind,
    pub(crate) key: Vec<u8>,
}

/// The type of a key that results go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultKind {
    /// An entry each, with the fields `key` and `reply`.
    Stream,
    /// An element each: the reply.
    List,
    /// A field each: key to reply.
    Hash,
}

impl ResultKind {
    /// Returns the command that adds to a key of this type.
    fn adds(self) -> &'static str {
        match self {
            Self::Stream => "XADD",
            Self::List => "RPUSH",
            Self::Hash => "HSET",
        }
    }

    /// Returns the command that says how many there are.
    fn counts(self) -> &'static str {
        match self {
            Self::Stream => "XLEN",
            Self::List => "LLEN",
            Self::Hash => "HLEN",
        }
    }

    /// Returns the script that adds a batch: with the key's time to live, how many results must be there, how to count them,
    /// and keys and texts in turn.
    fn script(self) -> &'static str {
        match self {
            Self::Stream => {
                "if redis.call(ARGV[3], KEYS[1]) ~= tonumber(ARGV[2]) then return -1 end \
                 for i = 4, #ARGV, 2 do redis.call('XADD', KEYS[1], '*', 'key', ARGV[i], 'reply', ARGV[i + 1]) end \
                 redis.call('PEXPIRE', KEYS[1], ARGV[1]) return redis.call(ARGV[3], KEYS[1])"
            }
            Self::List => {
                "if redis.call(ARGV[3], KEYS[1]) ~= tonumber(ARGV[2]) then return -1 end \
                 for i = 4, #ARGV, 2 do redis.call('RPUSH', KEYS[1], ARGV[i + 1]) end \
                 redis.call('PEXPIRE', KEYS[1], ARGV[1]) return redis.call(ARGV[3], KEYS[1])"
            }
            Self::Hash => {
                "if redis.call(ARGV[3], KEYS[1]) ~= tonumber(ARGV[2]) then return -1 end \
                 for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end \
                 redis.call('PEXPIRE', KEYS[1], ARGV[1]) return redis.call(ARGV[3], KEYS[1])"
            }
        }
    }
}

/// Puts the key that is complete in the place of the target.
const MAKE_IT_THE_KEY: &str = "if redis.call(ARGV[2], KEYS[1]) ~= tonumber(ARGV[1]) then return -1 end \
                               redis.call('PERSIST', KEYS[1]) redis.call('RENAME', KEYS[1], KEYS[2]) return 1";

/// Results, each with its key and its text. Without a key of its own a result has an empty one.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ResultTexts(Records);

impl ResultTexts {
    /// Takes the records of a flow: replies if a command was run for each key, else the keys themselves.
    ///
    /// # Errors
    /// If a reply cannot be read.
    pub(crate) fn of_records(records: &Records, has_command: bool) -> Result<Self, Error> {
        let mut texts = Records::new();
        if has_command {
            for (key, reply) in records.replies() {
                texts.push(key, &reply_text(&reply?));
            }
        } else {
            records.keys().for_each(|key| texts.push(key, key));
        }
        Ok(Self(texts))
    }

    /// Takes what a reducer has made of the records: each pair of a map, each element of a list, or the one value. A null is
    /// no result.
    pub(crate) fn of_reduced(reduced: &Reply, kind: ResultKind) -> Self {
        let mut texts = Records::new();
        let pair = |texts: &mut Records, key: &Reply, value: &Reply| match kind {
            // The elements of a list stand alone, so that each has to say what it is about.
            ResultKind::List => texts.push(b"", &pair_text(key, value)),
            ResultKind::Hash | ResultKind::Stream => texts.push(&reply_text(key), &reply_text(value)),
        };
        match reduced {
            Reply::Map(pairs) => pairs.iter().for_each(|(key, value)| pair(&mut texts, key, value)),
            Reply::Array(elements) | Reply::Set(elements) => elements.iter().for_each(|element| match element {
                Reply::Array(two) if two.len() == 2 => pair(&mut texts, &two[0], &two[1]),
                element => texts.push(b"", &reply_text(element)),
            }),
            Reply::Null | Reply::NullArray => {}
            single => texts.push(b"", &reply_text(single)),
        }
        Self(texts)
    }
}

/// Writes results to their key.
pub(crate) struct ResultWriter {
    requests: RequestBuilder,
    target: ResultKey,
    /// The server that has the key; [`None`] in a cluster, where the key is wherever its slot is.
    node: Option<Arc<Node>>,
    is_cluster: bool,
}

impl ResultWriter {
    /// Makes the writer, if the caller may replace the key and it is somebody's.
    ///
    /// # Errors
    /// The error says why the results cannot go there.
    pub(crate) async fn new(requests: RequestBuilder, target: ResultKey) -> Result<Self, Error> {
        let request = requests.clone().begin();
        let topology = request.pinned_topology().await?;
        let arguments: &[&str] = match target.kind {
            ResultKind::Stream => &["*", "key", "", "reply", ""],
            ResultKind::List => &[""],
            ResultKind::Hash => &["", ""],
        };
        let adds = arguments.iter().fold(Command::new(target.kind.adds()).key(&target.key), Command::arg);
        let deletes = Command::new("DEL").key(&target.key);
        let owner = request.owner(&topology, &deletes)?.clone();
        request.check(adds).await?;
        request.check(deletes).await?;
        let is_cluster = topology.requires_same_slot();
        Ok(Self { requests, target, node: (!is_cluster).then_some(owner), is_cluster })
    }

    /// Writes the results, and returns how many there are.
    ///
    /// # Errors
    /// The error says why nothing was written; only if it is said that the outcome is unknown may the key have been
    /// replaced.
    pub(crate) async fn write(&self, results: ResultTexts, execution: &Execution) -> Result<u64, Error> {
        let ResultTexts(mut results) = results;
        if results.is_empty() {
            self.send(Command::new("DEL").key(&self.target.key)).await?;
            return Ok(0);
        }
        let under_construction = self.name(execution.id());
        let built = self.build(&under_construction, &mut results, execution).await;
        if built.is_err() {
            // A key that is not reached now is gone when its time is up.
            let _ = self.send(Command::new("UNLINK").key(&under_construction)).await;
        }
        built
    }

    async fn build(&self, name: &[u8], results: &mut Records, execution: &Execution) -> Result<u64, Error> {
        let kind = self.target.kind;
        let lives = (LIVES + self.requests.clone().begin().time_left()).as_millis() as u64;
        let mut count = 0;
        while !results.is_empty() {
            if execution.is_cancelled() {
                return Err(Error::Cancelled { outcome_unknown: false });
            }
            let batch = results.take_first(batch_len(results));
            let command = Command::new("EVAL").arg(kind.script()).arg(1).key(name).arg(lives).arg(count);
            let command =
                batch.iter().fold(command.arg(kind.counts()), |command, (key, text)| command.arg(key).arg(text));
            count = self.counted(command).await?;
        }
        let command = Command::new("EVAL").arg(MAKE_IT_THE_KEY).arg(2).key(name).arg(&self.target.key);
        self.counted(command.arg(count).arg(kind.counts())).await?;
        Ok(count)
    }

    /// Sends a script that answers a count, which is negative if results are missing.
    async fn counted(&self, command: Command) -> Result<u64, Error> {
        let lost = || {
            Error::Refused("results were lost while they were written, as when a shard fails over; try again".into())
        };
        u64::try_from(self.send(command).await?.integer().unwrap_or(-1)).map_err(|_| lost())
    }

    async fn send(&self, command: Command) -> Result<Reply, Error> {
        // On rmr's own account: that the caller may replace the key was found out before.
        let request: Request = self.requests.clone().begin().without_gate();
        let replies = request.addressed(vec![(command, self.node.clone())], None, &Options::new()).await?;
        replies.into_all()?.pop().ok_or_else(|| Error::Internal("a result was sent, and nothing came back".into()))
    }

    /// Returns the name of the key under construction, which is in the target's slot.
    fn name(&self, execution: &str) -> Vec<u8> {
        let mut name = slot_keys::UNDER_CONSTRUCTION.to_vec();
        if self.is_cluster {
            let [first, second] = slot_keys::tag(usize::from(key_slot(&self.target.key)));
            name.extend_from_slice(&[b'{', first, second, b'}', b':']);
        }
        name.extend_from_slice(execution.as_bytes());
        name
    }
}

/// Returns how many of the first results make a batch.
fn batch_len(results: &Records) -> usize {
    let mut bytes = 0;
    let fitting = results.iter().take(MOST_IN_BATCH).take_while(|(key, text)| {
        let fits = bytes < MOST_BATCH_BYTES;
        bytes += key.len() + text.len();
        fits
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(texts: &ResultTexts) -> Vec<String> {
        let line = |(key, text): (&[u8], &[u8])| format!("{}={}", key.escape_ascii(), text.escape_ascii());
        texts.0.iter().map(line).collect()
    }

    #[test]
    fn results_are_the_parts_of_what_a_reducer_makes() {
        let of = |reply: Reply, kind| shown(&ResultTexts::of_reduced(&reply, kind));
        let map = || Reply::Map(vec![("de".into(), 3.into()), ("at".into(), Reply::Array(vec![1.into()]))]);
        assert_eq!(of(map(), ResultKind::Hash), ["de=3", "at=[1]"]);
        assert_eq!(of(map(), ResultKind::Stream), ["de=3", "at=[1]"]);
        assert_eq!(of(map(), ResultKind::List), ["=[\\\"de\\\",3]", "=[\\\"at\\\",[1]]"]);
        let ranking = Reply::Array(vec![Reply::Array(vec!["k".into(), 5.into()])]);
        assert_eq!(of(ranking, ResultKind::Hash), ["k=5"]);
        assert_eq!(of(Reply::Set(vec!["a".into(), "b".into()]), ResultKind::List), ["=a", "=b"]);
        assert_eq!(of(7.into(), ResultKind::Stream), ["=7"]);
        assert!(of(Reply::Null, ResultKind::List).is_empty());
    }

    #[test]
    fn results_of_a_list_are_the_replies_or_the_keys() {
        let mut records = Records::new();
        records.push_reply(b"k", &Reply::Array(vec!["v".into()]));
        assert_eq!(shown(&ResultTexts::of_records(&records, true).unwrap()), ["k=[\\\"v\\\"]"]);
        assert_eq!(shown(&ResultTexts::of_records(&records, false).unwrap()), ["k=k"]);
    }

    #[test]
    fn a_batch_is_bounded_by_number_and_bytes_and_never_empty() {
        let mut records = Records::new();
        (0..1500).for_each(|_| records.push(b"key", b"value"));
        assert_eq!(batch_len(&records), 1000);
        let mut large = Records::new();
        (0..3).for_each(|_| large.push(b"", &vec![0; 200 * 1024]));
        assert_eq!(batch_len(&large), 2);
    }
}
