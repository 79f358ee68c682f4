//! For which slots a node's answers hold: what it says of its own slots before them and after.
//!
//! `CLUSTER NODES` costs a node as much as hundreds of short commands (19 us, where a `DBSIZE` takes 0.07), so one question
//! stands behind all commands of a write that want to know, and what was said to the question before is what held before.
//! That may have been long ago: what has not changed since then has not changed meanwhile. Only where the last question is
//! so old that a change since then would be no wonder ([`FRESH`]), another one stands in front.
//!
//! Answers that hold for the same slots share one [`OwnSlots`], also those that came by different connections of a link: while
//! nothing moves nobody has to compare ranges.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::reply::Reply;
use crate::topology::{KeptLine, OwnLine, OwnSlots};

/// Holds what a node said of its own slots before it ran the commands of a batch, and after.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SlotsAround {
    /// Holds what the node said before the first command.
    pub before: Arc<OwnSlots>,
    /// Holds what the node said after the last command.
    pub after: Arc<OwnSlots>,
}

impl SlotsAround {
    /// Holds what was said at two moments.
    pub fn new(before: Arc<OwnSlots>, after: Arc<OwnSlots>) -> Self {
        Self { before, after }
    }

    /// Returns the slots that the answers hold for; `None` if these have changed meanwhile.
    pub fn held(&self) -> Option<&Arc<OwnSlots>> {
        let is_same = Arc::ptr_eq(&self.before, &self.after) || self.before == self.after;
        is_same.then_some(&self.after)
    }
}

/// The command by which a node is asked for its slots.
pub(crate) const QUESTION: [&str; 2] = ["CLUSTER", "NODES"];

/// The time for which an answer counts as fresh, so that no other question is sent.
const FRESH: Duration = Duration::from_millis(20);

/// Follows what one node says of its own slots, on one connection or in process.
#[derive(Default)]
pub(crate) struct OwnSlotsWatch {
    /// The last answer on this way.
    last: Option<Arc<OwnSlots>>,
    /// The line that said it.
    line: KeptLine,
    /// The moment when the node was last asked.
    asked: Option<Instant>,
    of_node: Arc<LatestOwnSlots>,
}

/// The last answer of a node on any way.
#[derive(Default)]
pub(crate) struct LatestOwnSlots(Mutex<Option<Arc<OwnSlots>>>);

impl OwnSlotsWatch {
    /// Follows what a node says on one of several ways.
    pub(super) fn of(of_node: Arc<LatestOwnSlots>) -> Self {
        Self { of_node, ..Self::default() }
    }

    /// Tells whether the node has been asked so lately that its answer will do as the one before.
    pub(crate) fn is_fresh(&self) -> bool {
        self.asked.is_some_and(|asked| asked.elapsed() < FRESH)
    }

    /// Hears that the node is asked now.
    pub(crate) fn has_asked(&mut self) {
        self.asked = Some(Instant::now());
    }

    /// Returns what was last said.
    pub(crate) fn last(&self) -> Option<&Arc<OwnSlots>> {
        self.last.as_ref()
    }

    /// Hears a whole reply, as it came. Returns what the node says now.
    ///
    /// # Errors
    /// The error says why the node does not say it, in its words.
    pub(crate) fn hear(&mut self, reply: &[u8]) -> Result<Arc<OwnSlots>, String> {
        let line = match reply {
            // A verbatim string says what kind of text it is.
            [b'=', ..] => behind_line(reply).get(4..).and_then(OwnLine::find),
            [b'$', ..] => OwnLine::find(behind_line(reply)),
            [b'-', error @ ..] => return Err(String::from_utf8_lossy(error).trim_end().to_owned()),
            _ => None,
        };
        let line = line.ok_or_else(unreadable)?;
        if let Some(last) = &self.last
            && self.line.line() == line
        {
            return Ok(last.clone());
        }
        let said = self.of_node.share(line.parse().ok_or_else(unreadable)?);
        line.copy_to(&mut self.line);
        self.last = Some(said.clone());
        Ok(said)
    }

    /// Hears a whole reply, as it came. Returns what holds for the answers since the reply before.
    ///
    /// # Errors
    /// The error says why the node does not say it, in its words.
    pub(crate) fn hear_after(&mut self, reply: &[u8]) -> Result<SlotsAround, String> {
        let before = self.last.clone();
        let after = self.hear(reply)?;
        // Without, the question in front was refused, and this one was not.
        let before = before.ok_or("it did not say before its answers which slots it had")?;
        Ok(SlotsAround { before, after })
    }
}

impl LatestOwnSlots {
    /// Returns the value that all ways share for what was said.
    fn share(&self, said: OwnSlots) -> Arc<OwnSlots> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some(latest) if **latest == said => latest.clone(),
            _ => latest.insert(Arc::new(said)).clone(),
        }
    }
}

/// Reads what a node says in a reply.
///
/// # Errors
/// The error says why the node does not say it, in its words.
pub(super) fn said_in(reply: &Reply) -> Result<OwnSlots, String> {
    match reply {
        Reply::Error(message) => Err(String::from_utf8_lossy(message).into_owned()),
        reply => reply.bytes().and_then(OwnSlots::parse).ok_or_else(unreadable),
    }
}

fn unreadable() -> String {
    "its own line of CLUSTER NODES cannot be read".to_owned()
}

/// Returns what stands behind the first line.
fn behind_line(reply: &[u8]) -> &[u8] {
    memchr::memchr(b'\n', reply).map_or(&[], |end| &reply[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(epoch: u64, slots: &str) -> String {
        format!("aa 10.0.0.1:7001@17001 myself,master - 0 {} {epoch} connected {slots}\n", epoch * 31)
    }

    fn bulk(text: &str) -> Vec<u8> {
        format!("${}\r\n{text}\r\n", text.len()).into_bytes()
    }

    #[test]
    fn what_does_not_change_is_one_value() {
        let of_node = Arc::new(LatestOwnSlots::default());
        let [mut one, mut other] = [(); 2].map(|()| OwnSlotsWatch::of(of_node.clone()));
        let first = one.hear(&bulk(&nodes(1, "0-9"))).unwrap();
        assert!(Arc::ptr_eq(&first, &one.hear(&bulk(&nodes(1, "0-9"))).unwrap()));
        let verbatim = format!("txt:{}", nodes(1, "0-9"));
        let verbatim = format!("={}\r\n{verbatim}\r\n", verbatim.len());
        assert!(Arc::ptr_eq(&first, &other.hear(verbatim.as_bytes()).unwrap()));
        let second = one.hear(&bulk(&nodes(2, "0-9"))).unwrap();
        assert_ne!(first, second);
        assert!(Arc::ptr_eq(&second, &other.hear(&bulk(&nodes(2, "0-9"))).unwrap()));
    }

    #[test]
    fn answers_hold_while_nothing_changes() {
        let mut watch = OwnSlotsWatch::default();
        assert!(watch.hear_after(&bulk(&nodes(1, "0-9"))).is_err(), "nothing was said before");
        let around = watch.hear_after(&bulk(&nodes(1, "0-9"))).unwrap();
        assert_eq!(around.held().unwrap().owned, [(0, 9)]);
        for changed in [nodes(1, "0-8"), nodes(2, "0-8"), nodes(2, "0-8 [8->-bb]")] {
            let around = watch.hear_after(&bulk(&changed)).unwrap();
            assert!(around.held().is_none(), "{around:?}");
        }
    }

    #[test]
    fn a_refusal_is_an_error_and_what_was_said_before_stays() {
        let mut watch = OwnSlotsWatch::default();
        let said = watch.hear(&bulk(&nodes(1, "0-9"))).unwrap();
        assert_eq!(watch.hear(b"-NOPERM no\r\n").unwrap_err(), "NOPERM no");
        for unreadable in [&b"+OK\r\n"[..], b"$0\r\n\r\n", b"=0\r\n\r\n", b"$-1\r\n"] {
            assert!(watch.hear(unreadable).unwrap_err().contains("CLUSTER NODES"));
        }
        assert!(Arc::ptr_eq(watch.last().unwrap(), &said));
    }

    #[test]
    fn an_answer_is_fresh_for_a_moment() {
        let mut watch = OwnSlotsWatch::default();
        assert!(!watch.is_fresh());
        watch.has_asked();
        assert!(watch.is_fresh());
        watch.asked = Instant::now().checked_sub(FRESH);
        assert!(!watch.is_fresh());
    }
}
