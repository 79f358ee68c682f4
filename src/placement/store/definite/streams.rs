//! Streams: ids by the first copy's clock, trimming by how a node stores entries, and delivery times.
//!
//! Trimming with `~` is made exact. It promises no more than that at least so many entries stay, so that is an answer that a
//! server may give as well; `LIMIT`, which goes with `~` alone, says how much work it may make of that, and is left out.
//!
//! An entry that a consumer is given has a delivery time, by which others may claim it later. It is set to the time of whoever orders
//! the writes. A server takes no time that is still to come: one whose clock is behind by more than the command took to
//! arrive sets its own.

use bytes::Bytes;

use super::made::{After, Definite, FollowUp, WriteCall};
use crate::command::{Command, integer};
use crate::reply::Reply;

/// The number of ids that one command names.
const AT_ONCE: usize = 1000;

/// Longer than anything was idle: with that a claim takes nothing, but forgets what is no longer in the stream.
const NEVER: i64 = i64::MAX;

fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

fn is_one_of(word: &[u8], options: &[&str]) -> bool {
    options.iter().any(|option| is(word, option))
}

/// The options of `XADD` and `XTRIM`, as far as they are known.
struct Trimmed<'a> {
    /// The words, trimming made exact.
    words: Vec<&'a [u8]>,
    /// The index among those of the first word that is no option.
    rest: usize,
    was_approximate: bool,
    /// The word that has to be a limit is none.
    is_wrong: bool,
}

impl<'a> Trimmed<'a> {
    fn read(words: &[&'a [u8]]) -> Self {
        let mut trimmed = Self { words: words[..2].to_vec(), rest: 2, was_approximate: false, is_wrong: false };
        let mut at = 2;
        while let Some(&word) = words.get(at) {
            if is_one_of(word, &["NOMKSTREAM", "KEEPREF", "DELREF", "ACKED"]) {
                trimmed.words.push(word);
                at += 1;
            } else if is_one_of(word, &["MAXLEN", "MINID"]) {
                trimmed.words.push(word);
                at += 1;
                match words.get(at) {
                    Some(&b"~") => {
                        trimmed.was_approximate = true;
                        trimmed.words.push(b"=");
                        at += 1;
                    }
                    Some(&b"=") => {
                        trimmed.words.push(b"=");
                        at += 1;
                    }
                    _ => {}
                }
                trimmed.words.extend(words.get(at));
                at += 1;
            } else if is(word, "LIMIT") {
                if !trimmed.was_approximate {
                    trimmed.words.extend(words[at..].iter().take(2));
                }
                let limit = words.get(at + 1).and_then(|limit| integer(limit));
                trimmed.is_wrong |= limit.is_none_or(|limit| limit < 0);
                at += 2;
            } else {
                break;
            }
        }
        trimmed.rest = trimmed.words.len();
        trimmed.words.extend(words.iter().skip(at));
        trimmed
    }

    fn command(&self) -> Command {
        Command::from_args(&self.words).expect("a name")
    }
}

/// `XADD key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value ...`
pub(super) fn xadd(call: &WriteCall<'_>, words: &[&[u8]], _: i64) -> Definite {
    let trimmed = Trimmed::read(words);
    let Some(&id) = trimmed.words.get(trimmed.rest) else { return Definite::AsIs };
    if trimmed.is_wrong {
        return Definite::AsIs;
    }
    if id != b"*" {
        let fields = trimmed.words.len() - trimmed.rest - 1;
        return match (trimmed.was_approximate, starts_like_an_id(id)) {
            // An option that only later servers know may stand there.
            (_, false) => call.carry_written(),
            (true, true) if fields > 0 => Definite::rewritten(trimmed.command(), "xadd"),
            _ => Definite::AsIs,
        };
    }
    let command = trimmed.command();
    let (all, at) = (command.clone(), trimmed.rest);
    let first = trimmed.was_approximate.then_some(command);
    Definite::First(FollowUp::new(first, move |reply| {
        let Some(id) = reply.bytes() else { return After::default() };
        let words = all.words().enumerate().map(|(place, word)| if place == at { id } else { word });
        After::by_others(Command::from_args(words).into_iter().collect())
    }))
}

/// `XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]`
pub(super) fn xtrim(call: &WriteCall<'_>, words: &[&[u8]], _: i64) -> Definite {
    let trimmed = Trimmed::read(words);
    match trimmed {
        Trimmed { is_wrong: true, .. } => Definite::AsIs,
        Trimmed { rest, ref words, .. } if rest < words.len() => call.carry_written(),
        Trimmed { was_approximate: true, .. } => Definite::rewritten(trimmed.command(), "xtrim"),
        _ => Definite::AsIs,
    }
}

fn starts_like_an_id(word: &[u8]) -> bool {
    matches!(word.first(), Some(b'0'..=b'9' | b'-' | b'+'))
}

/// `key group consumer`
type Consumer = [Bytes; 3];

/// Returns a claim of so many entries for a consumer, with more words behind each.
fn claims(consumer: &Consumer, idle: i64, ids: &[&[u8]], options: &[Bytes]) -> Vec<Command> {
    let claim = |ids: &[&[u8]]| {
        let claim = consumer.iter().fold(Command::new("XCLAIM"), Command::arg).arg(idle);
        let claim = ids.iter().fold(claim, Command::arg);
        options.iter().fold(claim, Command::arg)
    };
    ids.chunks(AT_ONCE).map(claim).collect()
}

fn delivered(at: i64) -> Vec<Bytes> {
    vec!["TIME".into(), at.to_string().into()]
}

/// Returns the id of an entry, or the id that stands in its place.
fn id_of(entry: &Reply) -> Option<&[u8]> {
    entry.bytes().or_else(|| entry.elements()?.first()?.bytes())
}

fn ids_of(entries: Option<&Reply>) -> Vec<&[u8]> {
    entries.and_then(Reply::elements).unwrap_or_default().iter().filter_map(id_of).collect()
}

/// `XCLAIM key group consumer min-idle id ... [IDLE ms] [TIME unix-ms] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]`
pub(super) fn xclaim(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    let Some(min_idle) = integer(words[4]) else { return Definite::AsIs };
    let is_option = |word: &&[u8]| !starts_like_an_id(word);
    let options_at = 5 + words[5..].iter().position(is_option).unwrap_or(words.len() - 5);
    let (mut options, mut time, mut at) = (Vec::new(), now_ms, options_at);
    while let Some(&word) = words.get(at) {
        let value = words.get(at + 1).and_then(|value| integer(value));
        if is_one_of(word, &["FORCE", "JUSTID"]) {
            options.push(Bytes::copy_from_slice(word));
            at += 1;
        } else if is_one_of(word, &["IDLE", "TIME"]) {
            let Some(value) = value else { return Definite::AsIs };
            time = if is(word, "TIME") { value } else { now_ms.saturating_sub(value) };
            at += 2;
        } else if is_one_of(word, &["RETRYCOUNT", "LASTID"]) {
            options.extend(words[at..].iter().take(2).map(|word| Bytes::copy_from_slice(word)));
            at += 2;
        } else {
            return call.carry_written();
        }
    }
    // A time outside of these is taken for now.
    let time = if (0..=now_ms).contains(&time) { time } else { now_ms };
    options.extend(delivered(time));
    let command = Command::from_args(&words[..options_at]).expect("a name");
    let command = options.iter().fold(command, Command::arg);
    if min_idle <= 0 {
        return Definite::rewritten(command, "xclaim");
    }
    let consumer: Consumer = [1, 2, 3].map(|at| Bytes::copy_from_slice(words[at]));
    let ids: Vec<Bytes> = words[5..options_at].iter().map(|id| Bytes::copy_from_slice(id)).collect();
    let without_force: Vec<Bytes> = options.iter().filter(|word| !is(word, "FORCE")).cloned().collect();
    Definite::First(FollowUp::new(Some(command), move |reply| {
        let claimed = ids_of(Some(reply));
        let is_claimed = |id: &Bytes| claimed.iter().any(|claimed| is_same_id(claimed, id));
        let rest: Vec<&[u8]> = ids.iter().filter(|id| !is_claimed(id)).map(|id| &id[..]).collect();
        let mut others = claims(&consumer, 0, &claimed, &options);
        others.extend(claims(&consumer, NEVER, &rest, &without_force));
        After::by_others(others)
    }))
}

/// Tells whether an id, as a server writes it, is the one that was named: the part behind the dash may be left out of that.
fn is_same_id(written: &[u8], named: &[u8]) -> bool {
    written == named || (!named.contains(&b'-') && written.strip_suffix(b"-0") == Some(named))
}

/// `XAUTOCLAIM key group consumer min-idle start [COUNT count] [JUSTID]`
pub(super) fn xautoclaim(_: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    let consumer: Consumer = [1, 2, 3].map(|at| Bytes::copy_from_slice(words[at]));
    let just_ids = words[6..].iter().any(|word| is(word, "JUSTID"));
    let follow_up = FollowUp::new(None, move |reply| {
        let parts = reply.elements().unwrap_or_default();
        let (claimed, gone) = (ids_of(parts.get(1)), ids_of(parts.get(2)));
        let mut options = delivered(now_ms);
        let uncounted: Vec<Bytes> = options.iter().cloned().chain(["JUSTID".into()]).collect();
        if just_ids {
            options.push("JUSTID".into());
        }
        let mut others = claims(&consumer, 0, &claimed, &options);
        others.extend(claims(&consumer, NEVER, &gone, &uncounted));
        // Claims nothing, but makes the consumer wherever a server makes one for that.
        let visit = consumer.iter().fold(Command::new("XAUTOCLAIM"), Command::arg).arg(NEVER);
        others.push(visit.arg(format!("{0}-{0}", u64::MAX)).arg("COUNT").arg(1).arg("JUSTID"));
        After { others, first: claims(&consumer, 0, &claimed, &uncounted) }
    });
    Definite::First(follow_up.correcting_first())
}

/// The arguments of `XREADGROUP`.
struct GroupRead<'a> {
    no_acks: bool,
    blocks: bool,
    group: [&'a [u8]; 2],
    ids: &'a [&'a [u8]],
}

impl<'a> GroupRead<'a> {
    fn read(words: &'a [&'a [u8]]) -> Option<Self> {
        let (mut no_acks, mut blocks, mut group, mut at) = (false, false, None, 1);
        loop {
            let word = *words.get(at)?;
            at += match word {
                word if is(word, "STREAMS") => break,
                word if is(word, "GROUP") => {
                    group = Some([*words.get(at + 1)?, *words.get(at + 2)?]);
                    3
                }
                word if is(word, "BLOCK") => {
                    blocks = true;
                    2
                }
                word if is(word, "COUNT") => 2,
                word if is(word, "NOACK") => {
                    no_acks = true;
                    1
                }
                _ => return None,
            };
        }
        let streams = &words[at + 1..];
        let ids = streams.len().is_multiple_of(2).then(|| &streams[streams.len() / 2..])?;
        Some(Self { no_acks, blocks, group: group?, ids })
    }
}

/// Tells whether the command may block its client.
pub(super) fn blocks(words: &[&[u8]]) -> bool {
    GroupRead::read(words).is_some_and(|reading| reading.blocks)
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK ms] [NOACK] STREAMS key [key ...] id [id ...]`
pub(super) fn xreadgroup(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    let Some(reading) = GroupRead::read(words) else { return call.carry_all() };
    if reading.no_acks && reading.ids.iter().all(|id| *id == b">") {
        return Definite::AsIs;
    }
    let command = call.command.clone();
    let [group, name] = reading.group.map(Bytes::copy_from_slice);
    let follow_up = FollowUp::new(None, move |reply| {
        let options: Vec<Bytes> = delivered(now_ms).into_iter().chain(["JUSTID".into()]).collect();
        let mut first = Vec::new();
        for (stream, entries) in streams_of(reply) {
            let consumer = [Bytes::copy_from_slice(stream), group.clone(), name.clone()];
            // An entry that is gone from its stream would be forgotten by that, and has no fields.
            let is_there =
                |entry: &&Reply| entry.elements().is_some_and(|entry| entry.iter().all(|part| !part.is_null()));
            let ids: Vec<&[u8]> =
                entries.elements().unwrap_or_default().iter().filter(is_there).filter_map(id_of).collect();
            first.extend(claims(&consumer, 0, &ids, &options));
        }
        let others = std::iter::once(command.clone()).chain(first.iter().cloned()).collect();
        After { others, first }
    });
    Definite::First(follow_up.correcting_first())
}

/// Returns the streams of a reply and their entries, in RESP2 or RESP3.
fn streams_of(reply: &Reply) -> Vec<(&[u8], &Reply)> {
    match reply {
        Reply::Map(pairs) => pairs.iter().filter_map(|(stream, entries)| Some((stream.bytes()?, entries))).collect(),
        Reply::Attributed { reply, .. } => streams_of(reply),
        reply => reply.elements().unwrap_or_default().iter().filter_map(pair_of).collect(),
    }
}

fn pair_of(pair: &Reply) -> Option<(&[u8], &Reply)> {
    let [stream, entries] = pair.elements()? else { return None };
    Some((stream.bytes()?, entries))
}
