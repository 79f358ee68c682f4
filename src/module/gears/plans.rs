//! Flows as a worker describes them, read from the head of its answer; what nothing is taken for granted of, since code of
//! users runs in workers.

use serde_bytes::ByteBuf;

use super::executions::ExecutionParts;
use super::flows::RunnableFlow;
use super::registry::registration::RegisteredFlow;
use super::shown::ShownStep;
use crate::flow::plan::Passage;
use crate::python::marshal::Value;
use crate::python::stage;

/// A flow that a script has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DescribedFlow {
    /// The key by which workers know it, on all shards.
    pub(super) key: String,
    /// The flow runs on the one shard where it was begun.
    pub(super) is_local: bool,
    passages: Vec<Passage>,
    steps: Vec<ShownStep>,
    /// The bytes of which the workers of other shards make it; empty without a cluster.
    pub(super) blob: bytes::Bytes,
}

impl DescribedFlow {
    /// Reads a flow; [`None`] for what is none.
    pub(super) fn read(flow: &Value) -> Option<Self> {
        let text = |key: &str| flow.get(key)?.as_text().map(str::to_owned);
        let thens = flow.get("stages")?.items()?.iter().map(|stage| stage.get("then")?.as_text());
        let thens: Vec<&str> = thens.collect::<Option<_>>()?;
        let step = |step: &Value| {
            let [kind, name, argument] = step.items()? else { return None };
            let text = |value: &Value| value.as_text().map(str::to_owned);
            Some(ShownStep { kind: text(kind)?, name: text(name)?, argument: text(argument)? })
        };
        Some(Self {
            key: text("key")?,
            is_local: text("mode")? == "async_local",
            passages: stage::passages(thens.into_iter())?,
            steps: flow.get("steps")?.items()?.iter().map(step).collect::<Option<_>>()?,
            blob: match flow.get("blob")? {
                Value::Bytes(blob) => blob.clone(),
                _ => return None,
            },
        })
    }

    /// Returns what has to be known to run it, once.
    pub(super) fn runnable(&self) -> RunnableFlow<'_> {
        let Self { key, is_local, passages, blob, .. } = self;
        RunnableFlow { key, blob, passages, is_local: *is_local, stays: false, given: None }
    }

    /// Returns what of it is kept for a registration.
    pub(super) fn into_registered(self) -> RegisteredFlow {
        let Self { key, blob, passages, steps, .. } = self;
        RegisteredFlow { key, blob: ByteBuf::from(blob.to_vec()), passages, steps }
    }

    /// Returns what an execution of it consists of.
    pub(super) fn parts(&self, shards: Vec<String>) -> ExecutionParts {
        ExecutionParts { shards, steps: self.steps.clone() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::module::gears) fn flow(thens: &[&str]) -> Value {
        let stage = |then: &&str| Value::dict([("steps", Value::List(vec![])), ("then", Value::text(*then))]);
        let step = |name: &str| Value::Tuple(vec![name.into(), "f".into(), "".into()]);
        Value::dict([
            ("key", "k-1".into()),
            ("mode", "async".into()),
            ("stages", Value::List(thens.iter().map(stage).collect())),
            ("steps", Value::List(vec![step("map"), step("collect")])),
            ("blob", Value::Bytes("blob".into())),
        ])
    }

    #[test]
    fn stages_hand_on_as_the_worker_says() {
        use Passage::{Collect, Gather, Repartition, Stay};
        let passages = |thens: &[&str]| DescribedFlow::read(&flow(thens)).unwrap().passages;
        assert_eq!(passages(&["collect"]), [Collect]);
        assert_eq!(passages(&["collect", "repartition", "collect"]), [Gather, Repartition, Collect]);
        assert_eq!(passages(&["repartition", "stay"]), [Repartition, Stay]);
    }
}
