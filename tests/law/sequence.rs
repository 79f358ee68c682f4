//! Sequences of commands, played on both sides in lock-step.

use std::collections::BTreeMap;

use super::differences::{self, CLUSTER_ONLY, CROSS_SLOT};
use super::generate::{Argv, generate};
use super::listed::Listed;
use super::pair::{Pair, shown};
use super::random::Random;
use super::reply::{Alike, Reply, are_alike};
use crate::common::slot_of;

/// One command, and how it is sent.
#[derive(Clone)]
pub struct Step {
    command: Listed,
    argv: Argv,
    is_nonatomic: bool,
    is_resp3: bool,
    node: usize,
}

/// What came of a step that the law allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The same success on both sides.
    Success,
    /// The same success, of a command that was split.
    Split,
    /// The same error on both sides.
    Error,
    /// Refused by rmr, for a command that the tables name.
    Refused,
    /// Keys of several slots, in a command that cannot be split.
    CrossSlot,
    /// An error that only a cluster gives, and that the tables name.
    ClusterOnly,
}

/// How often a command came out how.
pub type Tally = BTreeMap<String, BTreeMap<Outcome, usize>>;

impl Step {
    /// A command with arguments, by chance.
    pub fn draw(command: &Listed, pair: &Pair, random: &mut Random) -> Self {
        let argv = generate(command, &pair.stock, random);
        let may_split = command.is_split() && command.has_flag("write");
        let is_nonatomic = random.chance(if may_split { 60 } else { 5 });
        let (is_resp3, node) = (random.chance(50), random.below(pair.nodes.len()));
        Self { command: command.clone(), argv, is_nonatomic, is_resp3, node }
    }

    /// The command's name.
    pub fn name(&self) -> &str {
        &self.command.name
    }

    /// As one would type it.
    pub fn shown(&self) -> String {
        let nonatomic = if self.is_nonatomic { "NONATOMIC " } else { "" };
        let protocol = if self.is_resp3 { 3 } else { 2 };
        format!("node {} RESP{protocol}: RMR.EXEC {nonatomic}{}", self.node, shown(&self.argv))
    }

    /// Sends it to both sides.
    ///
    /// # Errors
    /// How the law is broken.
    pub fn play(&self, pair: &mut Pair) -> Result<Outcome, String> {
        let cluster = self.call_cluster(pair, &self.argv)?;
        if let Some(error) = cluster.error()
            && let Some(outcome) = self.excuse(pair, &error)?
        {
            return Ok(outcome);
        }
        let alone = pair.alone.call(self.is_resp3, &self.argv)?;
        let (cluster, alone, how) = self.whole_scans(pair, cluster, alone)?;
        if !are_alike(&cluster, &alone, how) {
            return Err(format!("not alike ({how:?})\n  cluster: {cluster}\n  alone:   {alone}"));
        }
        if self.command.has_flag("write") && cluster != alone {
            // Chance was at work. What follows needs the same data again.
            pair.keys(&self.argv).iter().for_each(|key| pair.copy(key));
        }
        if ["flushall", "flushdb"].contains(&&*self.command.name) && alone.error().is_none() {
            pair.compare()?;
            pair.begin();
        }
        Ok(match cluster.error() {
            Some(_) => Outcome::Error,
            None if self.command.is_split() && self.is_spread(pair) => Outcome::Split,
            None => Outcome::Success,
        })
    }

    fn call_cluster(&self, pair: &mut Pair, argv: &Argv) -> Result<Reply, String> {
        let mut request = vec![b"RMR.EXEC".to_vec()];
        request.extend(self.is_nonatomic.then(|| b"NONATOMIC".to_vec()));
        request.extend(argv.iter().cloned());
        pair.nodes[self.node].call(self.is_resp3, &request).map_err(|error| format!("{error}, from the cluster"))
    }

    /// Why the single server is not asked at all.
    fn excuse(&self, pair: &mut Pair, error: &str) -> Result<Option<Outcome>, String> {
        let name = self.command.name.as_str();
        if ["cannot be sent to other nodes: ", "is not run cluster-wide: ", "there is no generic way to run"]
            .iter()
            .any(|words| error.contains(words))
        {
            let may_be = differences::may_be_refused(&self.command, &self.argv);
            return if may_be { Ok(Some(Outcome::Refused)) } else { Err(format!("refused: {error}")) };
        }
        if error.starts_with("CROSSSLOT ") {
            let is_split = self.command.is_split() && (self.is_nonatomic || name != "mset");
            return if self.is_spread(pair) && !is_split {
                Ok(Some(Outcome::CrossSlot))
            } else {
                Err(format!("{error}\n  but {CROSS_SLOT}"))
            };
        }
        let is_listed = CLUSTER_ONLY.iter().any(|entry| entry.commands.contains(&name) && error.contains(entry.what));
        Ok(is_listed.then_some(Outcome::ClusterOnly))
    }

    /// Whether the keys lie in several slots.
    fn is_spread(&self, pair: &mut Pair) -> bool {
        let slots: Vec<u16> = pair.keys(&self.argv).iter().map(slot_of).collect();
        slots.iter().any(|slot| *slot != slots[0])
    }

    /// Cursors differ, and so does what comes first: scans are compared once they have been played to their end.
    fn whole_scans(&self, pair: &mut Pair, cluster: Reply, alone: Reply) -> Result<(Reply, Reply, Alike), String> {
        let cursor_at = match self.command.name.as_str() {
            "scan" => 1,
            "sscan" | "hscan" | "zscan" => 2,
            _ => return Ok((cluster, alone, differences::how_alike(&self.command, &self.argv))),
        };
        if self.argv.get(cursor_at).is_none_or(|cursor| cursor != b"0") {
            return Ok((cluster, alone, Alike::InKind));
        }
        let whole = |first: Reply, call: &mut dyn FnMut(&Argv) -> Result<Reply, String>| {
            let mut reply = first;
            let mut found = Vec::new();
            loop {
                let [cursor, elements] = reply.elements() else { return Ok::<Reply, String>(reply) };
                found.extend(elements.elements().iter().cloned());
                if cursor.bytes() == b"0" {
                    found.sort();
                    found.dedup();
                    return Ok(Reply::List(b'*', found));
                }
                let mut argv = self.argv.clone();
                argv[cursor_at] = cursor.bytes().to_vec();
                reply = call(&argv)?;
            }
        };
        let alone = whole(alone, &mut |argv| pair.alone.call(self.is_resp3, argv))?;
        let cluster = whole(cluster, &mut |argv| self.call_cluster(pair, argv))?;
        Ok((cluster, alone, Alike::Exactly))
    }
}

/// Plays a sequence from its beginning and compares the data at its end.
///
/// # Errors
/// How the law is broken, and at which step.
pub fn play(pair: &mut Pair, steps: &[Step], tally: &mut Tally) -> Result<(), (usize, String)> {
    pair.begin();
    for (index, step) in steps.iter().enumerate() {
        let outcome = step.play(pair).map_err(|error| (index, error))?;
        *tally.entry(step.command.name.clone()).or_default().entry(outcome).or_default() += 1;
    }
    pair.compare().map_err(|error| (steps.len() - 1, format!("the data differs afterwards: {error}")))
}

/// Steps as one would type them, a line each.
pub fn shown_all(steps: &[Step]) -> String {
    steps.iter().map(Step::shown).collect::<Vec<_>>().join("\n")
}

/// The same failure with fewer steps, as text.
pub fn shrunk(pair: &mut Pair, steps: &[Step], failure: (usize, String)) -> String {
    let (last, mut error) = failure;
    let mut kept = steps[..=last].to_vec();
    let mut chunk = kept.len() / 2;
    while chunk > 0 {
        let mut start = 0;
        while start < kept.len() && kept.len() > chunk {
            let mut fewer = kept.clone();
            fewer.drain(start..(start + chunk).min(kept.len()));
            match play(pair, &fewer, &mut Tally::new()) {
                Err((last, again)) => {
                    fewer.truncate(last + 1);
                    (kept, error) = (fewer, again);
                }
                Ok(()) => start += chunk,
            }
        }
        chunk /= 2;
    }
    format!("{}\n  {error}", shown_all(&kept))
}
