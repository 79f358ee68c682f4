//! What nodes ask each other about executions of RedisGears: an execution is known at the node that has begun it, and its id
//! names that node.
//!
//! Every answer is the reply that the client gets. Who may not do everything sees, ends and drops what he has begun himself;
//! asked for by another node, that holds for the user of the connection and for the caller.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::carried::CarriedRequirement;
use super::executions::{Dropped, GearsExecution};
use super::{replies, state};
use crate::engine::{Request, RequestBuilder};
use crate::error::Error;
use crate::flow::messages::{self, CallerId};
use crate::module::flow::jobs::JobsUser;
use crate::module::flow::rights::caller_id;
use crate::module::inquiry::ask_node;
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
    /// Makes the node have a requirement.
    Require(CarriedRequirement),
}

/// A question as it travels.
#[derive(Serialize, Deserialize)]
struct GearsQuestion {
    asked: GearsAsked,
    caller: Option<CallerId>,
}

/// Who asks.
pub(super) struct GearsUser {
    user: JobsUser,
    caller: Option<CallerId>,
}

impl GearsUser {
    /// Returns who runs the command of this context. On the main thread.
    pub(super) fn of(ctx: Ctx<'_>) -> Self {
        Self { user: JobsUser::of(ctx), caller: caller_id(ctx) }
    }

    /// Returns a user on whose account other nodes are asked.
    pub(super) fn on_account_of(caller: Option<CallerId>) -> Self {
        Self { user: JobsUser::named(caller.clone()), caller }
    }

    fn for_caller(ctx: Ctx<'_>, caller: Option<CallerId>) -> Result<Self, Error> {
        Ok(Self { user: JobsUser::for_caller(ctx, caller.clone())?, caller })
    }
}

/// As good as for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(315_360_000);

impl GearsAsked {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Ping | Self::List | Self::Require(_) => None,
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
pub(super) async fn ask(asked: GearsAsked, requests: RequestBuilder, user: GearsUser) -> Result<Reply, Error> {
    let Some(id) = asked.id() else { return Ok(here(&asked, &user.user).await) };
    if state::executions().get(id).is_some() {
        return Ok(here(&asked, &user.user).await);
    }
    let request = requests.begin();
    let topology = request.pinned_topology().await?;
    match node_of(&topology, id).filter(|node| !topology.is_local(node)) {
        Some(node) => there(&request, node, &asked, user.caller.clone()).await,
        None => Ok(asked.unknown()),
    }
}

/// Returns the node that has begun an execution.
fn node_of<'t>(topology: &'t Topology, id: &str) -> Option<&'t std::sync::Arc<Node>> {
    let prefix = id.rsplit_once('-')?.0;
    topology.all_nodes().find(|node| format!("{:0>40}", node.id) == prefix)
}

/// Asks all other primaries. A node that does not answer has its error in place of the reply.
pub(super) async fn ask_others(
    asked: GearsAsked,
    requests: RequestBuilder,
    user: GearsUser,
) -> Result<Vec<Result<Reply, Error>>, Error> {
    let request = requests.begin();
    let topology = request.pinned_topology().await?;
    let primaries = topology.data_shards().map(|shard| &shard.primary);
    let others = primaries.filter(|node| !topology.is_local(node));
    Ok(join_all(others.map(|node| there(&request, node, &asked, user.caller.clone()))).await)
}

/// Asks another node.
async fn there(
    request: &Request,
    node: &std::sync::Arc<Node>,
    asked: &GearsAsked,
    caller: Option<CallerId>,
) -> Result<Reply, Error> {
    let message = messages::encode(&GearsQuestion { asked: asked.clone(), caller })?;
    let answer = ask_node(request, node, Kind::Gears(serde_bytes::Bytes::new(&message)), asked.wait()).await?;
    decode_whole(&answer)
        .map_err(|error| Error::BadReply { node: node.to_string(), why: format!("says no reply: {error}") })
}

/// Answers another node. On the main thread.
pub(in crate::module) fn answer(ctx: Ctx<'_>, message: &[u8]) -> Result<Work, Outcome<Bytes>> {
    let question: GearsQuestion =
        messages::decode(message).map_err(|error: Error| Outcome::Declined(error.to_string()))?;
    let line = |error: Error| Outcome::Failed(String::from_utf8_lossy(&error.to_line()).into_owned());
    let user = GearsUser::for_caller(ctx, question.caller).map_err(line)?;
    Ok(Box::pin(async move {
        let mut bytes = Vec::new();
        here(&question.asked, &user.user).await.write_to(&mut bytes);
        Ok(Outcome::Done(Bytes::from(bytes)).into_reply())
    }))
}

/// Answers from the executions of this node.
async fn here(asked: &GearsAsked, user: &JobsUser) -> Reply {
    let visible = |execution: &GearsExecution| user.may_see(execution.flow());
    let Some(id) = asked.id() else {
        return match asked {
            GearsAsked::List => replies::executions(state::executions().list().iter().filter(|it| visible(it))),
            // Installing takes as long as it takes.
            GearsAsked::Require(carried) => match carried.clone().keep().await {
                Ok(()) => Reply::OK,
                Err(error) => replies::error(error.to_string()),
            },
            _ => Reply::OK,
        };
    };
    let Some(execution) = state::executions().get(id).filter(|it| visible(it)) else { return asked.unknown() };
    match asked {
        GearsAsked::Results { blocks: true, .. } => match execution.ended().await {
            Some(end) => Reply::clone(&end.pair),
            None => replies::error("execution plan does not exist"),
        },
        GearsAsked::Results { .. } => match execution.end() {
            Some(end) => Reply::clone(&end.pair),
            None => replies::error("execution is still running"),
        },
        GearsAsked::Drop { .. } => match state::drop_ended(id) {
            Dropped::Yes => Reply::OK,
            Dropped::StillRuns => replies::error("can not drop a not yet finished execution, abort it first."),
            Dropped::Unknown => asked.unknown(),
        },
        GearsAsked::Abort { .. } => {
            execution.flow().cancel();
            Reply::OK
        }
        GearsAsked::Status { .. } | GearsAsked::Ping | GearsAsked::List | GearsAsked::Require(_) => {
            replies::execution(&execution)
        }
    }
}
