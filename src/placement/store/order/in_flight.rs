//! [`StepInFlight`]: one step that copies of a slot do, until all of them have answered.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::equal::{is_about_the_node, same};
use super::link::{Answered, Appended, CopyFailure, OrderedLink};
use super::notes::SlotShare;
use crate::command::Command;
use crate::reply::Reply;

/// The outcome of a step at all of its copies.
#[derive(Debug)]
pub(super) struct Settled {
    /// The replies of the first copy that has done it, and no error about the node itself.
    pub(super) replies: Option<Vec<Reply>>,
    /// The copies that have not done it, or of which that is not known.
    pub(super) failed: Vec<FailedCopy>,
    /// The copies that have done it and say something else.
    pub(super) differ: Vec<usize>,
}

/// A copy that has failed.
#[derive(Debug)]
pub(super) struct FailedCopy {
    pub(super) copy: usize,
    pub(super) why: String,
    /// The copy may have done the step.
    pub(super) is_unknown: bool,
}

/// A step that copies do. It holds its slot open for others until all copies have answered, whoever still waits for it.
pub(super) struct StepInFlight {
    outcomes: Mutex<CopyOutcomes>,
    /// Hears what has become of it before whoever waits, and while the slot is still held.
    first: Box<dyn Fn(&Settled) + Send + Sync>,
    _turn: Option<SlotShare>,
}

struct CopyOutcomes {
    of_copies: Vec<Option<Result<Vec<Reply>, CopyFailure>>>,
    left: usize,
    tell: Option<oneshot::Sender<Settled>>,
}

impl StepInFlight {
    /// Appends commands to the connection of each copy, in one piece, and waits for the replies of all. The caller keeps others
    /// from appending to the slot meanwhile. `first` hears of all replies before the task that waits, which may have gone, and
    /// before the slot is given back.
    pub(super) fn send<'l>(
        links: impl ExactSizeIterator<Item = &'l OrderedLink>,
        commands: &[Command],
        turn: Option<SlotShare>,
        first: impl Fn(&Settled) + Send + Sync + 'static,
    ) -> oneshot::Receiver<Settled> {
        let (in_flight, settled) = Self::of(links.len(), turn, first);
        let mut wire = Vec::new();
        commands.iter().for_each(|command| command.write_to(&mut wire));
        let wire = Bytes::from(wire);
        for (copy, link) in links.enumerate() {
            let (wire, waiting) = (wire.clone(), in_flight.clone());
            link.append(Appended { wire, replies: commands.len(), copy, waiting });
        }
        settled
    }

    /// Waits for so many copies.
    fn of(
        copies: usize,
        turn: Option<SlotShare>,
        first: impl Fn(&Settled) + Send + Sync + 'static,
    ) -> (Arc<Self>, oneshot::Receiver<Settled>) {
        let (tell, settled) = oneshot::channel();
        let of_copies = std::iter::repeat_with(|| None).take(copies).collect();
        let outcomes = Mutex::new(CopyOutcomes { of_copies, left: copies, tell: Some(tell) });
        (Arc::new(Self { outcomes, first: Box::new(first), _turn: turn }), settled)
    }
}

impl Answered for StepInFlight {
    fn answered(&self, copy: usize, outcome: Result<Vec<Reply>, CopyFailure>) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.of_copies[copy] = Some(outcome);
        outcomes.left -= 1;
        if outcomes.left > 0 {
            return;
        }
        let settled = settle(std::mem::take(&mut outcomes.of_copies));
        let Some(tell) = outcomes.tell.take() else { return };
        drop(outcomes);
        (self.first)(&settled);
        // A caller that has gone does not want to know.
        let _ = tell.send(settled);
    }
}

fn settle(outcomes: Vec<Option<Result<Vec<Reply>, CopyFailure>>>) -> Settled {
    let mut done: Vec<(usize, Vec<Reply>)> = Vec::with_capacity(outcomes.len());
    let mut failed = Vec::new();
    for (copy, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Some(Ok(replies)) => done.push((copy, replies)),
            Some(Err(CopyFailure::Unknown(why))) => failed.push(FailedCopy { copy, why, is_unknown: true }),
            Some(Err(CopyFailure::NotSent(why))) => failed.push(FailedCopy { copy, why, is_unknown: false }),
            None => failed.push(FailedCopy { copy, why: "nothing was heard".into(), is_unknown: true }),
        }
    }
    let is_refused = |replies: &[Reply]| replies.iter().any(is_about_the_node);
    if done.iter().any(|(_, replies)| !is_refused(replies)) {
        // A node that refuses what others do is no copy of theirs. All alike, it is the answer.
        let (refused, rest) = done.into_iter().partition(|(_, replies)| is_refused(replies));
        done = rest;
        let refused: Vec<(usize, Vec<Reply>)> = refused;
        failed.extend(refused.into_iter().map(|(copy, replies)| {
            let why = replies.iter().find(|reply| is_about_the_node(reply)).map(Reply::to_string).unwrap_or_default();
            FailedCopy { copy, why, is_unknown: false }
        }));
    }
    let mut done = done.into_iter();
    let first = done.next().map(|(_, replies)| replies);
    let says_the_same = |replies: &[Reply]| {
        let first = first.as_deref().unwrap_or_default();
        replies.len() == first.len() && replies.iter().zip(first).all(|(one, other)| same(one, other))
    };
    let differ = done.filter(|(_, replies)| !says_the_same(replies)).map(|(copy, _)| copy).collect();
    Settled { replies: first, failed, differ }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(outcomes: Vec<Result<Reply, CopyFailure>>) -> Settled {
        let (in_flight, mut settled) = StepInFlight::of(outcomes.len(), None, |_| {});
        for (copy, outcome) in outcomes.into_iter().enumerate().rev() {
            assert!(settled.try_recv().is_err());
            in_flight.answered(copy, outcome.map(|reply| vec![reply]));
        }
        settled.try_recv().unwrap()
    }

    #[test]
    fn a_step_is_settled_when_all_have_answered() {
        let all = settled(vec![Ok(Reply::Integer(1)), Ok(Reply::Integer(1))]);
        assert_eq!(all.replies, Some(vec![Reply::Integer(1)]));
        assert!(all.failed.is_empty() && all.differ.is_empty());
        let one = settled(vec![Err(CopyFailure::Unknown("gone".into())), Ok(Reply::OK)]);
        assert_eq!(one.replies, Some(vec![Reply::OK]));
        assert!(one.failed[0].copy == 0 && one.failed[0].is_unknown);
        let none = settled(vec![Err(CopyFailure::NotSent("a".into())), Err(CopyFailure::NotSent("b".into()))]);
        assert!(none.replies.is_none() && none.failed.iter().all(|failed| !failed.is_unknown));
    }

    #[test]
    fn who_refuses_what_others_do_has_failed() {
        let oom = || Reply::Error("OOM too much".into());
        let refused = settled(vec![Ok(oom()), Ok(Reply::OK)]);
        assert_eq!((refused.replies, refused.failed[0].copy), (Some(vec![Reply::OK]), 0));
        let alike = settled(vec![Ok(oom()), Ok(oom())]);
        assert!(alike.replies == Some(vec![oom()]) && alike.failed.is_empty());
        let differ = settled(vec![Ok(Reply::Integer(1)), Ok(Reply::Integer(2)), Ok(Reply::Integer(1))]);
        assert_eq!((differ.replies, differ.differ), (Some(vec![Reply::Integer(1)]), vec![1]));
    }
}
