//! Reading what clients send: commands as arrays of bulk strings, and as lines that people type.
//!
//! The reader goes on where it stopped when more bytes come, so that a request of any size is looked at once. A command keeps
//! the form in which it came, which is the form in which it travels on: its arguments are copied once, all together.

use bytes::{Buf, BytesMut};

use crate::command::Command;

/// The longest line that is looked for, in bytes, as in Redis.
const LONGEST_LINE: usize = 64 * 1024;

/// The most arguments of a command, as in Redis. They take no room before they come.
const MOST_ARGUMENTS: usize = i32::MAX as usize;

/// The length from which on, in bytes, the memory of a request is given back as soon as it is read.
const LARGE: usize = 64 * 1024;

/// The number of arguments that a client may send which is not known yet, as in Redis.
const MOST_ARGUMENTS_OF_STRANGERS: usize = 10;
const LONGEST_OF_STRANGERS: usize = 16 * 1024;

/// The number of bytes that are read at once: for clients that say little, and for those that say much.
const LEAST_ROOM: usize = 512;
const MOST_ROOM: usize = 64 * 1024;

/// Bounds what one request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestLimits {
    /// The longest argument, in bytes.
    pub(super) max_bulk: usize,
    /// The longest request, in bytes.
    pub(super) max_request: usize,
}

/// A fault in bytes of a client that are no request. The connection cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ERR Protocol error: {0}")]
pub(super) struct BadRequest(String);

impl BadRequest {
    fn because(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Holds bytes of a client until they are whole requests.
pub(super) struct RequestReader {
    input: BytesMut,
    limits: RequestLimits,
    /// Tells whether the client is known: strangers may send little.
    is_trusted: bool,
    /// The array that is being read.
    open: Option<OpenArray>,
    /// The number of bytes that have been searched for the end of a line.
    looked_at: usize,
    /// The least number of bytes that are read at once.
    room: usize,
}

/// An array of arguments of which not all have come.
#[derive(Debug)]
struct OpenArray {
    count: usize,
    /// The position of the first argument.
    start: usize,
    /// The position of the next argument.
    at: usize,
    /// The number of arguments that are whole.
    done: usize,
    /// The position and the length of the argument under way.
    body: Option<(usize, usize)>,
    /// Tells whether all lengths are written in the shortest way, and all arguments end as they should.
    travels_as_it_is: bool,
}

impl RequestReader {
    /// Starts with nothing.
    pub(super) fn new(limits: RequestLimits) -> Self {
        Self { input: BytesMut::new(), limits, is_trusted: false, open: None, looked_at: 0, room: LEAST_ROOM }
    }

    /// Lets the client send requests of any size that the limits allow.
    pub(super) fn trust(&mut self, is_trusted: bool) {
        self.is_trusted = is_trusted;
    }

    /// Returns the buffer to read into, with room for what is known to come, and for as much more as the client has been
    /// sending at once: little for the many that say little.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        /// The memory that is set aside at once for an argument of which few bytes have come.
        const MOST_AHEAD: usize = 1024 * 1024;
        let body = self.open.as_ref().and_then(|open| open.body);
        let missing = body.map_or(0, |(start, length)| (start + length + 2).saturating_sub(self.input.len()));
        self.input.reserve(missing.min(MOST_AHEAD).max(self.room));
        &mut self.input
    }

    /// Has read so many bytes into the [buffer](Self::buffer).
    pub(super) fn has_read(&mut self, bytes: usize) {
        if bytes >= self.room {
            self.room = (self.room * 4).min(MOST_ROOM);
        } else if bytes < self.room / 8 {
            self.room = (self.room / 2).max(LEAST_ROOM);
        }
    }

    /// Returns whether bytes are left that are no whole request.
    pub(super) fn is_in_the_middle(&self) -> bool {
        !self.input.is_empty()
    }

    /// Returns how many bytes are kept.
    pub(super) fn len(&self) -> usize {
        self.input.len()
    }

    /// Gives the memory of an idle client back.
    pub(super) fn shrink(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Returns the next whole request; `None` if there is none yet.
    ///
    /// # Errors
    /// If the bytes are no request, or too large a one.
    pub(super) fn next(&mut self) -> Result<Option<Command>, BadRequest> {
        loop {
            if self.open.is_none() {
                match self.input.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        let Some(line) = self.line(0)? else { return Ok(None) };
                        let count = integer(&self.input[1..line.end])
                            .filter(|&count| count <= MOST_ARGUMENTS as i64)
                            .ok_or_else(|| BadRequest::because("invalid multibulk length"))?;
                        if !self.is_trusted && count > MOST_ARGUMENTS_OF_STRANGERS as i64 {
                            return Err(BadRequest::because("unauthenticated multibulk length"));
                        }
                        self.looked_at = 0;
                        if count <= 0 {
                            self.input.advance(line.next);
                            continue;
                        }
                        let (start, count) = (line.next, count as usize);
                        let (done, body, travels_as_it_is) = (0, None, true);
                        self.open = Some(OpenArray { count, start, at: start, done, body, travels_as_it_is });
                    }
                    Some(_) => {
                        let Some(line) = self.line(0)? else { return Ok(None) };
                        let text = self.input.split_to(line.next);
                        self.looked_at = 0;
                        let words = words_of_line(&text[..line.end])
                            .ok_or_else(|| BadRequest::because("unbalanced quotes in request"))?;
                        match Command::from_args(&words) {
                            Some(command) => return Ok(Some(command)),
                            None => continue,
                        }
                    }
                }
            }
            return self.arguments();
        }
    }

    /// Goes on with the arguments of the open array.
    fn arguments(&mut self) -> Result<Option<Command>, BadRequest> {
        let Some(mut open) = self.open.take() else { return Ok(None) };
        while open.done < open.count {
            let (start, length) = match open.body {
                Some(body) => body,
                None => {
                    match self.input.get(open.at) {
                        Some(b'$') => {}
                        Some(&other) => {
                            let other = char::from(other).escape_default().to_string();
                            return Err(BadRequest::because(format!("expected '$', got '{other}'")));
                        }
                        None => return self.wait(open),
                    }
                    let Some(line) = self.line(open.at)? else { return self.wait(open) };
                    let digits = &self.input[open.at + 1..line.end];
                    let length = integer(digits)
                        .filter(|&length| (0..=self.limits.max_bulk as i64).contains(&length))
                        .ok_or_else(|| BadRequest::because("invalid bulk length"))?
                        as usize;
                    if !self.is_trusted && length > LONGEST_OF_STRANGERS {
                        return Err(BadRequest::because("unauthenticated bulk length"));
                    }
                    let has_return = line.next == line.end + 2;
                    let is_shortest = digits.len() == 1 || !matches!(digits[0], b'0' | b'+');
                    open.travels_as_it_is &= has_return && is_shortest;
                    if line.next - open.start + length > self.limits.max_request {
                        return Err(BadRequest::because(format!(
                            "the request is longer than {} bytes",
                            self.limits.max_request
                        )));
                    }
                    self.looked_at = 0;
                    open.body = Some((line.next, length));
                    (line.next, length)
                }
            };
            let end = start + length + 2;
            if self.input.len() < end {
                return self.wait(open);
            }
            open.travels_as_it_is &= &self.input[end - 2..end] == b"\r\n";
            open.at = end;
            open.body = None;
            open.done += 1;
        }
        let bytes = self.input.split_to(open.at);
        if bytes.len() >= LARGE && self.input.is_empty() {
            // A large request must not be kept beside its command until the client says more.
            self.input = BytesMut::new();
        }
        let wire = &bytes[open.start..];
        Ok(match open.travels_as_it_is {
            true => Some(Command::from_wire(wire, open.count)),
            false => Command::from_args(arguments_of(wire)),
        })
    }

    fn wait(&mut self, open: OpenArray) -> Result<Option<Command>, BadRequest> {
        self.open = Some(open);
        Ok(None)
    }

    /// Finds the line that begins here.
    fn line(&mut self, at: usize) -> Result<Option<Line>, BadRequest> {
        let from = at.max(self.looked_at);
        let Some(found) = memchr::memchr(b'\n', &self.input[from..]) else {
            if self.input.len() - at > LONGEST_LINE {
                let what = match self.input[at] {
                    b'*' => "too big mbulk count string",
                    b'$' => "too big bulk count string",
                    _ => "too big inline request",
                };
                return Err(BadRequest::because(what));
            }
            self.looked_at = self.input.len();
            return Ok(None);
        };
        let end = from + found;
        let text_end = if end > at && self.input[end - 1] == b'\r' { end - 1 } else { end };
        Ok(Some(Line { end: text_end, next: end + 1 }))
    }
}

/// The end of a line, without its line break, and the beginning of the next one.
struct Line {
    end: usize,
    next: usize,
}

fn integer(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Walks arguments whose lengths may be written in any way, and which may end in any two bytes, as Redis allows.
fn arguments_of(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', wire)?;
        let digits = wire[1..end].strip_suffix(b"\r").unwrap_or(&wire[1..end]);
        let length = integer(digits)? as usize;
        let (argument, rest) = wire.get(end + 1..)?.split_at_checked(length)?;
        wire = rest.get(2..)?;
        Some(argument)
    })
}

/// Parts a line into words as Redis does: at white space, but for quotes, in which some characters are escaped. `None` if a
/// quote is not closed, or is followed by more than white space.
fn words_of_line(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let is_space = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b;
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.iter().position(|&byte| !is_space(byte));
        let Some(start) = start else { return Some(words) };
        rest = &rest[start..];
        let mut word = Vec::new();
        loop {
            match rest {
                [] => break,
                [byte, ..] if is_space(*byte) => break,
                [quote @ (b'"' | b'\''), inner @ ..] => {
                    rest = quoted(*quote, inner, &mut word)?;
                    if rest.first().is_some_and(|&next| !is_space(next)) {
                        return None;
                    }
                    break;
                }
                [byte, after @ ..] => {
                    word.push(*byte);
                    rest = after;
                }
            }
        }
        words.push(word);
    }
}

/// Reads up to the closing quote. Returns what is behind it.
fn quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    let hex = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    loop {
        rest = match (quote, rest) {
            (_, []) => return None,
            (_, [byte, after @ ..]) if *byte == quote => return Some(after),
            (b'\'', [b'\\', b'\'', after @ ..]) => {
                word.push(b'\'');
                after
            }
            (b'"', [b'\\', b'x', high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                word.push(hex(*high)? << 4 | hex(*low)?);
                after
            }
            (b'"', [b'\\', escaped, after @ ..]) => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                after
            }
            (_, [byte, after @ ..]) => {
                word.push(*byte);
                after
            }
        };
    }
}

/// Reads bytes as requests twice: as they are, and in pieces whose lengths they say themselves. Both ways must give the same.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_requests(bytes: &[u8]) {
    let reader = || {
        let mut reader = RequestReader::new(RequestLimits { max_bulk: 1 << 16, max_request: 1 << 17 });
        reader.trust(true);
        reader
    };
    let drain = |reader: &mut RequestReader, read: &mut Vec<String>| loop {
        match reader.next() {
            Ok(Some(command)) => {
                assert_eq!(command.words().count(), command.word_count());
                assert!(command.word_count() > 0);
                read.push(command.to_string());
            }
            Ok(None) => return true,
            Err(error) => {
                read.push(error.to_string());
                return false;
            }
        }
    };
    let (mut whole, mut at_once) = (reader(), Vec::new());
    whole.buffer().extend_from_slice(bytes);
    drain(&mut whole, &mut at_once);
    let (mut parted, mut piecewise, mut rest) = (reader(), Vec::new(), bytes);
    while let Some(&length) = rest.first() {
        let (piece, after) = rest.split_at((usize::from(length) % 23 + 1).min(rest.len()));
        rest = after;
        parted.buffer().extend_from_slice(piece);
        if !drain(&mut parted, &mut piecewise) {
            break;
        }
    }
    assert_eq!(at_once, piecewise);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader() -> RequestReader {
        let mut reader = RequestReader::new(RequestLimits { max_bulk: 1 << 20, max_request: 2 << 20 });
        reader.trust(true);
        reader
    }

    fn read(bytes: &[u8]) -> Vec<String> {
        let mut reader = reader();
        reader.buffer().extend_from_slice(bytes);
        let mut read = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(command)) => read.push(command.to_string()),
                Ok(None) => return read,
                Err(error) => {
                    read.push(error.to_string());
                    return read;
                }
            }
        }
    }

    #[test]
    fn arrays_and_lines_are_requests() {
        let both = read(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nset k  \"a b\\x41\\n\"\r\n\r\n*0\r\n*-1\r\nPING\n*1\r\n$4\r\nQUIT\r\n*2\r\n$3");
        assert_eq!(both, ["GET k", "set k a bA\\n", "PING", "QUIT"]);
        assert_eq!(read(b"*2\r\n$03\r\nGET\r\n$+1\r\nkXY*1\r\n$4\r\nPING\r\n"), ["GET k", "PING"], "odd, and allowed");
    }

    #[test]
    fn what_is_no_request_is_told_in_the_words_of_redis() {
        for (bytes, error) in [
            (&b"*a\r\n"[..], "invalid multibulk length"),
            (b"*2147483648\r\n", "invalid multibulk length"),
            (b"*1\r\n:1\r\n", "expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$1048577\r\n", "invalid bulk length"),
            (b"GET \"a\r\n", "unbalanced quotes in request"),
            (b"GET \"a\"b\r\n", "unbalanced quotes in request"),
            (&[b'a'; LONGEST_LINE + 1], "too big inline request"),
            (b"*3\r\n$1048576\r\n", ""),
        ] {
            let expected = if error.is_empty() { vec![] } else { vec![format!("ERR Protocol error: {error}")] };
            assert_eq!(read(bytes), expected, "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(30)]));
        }
    }

    #[test]
    fn a_request_is_bounded_as_a_whole_and_strangers_more() {
        let mut long = b"*3\r\n$1048576\r\n".to_vec();
        long.resize(long.len() + (1 << 20), b'x');
        long.extend(b"\r\n$1048576\r\n");
        assert_eq!(read(&long), ["ERR Protocol error: the request is longer than 2097152 bytes"]);
        let stranger = |bytes: &[u8]| {
            let mut reader = reader();
            reader.trust(false);
            reader.buffer().extend_from_slice(bytes);
            reader.next().unwrap_err().to_string()
        };
        assert_eq!(stranger(b"*11\r\n"), "ERR Protocol error: unauthenticated multibulk length");
        assert_eq!(stranger(b"*1\r\n$16385\r\n"), "ERR Protocol error: unauthenticated bulk length");
    }

    proptest! {
        #[test]
        fn requests_survive_any_parting(
            requests in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..6), 1..6),
            cuts in prop::collection::vec(1usize..40, 1..20),
        ) {
            let mut wire = Vec::new();
            requests.iter().for_each(|words| Command::from_args(words).unwrap().write_to(&mut wire));
            let (mut reader, mut read, mut rest, mut cuts) = (reader(), Vec::new(), &wire[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                reader.buffer().extend_from_slice(piece);
                rest = after;
                while let Some(command) = reader.next().unwrap() {
                    read.push(command.words().map(<[u8]>::to_vec).collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(read, requests);
            prop_assert!(!reader.is_in_the_middle());
        }

        #[test]
        fn nothing_that_is_sent_is_worse_than_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            read_requests(&bytes);
        }

        #[test]
        fn nothing_that_looks_like_a_request_is_worse_than_an_error(text in "[*$0-9\r\n\"'\\\\ax -]{0,80}") {
            read_requests(text.as_bytes());
        }

        #[test]
        fn nothing_that_is_nearly_a_request_is_worse_than_an_error(
            requests in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..5), 1..5),
            spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut wire = Vec::new();
            requests.iter().for_each(|words| Command::from_args(words).unwrap().write_to(&mut wire));
            for (at, byte) in spoilt {
                let at = at.index(wire.len());
                wire[at] = byte;
            }
            read_requests(&wire);
        }
    }
}
