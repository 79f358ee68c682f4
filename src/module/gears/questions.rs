//! What nodes ask each other about executions of RedisGears: an execution is known at the node that has begun it, and its id
//! names that node.
//!
//! Every answer is the reply that the client gets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::carried::CarriedRequirements;
use super::executions::{Dropped, GearsExecution, SCRIPT};
use super::registry::answers;
use super::registry::asked::RegistryAsked;
use super::{replies, state};
use crate::engine::{Request, RequestBuilder};
use crate::error::Error;
use crate::module::inquiry::{AskingUser, LONGEST_WAIT, ask_node, read_question};
use crate::module::request::running::Work;
use crate::module::server::context::Ctx;
use crate::peer::{Kind, Outcome};
use crate::reply::Reply;
use crate::resp::decode_whole;
use crate::topology::{Node, Topology};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum GearsAsked {
    /// Whether the node is there.
    Ping,
    /// The executions in which this node has a share: those of the node that is asked.
    List,
    /// Results and errors. While it runs that is waited for, if it blocks.
    Results {
        id: String,
        blocks: bool,
    },
    /// How far each shard is.
    Status {
        id: String,
    },
    Drop {
        id: String,
    },
    Abort {
        id: String,
    },
    /// Whether the node has these packages for these requirements.
    HasPackages {
        names: BTreeSet<String>,
        digest: u128,
    },
    /// Makes the node have requirements.
    Require(CarriedRequirements),
    /// What is asked about the functions that wait for events.
    Registry(RegistryAsked),
}

impl GearsAsked {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Ping | Self::List | Self::HasPackages { .. } | Self::Require(_) | Self::Registry(_) => None,
            Self::Results { id, .. } | Self::Status { id } | Self::Drop { id } | Self::Abort { id } => Some(id),
        }
    }

    /// Returns for how long the answer may be waited for on top of what any answer takes.
    fn wait(&self) -> Duration {
        if matches!(self, Self::Results { blocks: true, .. } | Self::Require(_)) {
            LONGEST_WAIT
        } else {
            Duration::ZERO
        }
    }

    /// Returns the reply to a question about an execution that is not there, or may not be seen.
    fn unknown(&self) -> Reply {
        replies::error(match self {
            Self::Abort { .. } => "execution does not exist",
            _ => "execution plan does not exist",
        })
    }
}

/// Asks about an execution: here, or at the node that its id names.
///
/// # Errors
/// That the node cannot be asked.
pub(super) async fn ask(asked: GearsAsked, requests: RequestBuilder, user: AskingUser) -> Result<Reply, Error> {
    let id = match asked.id() {
        Some(id) if state::executions().get(id).is_none() => id,
        _ => return Ok(here(asked, &user).await),
    };
    let request = requests.begin();
    let topology = request.pinned_topology().await?;
    match node_of(&topology, id).filter(|node| !topology.is_local(node)) {
        Some(node) => there(&request, node, &user.question(&asked)?, asked.wait()).await,
        None => Ok(asked.unknown()),
    }
}

/// Returns the node that has begun an execution.
fn node_of<'t>(topology: &'t Topology, id: &str) -> Option<&'t Arc<Node>> {
    let (prefix, _) = id.rsplit_once('-')?;
    let prefix = prefix.strip_suffix(SCRIPT).unwrap_or(prefix);
    topology.all_nodes().find(|node| format!("{:0>40}", node.id) == prefix)
}

/// Asks all other primaries. A node that does not answer has its error in place of the reply.
pub(super) async fn ask_others(
    asked: &GearsAsked,
    requests: RequestBuilder,
    user: &AskingUser,
) -> Result<Vec<Result<Reply, Error>>, Error> {
    let others = others(&requests).await?;
    ask_nodes(&others, asked, requests, user).await
}

/// Returns all other primaries.
pub(super) async fn others(requests: &RequestBuilder) -> Result<Vec<Arc<Node>>, Error> {
    let topology = requests.clone().begin().pinned_topology().await?;
    let primaries = topology.data_shards().map(|shard| &shard.primary);
    Ok(primaries.filter(|node| !topology.is_local(node)).cloned().collect())
}

/// Asks some nodes; their answers are in the order of the nodes. One that does not answer has its error in place of the reply.
pub(super) async fn ask_nodes(
    nodes: &[Arc<Node>],
    asked: &GearsAsked,
    requests: RequestBuilder,
    user: &AskingUser,
) -> Result<Vec<Result<Reply, Error>>, Error> {
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let (request, question) = (requests.begin(), user.question(asked)?);
    Ok(join_all(nodes.iter().map(|node| there(&request, node, &question, asked.wait()))).await)
}

/// Asks another node. Its answer may take so long on top of what any answer takes.
pub(super) async fn there(
    request: &Request,
    node: &Arc<Node>,
    question: &[u8],
    wait: Duration,
) -> Result<Reply, Error> {
    let answer = ask_node(request, node, Kind::Gears(serde_bytes::Bytes::new(question)), wait).await?;
    decode_whole(&answer)
        .map_err(|error| Error::BadReply { node: node.to_string(), why: format!("says no reply: {error}") })
}

/// Answers another node. On the main thread.
pub(in crate::module) fn answer(ctx: Ctx<'_>, message: &[u8]) -> Result<Work, Outcome<Bytes>> {
    let (asked, user) = read_question(ctx, message)?;
    Ok(Box::pin(async move {
        let mut bytes = Vec::new();
        here(asked, &user).await.write_to(&mut bytes);
        Ok(Outcome::Done(Bytes::from(bytes)).into_reply())
    }))
}

/// Answers from the executions of this node.
async fn here(asked: GearsAsked, user: &AskingUser) -> Reply {
    let visible = |execution: &GearsExecution| user.may_see(execution.flow());
    let find = |id: &str| state::executions().get(id).filter(|it| visible(it));
    let unknown = asked.unknown();
    match asked {
        GearsAsked::Ping => Reply::OK,
        GearsAsked::List => replies::executions(state::executions().list().iter().filter(|it| visible(it))),
        GearsAsked::HasPackages { names, digest } => {
            let here = state::digest_of_packages(&names);
            Reply::Integer((here == Some(digest)).into())
        }
        // Installing takes as long as it takes.
        GearsAsked::Require(carried) => match carried.keep().await {
            Ok(_) => Reply::OK,
            Err(error) => replies::error(error.to_string()),
        },
        GearsAsked::Registry(_) if !user.may_do_everything() => replies::error(
            "the nodes of a cluster must be let in as a user who may do everything, to change registrations",
        ),
        GearsAsked::Registry(asked) => answers::answer(asked).await.unwrap_or_else(replies::error),
        GearsAsked::Results { id, blocks } => {
            let Some(execution) = find(&id) else { return unknown };
            let end = if blocks { execution.ended().await } else { execution.end() };
            match end {
                Some(end) => Reply::clone(&end.pair),
                None if blocks => unknown,
                None => replies::error("execution is still running"),
            }
        }
        GearsAsked::Status { id } => find(&id).map_or(unknown, |execution| replies::execution(&execution)),
        GearsAsked::Drop { id } => match find(&id).map(|_| state::drop_ended(&id)) {
            Some(Dropped::Yes) => Reply::OK,
            Some(Dropped::StillRuns) => replies::error("can not drop a not yet finished execution, abort it first."),
            Some(Dropped::Unknown) | None => unknown,
        },
        GearsAsked::Abort { id } => {
            let Some(execution) = find(&id) else { return unknown };
            execution.flow().cancel();
            Reply::OK
        }
    }
}
