//! [`Apart`]: the answers of units kept apart, each with what its node has said of its slots, until it is known which of
//! them count.

use std::sync::Arc;

use bytes::Bytes;

use super::replies::ShardReply;
use crate::combine::AnyCombine;
use crate::error::Error;
use crate::link::{Delivery, Failure, SlotsAround};
use crate::peer::ReducedShare;
use crate::reply::Reply;
use crate::topology::{Node, OwnSlots};

/// The answer of one node.
pub(super) struct Part {
    pub(super) node: Arc<Node>,
    pub(super) answer: Answer,
    pub(super) claim: Claim,
}

/// The kind of answer that a node has given.
pub(super) enum Answer {
    /// A reply, or the failure that stands in its place.
    Reply(Result<Reply, Error>),
    /// The node has reduced its reply to this share.
    Reduced(ReducedShare),
}

/// The slots that a node has claimed around its answer.
#[derive(Debug, Clone)]
pub(super) enum Claim {
    /// The node had these slots all the time.
    Held(Arc<OwnSlots>),
    /// They changed meanwhile.
    Changed(SlotsAround),
    /// The node has not said which slots it had, for this reason.
    Unsaid(String),
}

impl Claim {
    /// Reads what a delivery says.
    pub(super) fn of(delivery: &Delivery) -> Self {
        match (&delivery.own_slots, &delivery.failure) {
            (Some(around), _) => {
                around.held().map_or_else(|| Self::Changed(around.clone()), |own| Self::Held(own.clone()))
            }
            (None, Some(Failure::OwnSlotsUnknown(why))) => Self::Unsaid(why.clone()),
            (None, _) => Self::nothing(),
        }
    }

    /// Makes the claim of a node that has said nothing.
    pub(super) fn nothing() -> Self {
        Self::Unsaid("nothing was said".into())
    }
}

/// The answers to a step whose units are one node each. A unit without an answer is open, or was answered together with
/// another one.
pub(super) struct Apart {
    /// The reducer for nodes that reduce their replies.
    pub(super) combine: Option<Arc<dyn AnyCombine>>,
    parts: Vec<Option<Part>>,
}

impl Apart {
    pub(super) fn new(units: usize, combine: Option<Arc<dyn AnyCombine>>) -> Self {
        Self { combine, parts: (0..units).map(|_| None).collect() }
    }

    pub(super) fn into_parts(self) -> Vec<Option<Part>> {
        self.parts
    }

    pub(super) fn parts(&self) -> &[Option<Part>] {
        &self.parts
    }

    pub(super) fn put(&mut self, unit: u32, ShardReply { node, result }: ShardReply) {
        self.parts[unit as usize] = Some(Part { node, answer: Answer::Reply(result), claim: Claim::nothing() });
    }

    /// Takes what a node has reduced. A share of several units cannot be taken apart, and leaves them open.
    pub(super) fn put_partial(
        &mut self,
        node: &Arc<Node>,
        units: &[u32],
        mut share: ReducedShare,
    ) -> Vec<(u32, Bytes)> {
        let failed = std::mem::take(&mut share.failed);
        if let ([unit], []) = (units, &failed[..]) {
            let part = Part { node: node.clone(), answer: Answer::Reduced(share), claim: Claim::nothing() };
            self.parts[*unit as usize] = Some(part);
        }
        failed.into_iter().map(|(at, message)| (units[at as usize], message)).collect()
    }

    /// Takes what a node has said of its slots around the answers of these units.
    pub(super) fn put_claim(&mut self, units: &[u32], claim: &Claim) {
        for &unit in units {
            if let Some(part) = &mut self.parts[unit as usize] {
                part.claim = claim.clone();
            }
        }
    }
}
