//! The outcomes of the units of a request: each reply kept, or all of them reduced as they come.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use super::apart::{Answer, Apart, Claim, Part};
use super::guard::panicked;
use super::replies::{Replies, ShardReply};
use crate::combine::{self, AnyCombine, AnyPartial, Combine, Origin};
use crate::command::CommandSet;
use crate::error::Error;
use crate::peer::ReducedShare;
use crate::reply::Reply;
use crate::topology::Node;

/// The outcomes of units. A unit has one at most; one without is still open.
pub(super) enum Outcomes {
    /// Each stands in its place.
    Kept(Vec<Option<ShardReply>>),
    /// Keeps of the replies only their partial result.
    Reduced(ReducedSoFar),
    /// Each is kept as it came, with what its node has said of its slots.
    Apart(Apart),
}

/// All replies, or the failures alone with the partial result of the replies.
pub(super) type Gathered = (Replies, Option<Box<dyn AnyPartial>>);

/// Outcomes that are reduced as they come.
pub(super) struct ReducedSoFar {
    combine: Arc<dyn AnyCombine>,
    so_far: Box<dyn AnyPartial>,
    needs_keys: bool,
    /// The commands that the units are, in a map whose reducer needs their keys.
    commands: Option<Arc<CommandSet>>,
    is_settled: Vec<bool>,
    failed: BTreeMap<u32, ShardReply>,
    /// The first unit whose reply the reducer cannot take, with the error that this is.
    untaken: Option<(u32, Error)>,
    /// The nodes that have answered.
    nodes: Vec<Arc<Node>>,
}

impl Outcomes {
    /// Makes the outcomes of `units` units, which are kept or reduced.
    pub(super) fn of(units: usize, combine: Option<Arc<dyn AnyCombine>>) -> Self {
        match combine {
            None => Self::Kept(vec![None; units]),
            Some(combine) => Self::Reduced(ReducedSoFar {
                so_far: combine.clone().open(),
                needs_keys: combine.needs_keys(),
                combine,
                commands: None,
                is_settled: vec![false; units],
                failed: BTreeMap::new(),
                untaken: None,
                nodes: Vec::new(),
            }),
        }
    }

    /// Says that the units are these commands, whose keys the reducer may need.
    pub(super) fn by_keys_of(mut self, commands: &Arc<CommandSet>) -> Self {
        if let Self::Reduced(reduced) = &mut self
            && reduced.needs_keys
        {
            reduced.commands = Some(commands.clone());
        }
        self
    }

    /// Tells whether a node can reduce units on its own: it cannot if the reducer needs keys and there are none.
    pub(super) fn have_keys(&self) -> bool {
        match self {
            Self::Reduced(reduced) if reduced.commands.is_some() => true,
            _ => self.combine().is_none_or(|combine| !combine.needs_keys()),
        }
    }

    /// Returns the number of units.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Kept(outcomes) => outcomes.len(),
            Self::Reduced(reduced) => reduced.is_settled.len(),
            Self::Apart(apart) => apart.parts().len(),
        }
    }

    /// Returns the reducer for shares of the units.
    pub(super) fn combine(&self) -> Option<&Arc<dyn AnyCombine>> {
        match self {
            Self::Kept(_) => None,
            Self::Reduced(reduced) => Some(&reduced.combine),
            Self::Apart(apart) => apart.combine.as_ref(),
        }
    }

    pub(super) fn put(&mut self, unit: u32, outcome: ShardReply) {
        match self {
            Self::Kept(outcomes) => outcomes[unit as usize] = Some(outcome),
            Self::Reduced(reduced) => reduced.put(unit, outcome),
            Self::Apart(apart) => apart.put(unit, outcome),
        }
    }

    /// Takes the reply of a node as the outcome of a unit.
    pub(super) fn put_reply(&mut self, unit: u32, node: &Arc<Node>, reply: Reply) {
        match self {
            Self::Kept(outcomes) => {
                outcomes[unit as usize] = Some(ShardReply { node: node.clone(), result: Ok(reply) })
            }
            Self::Reduced(reduced) => reduced.put_reply(unit, node, reply),
            Self::Apart(apart) => apart.put(unit, ShardReply { node: node.clone(), result: Ok(reply) }),
        }
    }

    /// Takes what a node has said of its slots around the outcomes of these units.
    pub(super) fn put_claim(&mut self, units: &[u32], claim: Option<Claim>) {
        if let (Self::Apart(apart), Some(claim)) = (self, claim) {
            apart.put_claim(units, &claim);
        }
    }

    /// Returns what was kept apart, a place for each unit.
    pub(super) fn into_parts(self) -> Vec<Option<Part>> {
        match self {
            Self::Apart(apart) => apart.into_parts(),
            Self::Kept(_) | Self::Reduced(_) => Vec::new(),
        }
    }

    /// Tells whether it matters for which slots the outcomes hold.
    pub(super) fn are_apart(&self) -> bool {
        matches!(self, Self::Apart(_))
    }

    /// Takes what a node has reduced. Gives back what it has refused, which is not settled by that.
    pub(super) fn put_partial(&mut self, node: &Arc<Node>, units: &[u32], partial: ReducedShare) -> Vec<(u32, Bytes)> {
        let reduced = match self {
            Self::Kept(_) => return Vec::new(),
            Self::Apart(apart) => return apart.put_partial(node, units, partial),
            Self::Reduced(reduced) => reduced,
        };
        let mut refused = partial.failed.iter().map(|(at, _)| *at).peekable();
        for (at, &unit) in units.iter().enumerate() {
            if refused.next_if_eq(&(at as u32)).is_none() {
                reduced.is_settled[unit as usize] = true;
            }
        }
        reduced.so_far.combine(partial.reduced);
        reduced.has_answered(node);
        if let Some((at, found)) = partial.mixed {
            reduced.cannot_take(units[at as usize], node, found);
        }
        partial.failed.into_iter().map(|(at, message)| (units[at as usize], message)).collect()
    }

    /// Returns the units without an outcome.
    pub(super) fn open(&self) -> Vec<u32> {
        let is_open = |unit: &u32| match self {
            Self::Kept(outcomes) => outcomes[*unit as usize].is_none(),
            Self::Reduced(reduced) => !reduced.is_settled[*unit as usize],
            Self::Apart(apart) => apart.parts()[*unit as usize].is_none(),
        };
        (0..self.len() as u32).filter(is_open).collect()
    }

    /// Returns the nodes that have answered, each once.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Kept(outcomes) => {
                let mut nodes: Vec<Arc<Node>> = outcomes.iter().flatten().map(|outcome| outcome.node.clone()).collect();
                nodes.sort_by_key(Arc::as_ptr);
                nodes.dedup_by(|a, b| Arc::ptr_eq(a, b));
                nodes
            }
            Self::Reduced(reduced) => reduced.nodes.clone(),
            Self::Apart(apart) => apart.parts().iter().flatten().map(|part| part.node.clone()).collect(),
        }
    }

    /// Returns the failure that stands for the request: the one that says most, such as that it is open whether a write has
    /// run; of several the first.
    pub(super) fn main_failure(&self) -> Option<&Error> {
        Error::that_says_most(self.failures())
    }

    fn failures(&self) -> Box<dyn Iterator<Item = &Error> + '_> {
        match self {
            Self::Kept(kept) => Box::new(kept.iter().flatten().filter_map(|outcome| outcome.result.as_ref().err())),
            Self::Reduced(reduced) => {
                Box::new(reduced.failed.values().filter_map(|outcome| outcome.result.as_ref().err()))
            }
            Self::Apart(apart) => Box::new(apart.parts().iter().flatten().filter_map(|part| match &part.answer {
                Answer::Reply(result) => result.as_ref().err(),
                Answer::Reduced(_) => None,
            })),
        }
    }

    /// Returns all replies, or the failures alone with the partial result of the replies.
    ///
    /// # Errors
    /// [`Error::Mixed`] if the reducer could not take a reply.
    pub(super) fn finish(self) -> Result<Gathered, Error> {
        match self {
            Self::Kept(outcomes) => Ok((outcomes.into_iter().flatten().collect(), None)),
            Self::Reduced(ReducedSoFar { untaken: Some((_, error)), .. }) => Err(error),
            Self::Reduced(reduced) => Ok((reduced.failed.into_values().collect(), Some(reduced.so_far))),
            Self::Apart(_) => {
                Err(Error::Internal("internal error: answers were kept apart, and not put together".into()))
            }
        }
    }
}

impl ReducedSoFar {
    fn put(&mut self, unit: u32, ShardReply { node, result }: ShardReply) {
        match result {
            Ok(reply) => self.put_reply(unit, &node, reply),
            Err(error) => {
                self.is_settled[unit as usize] = true;
                self.has_answered(&node);
                self.failed.insert(unit, ShardReply { node, result: Err(error) });
            }
        }
    }

    fn put_reply(&mut self, unit: u32, node: &Arc<Node>, reply: Reply) {
        self.is_settled[unit as usize] = true;
        self.has_answered(node);
        let of_node;
        let key = match &self.commands {
            Some(commands) => commands.at(unit as usize).routing_key().unwrap_or_default(),
            None if self.needs_keys => {
                of_node = node.name();
                of_node.as_bytes()
            }
            None => &[],
        };
        if let Err(found) = self.so_far.take(Origin::new(unit, key), reply) {
            self.cannot_take(unit, node, found);
        }
    }

    fn cannot_take(&mut self, unit: u32, node: &Arc<Node>, found: String) {
        if self.untaken.as_ref().is_none_or(|(first, _)| unit < *first) {
            let error = Error::Mixed { reducer: self.combine.name(), found, node: node.to_string() };
            self.untaken = Some((unit, error));
        }
    }

    fn has_answered(&mut self, node: &Arc<Node>) {
        if !self.nodes.iter().any(|known| Arc::ptr_eq(known, node)) {
            self.nodes.push(node.clone());
        }
    }
}

/// Gathers with a reducer that can be split, and returns what it comes to beside the failures. The reducer is somebody
/// else's code, while replies are gathered as well as in the end.
pub(super) async fn combined<C: Combine>(
    combine: &C,
    gather: Pin<&mut impl Future<Output = Result<Gathered, Error>>>,
) -> Result<(C::Output, Replies), Error> {
    let finish = |gathered: Result<Gathered, Error>| {
        let (failures, partial) = gathered?;
        let nothing = || Error::Internal("internal error: nothing was reduced".into());
        Ok((combine::finish(combine, partial.ok_or_else(nothing)?)?, failures))
    };
    let gathered = AssertUnwindSafe(gather).catch_unwind().await;
    let finished = gathered.and_then(|gathered| catch_unwind(AssertUnwindSafe(|| finish(gathered))));
    finished.unwrap_or_else(|panic| Err(panicked("reducer", &*panic)))
}
