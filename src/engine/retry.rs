//! The retry policy: how often a unit of a request is tried, after which pauses, and when it has failed.
//!
//! The meaning of a node's reply is [`redirect`](super::redirect)'s to say. The next step after it, by what has been tried
//! before and by what the request allows, stands here.

use std::time::Duration;

use tokio::time::Instant;

use super::doubt::Doubt;
use super::redirect::Verdict;
use super::replies::ShardReply;
use super::route::Destination;
use super::settle::TRANSIT;
use crate::link::Mode;
use crate::topology::Address;

/// The number of redirects of one unit that are followed at once: twice what a sound cluster ever needs.
const QUICK_REDIRECTS: u8 = 6;

/// The number of redirects that one unit may follow in all; after the quick ones it waits for a fresh topology.
const MOST_REDIRECTS: u8 = 16;

/// The number of times that one unit is tried when its node cannot be reached, or is lost before a read was answered.
const MOST_FAILURES: u8 = 3;

/// The pause before a unit is tried again, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The time that has to be left for another attempt.
pub(super) const SHORTEST_TRY: Duration = Duration::from_millis(10);

/// The attempts for a unit that did not succeed at once.
#[derive(Default)]
pub(super) struct Tries {
    redirects: u8,
    failures: u8,
    backoff: Backoff,
    /// The moment since which the unit waits for the node of its redirect to be known.
    pub(super) unknown_since: Option<Instant>,
    /// The moment since which the unit's node says that nobody serves its slot.
    unserved_since: Option<Instant>,
    /// The outcome of the unit when time is up.
    pub(super) last: Option<ShardReply>,
}

/// Pauses that double. They also pace the wait on `TRYAGAIN`, which only the deadline ends.
#[derive(Default)]
pub(super) struct Backoff {
    pauses: u8,
}

impl Backoff {
    /// Returns how long to wait before the next try.
    pub(super) fn next_pause(&mut self) -> Duration {
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE * (1 << self.pauses.min(8)));
        self.pauses = self.pauses.saturating_add(1);
        pause
    }
}

/// Says what to do about a unit that has no outcome yet.
pub(super) enum Next {
    To(Destination),
    /// Send it to a node that the topology does not know, if a fresh one does, after a pause.
    Follow(Address, Mode),
    /// Wherever it belongs by a fresh topology, after a pause.
    Retry,
    /// Ask the node again: its answer to code of others may be the words of that code.
    Doubt(Box<Doubt>),
}

/// Says where a unit goes that a node has refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Onward {
    /// Send it to the node that the refusal names.
    Follow(Address, Mode),
    /// Send it to the same node, over a socket.
    OverSocket,
    /// Send it to the same node, for the replies as they are.
    Unreduced,
    /// Wherever it belongs by a fresh topology, after a pause.
    Retry,
}

/// Says what a unit's route and the request's options allow after a refusal.
pub(super) struct Allowed {
    pub(super) redirects: bool,
    pub(super) other_primary: bool,
    pub(super) waiting: bool,
}

impl Tries {
    /// Returns where the unit goes after a node has refused it. `None`: the refusal is its outcome.
    pub(super) fn after_refusal(&mut self, verdict: &Verdict, at: &Destination, allowed: &Allowed) -> Option<Onward> {
        let may_redirect = allowed.redirects && self.redirects < MOST_REDIRECTS;
        match verdict {
            Verdict::Moved(address) if may_redirect => {
                self.redirects += 1;
                // Nodes that go on sending to each other do not agree yet.
                let is_quick = self.redirects <= QUICK_REDIRECTS;
                Some(if is_quick { Onward::Follow(address.clone(), Mode::Plain) } else { Onward::Retry })
            }
            Verdict::Ask(address) if may_redirect => {
                self.redirects += 1;
                Some(Onward::Follow(address.clone(), Mode::Asking))
            }
            Verdict::Elsewhere if at.in_process => Some(Onward::OverSocket),
            Verdict::Elsewhere if at.reduces => Some(Onward::Unreduced),
            Verdict::Demoted if allowed.other_primary && self.failures < MOST_FAILURES => {
                self.failures += 1;
                Some(Onward::Retry)
            }
            Verdict::Later if allowed.waiting => Some(Onward::Retry),
            _ => None,
        }
    }

    /// Hears what a node has said about the unit's slot. Returns whether it has denied for longer than nodes take to agree that
    /// anybody serves it.
    pub(super) fn is_unserved_for_good(&mut self, message: &[u8]) -> bool {
        if !message.starts_with(b"CLUSTERDOWN Hash slot not served") {
            self.unserved_since = None;
            return false;
        }
        self.unserved_since.get_or_insert_with(Instant::now).elapsed() >= TRANSIT
    }

    /// Counts a failure of the node. Returns whether the unit may be tried once more.
    pub(super) fn after_failure(&mut self) -> bool {
        self.failures += 1;
        self.failures < MOST_FAILURES
    }

    /// Returns how long to wait before the next try.
    pub(super) fn next_pause(&mut self) -> Duration {
        self.backoff.next_pause()
    }
}
