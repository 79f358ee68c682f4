//! Fan-outs: one command to each of many nodes.

use std::pin::pin;
use std::sync::Arc;

use super::exact::Exact;
use super::exchange::Exchange;
use super::hidden_keys::HiddenKeys;
use super::look_ahead::look_ahead;
use super::options::Options;
use super::outcomes::{Gathered, Outcomes};
use super::replies::MissedSlots;
use super::request::Request;
use super::target::{Target, ToTargets};
use super::targets::Targets;
use crate::combine::AnyCombine;
use crate::command::Command;
use crate::error::Error;
use crate::topology::Topology;

/// Sends the command to all targets and gathers what comes back: the replies, or what they come to.
pub(super) async fn send_to_targets(
    request: &Request,
    command: Command,
    targets: &Targets,
    options: &Options,
    mut combine: Option<Arc<dyn AnyCombine>>,
) -> Result<Gathered, Error> {
    let engine = &*request.engine;
    let step = pin!(async {
        let mut snapshot = request.pinned().await?;
        let select = |topology: &Topology| engine.select(topology, targets, options.partial);
        let nodes = request.retry_while_unsettled(&mut snapshot, |snapshot| select(&snapshot.topology)).await?;
        let commands = request.admit(vec![command.clone()].into()).await?;
        let hidden = HiddenKeys::of(&commands, &mut combine);
        let target = |node| Target::new(engine, &snapshot.topology, node, targets);
        let route = ToTargets { nodes: nodes.into_iter().map(target).collect() };
        if !options.partial {
            look_ahead(request, &command, &route, route.nodes.len(), &snapshot).await?;
        }
        let check = pin!(request.check_of(&snapshot, &commands.at(0).command(), targets, options)).await;
        let gathered = match check {
            Some(check) => {
                let exact = Exact::new(request, commands, check, options, combine, snapshot, route.nodes);
                pin!(exact.run()).await?
            }
            None => {
                let missed = targets.missed(&snapshot.topology).to_vec();
                let outcomes = Outcomes::of(route.nodes.len(), combine);
                let mut gathered = Exchange::new(request, route, commands, outcomes, options).run(snapshot).await?;
                gathered.0.set_missed(MissedSlots { uncovered: missed, unsettled: Vec::new() });
                gathered
            }
        };
        match hidden {
            Some(hidden) => Box::pin(hidden.leave_out(request, gathered.0)).await,
            None => Ok(gathered),
        }
    });
    request.counted(step).await
}
