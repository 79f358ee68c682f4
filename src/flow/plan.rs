//! [`FlowPlan`]: what a flow does, as it travels to the shards.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::command::{Command, PerKey};
use crate::resp::Protocol;

/// A flow: the keys that it reads, the steps that it takes them through, and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlowPlan {
    pub(crate) reader: FlowReader,
    /// The stages, one at least; the last one's passage is [`Passage::Collect`].
    pub(crate) stages: Vec<Stage>,
    pub(crate) end: FlowEnd,
    /// Goes on when a key's command fails, and counts the failures by kind.
    pub(crate) is_partial: bool,
    /// The replies to commands have the types of RESP3.
    pub(crate) is_resp3: bool,
    /// The code that works on all stages; [`None`] unless they are of code.
    pub(crate) code: Option<CodePlan>,
}

/// Code that keeps state from batch to batch. Each stage of its flow is [`StepPlan::Code`] alone; which one is meant it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodePlan {
    /// The name by which nodes know the code.
    pub(crate) name: String,
    #[serde(with = "serde_bytes")]
    pub(crate) arguments: Vec<u8>,
}

/// The source of the first records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FlowReader {
    /// Every key that passes the filter.
    Keys(KeyFilter),
    /// Keys of these names, whether they exist or not.
    Names(Vec<ByteBuf>),
    /// A record for each shard, whose key is the id of its primary.
    EachShard,
    /// The keys that the code of the first stage asks for, on each shard.
    OfCode,
}

/// Says which keys are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyFilter {
    /// The pattern, as that of `KEYS`.
    #[serde(with = "serde_bytes")]
    pub(crate) pattern: Vec<u8>,
    /// The type as `TYPE` says it, in lower case.
    pub(crate) type_name: Option<String>,
    pub(crate) values: ValuesRead,
}

/// The values that are read along with keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ValuesRead {
    /// No values: the names are enough.
    #[default]
    No,
    /// The reply to the command that reads the whole value, in RESP3. A key of a type that has no such command is an error.
    Replies,
    /// A letter for the [type](super::values::TypeLetter), and behind it, for strings, hashes and lists, that reply.
    Typed,
}

impl KeyFilter {
    /// Lets all keys pass.
    pub(crate) fn any(values: ValuesRead) -> Self {
        Self { pattern: b"*".to_vec(), type_name: None, values }
    }
}

/// Steps that records take on one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stage {
    pub(crate) steps: Vec<StepPlan>,
    pub(crate) then: Passage,
}

/// The way that the records of a stage take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Passage {
    /// They go to the end of the flow, at the node that began it.
    Collect,
    /// They go to the shard that owns the slot of the record's key.
    Repartition,
    /// They go to the node that began the flow, which alone works on the next stage. For stages of code.
    Gather,
    /// Nowhere: the end of a flow of code whose answer is what that node's own share has made.
    Stay,
}

/// The work of a stage on its records.
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
    /// Gives all records to the flow's code. The only step of its stage.
    Code,
}

/// A command for each of many keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyedCommand {
    /// Its name and arguments, without the key.
    pub(crate) words: Vec<ByteBuf>,
    /// The number of words before the key; the name is one of them.
    pub(crate) key_at: u32,
    /// The command changes nothing, so that it may be sent twice.
    pub(crate) is_read_only: bool,
}

/// The end of a flow: the use of the records that are left.
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
    /// before records move; its stages are of code all, or none is.
    pub(crate) fn is_sound(&self) -> bool {
        if self.code.is_some() {
            return self.is_sound_code();
        }
        let is_limit = |step: &&StepPlan| matches!(step, StepPlan::Limit(_));
        let mut passages = self.stages.iter().rev().map(|stage| stage.then);
        passages.next() == Some(Passage::Collect)
            && passages.all(|passage| passage == Passage::Repartition)
            && self.reader != FlowReader::OfCode
            && self.steps().all(|step| match step {
                StepPlan::Command(command) => command.is_sound(),
                StepPlan::Named { .. } | StepPlan::Limit(_) => true,
                StepPlan::Code => false,
            })
            && self.steps().filter(is_limit).count() <= 1
            && !self.stages.iter().skip(1).flat_map(|stage| &stage.steps).any(|step| is_limit(&step))
    }

    fn is_sound_code(&self) -> bool {
        let is_last = |passage| matches!(passage, Passage::Collect | Passage::Stay);
        let mut passages = self.stages.iter().rev().map(|stage| stage.then);
        passages.next().is_some_and(is_last)
            && !passages.any(is_last)
            && self.reader == FlowReader::OfCode
            && self.end == FlowEnd::Records
            && self.stages.iter().all(|stage| stage.steps == [StepPlan::Code])
    }

    /// Tells whether no command of the plan may write.
    pub(crate) fn only_reads(&self) -> bool {
        self.steps().all(|step| match step {
            StepPlan::Command(command) => command.is_read_only,
            StepPlan::Named { .. } | StepPlan::Limit(_) => true,
            // Nobody knows.
            StepPlan::Code => false,
        })
    }

    /// Returns the most records that may pass the flow's limit.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.steps().find_map(|step| match step {
            StepPlan::Limit(most) => Some(*most),
            StepPlan::Command(_) | StepPlan::Named { .. } | StepPlan::Code => None,
        })
    }

    /// Tells whether the reducer is given the keys themselves: nothing has made values for them.
    pub(crate) fn is_of_keys(&self) -> bool {
        let with_values = matches!(&self.reader, FlowReader::Keys(filter) if filter.values != ValuesRead::No);
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
            code: None,
        };
        assert!(plan(&[Passage::Collect]).is_sound());
        assert!(plan(&[Passage::Repartition, Passage::Collect]).is_sound());
        assert!(!plan(&[]).is_sound() && !plan(&[Passage::Repartition]).is_sound());
        assert!(!plan(&[Passage::Collect, Passage::Collect]).is_sound());
        assert!(!plan(&[Passage::Gather, Passage::Collect]).is_sound() && !plan(&[Passage::Stay]).is_sound());
    }

    #[test]
    fn stages_are_of_code_all_or_none_is() {
        let code = Some(CodePlan { name: "code".into(), arguments: Vec::new() });
        let stage = |then| Stage { steps: vec![StepPlan::Code], then };
        let plan = |passages: &[Passage]| FlowPlan {
            reader: FlowReader::OfCode,
            stages: passages.iter().map(|then| stage(*then)).collect(),
            end: FlowEnd::Records,
            is_partial: false,
            is_resp3: true,
            code: code.clone(),
        };
        use Passage::{Collect, Gather, Repartition, Stay};
        assert!(plan(&[Gather, Repartition, Collect]).is_sound() && plan(&[Stay]).is_sound());
        assert!(!plan(&[]).is_sound() && !plan(&[Gather]).is_sound() && !plan(&[Stay, Collect]).is_sound());
        let mut mixed = plan(&[Gather, Collect]);
        mixed.stages[0].steps.push(StepPlan::Limit(1));
        assert!(!mixed.is_sound());
        assert!(!FlowPlan { code: None, ..plan(&[Collect]) }.is_sound());
        assert!(!FlowPlan { reader: FlowReader::EachShard, ..plan(&[Collect]) }.is_sound());
    }
}
