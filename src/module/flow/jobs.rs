//! Executions as `RMR.JOB` sees them: those of this node, and, by an inner command, those of all others.
//!
//! The id of an execution names its node, which alone knows it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::engine::{Request, RequestBuilder};
use crate::error::Error;
use crate::flow::execution::ExecutionStatus;
use crate::flow::executions::Forgotten;
use crate::flow::messages;
use crate::module::inquiry::{AskingUser, ask_node, block, read_question};
use crate::module::request::running::Work;
use crate::module::server::context::Ctx;
use crate::module::state;
use crate::peer::{Kind, Outcome};
use crate::reply::Reply;
use crate::resp::decode_whole;
use crate::topology::{Node, Topology};

/// A question about executions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JobsAsked {
    /// Lists the executions.
    List,
    Status(String),
    /// Returns the result of one execution. While it runs, the result is waited for, if at all, for this many
    /// milliseconds; 0 for as long as it takes.
    Result {
        id: String,
        block_ms: Option<u64>,
    },
    Cancel(String),
    Forget(String),
}

/// The answer to a question about executions.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum JobsAnswer {
    /// The newest first, and the nodes that could not be asked, each with the reason.
    List {
        jobs: Vec<ExecutionStatus>,
        missing: Vec<(String, String)>,
    },
    Status(Box<ExecutionStatus>),
    /// The execution has not ended yet.
    Running,
    /// The execution has ended with this result; its error is an error.
    Ended(#[serde(with = "reply_bytes")] Reply),
    /// The execution is to end, or is forgotten.
    Done,
    /// The execution cannot be forgotten while it runs.
    StillRuns,
    /// No such execution is known: it may be forgotten, or its node has been restarted.
    Unknown,
}

impl JobsAsked {
    fn id(&self) -> Option<&str> {
        match self {
            Self::List => None,
            Self::Status(id) | Self::Result { id, .. } | Self::Cancel(id) | Self::Forget(id) => Some(id),
        }
    }

    /// Returns for how long the answer may be waited for on top of what any answer takes.
    fn wait(&self) -> Duration {
        match self {
            Self::Result { block_ms, .. } => block_ms.map(block).unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}

/// Asks about executions of this node, or of the node that the id names; which there are, of all nodes.
///
/// # Errors
/// That the node of the execution cannot be asked.
pub(crate) async fn ask(asked: JobsAsked, requests: RequestBuilder, user: AskingUser) -> Result<JobsAnswer, Error> {
    let request = requests.begin();
    let topology = request.pinned_topology().await?;
    let Some(id) = asked.id() else { return Ok(list(&request, &topology, &user, &user.question(&asked)?).await) };
    if state::executions().get(id).is_some() {
        return Ok(here(&asked, &user).await);
    }
    let node_id = id.rsplit_once('-').map_or(id, |(node_id, _)| node_id);
    let node = topology.all_nodes().find(|node| node.id == node_id);
    match node.filter(|node| !topology.is_local(node)) {
        Some(node) => there(&request, node, &user.question(&asked)?, asked.wait()).await,
        None => Ok(JobsAnswer::Unknown),
    }
}

async fn list(request: &Request, topology: &Topology, user: &AskingUser, question: &[u8]) -> JobsAnswer {
    let others = topology.all_nodes().filter(|node| !topology.is_local(node));
    let asked = others.map(|node| async { (node.to_string(), there(request, node, question, Duration::ZERO).await) });
    let (mut jobs, mut missing) = (statuses(user), Vec::new());
    for (node, answer) in join_all(asked).await {
        match answer {
            Ok(JobsAnswer::List { jobs: others, .. }) => jobs.extend(others),
            Ok(_) => missing.push((node, "it has answered to something else".into())),
            Err(error) => missing.push((node, error.to_string())),
        }
    }
    jobs.sort_by(|one, other| (other.started_ms, &other.id).cmp(&(one.started_ms, &one.id)));
    // Databases of one server are nodes of their own in a list of hosts.
    jobs.dedup_by(|one, other| one.id == other.id);
    JobsAnswer::List { jobs, missing }
}

fn statuses(user: &AskingUser) -> Vec<ExecutionStatus> {
    let executions = state::executions().list();
    executions.iter().filter(|execution| user.may_see(execution)).map(|execution| execution.status()).collect()
}

/// Answers from the executions of this node.
async fn here(asked: &JobsAsked, user: &AskingUser) -> JobsAnswer {
    let Some(id) = asked.id() else {
        return JobsAnswer::List { jobs: statuses(user), missing: Vec::new() };
    };
    let known = state::executions().get(id).filter(|execution| user.may_see(execution));
    let Some(execution) = known else { return JobsAnswer::Unknown };
    match asked {
        JobsAsked::List | JobsAsked::Status(_) => JobsAnswer::Status(Box::new(execution.status())),
        JobsAsked::Result { block_ms, .. } => match execution.ended(block_ms.map(block)).await {
            None => JobsAnswer::Running,
            Some(Ok(reply)) => JobsAnswer::Ended(Reply::clone(&reply)),
            Some(Err(error)) => JobsAnswer::Ended(Reply::Error(error.to_line().into())),
        },
        JobsAsked::Cancel(_) => {
            execution.cancel();
            JobsAnswer::Done
        }
        JobsAsked::Forget(_) => match state::executions().forget(id) {
            Forgotten::Yes => JobsAnswer::Done,
            Forgotten::StillRuns => JobsAnswer::StillRuns,
            Forgotten::Unknown => JobsAnswer::Unknown,
        },
    }
}

/// Asks another node. Its answer may take so long on top of what any answer takes.
async fn there(request: &Request, node: &Arc<Node>, question: &[u8], wait: Duration) -> Result<JobsAnswer, Error> {
    let answer = ask_node(request, node, Kind::Jobs(serde_bytes::Bytes::new(question)), wait).await?;
    messages::decode(&answer)
        .map_err(|error: Error| Error::BadReply { node: node.to_string(), why: format!("says no answer: {error}") })
}

/// Answers another node. On the main thread.
pub(in crate::module) fn answer(ctx: Ctx<'_>, message: &[u8]) -> Result<Work, Outcome<Bytes>> {
    let (asked, user): (JobsAsked, _) = read_question(ctx, message)?;
    Ok(Box::pin(async move {
        let outcome = match messages::encode(&here(&asked, &user).await) {
            Ok(answer) => Outcome::Done(Bytes::from(answer)),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        Ok(outcome.into_reply())
    }))
}

/// A reply in its own format, RESP3.
mod reply_bytes {
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    use super::{Bytes, Reply, decode_whole};

    pub(super) fn serialize<S: Serializer>(reply: &Reply, to: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        reply.write_to(&mut bytes);
        to.serialize_bytes(&bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Reply, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(from)?;
        decode_whole(&Bytes::from(bytes)).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_travel() {
        let reply = Reply::Map(vec![(Reply::Bulk("k".into()), Reply::Array(vec![Reply::Double(0.5), Reply::Null]))]);
        for answer in
            [JobsAnswer::Ended(reply), JobsAnswer::Ended(Reply::Error("RMRSHARD no".into())), JobsAnswer::Done]
        {
            let wire = messages::encode(&answer).unwrap();
            assert_eq!(messages::decode::<JobsAnswer>(&wire).unwrap(), answer);
            assert!(messages::decode::<JobsAnswer>(&wire[..wire.len() - 1]).is_err());
        }
        assert!(messages::decode::<JobsAnswer>(b"\x03\x04no r").is_err());
    }
}
