//! Sequences of commands, played on both sides in lock-step.

use std::collections::BTreeMap;
use std::time::Duration;

use super::differences::{self, CLUSTER_ONLY, CROSS_SLOT};
use super::generate::{Argv, generate};
use super::guard::Guard;
use super::listed::Listed;
use super::pair::{Pair, Wires, shown};
use super::reply::{Alike, Reply, are_alike};
use super::road::{Road, Way};
use crate::common::Random;
use crate::common::slot_of;

/// The time after which a command without an answer is taken to wait.
const WAITS: Duration = Duration::from_millis(80);

/// In what time a command is answered that does not wait, on a machine that is busy.
const SOON: Duration = Duration::from_secs(4);

/// One command, and how it is sent.
#[derive(Clone)]
pub struct Step {
    command: Listed,
    argv: Argv,
    road: Road,
    is_nonatomic: bool,
    is_resp3: bool,
    node: usize,
}

/// The outcome of a step that the law allows.
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

/// The answers of both sides while writes wait.
enum Answered {
    Both(Reply, Reply),
    /// The single server was not asked, or what it did was undone.
    Excused(Outcome),
}

/// The number of times that a command came to each outcome.
pub type Tally = BTreeMap<String, BTreeMap<Outcome, usize>>;

impl Step {
    /// A command with arguments, by chance.
    pub fn draw(command: &Listed, road: Road, pair: &Pair, random: &mut Random) -> Self {
        let argv = generate(command, &pair.stock, random);
        let may_split = command.is_split() && command.has_flag("write");
        let is_nonatomic = random.chance(if may_split { 60 } else { 5 });
        let (is_resp3, node) = (random.chance(50), random.below(pair.nodes.len()));
        // A count hides what chance has made of the data.
        let by_chance = differences::how_alike(command, &argv) != Alike::Exactly;
        let road = if road == Road::Pushdown && by_chance { Road::Map } else { road };
        Self { command: command.clone(), argv, road, is_nonatomic, is_resp3, node }
    }

    /// The command's name.
    pub fn name(&self) -> &str {
        &self.command.name
    }

    /// Returns the step as one would type it.
    pub fn shown(&self) -> String {
        let nonatomic = if self.is_nonatomic { "NONATOMIC " } else { "" };
        let protocol = if self.is_resp3 { 3 } else { 2 };
        format!("node {} RESP{protocol} {}: {nonatomic}{}", self.node, self.road, shown(&self.argv))
    }

    fn way(&self, pair: &mut Pair, argv: &Argv) -> Way {
        self.road.way(pair, argv, self.is_nonatomic)
    }

    /// Sends it to both sides.
    ///
    /// # Errors
    /// The error says how the law is broken.
    pub fn play(&self, pair: &mut Pair) -> Result<Outcome, String> {
        let way = self.way(pair, &self.argv);
        self.play_by(pair, &way).map_err(|error| format!("{}\n  {error}", shown(&way.request)))
    }

    fn play_by(&self, pair: &mut Pair, way: &Way) -> Result<Outcome, String> {
        let is_apart = match way.road {
            Road::Proxy => differences::is_nodes_own(&self.command, &self.argv),
            Road::Program => differences::is_proxys_own(&self.command, &self.argv),
            _ => false,
        };
        if is_apart {
            // Many of them would change the connection.
            return Ok(Outcome::Refused);
        }
        let (cluster, alone) = match pair.guard {
            Guard::Paused => match self.wait(pair, way)? {
                Answered::Both(cluster, alone) => (cluster, alone),
                Answered::Excused(outcome) => return Ok(outcome),
            },
            _ => {
                let cluster = self.call_cluster(pair, &self.argv)?;
                if let Some(error) = cluster.error()
                    && let Some(outcome) = self.excuse(pair, &error)?
                {
                    return Ok(outcome);
                }
                (cluster, pair.alone.call(self.is_resp3, &self.argv)?)
            }
        };
        let has_failed = cluster.error().is_some();
        let (here, there, how) = match way.road {
            Road::Pushdown => (cluster, way.road.expected(&alone), Alike::Exactly),
            _ => self.whole_scans(pair, cluster, alone)?,
        };
        let how = match (way.road, how) {
            // In this mode the node answers for itself.
            (Road::Proxy, Alike::ByNode) => Alike::InKind,
            (_, how) => how,
        };
        if !are_alike(&here, &there, how) {
            let may_differ = pair.guard != Guard::None && there.error().is_some();
            if may_differ && differences::may_differ_under_a_guard(&self.command, &here) {
                return Ok(Outcome::Error);
            }
            return Err(format!("not alike ({how:?})\n  cluster: {here}\n  alone:   {there}"));
        }
        if self.command.has_flag("write") && here != there {
            // Chance was at work. The rest needs the same data again.
            self.even_out(pair);
        }
        if ["flushall", "flushdb"].contains(&&*self.command.name) && !has_failed {
            pair.unguarded(|pair| {
                pair.compare()?;
                pair.begin();
                Ok::<_, String>(())
            })?;
        }
        Ok(match has_failed {
            true => Outcome::Error,
            false if self.command.is_split() && self.is_spread(pair) => Outcome::Split,
            false => Outcome::Success,
        })
    }

    /// Gives the cluster what the single server has under the keys of the command.
    fn even_out(&self, pair: &mut Pair) {
        let keys = pair.keys(&self.argv);
        pair.unguarded(|pair| keys.iter().for_each(|key| pair.copy(key)));
    }

    /// Sends it to both sides while writes wait: it waits on both, or on neither.
    fn wait(&self, pair: &mut Pair, way: &Way) -> Result<Answered, String> {
        let is_resp3 = self.is_resp3;
        self.wires(pair, way).send(is_resp3, &way.request);
        let mut cluster_waits = !self.wires(pair, way).answers_within(is_resp3, WAITS);
        if !cluster_waits {
            let cluster = way.road.unwrapped(self.wires(pair, way).read(is_resp3)?)?;
            if let Some(error) = cluster.error()
                && let Some(outcome) = self.excuse(pair, &error)?
            {
                return Ok(Answered::Excused(outcome));
            }
            if cluster.error().is_some() && differences::may_differ_under_a_guard(&self.command, &cluster) {
                return Ok(Answered::Excused(Outcome::Error));
            }
            pair.alone.send(is_resp3, &self.argv);
            if pair.alone.answers_within(is_resp3, SOON) {
                return Ok(Answered::Both(cluster, pair.alone.read(is_resp3)?));
            }
            pair.unguard();
            let alone = pair.alone.read(is_resp3)?;
            return Err(format!("the cluster does not wait\n  cluster: {cluster}\n  alone:   {alone}"));
        }
        pair.alone.send(is_resp3, &self.argv);
        let alone_waits = !pair.alone.answers_within(is_resp3, WAITS);
        if !alone_waits {
            cluster_waits = !self.wires(pair, way).answers_within(is_resp3, SOON);
        }
        pair.unguard();
        let cluster = way.road.unwrapped(self.wires(pair, way).read(is_resp3)?)?;
        let alone = pair.alone.read(is_resp3)?;
        if cluster_waits && !alone_waits {
            return Err(format!("only the cluster waits\n  cluster: {cluster}\n  alone:   {alone}"));
        }
        let excuse = match cluster.error() {
            Some(error) => self.excuse(pair, &error)?,
            None => None,
        };
        pair.guard();
        Ok(match excuse {
            Some(outcome) => {
                self.even_out(pair);
                Answered::Excused(outcome)
            }
            None => Answered::Both(cluster, alone),
        })
    }

    fn wires<'a>(&self, pair: &'a mut Pair, way: &Way) -> &'a mut Wires {
        match way.road {
            Road::Proxy => &mut pair.proxied[self.node],
            Road::Program => pair.program_wires(),
            _ => &mut pair.nodes[self.node],
        }
    }

    fn call_cluster(&self, pair: &mut Pair, argv: &Argv) -> Result<Reply, String> {
        let way = self.way(pair, argv);
        let reply = self.wires(pair, &way).call(self.is_resp3, &way.request);
        way.road.unwrapped(reply.map_err(|error| format!("{error}, from the cluster"))?)
    }

    /// Returns the reason why the single server is not asked at all.
    fn excuse(&self, pair: &mut Pair, error: &str) -> Result<Option<Outcome>, String> {
        let name = self.command.name.as_str();
        if pair.guard == Guard::Loading && error.starts_with("LOADING ") {
            // The commands of rmr are not run before the data is there, whatever is behind them.
            return Ok(Some(Outcome::ClusterOnly));
        }
        if ["cannot be sent to other nodes: ", "is not run cluster-wide: ", "there is no generic way to run"]
            .iter()
            .any(|words| error.contains(words))
        {
            let may_be = differences::may_be_refused(&self.command, &self.argv);
            return if may_be { Ok(Some(Outcome::Refused)) } else { Err(format!("refused: {error}")) };
        }
        if error.starts_with("CROSSSLOT ") {
            let is_write = ["mset", "msetex"].contains(&name);
            let has_condition =
                self.argv.iter().any(|word| [&b"NX"[..], b"XX"].iter().any(|known| word.eq_ignore_ascii_case(known)));
            let is_split =
                self.command.is_split() && (!is_write || (self.is_nonatomic && !(name == "msetex" && has_condition)));
            return if self.is_spread(pair) && !is_split {
                Ok(Some(Outcome::CrossSlot))
            } else {
                Err(format!("{error}\n  but {CROSS_SLOT}"))
            };
        }
        let is_listed = CLUSTER_ONLY.iter().any(|entry| entry.commands.contains(&name) && error.contains(entry.what));
        Ok(is_listed.then_some(Outcome::ClusterOnly))
    }

    /// Returns whether the keys lie in several slots.
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
/// The way in which the law is broken, and at which step.
pub fn play(pair: &mut Pair, steps: &[Step], tally: &mut Tally) -> Result<(), (usize, String)> {
    pair.begin();
    pair.guard();
    for (index, step) in steps.iter().enumerate() {
        let outcome = step.play(pair).map_err(|error| (index, error))?;
        *tally.entry(step.command.name.clone()).or_default().entry(outcome).or_default() += 1;
    }
    pair.unguard();
    pair.compare().map_err(|error| (steps.len() - 1, format!("the data differs afterwards: {error}")))
}

/// Steps as one would type them, a line each.
pub fn shown_all(guard: Guard, steps: &[Step]) -> String {
    let steps: Vec<String> = steps.iter().map(Step::shown).collect();
    format!("under {guard:?}:\n{}", steps.join("\n"))
}

/// Returns the same failure with fewer steps, as text.
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
    format!("{}\n  {error}", shown_all(pair.guard, &kept))
}
