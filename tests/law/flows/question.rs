//! One `RMR.MAP … MATCH`, and what its answer has to be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::data::{self, Asked, COMMANDS, REDUCERS, TYPES};
use super::deployment::Deployment;
use crate::common::Random;
use crate::generate::Argv;
use crate::pair::shown;
use crate::reply::{Alike, Reply, are_alike};

/// The most keys of one kind of failure that are named.
const MOST_NAMED: usize = 10;

/// The outcome of a question that was answered rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The right value, of all keys.
    Value,
    /// The right value, of the keys that did not fail, and the failures.
    Failures,
    /// An error that says why one key has failed, or that the reducer takes no such replies.
    Stopped,
    /// The right value, of some keys.
    Limited,
}

/// The question.
pub struct Question {
    at: usize,
    is_resp3: bool,
    is_partial: bool,
    reducer: &'static str,
    pattern: Vec<u8>,
    kind: Option<&'static str>,
    limit: Option<usize>,
    command: Option<&'static Asked>,
    has_dashes: bool,
}

/// The replies to each key's command on the plain server, by hand.
type ByHand = BTreeMap<Vec<u8>, Reply>;

/// Digests of what the keys hold, before and after.
type Digests = BTreeMap<Vec<u8>, Vec<u8>>;

impl Question {
    /// Returns a question to the server with this index.
    pub fn draw(at: usize, keys: &[(Vec<u8>, Vec<Argv>)], random: &mut Random) -> Self {
        let command = random.chance(75).then(|| &COMMANDS[random.below(COMMANDS.len())]);
        let reducer = match command {
            // The replies that are made of them are known by hand.
            None => random.pick(&["COUNT", "LIST", "PREFIX : COUNT"]),
            Some(command) if command.is_write => random.pick(&["COUNT", "LIST", "LIST"]),
            Some(_) => random.pick(&REDUCERS),
        };
        let may_limit = reducer == "LIST" || reducer == "COUNT";
        let kind = match command.and_then(|command| command.kind) {
            Some(kind) if random.chance(75) => Some(kind),
            _ if random.chance(15) => Some(random.pick(&TYPES)),
            _ => None,
        };
        Self {
            at,
            is_resp3: random.chance(50),
            is_partial: random.chance(45),
            reducer,
            pattern: data::pattern(keys, random),
            kind,
            limit: (may_limit && random.chance(30)).then(|| 1 + random.below(40)),
            command,
            // A command of this name would be taken for an option.
            has_dashes: random.chance(20) || command.is_some_and(|command| command.words[0] == "TYPE"),
        }
    }

    /// Returns whether the two sides may hold different data afterwards.
    pub fn may_leave_differences(&self) -> bool {
        self.is_write()
    }

    fn is_write(&self) -> bool {
        self.command.is_some_and(|command| command.is_write)
    }

    fn argv(&self) -> Argv {
        let mut words: Vec<&[u8]> = vec![b"RMR.MAP"];
        if self.is_partial {
            words.push(b"PARTIAL");
        }
        words.extend(self.reducer.split(' ').map(str::as_bytes));
        words.extend([&b"MATCH"[..], &self.pattern]);
        if let Some(kind) = self.kind {
            words.extend([&b"TYPE"[..], kind.as_bytes()]);
        }
        let limit = self.limit.map(|limit| limit.to_string());
        if let Some(limit) = &limit {
            words.extend([&b"LIMIT"[..], limit.as_bytes()]);
        }
        if let Some(command) = self.command {
            if self.has_dashes {
                words.push(b"--");
            }
            words.extend(command.words.iter().map(|word| word.as_bytes()));
        }
        words.into_iter().map(<[u8]>::to_vec).collect()
    }

    /// Puts the question to a deployment, and holds the answer against the plain server with the same keys.
    pub fn put(&self, deployment: &mut Deployment, alone: &mut Deployment) -> Result<Outcome, String> {
        let names = alone.scan(&self.pattern, self.kind);
        let before = if self.is_write() { deployment.digests() } else { Digests::new() };
        let reply = deployment.ask(self.at, self.is_resp3, &self.argv());
        let by_hand: ByHand = match self.command {
            Some(command) => names.iter().map(|name| (name.clone(), self.by_hand(alone, command, name))).collect(),
            None => names.iter().map(|name| (name.clone(), Reply::Text(b'$', name.clone()))).collect(),
        };
        let failed: BTreeMap<&Vec<u8>, String> =
            by_hand.iter().filter_map(|(name, reply)| Some((name, first_word(&reply.error()?)))).collect();
        let outcome = self.judge(&reply, alone, &by_hand, &failed);
        let outcome = outcome.map_err(|why| format!("{why}\n  answer: {reply}"))?;
        if self.is_write() {
            let is_whole = outcome != Outcome::Stopped;
            let listed = (self.reducer == "LIST" && is_whole).then(|| self.listed(&reply));
            self.judge_writes(&before, &deployment.digests(), &alone.digests(), &by_hand, is_whole, listed)
                .map_err(|why| format!("{why}\n  answer: {reply}"))?;
        }
        Ok(outcome)
    }

    fn by_hand(&self, alone: &mut Deployment, command: &Asked, name: &[u8]) -> Reply {
        let mut argv: Argv = command.words.iter().map(|word| word.as_bytes().to_vec()).collect();
        match argv.iter_mut().find(|word| *word == b"{}") {
            Some(place) => *place = name.to_vec(),
            None => argv.insert(1, name.to_vec()),
        }
        alone.ask(0, self.is_resp3, &argv)
    }

    /// Returns whether the answer is right.
    fn judge(
        &self,
        reply: &Reply,
        alone: &mut Deployment,
        by_hand: &ByHand,
        failed: &BTreeMap<&Vec<u8>, String>,
    ) -> Result<Outcome, String> {
        if let Some(error) = reply.error() {
            return self.judge_error(&error, alone, by_hand, failed);
        }
        if !failed.is_empty() && !self.is_partial && self.limit.is_none() {
            return Err(format!("{} keys fail by hand, and the answer is no error", failed.len()));
        }
        let value = match (self.is_partial, reply.elements()) {
            (false, _) => reply,
            (true, [value, failures]) => {
                self.judge_failures(failures, by_hand, failed)?;
                value
            }
            (true, _) => return Err("no array of two".into()),
        };
        let good: ByHand =
            by_hand.iter().filter(|(_, reply)| reply.error().is_none()).map(|(a, b)| (a.clone(), b.clone())).collect();
        match (self.reducer, self.command) {
            ("LIST", _) => self.judge_list(reply, &good, by_hand.len())?,
            ("COUNT", _) => self.judge_count(value, &good, by_hand.len())?,
            (_, None) => are_same(value, &by_prefix(&good, self.is_resp3), Alike::InAnyOrder)?,
            // A result that comes of nothing can be asked by no name.
            (_, Some(_)) if good.is_empty() => {}
            (_, Some(command)) => {
                let right = self.reduced(alone, command, &good);
                are_same(value, &right, Alike::InAnyOrder)?;
            }
        }
        Ok(match (self.limit, failed.is_empty()) {
            (Some(limit), _) if limit < by_hand.len() => Outcome::Limited,
            (_, false) => Outcome::Failures,
            _ => Outcome::Value,
        })
    }

    fn judge_error(
        &self,
        error: &str,
        alone: &mut Deployment,
        by_hand: &ByHand,
        failed: &BTreeMap<&Vec<u8>, String>,
    ) -> Result<Outcome, String> {
        let names_a_failure = failed.values().any(|kind| error.contains(&**kind));
        if names_a_failure && !self.is_partial {
            return Ok(Outcome::Stopped);
        }
        if let Some(command) = self.command.filter(|_| !["LIST", "COUNT"].contains(&self.reducer)) {
            let good = by_hand.iter().filter(|(_, reply)| reply.error().is_none());
            let good: ByHand = good.map(|(name, reply)| (name.clone(), reply.clone())).collect();
            if !good.is_empty() && self.reduced(alone, command, &good).error().is_some() {
                return Ok(Outcome::Stopped);
            }
        }
        Err(format!("an error for no reason; by hand {} of {} keys fail", failed.len(), by_hand.len()))
    }

    /// Returns the reduction of the replies for these keys, by their names.
    fn reduced(&self, alone: &mut Deployment, command: &Asked, good: &ByHand) -> Reply {
        let mut argv: Argv = vec![b"RMR.MAP".to_vec()];
        argv.extend(self.reducer.split(' ').map(|word| word.as_bytes().to_vec()));
        argv.push(good.len().to_string().into_bytes());
        argv.extend(good.keys().cloned());
        argv.extend(command.words.iter().map(|word| word.as_bytes().to_vec()));
        alone.ask(0, self.is_resp3, &argv)
    }

    /// Failures by kind, with their number and some keys.
    fn judge_failures(
        &self,
        failures: &Reply,
        by_hand: &ByHand,
        failed: &BTreeMap<&Vec<u8>, String>,
    ) -> Result<(), String> {
        let kinds: BTreeSet<&String> = failed.values().collect();
        if self.limit.is_none_or(|limit| limit >= by_hand.len()) && failures.elements().len() != 2 * kinds.len() {
            return Err(format!("the failures are of these kinds: {kinds:?}"));
        }
        for pair in failures.elements().chunks(2) {
            let kind = pair[0].text();
            let keys: BTreeSet<&[u8]> =
                failed.iter().filter(|(_, known)| **known == kind).map(|(name, _)| name.as_slice()).collect();
            let count: usize = pair[1].field("count").and_then(|count| count.text().parse().ok()).ok_or("no count")?;
            let named = pair[1].field("keys").ok_or("no keys")?.elements();
            let is_right = match self.limit {
                Some(_) => count <= keys.len(),
                None => count == keys.len(),
            };
            if !is_right || named.len() != count.min(MOST_NAMED) {
                return Err(format!("{kind}: {count}, {} named, where {} fail by hand", named.len(), keys.len()));
            }
            if let Some(other) = named.iter().find(|name| !keys.contains(name.bytes())) {
                return Err(format!("{kind}: {other} does not fail so by hand"));
            }
        }
        Ok(())
    }

    /// Names and replies of a list of all.
    fn listed(&self, reply: &Reply) -> BTreeMap<Vec<u8>, Reply> {
        let value = if self.is_partial { &reply.elements()[0] } else { reply };
        match self.command {
            None => value.elements().iter().map(|name| (name.bytes().to_vec(), name.clone())).collect(),
            Some(_) => {
                let pairs = value.elements().chunks(2);
                pairs.map(|pair| (pair[0].bytes().to_vec(), pair[1].clone())).collect()
            }
        }
    }

    fn judge_list(&self, reply: &Reply, good: &ByHand, all: usize) -> Result<(), String> {
        let (listed, value) = (self.listed(reply), if self.is_partial { &reply.elements()[0] } else { reply });
        let each = if self.command.is_some() { 2 } else { 1 };
        if listed.len() * each != value.elements().len() {
            return Err("a key is there twice".into());
        }
        let (is_map, wants_map) = (value.to_string().starts_with('%'), self.is_resp3 && self.command.is_some());
        if is_map != wants_map {
            return Err("not the type of reply that it is by its protocol".into());
        }
        for (name, reply) in &listed {
            let right = good.get(name).ok_or_else(|| format!("'{}' is no such key", name.escape_ascii()))?;
            are_same(reply, right, Alike::Exactly).map_err(|why| format!("'{}': {why}", name.escape_ascii()))?;
        }
        // With failures among those that were commanded there are fewer.
        let most = self.limit.map_or(all, |limit| limit.min(all));
        let least = if all == good.len() {
            most
        } else if self.limit.is_some() {
            0
        } else {
            good.len()
        };
        if (least..=most).contains(&listed.len()) {
            return Ok(());
        }
        Err(format!(
            "{} keys, where there are {} of {all}, and the limit is {:?}",
            listed.len(),
            good.len(),
            self.limit
        ))
    }

    fn judge_count(&self, value: &Reply, good: &ByHand, all: usize) -> Result<(), String> {
        let given: usize = value.text().parse().map_err(|_| "no number")?;
        let right = good.values().filter(|reply| !reply.is_null()).count();
        let is_right = match self.limit {
            Some(limit) if right < all => given <= right.min(limit),
            Some(limit) => given == right.min(limit),
            None => given == right,
        };
        if is_right { Ok(()) } else { Err(format!("the number is {right} of {all}, the limit {:?}", self.limit)) }
    }

    /// Returns whether each key is as it would be by hand, or as it was where that is allowed.
    fn judge_writes(
        &self,
        before: &Digests,
        after: &Digests,
        alone: &Digests,
        by_hand: &ByHand,
        is_whole: bool,
        listed: Option<BTreeMap<Vec<u8>, Reply>>,
    ) -> Result<(), String> {
        let names: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).chain(alone.keys()).collect();
        let mut changed = 0;
        for name in names {
            let (was, is, right) = (before.get(name), after.get(name), alone.get(name));
            let is_asked = by_hand.contains_key(name);
            let may_be_left = is_asked && (!is_whole || self.limit.is_some());
            let is_named = listed.as_ref().is_none_or(|listed| listed.contains_key(name));
            changed += usize::from(was != is);
            if is == right && (is_named || is == was) || is == was && may_be_left {
                continue;
            }
            let holds =
                |digest: Option<&Vec<u8>>| digest.map_or("nothing".into(), |hex| hex.escape_ascii().to_string());
            return Err(format!(
                "'{}' was {}, is {}, would be {} by hand",
                name.escape_ascii(),
                holds(was),
                holds(is),
                holds(right)
            ));
        }
        match self.limit {
            Some(limit) if changed > limit => Err(format!("{changed} keys have changed")),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.is_resp3 { 3 } else { 2 };
        write!(f, "server {} RESP{protocol}: {}", self.at, shown(&self.argv()))
    }
}

fn first_word(error: &str) -> String {
    error.split(' ').next().unwrap_or_default().to_owned()
}

fn are_same(given: &Reply, right: &Reply, how: Alike) -> Result<(), String> {
    if are_alike(given, right, how) { Ok(()) } else { Err(format!("{given} is not {right}")) }
}

/// Returns the number of keys for each part before a colon.
fn by_prefix(names: &ByHand, is_resp3: bool) -> Reply {
    let mut counts: BTreeMap<&[u8], usize> = BTreeMap::new();
    for name in names.keys() {
        let end = name.iter().position(|&byte| byte == b':').unwrap_or(name.len());
        *counts.entry(&name[..end]).or_default() += 1;
    }
    let pairs = counts.into_iter().flat_map(|(prefix, count)| {
        [Reply::Text(b'$', prefix.to_vec()), Reply::Line(b':', count.to_string().into_bytes())]
    });
    Reply::List(if is_resp3 { b'%' } else { b'*' }, pairs.collect())
}
