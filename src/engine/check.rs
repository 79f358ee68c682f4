//! Tells the fan-outs whose answer is checked for each slot being in it once: those whose answer depends on keys, over the
//! primaries of a cluster.
//!
//! Commands that are sent to nodes by their name are about these nodes, and have no slots.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::dependence::Dependence;
use super::exact::Check;
use super::exchange::Exchange;
use super::options::{OnFailure, Options};
use super::outcomes::Outcomes;
use super::request::Request;
use super::route::Via;
use super::snapshot::Snapshot;
use super::targets::Targets;
use super::to_nodes::ToNodes;
use crate::command::Command;
use crate::describe::CommandSource;
use crate::error::Error;
use crate::link::Mode;
use crate::reply::Reply;

/// The number of servers that are asked about a command, one after the other, before it is taken for one that depends
/// on keys.
const MOST_ASKED: usize = 2;

impl Request {
    /// Returns how a fan-out is checked; `None` if it is not.
    pub(super) async fn check_of(
        &self,
        snapshot: &Arc<Snapshot>,
        command: &Command,
        targets: &Targets,
        options: &Options,
    ) -> Option<Check> {
        let is_of_shards = matches!(targets, Targets::Primaries | Targets::AllPrimaries);
        if !is_of_shards || !snapshot.topology.has_moving_slots() {
            return None;
        }
        let dependence = self.dependence(snapshot, command).await?;
        let is_lenient = options.inconsistent || !self.engine.limits.is_consistent();
        if is_lenient && !options.partial {
            self.engine.stats.inconsistent.fetch_add(1, Relaxed);
            return None;
        }
        Some(Check { dependence, is_lenient, keeps_empty: *targets == Targets::AllPrimaries })
    }

    /// Returns how a command depends on keys, by what servers say of it.
    async fn dependence(&self, snapshot: &Arc<Snapshot>, command: &Command) -> Option<Dependence> {
        if let Some(whole) = self.engine.catalogue.get(command.name()) {
            return Dependence::of(&*whole.of_call(command.args())?, command);
        }
        let server = AnyServer { request: self, snapshot };
        // Boxed: it happens once for each name.
        match Box::pin(self.engine.catalogue.look_up(&server, command.name())).await {
            Ok(Some(whole)) => Dependence::of(&*whole.of_call(command.args())?, command),
            Ok(None) | Err(_) => Some(Dependence::of_undescribed(command)),
        }
    }
}

/// Asks this server, where it is one of the nodes, or another one.
struct AnyServer<'a> {
    request: &'a Request,
    snapshot: &'a Arc<Snapshot>,
}

impl CommandSource for AnyServer<'_> {
    async fn ask(&self, question: Command) -> Result<Reply, Error> {
        let Self { request, snapshot } = *self;
        let topology = &snapshot.topology;
        let primaries = topology.data_shards().map(|shard| &shard.primary);
        let nodes = topology.local().into_iter().chain(primaries).take(MOST_ASKED);
        let mut failure = Error::no_node(topology.source());
        for node in nodes {
            let to = vec![Some(node.clone())];
            let (via, mode) = (Via::SharedLink, Mode::Plain);
            let route = ToNodes { engine: &request.engine, to, placed: None, via, mode };
            let options = Options::on_failure(OnFailure::KeepUntried);
            let outcomes = Outcomes::of(1, None);
            let asked = Exchange::new(request, route, vec![question.clone()].into(), outcomes, &options);
            match asked.run(snapshot.clone()).await?.0.into_all() {
                Ok(mut replies) => return Ok(replies.pop().unwrap_or(Reply::Null)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}
