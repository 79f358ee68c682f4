//! [`GearsAsked`]: what nodes ask each other about functions. Every answer is a reply.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::carried::CarriedRequirements;
use super::registry::asked::RegistryAsked;
use super::replies;
use crate::engine::{Request, RequestBuilder};
use crate::error::Error;
use crate::module::inquiry::{AskingUser, LONGEST_WAIT, ask_node};
use crate::peer::Kind;
use crate::reply::Reply;
use crate::resp::decode_whole;
use crate::topology::Node;

/// A question to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum GearsAsked {
    /// Asks whether the node is there.
    Ping,
    /// The executions in which this node has a share: those of the node that is asked.
    List,
    /// Results and errors. While it runs that is waited for, if it blocks.
    Results {
        id: String,
        blocks: bool,
    },
    /// Asks how far each shard is.
    Status {
        id: String,
    },
    Drop {
        id: String,
    },
    Abort {
        id: String,
    },
    /// Asks whether the node has these packages for these requirements.
    HasPackages {
        names: BTreeSet<String>,
        digest: u128,
    },
    /// Makes the node have requirements.
    Require(CarriedRequirements),
    /// Asks about the functions that wait for events.
    Registry(RegistryAsked),
}

impl GearsAsked {
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Ping | Self::List | Self::HasPackages { .. } | Self::Require(_) | Self::Registry(_) => None,
            Self::Results { id, .. } | Self::Status { id } | Self::Drop { id } | Self::Abort { id } => Some(id),
        }
    }

    /// Returns for how long the answer may be waited for on top of what any answer takes.
    pub(super) fn wait(&self) -> Duration {
        if matches!(self, Self::Results { blocks: true, .. } | Self::Require(_)) {
            LONGEST_WAIT
        } else {
            Duration::ZERO
        }
    }

    /// Returns the reply to a question about an execution that is not there, or may not be seen.
    pub(super) fn unknown(&self) -> Reply {
        replies::error(match self {
            Self::Abort { .. } => "execution does not exist",
            _ => "execution plan does not exist",
        })
    }
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
