//! The questions that nodes ask each other about executions of RedisGears: an execution is known at the node that has begun it,
//! and its id names that node.
//!
//! Every answer is the reply that the client gets.

use std::sync::Arc;

use bytes::Bytes;

use super::asking::{GearsAsked, there};
use super::cluster::ClusterView;
use super::executions::{Dropped, ExecutionParts, GearsExecution, NO_NODE, SCRIPT, ShownExecution, id_of, number_of};
use super::last_events::LastEvent;
use super::registry::live::LiveRegistration;
use super::registry::{self, answers};
use super::{replies, state};
use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::module::inquiry::{AskingUser, read_question};
use crate::module::request::running::Work;
use crate::module::server::context::Ctx;
use crate::peer::Outcome;
use crate::reply::Reply;
use crate::topology::{Node, Topology};

/// Asks about an execution: here, or at the node that its id names.
///
/// # Errors
/// That the node cannot be asked.
pub(super) async fn ask(asked: GearsAsked, requests: RequestBuilder, user: AskingUser) -> Result<Reply, Error> {
    let id = match asked.id() {
        Some(id) if state::executions().get(id).is_none() && KeptExecution::find(id).is_none() => id,
        _ => return Ok(here(asked, &user).await),
    };
    let request = requests.begin();
    let topology = request.pinned_topology().await?;
    match node_of(&topology, id).filter(|node| !topology.is_local(node)) {
        Some(node) => there(&request, node, &user.question(&asked)?, asked.wait()).await,
        None => Ok(asked.unknown()),
    }
}

/// An event that has ended, of a registration of this node's.
struct KeptExecution {
    live: Arc<LiveRegistration>,
    event: LastEvent,
}

impl KeptExecution {
    fn find(id: &str) -> Option<Self> {
        let (prefix, number) = number_of(id)?;
        let is_own = || id_of(&own_prefix(), number).starts_with(prefix);
        let found = |live: Arc<LiveRegistration>| Some(Self { event: live.kept.find(number)?, live });
        registry::live().into_iter().find_map(found).filter(|_| is_own())
    }

    fn shown(&self, prefix: &str) -> ShownExecution {
        let parts =
            ExecutionParts { shards: vec![format!("{prefix:0>40}")], steps: self.live.registration.flow.steps.clone() };
        let end = Some(self.event.end());
        ShownExecution { id: id_of(prefix, self.event.number), is_registered: true, parts, end }
    }
}

/// Returns how the ids begin of what this node has begun.
fn own_prefix() -> String {
    ClusterView::known().map_or_else(|| NO_NODE.to_owned(), |view| view.id)
}

/// Returns all executions of this node that a user may see: those that run or stay, and the last events of registrations.
fn list(user: &AskingUser) -> Vec<ShownExecution> {
    let executions = state::executions().list();
    let mut all: Vec<_> =
        executions.iter().filter(|it| user.may_see(it.flow())).map(|execution| execution.shown()).collect();
    let prefix = own_prefix();
    for live in registry::live().into_iter().filter(|live| user.may_see_of(&live.registration.user)) {
        for event in live.kept.list() {
            // Others of the same request may run yet.
            let shown = KeptExecution { live: live.clone(), event }.shown(&prefix);
            if !executions.iter().any(|execution| execution.id() == shown.id) {
                all.push(shown);
            }
        }
    }
    all
}

/// Returns the node that has begun an execution.
fn node_of<'t>(topology: &'t Topology, id: &str) -> Option<&'t Arc<Node>> {
    let (prefix, _) = id.rsplit_once('-')?;
    let prefix = prefix.strip_suffix(SCRIPT).unwrap_or(prefix);
    topology.all_nodes().find(|node| format!("{:0>40}", node.id) == prefix)
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
    let kept = |id: &str| KeptExecution::find(id).filter(|it| user.may_see_of(&it.live.registration.user));
    let unknown = asked.unknown();
    match asked {
        GearsAsked::Ping => Reply::OK,
        GearsAsked::List => replies::executions(list(user).into_iter()),
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
            if let Some(kept) = kept(&id) {
                return Reply::clone(&kept.event.end().pair);
            }
            let Some(execution) = find(&id) else { return unknown };
            let end = if blocks { execution.ended().await } else { execution.end() };
            match end {
                Some(end) => Reply::clone(&end.pair),
                None if blocks => unknown,
                None => replies::error("execution is still running"),
            }
        }
        GearsAsked::Status { id } => {
            let kept = || kept(&id).map(|kept| kept.shown(&own_prefix()));
            let found = find(&id).map(|execution| execution.shown()).or_else(kept);
            found.map_or(unknown, |execution| replies::execution(&execution))
        }
        GearsAsked::Drop { id } => match find(&id).map(|_| state::drop_ended(&id)) {
            Some(Dropped::Yes) => Reply::OK,
            Some(Dropped::StillRuns) => replies::error("can not drop a not yet finished execution, abort it first."),
            Some(Dropped::Unknown) | None => match kept(&id) {
                Some(kept) => {
                    kept.live.kept.forget(kept.event.number);
                    Reply::OK
                }
                None => unknown,
            },
        },
        GearsAsked::Abort { id } => {
            match find(&id) {
                Some(execution) => execution.flow().cancel(),
                // An execution that has ended stays as it is.
                None if kept(&id).is_some() => {}
                None => return unknown,
            }
            Reply::OK
        }
    }
}
