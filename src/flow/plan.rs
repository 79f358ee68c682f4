//! [`FlowPlan`]: what a flow does, as it travels to the shards.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::command::{Command, PerKey};
use crate::resp::Protocol;

/// What a flow does: what it reads, what it makes of it, and what is to come of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlowPlan {
    pub(crate) reader: FlowReader,
    /// At least one; the last one's passage is [`Passage::Collect`].
    pub(crate) stages: Vec<Stage>,
    pub(crate) end: FlowEnd,
    /// Goes on when a key's command fails, and counts the failures by kind.
    pub(crate) is_partial: bool,
    /// Whose types the replies to commands have.
    pub(crate) is_resp3: bool,
}

/// Where the first records come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FlowReader {
    /// All keys that pass the filter.
    Keys(KeyFilter),
    /// These keys, whether they exist or not.
    Names(Vec<ByteBuf>),
    /// One record a shard, whose key is the id of its primary.
    EachShard,
}

/// Says which keys are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyFilter {
    /// As that of `KEYS`.
    #[serde(with = "serde_bytes")]
    pub(crate) pattern: Vec<u8>,
    /// As `TYPE` says it, in lower case.
    pub(crate) type_name: Option<String>,
    /// Reads the values too.
    pub(crate) with_values: bool,
}

/// Steps that records take on one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stage {
    pub(crate) steps: Vec<StepPlan>,
    pub(crate) then: Passage,
}

/// Where the records of a stage go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Passage {
    /// To the end of the flow, at the node that began it.
    Collect,
    /// To the shard that owns the slot of the record's key.
    Repartition,
}

/// What a stage does with its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StepPlan {
    /// Runs a command for each record's key; its reply is the new value.
    Command(KeyedCommand),
    /// Gives the records, a batch at a time, to code that nodes know by this name.
    Named {
        name: String,
        #[serde(with = "serde_bytes")]
        arguments: Vec<u8>,
    },
    /// Passes no more records than that, of all shards together.
    Limit(u64),
}

/// A command for each of many keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyedCommand {
    /// Its name and arguments, without the key.
    pub(crate) words: Vec<ByteBuf>,
    /// How many of the words stand before the key; at least the name does.
    pub(crate) key_at: u32,
    /// It changes nothing, so that it may be sent twice.
    pub(crate) is_read_only: bool,
}

/// What comes of the records that are left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FlowEnd {
    /// A reducer that can be split takes them.
    Reduce {
        name: String,
        #[serde(with = "serde_bytes")]
        arguments: Vec<u8>,
    },
    /// They are the answer.
    Records,
}

impl KeyedCommand {
    /// Returns the command for these keys.
    pub(crate) fn for_keys<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) -> PerKey {
        let (before, after) = self.words.split_at((self.key_at as usize).clamp(1, self.words.len().max(1)));
        let name = before.first().map_or(&[][..], |name| name.as_slice());
        let head = before.iter().skip(1).fold(Command::new(name), |head, word| head.arg(word.as_slice()));
        let per_key = PerKey::new(head, keys);
        after.iter().fold(per_key, |per_key, word| per_key.arg(word.as_slice())).read_only(self.is_read_only)
    }

    /// Tells whether the command has a name, and its key a place behind it.
    pub(crate) fn is_sound(&self) -> bool {
        self.key_at >= 1 && self.key_at as usize <= self.words.len()
    }
}

impl FlowPlan {
    /// Returns the protocol whose types the replies to commands have.
    pub(crate) fn protocol(&self) -> Protocol {
        if self.is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 }
    }

    /// Tells whether the plan can be carried out, as one from another node need not be. It has one limit at most, and that
    /// before records move.
    pub(crate) fn is_sound(&self) -> bool {
        let is_limit = |step: &&StepPlan| matches!(step, StepPlan::Limit(_));
        let mut passages = self.stages.iter().rev().map(|stage| stage.then);
        passages.next() == Some(Passage::Collect)
            && passages.all(|passage| passage == Passage::Repartition)
            && self.steps().all(|step| !matches!(step, StepPlan::Command(command) if !command.is_sound()))
            && self.steps().filter(is_limit).count() <= 1
            && !self.stages.iter().skip(1).flat_map(|stage| &stage.steps).any(|step| is_limit(&step))
    }

    /// Tells whether no command of the plan may write.
    pub(crate) fn only_reads(&self) -> bool {
        self.steps().all(|step| match step {
            StepPlan::Command(command) => command.is_read_only,
            StepPlan::Named { .. } | StepPlan::Limit(_) => true,
        })
    }

    /// Returns the most records that may pass the flow's limit.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.steps().find_map(|step| match step {
            StepPlan::Limit(most) => Some(*most),
            StepPlan::Command(_) | StepPlan::Named { .. } => None,
        })
    }

    /// Tells whether the reducer is given the keys themselves: nothing has made values for them.
    pub(crate) fn is_of_keys(&self) -> bool {
        let with_values = matches!(&self.reader, FlowReader::Keys(filter) if filter.with_values);
        !with_values && self.steps().all(|step| matches!(step, StepPlan::Limit(_)))
    }

    /// Returns the steps of all stages. Their numbers are those by which leaves name them.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &StepPlan> {
        self.stages.iter().flat_map(|stage| &stage.steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str], key_at: u32) -> KeyedCommand {
        let words = words.iter().map(|word| ByteBuf::from(word.as_bytes())).collect();
        KeyedCommand { words, key_at, is_read_only: true }
    }

    #[test]
    fn the_key_stands_among_the_words() {
        let shown = |command: KeyedCommand| command.for_keys([&b"k"[..]]).command(0).to_string();
        assert_eq!(shown(command(&["GET"], 1)), "GET k");
        assert_eq!(shown(command(&["HGET", "price"], 1)), "HGET k price");
        assert_eq!(shown(command(&["MEMORY", "USAGE"], 2)), "MEMORY USAGE k");
        assert!(
            !command(&["GET"], 0).is_sound() && !command(&["GET"], 2).is_sound() && command(&["GET"], 1).is_sound()
        );
    }

    #[test]
    fn only_the_last_stage_collects() {
        let stage = |then| Stage { steps: vec![StepPlan::Command(command(&["GET"], 1))], then };
        let plan = |passages: &[Passage]| FlowPlan {
            reader: FlowReader::EachShard,
            stages: passages.iter().map(|then| stage(*then)).collect(),
            end: FlowEnd::Records,
            is_partial: false,
            is_resp3: true,
        };
        assert!(plan(&[Passage::Collect]).is_sound());
        assert!(plan(&[Passage::Repartition, Passage::Collect]).is_sound());
        assert!(!plan(&[]).is_sound() && !plan(&[Passage::Repartition]).is_sound());
        assert!(!plan(&[Passage::Collect, Passage::Collect]).is_sound());
    }
}
