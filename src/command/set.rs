//! [`CommandSet`]: what one request sends, each command in a place of its own.
//!
//! A map is mostly one command for many keys. [`PerKey`] keeps it as just that: the words once, and the keys in a single
//! buffer. A thousand keys then cost no thousand commands, here or on the node that they travel to.

use std::borrow::Cow;
use std::fmt;

use super::{Argument, AroundKey, Command};
use crate::resp::{Arguments, push_array_header, push_bulk, push_bulk_header};

/// The commands of one request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CommandSet {
    /// Commands of any kind.
    Each(Vec<Command>),
    /// One command for each of many keys.
    PerKey(PerKey),
}

impl CommandSet {
    /// Returns the number of commands.
    pub fn len(&self) -> usize {
        match self {
            Self::Each(commands) => commands.len(),
            Self::PerKey(per_key) => per_key.len(),
        }
    }

    /// Tells whether there are no commands.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the command in this place.
    ///
    /// # Panics
    /// If there are not that many.
    #[inline]
    pub fn at(&self, place: usize) -> CommandRef<'_> {
        match self {
            Self::Each(commands) => CommandRef::Whole(&commands[place]),
            Self::PerKey(per_key) => CommandRef::OfKey(per_key, per_key.key(place)),
        }
    }

    /// Appends the commands in these places to `out`, as RESP arrays.
    pub fn write_to(&self, places: impl Iterator<Item = usize>, out: &mut Vec<u8>) {
        match self {
            Self::Each(commands) => places.for_each(|place| commands[place].write_to(out)),
            Self::PerKey(per_key) => per_key.write_to(places, out),
        }
    }

    /// Returns how many bytes [`write_to`](Self::write_to) appends, or a few less.
    pub(crate) fn wire_len(&self, places: impl ExactSizeIterator<Item = usize>) -> usize {
        match self {
            Self::Each(commands) => places.map(|place| commands[place].wire_len()).sum(),
            Self::PerKey(per_key) => {
                let words = per_key.head.wire_len() + per_key.tail.len() + 8;
                let count = places.len();
                count * words + places.map(|place| per_key.key(place).len()).sum::<usize>()
            }
        }
    }

    /// Calls with the keys that they are routed by, in order; `None` if one of them has none.
    pub(crate) fn by_keys<T>(&self, take: impl FnOnce(&mut dyn Iterator<Item = &[u8]>) -> T) -> Option<T> {
        match self {
            Self::Each(commands) => {
                let have_keys = commands.iter().all(|command| command.routing_key().is_some());
                have_keys.then(|| take(&mut commands.iter().filter_map(Command::routing_key)))
            }
            Self::PerKey(per_key) => Some(take(&mut per_key.keys())),
        }
    }

    /// Tells whether the reply to one of them has names of keys that its caller may not see.
    pub(crate) fn any_names_keys(&self) -> bool {
        match self {
            Self::Each(commands) => commands.iter().any(Command::names_keys),
            Self::PerKey(per_key) => per_key.head.names_keys(),
        }
    }

    /// Iterates over all commands, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = CommandRef<'_>> {
        (0..self.len()).map(|place| self.at(place))
    }

    /// Makes a command of its own of each.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only RMR.BATCH asks before it sends"))]
    pub(crate) fn into_each(self) -> Vec<Command> {
        match self {
            Self::Each(commands) => commands,
            Self::PerKey(per_key) => (0..per_key.len()).map(|place| per_key.command(place)).collect(),
        }
    }

    /// Says of each whether it changes nothing, so that it may be sent twice, and whether it runs code of others. Of one command for many keys that is said if
    /// it is so for all of them; they are not looked at one by one if the first flags is one about all.
    ///
    /// # Errors
    /// The first one that `judge` gives.
    pub fn mark<E>(&mut self, mut judge: impl FnMut(CommandRef<'_>) -> Result<CommandFlags, E>) -> Result<(), E> {
        match self {
            Self::Each(commands) => commands.iter_mut().try_for_each(|command| {
                let flags = judge(CommandRef::Whole(command))?;
                command.set_read_only(flags.is_read_only);
                command.set_runs_code(flags.runs_code);
                command.set_names_keys(flags.names_keys);
                Ok(())
            }),
            Self::PerKey(per_key) => {
                let (mut are_read_only, mut run_code, mut name_keys) = (true, false, false);
                for place in 0..per_key.len() {
                    let flags = judge(CommandRef::OfKey(per_key, per_key.key(place)))?;
                    are_read_only &= flags.is_read_only;
                    run_code |= flags.runs_code;
                    name_keys |= flags.names_keys;
                    if flags.is_about_all_keys {
                        break;
                    }
                }
                per_key.head.set_read_only(are_read_only);
                per_key.head.set_runs_code(run_code);
                per_key.head.set_names_keys(name_keys);
                Ok(())
            }
        }
    }
}

/// Holds what is said of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandFlags {
    /// The command changes nothing.
    pub is_read_only: bool,
    /// The command runs code of others, as a script does.
    pub runs_code: bool,
    /// Its reply has names of keys, which are shown to the caller as far as its gate lets it see them.
    pub names_keys: bool,
    /// Says that the same holds for the command with any other key.
    pub is_about_all_keys: bool,
}

impl From<Vec<Command>> for CommandSet {
    fn from(commands: Vec<Command>) -> Self {
        Self::Each(commands)
    }
}

impl From<PerKey> for CommandSet {
    fn from(per_key: PerKey) -> Self {
        Self::PerKey(per_key)
    }
}

/// One command for each of many keys. Each is routed by its key.
///
/// ```
/// use rmr::Command;
/// use rmr::command::PerKey;
///
/// let prices = PerKey::new(Command::new("HGET"), ["cart:1", "cart:2"]).arg("price");
/// assert_eq!(prices.len(), 2);
/// assert_eq!(prices.command(1).to_string(), "HGET cart:2 price");
/// assert_eq!(prices.command(1).routing_key(), Some(&b"cart:2"[..]));
/// ```
#[derive(Clone)]
pub struct PerKey {
    /// The words before the key.
    head: Command,
    /// The arguments behind the key, as they travel, and their number.
    tail: Vec<u8>,
    tail_count: usize,
    /// The keys, one behind the other, and the end of each.
    keys: Vec<u8>,
    ends: Vec<usize>,
}

impl PerKey {
    /// Makes this command for each of the keys: the key becomes its next argument.
    pub fn new<K: Argument>(command: Command, keys: impl IntoIterator<Item = K>) -> Self {
        /// The length of most keys, in bytes.
        const LENGTH: usize = 24;
        let keys = keys.into_iter();
        let (least, _) = keys.size_hint();
        let (buffer, ends) = (Vec::with_capacity(least * LENGTH), Vec::with_capacity(least));
        let mut per_key = Self { head: command.without_key(), tail: Vec::new(), tail_count: 0, keys: buffer, ends };
        for key in keys {
            per_key.keys.extend_from_slice(&key.to_argument());
            per_key.ends.push(per_key.keys.len());
        }
        per_key
    }

    /// Adds an argument behind the key.
    #[must_use]
    pub fn arg(mut self, argument: impl Argument) -> Self {
        push_bulk(&mut self.tail, &argument.to_argument());
        self.tail_count += 1;
        self
    }

    /// Says that the command changes nothing, as [`Command::read_only`] does.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.head.set_read_only(read_only);
        self
    }

    /// Returns the command's name, as it was given.
    pub fn name(&self) -> &[u8] {
        self.head.name()
    }

    /// Returns how many keys there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Tells whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Makes the command for the key in this place.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn command(&self, place: usize) -> Command {
        self.whole(self.key(place))
    }

    /// Makes this command for keys that stand one behind the other and have these lengths.
    pub(crate) fn joined(command: Command, keys: &[u8], lengths: &[u32]) -> Self {
        let ends = lengths.iter().scan(0, |end, &length| {
            *end += length as usize;
            Some(*end)
        });
        Self { ends: ends.collect(), keys: keys.to_vec(), ..Self::new::<&[u8]>(command, []) }
    }

    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().scan(0, |start, &end| Some(&self.keys[std::mem::replace(start, end)..end]))
    }

    pub(crate) fn key(&self, place: usize) -> &[u8] {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.keys[start..self.ends[place]]
    }

    fn whole(&self, key: &[u8]) -> Command {
        Arguments::of(&self.tail).fold(self.head.clone().key(key), Command::arg)
    }

    /// Appends the commands for the keys in these places as RESP arrays.
    fn write_to(&self, places: impl Iterator<Item = usize>, out: &mut Vec<u8>) {
        // The bytes before a key are the same for all keys of one length.
        let (mut before, mut length) = (Vec::new(), None);
        for place in places {
            let key = self.key(place);
            if length != Some(key.len()) {
                length = Some(key.len());
                before.clear();
                push_array_header(&mut before, self.word_count());
                before.extend_from_slice(self.head.wire());
                push_bulk_header(&mut before, key.len());
            }
            out.extend_from_slice(&before);
            out.extend_from_slice(key);
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(&self.tail);
        }
    }

    /// Returns how many words each of the commands has, the name included.
    pub fn word_count(&self) -> usize {
        self.head.word_count() + 1 + self.tail_count
    }
}

impl fmt::Debug for PerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerKey({} for each of {} keys)", self.head, self.len())
    }
}

/// A command of a request, wherever it is kept.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum CommandRef<'a> {
    /// A command by itself.
    Whole(&'a Command),
    /// The command of one key among others.
    OfKey(&'a PerKey, &'a [u8]),
}

impl<'a> CommandRef<'a> {
    /// Returns the command's name, as it was given.
    pub fn name(self) -> &'a [u8] {
        match self {
            Self::Whole(command) => command.name(),
            Self::OfKey(per_key, _) => per_key.head.name(),
        }
    }

    /// Returns the key that the command is routed by.
    pub fn routing_key(self) -> Option<&'a [u8]> {
        match self {
            Self::Whole(command) => command.routing_key(),
            Self::OfKey(_, key) => Some(key),
        }
    }

    /// Tells whether all commands of its batch have its name, and its subcommand if it has one: they differ in their keys, which
    /// stand behind these.
    #[cfg(feature = "module")]
    pub(crate) fn is_as_all(self, has_subcommand: bool) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::OfKey(per_key, _) => !has_subcommand || per_key.head.word_count() >= 2,
        }
    }

    /// Tells whether the command may safely be sent twice.
    pub fn is_read_only(self) -> bool {
        match self {
            Self::Whole(command) => command.is_read_only(),
            Self::OfKey(per_key, _) => per_key.head.is_read_only(),
        }
    }

    /// Tells whether somebody has said that the command runs code of others, which its name need not tell.
    pub(crate) fn is_said_to_run_code(self) -> bool {
        match self {
            Self::Whole(command) => command.is_said_to_run_code(),
            Self::OfKey(per_key, _) => per_key.head.is_said_to_run_code(),
        }
    }

    /// Tells whether its reply has names of keys that its caller may not see.
    pub(crate) fn names_keys(self) -> bool {
        match self {
            Self::Whole(command) => command.names_keys(),
            Self::OfKey(per_key, _) => per_key.head.names_keys(),
        }
    }

    /// Returns the arguments, in order, without the name.
    pub fn args(self) -> impl Iterator<Item = &'a [u8]> {
        self.words().skip(1)
    }

    /// Returns the name and the arguments, in order.
    pub fn words(self) -> impl Iterator<Item = &'a [u8]> {
        let (head, key, tail) = match self {
            Self::Whole(command) => (command.wire(), None, &[][..]),
            Self::OfKey(per_key, key) => (per_key.head.wire(), Some(key), &per_key.tail[..]),
        };
        Arguments::of(head).chain(key).chain(Arguments::of(tail))
    }

    /// Returns how many words there are, the name included.
    pub fn word_count(self) -> usize {
        match self {
            Self::Whole(command) => command.word_count(),
            Self::OfKey(per_key, _) => per_key.word_count(),
        }
    }

    /// Returns the command by itself.
    pub fn command(self) -> Cow<'a, Command> {
        match self {
            Self::Whole(command) => Cow::Borrowed(command),
            Self::OfKey(per_key, key) => Cow::Owned(per_key.whole(key)),
        }
    }

    /// Takes the command apart at the key that it is routed by. Returns `None` if that key is none of its arguments.
    pub(crate) fn around_key(self) -> Option<AroundKey<'a>> {
        match self {
            Self::Whole(command) => command.around_key(),
            Self::OfKey(per_key, key) => Some(AroundKey { before: per_key.head.wire(), key, after: &per_key.tail }),
        }
    }
}

impl<'a> From<&'a Command> for CommandRef<'a> {
    fn from(command: &'a Command) -> Self {
        Self::Whole(command)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn per_key(before: &[Vec<u8>], keys: &[Vec<u8>], after: &[Vec<u8>]) -> PerKey {
        let head = before.iter().fold(Command::new("NAME"), Command::arg);
        after.iter().fold(PerKey::new(head, keys), PerKey::arg)
    }

    proptest! {
        #[test]
        fn one_of_many_keys_is_the_command_for_that_key(
            before in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..3),
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..5),
            after in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..3),
        ) {
            let commands = CommandSet::from(per_key(&before, &keys, &after));
            prop_assert_eq!(commands.len(), keys.len());
            let mut wire = Vec::new();
            for (one, key) in commands.iter().zip(&keys) {
                let command = before.iter().fold(Command::new("NAME"), Command::arg).key(key);
                let command = after.iter().fold(command, Command::arg);
                prop_assert_eq!(&*one.command(), &command);
                command.write_to(&mut wire);
                prop_assert!(one.words().eq(command.words()));
                prop_assert_eq!(one.word_count(), command.word_count());
                prop_assert_eq!((one.name(), one.routing_key()), (command.name(), command.routing_key()));
            }
            let mut written = Vec::new();
            commands.write_to(0..commands.len(), &mut written);
            prop_assert_eq!(written, wire);
        }
    }

    #[test]
    fn each_is_routed_by_its_own_key_whatever_stands_before_it() {
        let per_key = PerKey::new(Command::new("COPY").key("from"), ["to:1", "to:2"]);
        assert_eq!(per_key.command(1).routing_key(), Some(&b"to:2"[..]));
        assert_eq!(CommandSet::from(per_key).at(0).routing_key(), Some(&b"to:1"[..]));
    }

    #[test]
    fn one_command_for_many_keys_only_reads_if_it_does_so_for_all() {
        let mut commands = CommandSet::from(PerKey::new(Command::new("OBJECT"), ["FREQ", "ENCODING"]));
        let flags = |is_read_only, is_about_all_keys| {
            Ok::<_, ()>(CommandFlags { is_read_only, runs_code: !is_read_only, names_keys: false, is_about_all_keys })
        };
        commands.mark(|one| flags(one.routing_key() == Some(b"FREQ"), false)).unwrap();
        assert!(!commands.at(0).is_read_only() && commands.at(0).is_said_to_run_code());
        commands.mark(|one| flags(one.routing_key() == Some(b"FREQ"), true)).unwrap();
        assert!(commands.iter().all(CommandRef::is_read_only));
        assert_eq!(commands.mark(|_| Err("no")), Err("no"));
    }
}
