//! Commands that write all copies of their slots, in one order.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::order::{Placed, Sequencer, SlotStep, behind_unsent};
use super::user_copies::{CopyWay, UserCopies};
use crate::link::{Batch, Delivery, Failure, Link};
use crate::peer::each_of;
use crate::reply::Reply;

/// For how long a write that has been sent is followed. The request's own time is bounded by whoever waits for it.
const LONGEST: Duration = Duration::from_secs(60);

/// For how long a write that was not sent is tried again, and how long the pause is. A proxy that is gone is replaced by then.
const LONGEST_TRIES: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the commands of a batch in order; those that write at all copies, and those that read at the first one, behind the
/// writes that stand before them.
pub(super) async fn write(copies: &UserCopies, node: Arc<dyn Link>, batch: Batch, ways: Vec<CopyWay>) -> Delivery {
    let until = Instant::now() + LONGEST;
    let sequencer = copies.shared().sequencer();
    let refusals = match copies.rights.refusals(&copies.links, &batch).await {
        Ok(refusals) => refusals,
        Err(failure) => return Delivery::failed(failure),
    };
    let tries_until = Instant::now() + LONGEST_TRIES;
    let table = match sequencer.table() {
        Ok(table) => table,
        Err(words) => return Delivery::of(vec![Reply::Error(words); ways.len()]),
    };
    // The slots of which a step was not sent: none of those behind it is, before it is tried again.
    let mut stuck = Vec::new();
    let mut waiting: Vec<Result<(Placed, bool), Reply>> = Vec::with_capacity(ways.len());
    for ((at, (command, way)), refusal) in batch.picked().zip(&ways).enumerate().zip(refusals) {
        if let Some(refusal) = refusal {
            waiting.push(Err(refusal));
            continue;
        }
        let Some((slot, reads)) = way.slot() else {
            let alone = Batch { picks: vec![batch.picks[at]], ..batch.clone() };
            let delivery = node.send(alone).await;
            waiting.push(Err(match (delivery.replies.into_iter().next(), delivery.failure) {
                (Some(reply), _) => reply,
                (None, failure) => Reply::Error(failure_words(failure).into()),
            }));
            continue;
        };
        let step = SlotStep::of(each_of(command), reads);
        if ways.len() == 1 {
            return Delivery::of(vec![try_step(&sequencer, slot, step, until, tries_until).await]);
        }
        let placed = match stuck.contains(&slot) {
            true => Err(behind_unsent(slot)),
            false => sequencer.place_by(&table, slot, step, until).await,
        };
        if placed.as_ref().is_err_and(|words| words.starts_with(b"TRYAGAIN")) {
            stuck.push(slot);
        }
        waiting.push(placed.map(|placed| (placed, reads)).map_err(Reply::Error));
    }
    let mut replies = Vec::with_capacity(waiting.len());
    for placed in waiting {
        replies.push(match placed {
            Ok((placed, reads)) => told(sequencer.counted(reads, sequencer.outcome(placed, until).await)),
            Err(reply) => reply,
        });
    }
    // Commands that were not sent, since a slot or a copy has just gone elsewhere, are tried again: all of their slot in their
    // order.
    for at in unsent(&ways, &replies) {
        let Some((slot, reads)) = ways[at].slot() else { continue };
        let step = SlotStep::of(each_of(batch.commands.at(batch.picks[at] as usize)), reads);
        replies[at] = try_step(&sequencer, slot, step, until, tries_until).await;
    }
    Delivery::of(replies)
}

/// Returns the places of steps that were not sent, and behind which nothing of their slots was.
fn unsent(ways: &[CopyWay], replies: &[Reply]) -> Vec<usize> {
    let is_unsent = |reply: &Reply| matches!(reply, Reply::Error(words) if words.starts_with(b"TRYAGAIN"));
    let mut unsent = Vec::new();
    if !replies.iter().any(is_unsent) {
        return unsent;
    }
    let mut sent: HashSet<u16> = HashSet::new();
    for (at, (way, reply)) in ways.iter().zip(replies).enumerate().rev() {
        let Some((slot, _)) = way.slot() else { continue };
        match is_unsent(reply) {
            true if sent.contains(&slot) => {}
            true => unsent.push(at),
            false => drop(sent.insert(slot)),
        }
    }
    unsent.reverse();
    unsent
}

/// Runs a step, again and again if it was not sent.
async fn try_step(sequencer: &Sequencer, slot: u16, step: SlotStep, until: Instant, tries_until: Instant) -> Reply {
    loop {
        let outcome = match sequencer.place(slot, step.clone(), until).await {
            Ok(placed) => sequencer.outcome(placed, until).await,
            Err(words) => Err(words),
        };
        match outcome {
            Err(words) if words.starts_with(b"TRYAGAIN") && Instant::now() < tries_until => sleep(PAUSE).await,
            outcome => return told(sequencer.counted(step.reads(), outcome)),
        }
    }
}

/// Returns what a client is told of a step.
fn told(outcome: Result<Vec<Reply>, Bytes>) -> Reply {
    match outcome {
        Ok(replies) => last_of(replies),
        Err(words) => Reply::Error(words),
    }
}

/// Returns the reply to the last of the commands of a step; to a transaction that was refused, with the reason.
fn last_of(mut replies: Vec<Reply>) -> Reply {
    let last = replies.pop().unwrap_or(Reply::Null);
    match (&last, replies.iter().find(|reply| matches!(reply, Reply::Error(_)))) {
        (Reply::Error(words), Some(Reply::Error(why))) => Reply::Error([&**words, b" ", &**why].concat().into()),
        _ => last,
    }
}

pub(super) fn failure_words(failure: Option<Failure>) -> String {
    match failure {
        Some(Failure::Unreachable(why) | Failure::Lost(why)) => format!("RMRNODE {why}"),
        other => format!("RMRNODE no copy has answered: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_is_tried_again_unless_its_slot_has_gone_on() {
        let ways = [1, 2, 1, 2, 3].map(CopyWay::Write);
        let not_now = || Reply::Error("TRYAGAIN slot 1: it is locked; nothing was sent".into());
        let replies = [not_now(), not_now(), Reply::OK, not_now(), Reply::Error("RMRNODE a:1".into())];
        assert_eq!(unsent(&ways, &replies), [1, 3]);
        assert_eq!(unsent(&ways, &vec![Reply::OK; 5]), [0; 0]);
    }
}
