//! [`PythonStage`]: the facts that the stages of a flow know, as they travel between nodes.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::error::Error;
use crate::flow::code::CodeShare;
use crate::flow::messages;
use crate::flow::plan::{CodePlan, FlowEnd, FlowPlan, FlowReader, Passage, Stage, StepPlan};
use crate::python::events::{EventBatch, EventResults};
use crate::python::worker::WorkerSettings;

/// The name by which nodes know that the code of a flow is Python.
pub(crate) const NAME: &str = "python";

/// The facts that all stages of a flow know, on all shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PythonStage {
    /// The session's name between nodes.
    pub(crate) session: String,
    /// The ACL user whose session it is.
    pub(crate) user: String,
    /// The flow's name between workers.
    pub(crate) key: String,
    /// The flow, for workers that have not made it themselves.
    pub(crate) blob: ByteBuf,
    /// The steps are one stage, on this shard.
    pub(crate) is_local: bool,
    /// Records change shards in other flows.
    pub(crate) is_cluster: bool,
    pub(crate) results: StageResults,
    pub(crate) with_traceback: bool,
    pub(crate) is_profiling: bool,
    /// The flow runs this once.
    pub(crate) is_one_off: bool,
    /// The packages that the session requires.
    pub(crate) requirements: Vec<String>,
    /// The version of the interpreter that has made the flow, such as `3.11`.
    pub(crate) python: String,
    /// The events for the flow of a registration.
    pub(crate) given: Option<GivenEvents>,
}

/// Events that a flow runs for, in place of something that is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenEvents {
    /// The node that gets them; [`None`] for all.
    pub(crate) only_at: Option<String>,
    /// The flow has no stage but the one that gets them.
    pub(crate) is_only_stage: bool,
    pub(crate) events: EventBatch,
}

impl GivenEvents {
    /// Returns the events of a share.
    pub(super) fn of(self, share: &CodeShare) -> Option<EventBatch> {
        self.only_at.is_none_or(|node| node == share.node).then_some(self.events)
    }
}

/// The form in which a flow has its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StageResults {
    /// Replies in RESP2, one each.
    Replies,
    /// Replies in RESP2, for a command that a script implements.
    Trigger,
    /// Values that a script gets.
    Records,
}

impl StageResults {
    /// Returns how the same is asked for of events; [`None`] for what events do not have.
    pub(super) fn of_events(self) -> Option<EventResults> {
        match self {
            Self::Replies => Some(EventResults::Replies),
            Self::Trigger => Some(EventResults::Trigger),
            Self::Records => None,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Replies => "replies",
            Self::Trigger => "trigger",
            Self::Records => "records",
        }
    }
}

impl PythonStage {
    /// Makes the plan of a flow whose stages hand on so.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn plan(&self, passages: &[Passage]) -> Result<FlowPlan, Error> {
        let stage = |then: &Passage| Stage { steps: vec![StepPlan::Code], then: *then };
        Ok(FlowPlan {
            reader: FlowReader::OfCode,
            stages: passages.iter().map(stage).collect(),
            end: FlowEnd::Records,
            is_partial: false,
            is_resp3: true,
            code: Some(CodePlan { name: NAME.into(), arguments: messages::encode(self)? }),
        })
    }

    pub(super) fn settings(&self, share: &CodeShare) -> WorkerSettings {
        WorkerSettings {
            shard: if self.is_cluster { share.runs_at.clone() } else { "1".into() },
            is_cluster: self.is_cluster,
            with_traceback: self.with_traceback,
            is_profiling: self.is_profiling,
        }
    }
}

/// Returns how the stages of a flow hand on, by what LOAD says of each: `repartition`, `collect` or `stay`.
pub(crate) fn passages<'a>(then: impl DoubleEndedIterator<Item = &'a str>) -> Option<Vec<Passage>> {
    let mut passages = Vec::new();
    for (from_end, then) in then.rev().enumerate() {
        passages.push(match (then, from_end) {
            ("collect", 0) => Passage::Collect,
            ("stay", 0) => Passage::Stay,
            ("collect", _) => Passage::Gather,
            ("repartition", 1..) => Passage::Repartition,
            _ => return None,
        });
    }
    passages.reverse();
    Some(passages).filter(|passages| !passages.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_collect_is_the_end_and_others_gather() {
        use Passage::{Collect, Gather, Repartition, Stay};
        let of = |then: &[&str]| passages(then.iter().copied());
        assert_eq!(of(&["collect"]), Some(vec![Collect]));
        assert_eq!(of(&["repartition", "collect", "collect"]), Some(vec![Repartition, Gather, Collect]));
        assert_eq!(of(&["collect", "stay"]), Some(vec![Gather, Stay]));
        for bad in [&[][..], &["repartition"], &["stay", "collect"], &["elsewhere"]] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_plan_carries_what_the_stages_know() {
        let stage = PythonStage {
            session: "s".into(),
            user: "default".into(),
            key: "1-1-1".into(),
            blob: ByteBuf::from("blob"),
            is_local: false,
            is_cluster: true,
            results: StageResults::Replies,
            with_traceback: true,
            is_profiling: false,
            is_one_off: true,
            requirements: vec!["redis>=2".into()],
            python: "3.11".into(),
            given: None,
        };
        let plan = stage.plan(&[Passage::Gather, Passage::Collect]).unwrap();
        assert!(plan.is_sound());
        assert_eq!(messages::decode::<PythonStage>(&plan.code.unwrap().arguments).unwrap(), stage);
    }
}
