//! [`Command`]: what is sent to a node.
//!
//! A command is kept in the form in which it travels: its arguments as RESP bulk strings, one after another, in a
//! single buffer. Sending a thousand of them is then a thousand copies into one write, and nothing is encoded twice.
//! Arguments are bytes; nothing here assumes UTF-8.

mod argument;
mod set;

use std::fmt;
use std::ops::Range;

pub use argument::Argument;
pub(crate) use argument::integer;
pub use set::{CommandFlags, CommandRef, CommandSet, PerKey};

pub(crate) use crate::printable::printable;
use crate::resp::{ArgBuffer, Arguments, push_array_header};

/// One Redis command: a name, its arguments, and the key it is routed by.
///
/// ```
/// use rmr::Command;
///
/// let get = Command::new("HGET").key("cart:1").arg("price");
/// assert_eq!(get.to_string(), "HGET cart:1 price");
/// assert_eq!(get.routing_key(), Some(&b"cart:1"[..]));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    wire: ArgBuffer,
    name: Range<usize>,
    count: usize,
    key: Option<Key>,
    read_only: bool,
    runs_code: bool,
    names_keys: bool,
}

/// The key that a command is routed by.
#[derive(Clone, PartialEq, Eq)]
enum Key {
    /// The key is one of the command's arguments.
    Argument(Range<usize>),
    /// A key that it does not name.
    Apart(Box<[u8]>),
}

impl Command {
    /// Makes a command of this name, without arguments.
    pub fn new(name: impl Argument) -> Self {
        Self::named(ArgBuffer::EMPTY, &name.to_argument())
    }

    /// Makes a command of this name, and sets aside `room` bytes for its arguments.
    pub(crate) fn with_room(name: &str, room: usize) -> Self {
        Self::named(ArgBuffer::with_room(room), name.as_bytes())
    }

    /// Makes a command of `count` words, at least one, as they travel: bulk strings whose lengths are written in the
    /// shortest way.
    pub(crate) fn from_wire(wire: &[u8], count: usize) -> Self {
        let name = Arguments::of(wire).next().map_or(0..0, |name| {
            let from = name.as_ptr() as usize - wire.as_ptr() as usize;
            from..from + name.len()
        });
        let wire = ArgBuffer::of(wire);
        Self { wire, name, count, key: None, read_only: false, runs_code: false, names_keys: false }
    }

    fn named(wire: ArgBuffer, name: &[u8]) -> Self {
        let mut command =
            Self { wire, name: 0..0, count: 0, key: None, read_only: false, runs_code: false, names_keys: false };
        command.name = command.push(name);
        command
    }

    /// Adds so many arguments as they travel, but for the first few.
    pub(crate) fn push_args(&mut self, args: &[u8], count: usize, without: usize) {
        let mut args = Arguments::of(args);
        let left_out = args.by_ref().take(without).count();
        self.wire.extend([args.rest()]);
        self.count += count - left_out;
    }

    /// Returns the arguments behind the name, as they travel.
    pub(crate) fn args_wire(&self) -> &[u8] {
        &self.wire.bytes()[self.name.end + 2..]
    }

    /// Makes a command of its words, the name first. `None` if there are none.
    pub fn from_args<A: Argument>(args: impl IntoIterator<Item = A>) -> Option<Self> {
        let mut args = args.into_iter();
        let name = args.next()?;
        Some(args.fold(Self::new(name), Self::arg))
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Argument) -> Self {
        argument.with_argument(&mut |argument| {
            self.push(argument);
        });
        self
    }

    /// Adds an argument that is a key. The first key is the one that the command is routed by.
    #[must_use]
    pub fn key(mut self, key: impl Argument) -> Self {
        let span = self.push(&key.to_argument());
        self.key.get_or_insert(Key::Argument(span));
        self
    }

    /// Routes the command by a key that is none of its arguments.
    ///
    /// ```
    /// use rmr::Command;
    ///
    /// let count = Command::new("CLUSTER").arg("COUNTKEYSINSLOT").arg(12739).routed_by("123456789");
    /// assert_eq!(count.routing_key(), Some(&b"123456789"[..]));
    /// ```
    #[must_use]
    pub fn routed_by(mut self, key: impl Argument) -> Self {
        self.route_by(&key.to_argument());
        self
    }

    /// Sets, in place, the key by which the command is routed.
    pub(crate) fn route_by(&mut self, key: &[u8]) {
        self.key = Some(Key::Apart(key.into()));
    }

    /// Routes the command by the argument at this position, its name being the first.
    pub(crate) fn route_by_argument(&mut self, at: usize) {
        let wire = self.wire.bytes();
        let span = match at {
            0 => Some(self.name.clone()),
            _ => Arguments::of(self.args_wire()).nth(at - 1).map(|arg| {
                let from = arg.as_ptr() as usize - wire.as_ptr() as usize;
                from..from + arg.len()
            }),
        };
        self.key = span.map(Key::Argument);
    }

    /// Returns the same command, routed by no key.
    pub(crate) fn without_key(self) -> Self {
        Self { key: None, ..self }
    }

    /// Tells whether the command is routed by a key that none of its arguments is marked as.
    pub(crate) fn is_routed_apart(&self) -> bool {
        matches!(self.key, Some(Key::Apart(_)))
    }

    /// Says that the command changes nothing, so that it may be sent again when an answer was lost on the way.
    /// Default: `false`, and a command whose answer was lost ends in an error.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.set_read_only(read_only);
        self
    }

    /// Says in place whether the command only reads.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.read_only = read_only;
    }

    /// Tells whether the command may safely be sent twice.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Says that the command runs code of others, as a script is, though its name does not tell.
    pub(crate) fn set_runs_code(&mut self, runs_code: bool) {
        self.runs_code = runs_code;
    }

    /// Tells whether somebody has said that the command runs code of others.
    pub(crate) fn is_said_to_run_code(&self) -> bool {
        self.runs_code
    }

    /// Says that its reply has names of keys, of which its caller may see those alone that it may read.
    pub(crate) fn set_names_keys(&mut self, names_keys: bool) {
        self.names_keys = names_keys;
    }

    /// Tells whether its reply has names of keys that its caller may not see.
    pub(crate) fn names_keys(&self) -> bool {
        self.names_keys
    }

    /// Returns the command's name, as it was given.
    pub fn name(&self) -> &[u8] {
        &self.wire.bytes()[self.name.clone()]
    }

    /// Returns the key that the command is routed by.
    pub fn routing_key(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|key| match key {
            Key::Argument(span) => &self.wire.bytes()[span.clone()],
            Key::Apart(key) => key,
        })
    }

    /// Returns the name and the arguments, in order.
    pub fn words(&self) -> impl Iterator<Item = &[u8]> {
        Arguments::of(self.wire.bytes())
    }

    /// Returns the arguments, in order, without the name.
    pub fn args(&self) -> impl Iterator<Item = &[u8]> {
        self.words().skip(1)
    }

    /// Returns how many words there are, the name included.
    pub fn word_count(&self) -> usize {
        self.count
    }

    /// Takes the command apart at the key that it is routed by. Returns `None` if that key is none of its arguments.
    pub(crate) fn around_key(&self) -> Option<AroundKey<'_>> {
        let Some(Key::Argument(span)) = &self.key else { return None };
        let wire = self.wire.bytes();
        let head = wire[..span.start].iter().rposition(|&byte| byte == b'$')?;
        Some(AroundKey { before: &wire[..head], key: &wire[span.clone()], after: &wire[span.end + 2..] })
    }

    /// Appends the command to `out` as a RESP array.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        push_array_header(out, self.count);
        out.extend_from_slice(self.wire.bytes());
    }

    /// Returns the name and the arguments as they travel.
    pub(crate) fn wire(&self) -> &[u8] {
        self.wire.bytes()
    }

    /// Returns how many bytes [`write_to`](Self::write_to) appends, or a few less.
    pub(crate) fn wire_len(&self) -> usize {
        self.wire.bytes().len() + 8
    }

    fn push(&mut self, argument: &[u8]) -> Range<usize> {
        self.count += 1;
        self.wire.push(argument)
    }
}

/// A command, taken apart at its key. Before and after stand arguments as they travel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AroundKey<'a> {
    pub(crate) before: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) after: &'a [u8],
}

impl<'a> AroundKey<'a> {
    pub(crate) fn args_before(&self) -> impl Iterator<Item = &'a [u8]> {
        Arguments::of(self.before)
    }

    pub(crate) fn args_after(&self) -> impl Iterator<Item = &'a [u8]> {
        Arguments::of(self.after)
    }
}

/// The command as a person would type it; long or binary arguments are shortened and escaped.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.words().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&printable(arg))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_survive(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20)) {
            let command = Command::from_args(&args).unwrap();
            let seen: Vec<Vec<u8>> = command.words().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&seen, &args);
            prop_assert_eq!(command.word_count(), args.len());
            prop_assert_eq!(command.name(), &args[0][..]);
        }
    }

    #[test]
    fn travels_as_a_resp_array() {
        let mut wire = Vec::new();
        Command::new("SET").key("k").arg("v1").write_to(&mut wire);
        assert_eq!(wire, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nv1\r\n");
    }

    #[test]
    fn a_command_takes_the_arguments_of_others() {
        let mut all = Command::with_room("MSET", 10);
        all.push_args(Command::new("SET").key("a").arg(1).args_wire(), 2, 0);
        all.push_args(Command::new("SET").key("b").arg("x".repeat(80)).args_wire(), 2, 0);
        assert_eq!(all, Command::new("MSET").arg("a").arg(1).arg("b").arg("x".repeat(80)));
        let mut all = Command::with_room("HMGET", 0);
        all.push_args(Command::new("HGET").key("h").arg("a").args_wire(), 2, 0);
        all.push_args(Command::new("HGET").key("h").arg("b").args_wire(), 2, 1);
        assert_eq!(all, Command::new("HMGET").arg("h").arg("a").arg("b"));
    }

    #[test]
    fn the_first_key_routes() {
        let command = Command::new("MGET").key("a").key("b");
        assert_eq!(command.routing_key(), Some(&b"a"[..]));
        assert_eq!(Command::new("DBSIZE").routing_key(), None);
    }

    #[test]
    fn long_and_binary_data_is_shortened_for_people() {
        assert_eq!(printable(b"caf\xc3\xa9\0"), "caf\\xc3\\xa9\\x00");
        assert_eq!(printable(&[b'a'; 100]), format!("{}...", "a".repeat(64)));
    }
}
