//! [`KeyCheck`]: a comparison of some keys of a slot at all copies, while nobody writes there, at the proxy that orders the slot.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::Sequencer;
use super::in_turn::HeldSlot;
use super::lane::words_of;
use super::refusal::not_now;
use crate::command::Command;
use crate::error::Error;
use crate::link::Budget;
use crate::peer::ForwardedStep;
use crate::placement::store::copy::compare::compare;
use crate::placement::store::copy::node::DataNode;
use crate::reply::Reply;

/// The name of the question to another proxy.
const CHECK: &[u8] = b"CHECK";

/// The time for which a slot may be held for such a question, and its answer be waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most bytes that an answer may have: names of keys.
const MOST_BYTES: usize = 1 << 28;

/// A question about keys of a slot.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::placement::store) struct KeyCheck {
    pub(in crate::placement::store) slot: u16,
    pub(in crate::placement::store) keys: Vec<Bytes>,
    /// Copies get the keys that differ as the first copy has them.
    pub(in crate::placement::store) repairs: bool,
}

/// A key of which a copy has something else than the first one.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::placement::store) struct UnequalKey {
    pub(in crate::placement::store) key: Bytes,
    pub(in crate::placement::store) first_copy: String,
    pub(in crate::placement::store) other_copy: String,
    /// The rest of the sentence that begins with the key at the first copy.
    pub(in crate::placement::store) what: String,
}

impl KeyCheck {
    /// Makes of a question what is sent.
    fn frame(&self) -> Command {
        let words = if self.repairs { "repair" } else { "look" };
        let frame = Command::new("CHECK").arg(u64::from(self.slot)).arg(words);
        self.keys.iter().fold(frame, |frame, key| frame.arg(&key[..]))
    }

    /// Reads a question of another proxy; `None` if it is none.
    pub(super) fn unframe(frame: &Command) -> Option<Self> {
        let mut words = frame.args();
        let slot = std::str::from_utf8(words.next().filter(|_| frame.name() == CHECK)?).ok()?.parse().ok()?;
        let repairs = words.next()? == b"repair";
        Some(Self { slot, keys: words.map(Bytes::copy_from_slice).collect(), repairs })
    }
}

impl UnequalKey {
    fn reply(&self) -> Reply {
        let words = [&self.first_copy, &self.other_copy, &self.what].map(|word| Reply::from(word.as_str()));
        Reply::Array(std::iter::once(Reply::Bulk(self.key.clone())).chain(words).collect())
    }

    fn read(reply: &Reply) -> Option<Self> {
        let [key, first_copy, other_copy, what] = reply.elements()? else { return None };
        let text = |word: &Reply| Some(String::from_utf8_lossy(word.bytes()?).into_owned());
        Some(Self {
            key: Bytes::copy_from_slice(key.bytes()?),
            first_copy: text(first_copy)?,
            other_copy: text(other_copy)?,
            what: text(what)?,
        })
    }
}

impl Sequencer {
    /// Compares what the copies of a slot have of some keys, while nobody writes there.
    ///
    /// # Errors
    /// The error says why that cannot be done now.
    pub(in crate::placement::store) async fn check(&self, check: &KeyCheck) -> Result<Vec<UnequalKey>, Bytes> {
        let table = self.table()?;
        if self.own(&table, check.slot, true)?.is_some() {
            return self.check_here(check).await;
        }
        let Some(proxy) = table.slots()[usize::from(check.slot)].sequencer.clone() else {
            return Err(not_now(check.slot, "no proxy orders its writes yet"));
        };
        // Not by the way that steps go: they would wait for the answer.
        let why = |why: String| not_now(check.slot, &format!("{proxy}, which orders its writes: {why}"));
        let mut session = self.open_peer(&proxy, &table.settings.secret).await.map_err(why)?;
        let asked = session.call(&check.frame(), &Budget::new(MOST_BYTES), Instant::now() + PATIENCE).await;
        match asked.map_err(|failure| why(words_of(&failure)))? {
            Reply::Error(words) => Err(words),
            reply => {
                let read = |unequal: &[Reply]| unequal.iter().map(UnequalKey::read).collect();
                reply.elements().and_then(read).ok_or_else(|| why(format!("it has answered {reply}")))
            }
        }
    }

    /// Answers such a question of another proxy.
    pub(super) fn take_check(&self, check: KeyCheck) -> ForwardedStep {
        let Some(itself) = self.itself.upgrade() else {
            return ForwardedStep::answered(Reply::Error(not_now(check.slot, "the proxy ends")));
        };
        ForwardedStep(Box::pin(async move {
            match itself.check_here(&check).await {
                Ok(unequal) => Reply::Array(unequal.iter().map(UnequalKey::reply).collect()),
                Err(words) => Reply::Error(words),
            }
        }))
    }

    async fn check_here(&self, KeyCheck { slot, keys, repairs }: &KeyCheck) -> Result<Vec<UnequalKey>, Bytes> {
        let until = Instant::now() + PATIENCE;
        let _turn = self.turns.alone(*slot, until).await?;
        let held = self.hold(*slot, until).await?;
        let late = |_| not_now(*slot, "its copies take too long to be compared");
        let unequal = timeout_at(until, self.compare(&held, keys)).await.map_err(late)?;
        let unequal = unequal.map_err(|error| not_now(*slot, &error.to_string()))?;
        self.tables.counts().scrub_differences.add(unequal.len() as u64);
        if *repairs && !unequal.is_empty() {
            let mut keys: Vec<Bytes> = unequal.iter().map(|unequal| unequal.key.clone()).collect();
            keys.sort_unstable();
            keys.dedup();
            self.make_keys_equal(*slot, &keys, until).await?;
        }
        Ok(unequal)
    }

    async fn compare(&self, held: &HeldSlot, keys: &[Bytes]) -> Result<Vec<UnequalKey>, Error> {
        let names: Vec<String> = held.copies.iter().map(|(lane, _)| lane.address.to_string()).collect();
        let Some((first_copy, others)) = names.split_first() else { return Ok(Vec::new()) };
        let mut first = DataNode::connect(&self.links, first_copy).await?;
        let mut unequal = Vec::new();
        for other_copy in others {
            let mut other = DataNode::connect(&self.links, other_copy).await?;
            let found = compare(&mut first, &mut other, keys).await?;
            unequal.extend(found.into_iter().map(|found| UnequalKey {
                key: found.key.into(),
                first_copy: first_copy.clone(),
                other_copy: other_copy.clone(),
                what: found.what.to_owned(),
            }));
        }
        Ok(unequal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_and_its_answer_arrive_as_they_were_sent() {
        let check = KeyCheck { slot: 7, keys: vec!["a b".into(), Bytes::new(), "\r\n".into()], repairs: true };
        assert_eq!(KeyCheck::unframe(&check.frame()), Some(check));
        assert_eq!(KeyCheck::unframe(&Command::new("STEP").arg(7).arg("writes")), None);
        let word = |word: &str| word.to_owned();
        let unequal =
            UnequalKey { key: "\r\n".into(), first_copy: word("a:1"), other_copy: word("b:2"), what: word("x") };
        assert_eq!(UnequalKey::read(&unequal.reply()), Some(unequal));
        assert_eq!(UnequalKey::read(&Reply::OK), None);
    }
}
