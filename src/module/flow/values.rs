//! The values of keys, for flows that want them: each as the reply to the command that reads it, in RESP3.
//!
//! Commands that read count as a use of their key, so that its LRU or LFU is put back behind each. A value of more than
//! [`MOST_AT_ONCE`] elements is read in slices, between which the server serves its clients: it is no snapshot, as a value of
//! `HSCAN` is none.

use std::collections::HashSet;

use bytes::Bytes;

use crate::command::{Command, CommandRef, printable};
use crate::error::Error;
use crate::flow::Records;
use crate::flow::keyspace::key_hash;
use crate::flow::plan::ValuesRead;
use crate::flow::values::{TypeLetter, WantedValues, read_whole, unreadable};
use crate::link::Protocol;
use crate::module::local::own_slots;
use crate::module::server::call::{CallKind, Called, CommandRunner};
use crate::module::server::context::Ctx;
use crate::module::server::main_thread::Turn;
use crate::module::server::paced;
use crate::module::server::scan::{KeyKind, Now, with_key};
use crate::reply::Reply;
use crate::resp::decode;
use crate::topology::key_slot;

/// A value of more elements is read in slices.
const MOST_AT_ONCE: usize = 1000;

/// The number of bytes of values after which the rest of the keys has to wait for the next slice.
const ENOUGH: usize = 1 << 20;

/// The values that have been read, of some keys.
pub(super) struct ReadValues {
    pub(super) records: Records,
    /// Keys that have to wait.
    pub(super) rest: Records,
    /// Keys that have gone to another node before their values were read.
    pub(super) elsewhere: Records,
}

/// Reads the values of keys, in order, in paced turns. Keys that are gone are left out unless they are wanted.
///
/// # Errors
/// If a key holds what cannot be read, or has gone to another node; but of [typed](ValuesRead::Typed) values only if the
/// server answers with an error.
pub(super) async fn read(
    keys: Records,
    database: i32,
    wanted: WantedValues,
    are_slots: bool,
) -> Result<ReadValues, Error> {
    let (records, elsewhere) = (Records::new(), Records::new());
    let mut reader = Box::new(ValueReader { keys, database, wanted, are_slots, records, elsewhere, open: None });
    while !reader.keys.is_empty() && reader.records.byte_len() < ENOUGH {
        let turn = paced::in_turn(move |turn| {
            let read = reader.read(turn);
            (reader, read)
        });
        let read;
        (reader, read) = turn.await?;
        read?;
    }
    Ok(ReadValues { records: reader.records, rest: reader.keys, elsewhere: reader.elsewhere })
}

/// Values that are being read.
struct ValueReader {
    /// The keys that are left; the first one is that of the open value, if there is one.
    keys: Records,
    database: i32,
    wanted: WantedValues,
    /// The keys are of slots, which may go to other nodes.
    are_slots: bool,
    records: Records,
    elsewhere: Records,
    open: Option<OpenValue>,
}

/// A value that is read in slices.
struct OpenValue {
    kind: KeyKind,
    /// The cursor, or the number of elements that a list has given.
    next: Vec<u8>,
    elements: Vec<(Reply, Reply)>,
    /// Hashes of what was read, since a cursor may show an element twice.
    seen: HashSet<u128>,
}

impl ValueReader {
    fn read(&mut self, turn: Turn<'_>) -> Result<(), Error> {
        turn.ctx.in_database(self.database, || self.read_selected(turn))?
    }

    fn read_selected(&mut self, turn: Turn<'_>) -> Result<(), Error> {
        let now = Now::read();
        let mut runner = CommandRunner::new(turn.ctx, Protocol::Resp3);
        let mut own = None;
        let keys = std::mem::take(&mut self.keys);
        let mut read = 0;
        for key in keys.keys() {
            if self.records.byte_len() >= ENOUGH || std::time::Instant::now() >= turn.until {
                break;
            }
            let found = with_key(turn.ctx, key, now, |view| (view.kind(), view.len(), view.usage()));
            let is_whole = match found {
                None => {
                    self.open = None;
                    let own = own.get_or_insert_with(|| self.are_slots.then(|| own_slots::ask(turn.ctx).ok()));
                    let has_gone =
                        own.as_ref().is_some_and(|own| !own.as_ref().is_some_and(|own| own.has_whole(key_slot(key))));
                    self.take_missing(key, has_gone)?;
                    true
                }
                Some((kind, ..)) if self.wanted.values == ValuesRead::Typed && !letter(kind).has_value() => {
                    self.records.push(key, &[letter(kind).byte()]);
                    true
                }
                Some((kind, length, usage)) => {
                    let is_long = kind != KeyKind::String && length > MOST_AT_ONCE;
                    let is_whole = if self.open.as_ref().is_some_and(|open| open.kind == kind) || is_long {
                        self.read_on(turn.ctx, key, kind)?
                    } else {
                        self.read_at_once(&mut runner, key, kind)?;
                        true
                    };
                    with_key(turn.ctx, key, now, |view| view.set_usage(usage));
                    is_whole
                }
            };
            if !is_whole {
                break;
            }
            read += 1;
        }
        self.keys = keys;
        let _done = self.keys.take_first(read);
        Ok(())
    }

    /// Takes that there is no such key, or that it has gone to another node.
    fn take_missing(&mut self, key: &[u8], has_gone: bool) -> Result<(), Error> {
        match has_gone {
            false if self.wanted.with_missing => self.records.push(key, &[TypeLetter::Missing.byte()]),
            false => {}
            true if self.wanted.values == ValuesRead::Typed => self.elsewhere.push(key, &[]),
            true => return Err(gone(key)),
        }
        Ok(())
    }

    fn read_at_once(&mut self, runner: &mut CommandRunner<'_>, key: &[u8], kind: KeyKind) -> Result<(), Error> {
        let Some(called) = call(runner, key, &read_whole(kind.name(), key)?)? else {
            return self.take_missing(key, true);
        };
        match self.wanted.values {
            ValuesRead::Typed => self.records.push_written(key, |bytes| {
                bytes.push(letter(kind).byte());
                bytes.extend_from_slice(called.wire());
            }),
            ValuesRead::Replies | ValuesRead::No => self.records.push(key, called.wire()),
        }
        Ok(())
    }

    /// Reads the next slice of a long value. Returns whether that was the last.
    fn read_on(&mut self, ctx: Ctx<'_>, key: &[u8], kind: KeyKind) -> Result<bool, Error> {
        let new = || OpenValue { kind, next: b"0".to_vec(), elements: Vec::new(), seen: HashSet::new() };
        let mut open = self.open.take().filter(|open| open.kind == kind).unwrap_or_else(new);
        let mut runner = CommandRunner::new(ctx, Protocol::Resp2);
        let slice = slice(kind, key, &open.next)?;
        let Some(called) = call(&mut runner, key, &slice)? else {
            self.take_missing(key, true)?;
            return Ok(true);
        };
        let reply = decode(&Bytes::copy_from_slice(called.wire()), &mut 0);
        let reply = reply.map_err(|error| Error::Internal(format!("a slice of a value: {error}")))?;
        drop(called);
        let is_last = open.take(reply);
        if is_last {
            let is_typed = self.wanted.values == ValuesRead::Typed;
            self.records.push_written(key, |bytes| {
                if is_typed {
                    bytes.push(letter(kind).byte());
                }
                open.into_reply().write_to(bytes);
            });
        } else {
            self.open = Some(open);
        }
        Ok(is_last)
    }
}

/// Reads the [typed](ValuesRead::Typed) value of a key at once, however long it is.
///
/// # Errors
/// If the server answers with an error.
pub(super) fn read_now(ctx: Ctx<'_>, key: &[u8]) -> Result<Vec<u8>, Error> {
    let now = Now::read();
    let Some((kind, usage)) = with_key(ctx, key, now, |view| (view.kind(), view.usage())) else {
        return Ok(vec![TypeLetter::Missing.byte()]);
    };
    let mut value = vec![letter(kind).byte()];
    if letter(kind).has_value() {
        let mut runner = CommandRunner::new(ctx, Protocol::Resp3);
        if let Some(called) = call(&mut runner, key, &read_whole(kind.name(), key)?)? {
            value.extend_from_slice(called.wire());
        }
        with_key(ctx, key, now, |view| view.set_usage(usage));
    }
    Ok(value)
}

/// Returns the letter for what a key holds.
fn letter(kind: KeyKind) -> TypeLetter {
    kind.name().map_or(TypeLetter::Module, TypeLetter::of)
}

/// Returns the error about a key whose value was not read in time.
fn gone(key: &[u8]) -> Error {
    Error::Slots(format!("the key '{}' went to another node before its value was read", printable(key)))
}

/// Runs a command that reads a value; [`None`] if its key has gone to another node.
fn call<'c>(runner: &mut CommandRunner<'c>, key: &[u8], command: &Command) -> Result<Option<Called<'c>>, Error> {
    let called = runner.call(CommandRef::from(command).words(), CallKind::Plain);
    if called.is_not_here() {
        return Ok(None);
    }
    match called.wire() {
        [b'-', error @ ..] => {
            let error = String::from_utf8_lossy(error);
            Err(Error::Refused(format!("the value of '{}' was not read: {}", printable(key), error.trim_end())))
        }
        _ => Ok(Some(called)),
    }
}

/// Returns the command that reads the next slice of a value.
fn slice(kind: KeyKind, key: &[u8], next: &[u8]) -> Result<Command, Error> {
    let scan = |name: &str| Command::new(name).key(key).arg(next).arg("COUNT").arg(MOST_AT_ONCE as u64);
    Ok(match kind {
        KeyKind::Hash => scan("HSCAN"),
        KeyKind::Set => scan("SSCAN"),
        KeyKind::SortedSet => scan("ZSCAN"),
        KeyKind::List => {
            let first: u64 = std::str::from_utf8(next).ok().and_then(|next| next.parse().ok()).unwrap_or_default();
            Command::new("LRANGE").key(key).arg(first).arg(first + MOST_AT_ONCE as u64 - 1)
        }
        KeyKind::String | KeyKind::Stream | KeyKind::Other => return Err(unreadable(kind.name(), key)),
    })
}

impl OpenValue {
    /// Takes a slice. Returns whether it was the last.
    fn take(&mut self, slice: Reply) -> bool {
        let Reply::Array(mut slice) = slice else { return true };
        if self.kind == KeyKind::List {
            let is_last = slice.len() < MOST_AT_ONCE;
            self.elements.extend(slice.into_iter().map(|element| (element, Reply::Null)));
            self.next = self.elements.len().to_string().into_bytes();
            return is_last;
        }
        let (Some(Reply::Array(found)), Some(cursor)) = (slice.pop(), slice.pop()) else { return true };
        self.next = cursor.bytes().unwrap_or(b"0").to_vec();
        let mut found = found.into_iter();
        while let Some(element) = found.next() {
            let beside = if self.kind == KeyKind::Set { Reply::Null } else { found.next().unwrap_or(Reply::Null) };
            if self.seen.insert(key_hash(element.bytes().unwrap_or_default())) {
                self.elements.push((element, beside));
            }
        }
        self.next == b"0"
    }

    /// Returns the value as the command that reads it at once answers it.
    fn into_reply(self) -> Reply {
        let elements = self.elements.into_iter();
        match self.kind {
            KeyKind::Hash => Reply::Map(elements.collect()),
            KeyKind::Set => Reply::Set(elements.map(|(member, _)| member).collect()),
            KeyKind::SortedSet => {
                let score = |text: Reply| {
                    let text = text.bytes().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
                    Reply::Double(text.unwrap_or(f64::NAN))
                };
                let mut members: Vec<(Reply, f64)> = elements
                    .map(|(member, text)| match score(text) {
                        Reply::Double(score) => (member, score),
                        _ => (member, f64::NAN),
                    })
                    .collect();
                members.sort_by(|(one, score), (other, others)| {
                    score.total_cmp(others).then_with(|| one.bytes().cmp(&other.bytes()))
                });
                let pair = |(member, score)| Reply::Array(vec![member, Reply::Double(score)]);
                Reply::Array(members.into_iter().map(pair).collect())
            }
            _ => Reply::Array(elements.map(|(element, _)| element).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(kind: KeyKind) -> OpenValue {
        OpenValue { kind, next: b"0".to_vec(), elements: Vec::new(), seen: HashSet::new() }
    }

    fn page(cursor: &str, elements: &[&str]) -> Reply {
        let elements = elements.iter().map(|element| Reply::from(*element)).collect();
        Reply::Array(vec![cursor.into(), Reply::Array(elements)])
    }

    #[test]
    fn slices_make_the_value_and_what_comes_twice_is_in_it_once() {
        let mut hash = open(KeyKind::Hash);
        assert!(!hash.take(page("17", &["a", "1", "b", "2"])));
        assert_eq!(hash.next, b"17");
        assert!(hash.take(page("0", &["a", "9", "c", "3"])));
        let expected = [("a", "1"), ("b", "2"), ("c", "3")].map(|(field, value)| (field.into(), value.into()));
        assert_eq!(hash.into_reply(), Reply::Map(expected.into()));

        let mut sorted = open(KeyKind::SortedSet);
        assert!(sorted.take(page("0", &["b", "2", "a", "2", "c", "-inf"])));
        let pair = |member: &str, score| Reply::Array(vec![member.into(), Reply::Double(score)]);
        let expected = vec![pair("c", f64::NEG_INFINITY), pair("a", 2.0), pair("b", 2.0)];
        assert_eq!(sorted.into_reply(), Reply::Array(expected));

        let mut set = open(KeyKind::Set);
        assert!(set.take(page("0", &["x", "x", "y"])));
        assert_eq!(set.into_reply(), Reply::Set(vec!["x".into(), "y".into()]));
    }

    #[test]
    fn a_list_is_read_until_a_slice_is_not_full() {
        let slice = |many: usize| Reply::Array(vec!["e".into(); many]);
        let mut list = open(KeyKind::List);
        assert!(!list.take(slice(MOST_AT_ONCE)));
        assert_eq!(list.next, b"1000");
        assert!(list.take(slice(3)));
        assert_eq!(list.into_reply().elements().map(<[Reply]>::len), Some(1003));
    }
}
