//! Asking nodes whether an answer that looks like a refusal is one: see `engine/doubt.rs` for why.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Exchange;
use crate::command::Command;
use crate::engine::doubt::{Doubt, LONGEST_REFUSALS, question};
use crate::engine::place::slot_of;
use crate::engine::redirect::{Verdict, judge};
use crate::engine::replies::ShardReply;
use crate::engine::retry::Next;
use crate::engine::route::{Destination, Route};
use crate::engine::snapshot::Snapshot;
use crate::error::Error;
use crate::link::{Batch, Budget, Mode};
use crate::reply::Reply;
use crate::resp::ServerErrorKind;

impl<R: Route> Exchange<'_, R> {
    /// Asks nodes whether they refuse what code of others has had an answer to that looks like a refusal. An answer to the
    /// question means that the code has run, and has said that itself.
    pub(super) async fn resolve(&mut self, snapshot: &Snapshot, open: Vec<(u32, Next)>) -> Vec<(u32, Next)> {
        let (doubted, mut open): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|(_, next)| matches!(next, Next::Doubt(_)));
        let mut by_node: Vec<(Destination, Vec<(u32, ShardReply)>)> = Vec::new();
        for (unit, next) in doubted {
            let Next::Doubt(doubt) = next else { continue };
            let Doubt { at, error } = *doubt;
            match by_node.iter_mut().find(|(known, _)| known.is_same(&at)) {
                Some((_, units)) => units.push((unit, error)),
                None => by_node.push((at, vec![(unit, error)])),
            }
        }
        let mut asked: FuturesUnordered<_> = by_node
            .into_iter()
            .map(|(at, units)| {
                let questions: Vec<Command> = units.iter().map(|(unit, _)| question(self.command(*unit))).collect();
                let picks = (0..questions.len() as u32).collect();
                let said = at.link.send(Batch {
                    commands: Arc::new(questions.into()),
                    picks,
                    reduction: None,
                    asks_own_slots: false,
                    budget: Arc::new(Budget::new(LONGEST_REFUSALS)),
                    ..self.batch(&at, &[])
                });
                let deadline = self.request.deadline.at;
                async move { (at, units, tokio::time::timeout_at(deadline, said).await.unwrap_or_default().replies) }
            })
            .collect();
        let mut said = Vec::new();
        while let Some(answer) = asked.next().await {
            said.push(answer);
        }
        drop(asked);
        for (at, units, replies) in said {
            let mut replies = replies.into_iter();
            for (unit, error) in units {
                let next = self.undoubted(snapshot, &at, unit, error, replies.next());
                open.extend(next.map(|next| (unit, next)));
            }
        }
        open
    }

    /// Takes what a node has said to the question whether it refuses a command.
    fn undoubted(
        &mut self,
        snapshot: &Snapshot,
        at: &Destination,
        unit: u32,
        error: ShardReply,
        said: Option<Reply>,
    ) -> Option<Next> {
        let Some(Reply::Error(refusal)) = said else {
            // At a node that is getting the slot the missing keys may have come meanwhile.
            let is_tryagain = matches!(&error.result, Err(Error::Shard { message, .. }) if message.kind() == ServerErrorKind::TryAgain);
            if at.mode == Mode::Asking && is_tryagain {
                return self.onward(snapshot, at, unit, &Verdict::Later, b"", error);
            }
            self.outcomes.put(unit, error);
            return None;
        };
        let slot = slot_of(&snapshot.topology, self.command(unit));
        let judged = judge(&refusal, at.node.address.host(), slot);
        if judged != Verdict::Final {
            return self.onward(snapshot, at, unit, &judged, &refusal, error);
        }
        // It does not let us ask, so its first words have to do.
        let Err(Error::Shard { message, .. }) = &error.result else { return None };
        let message = message.as_bytes().to_vec();
        let judged = judge(&message, at.node.address.host(), slot);
        self.onward(snapshot, at, unit, &judged, &message, error)
    }
}
