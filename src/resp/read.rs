//! Reading RESP2 and RESP3.
//!
//! In two stages. A [`Scanner`] finds where the next reply ends: it goes on where it stopped when more bytes come, so a
//! reply of any size is looked at once, and it can run ahead over bytes that are thrown away. [`decode`] then builds
//! the [`Reply`] from the whole bytes, with slices of them for strings.
//!
//! rmr reads replies itself, where the `redis` crate could, for four reasons. That crate gives a connection up, and
//! with it everybody's requests, when an error line is not UTF-8, as the errors of many modules and every "unknown
//! command" with binary arguments are. It cannot bound the bytes of a reply before they are in memory. It does not
//! say whether a command had left when a connection broke, on which depends whether a write may be sent again. And it
//! takes 0.74 us and 4.2 allocations for each reply of a pipeline of `GET`s, where this takes a fraction (`make bench`).

use bytes::Bytes;

use crate::reply::Reply;

/// The depth to which a reply may nest. Deeper replies are read past, and become an error of their command alone.
const DEEPEST: usize = 128;

/// The memory that an element of a reply takes besides the bytes of its text.
pub(crate) const ELEMENT_COST: usize = size_of::<Reply>();

/// The bytes are not RESP: the connection cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer does not speak RESP: {0}")]
pub(crate) struct ProtocolError(&'static str);

impl ProtocolError {
    pub(crate) const UNASKED: Self = Self("it sent a reply that nobody had asked for");
    pub(crate) const TOO_LONG: Self = Self("it describes its cluster at more length than clusters have");
    pub(crate) const WITHOUT_END: Self = Self("it does not tell where the error of a script ends");
}

/// Finds the ends of replies in a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// The number of bytes that have been looked at.
    at: usize,
    /// Bytes of a string's body that are still to be passed, its line end included.
    body: usize,
    /// The number of elements that are still to come, for each open aggregate.
    open: Vec<u64>,
    /// The memory that the reply will take, as far as it is known.
    cost: usize,
}

impl Scanner {
    /// Looks at the bytes not seen before. `true` when a reply ends at [`position`](Self::position).
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<bool, ProtocolError> {
        loop {
            if self.body > 0 {
                let passed = self.body.min(bytes.len() - self.at);
                self.at += passed;
                self.body -= passed;
                if self.body > 0 {
                    return Ok(false);
                }
            } else {
                let Some(end) = memchr::memchr(b'\n', &bytes[self.at..]) else { return Ok(false) };
                let line = &bytes[self.at..self.at + end];
                self.begin(line.strip_suffix(b"\r").ok_or(ProtocolError("a line without \\r"))?)?;
                self.at += end + 1;
                if self.body > 0 {
                    continue;
                }
            }
            if self.close_finished() {
                return Ok(true);
            }
        }
    }

    /// Returns how many bytes have been looked at.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Returns the memory that the reply will take, as far as it is known: announced strings count in full.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Returns how many bytes must still come at least.
    pub(crate) fn missing(&self) -> usize {
        self.body
    }

    /// Forgets the bytes looked at, because they are thrown away.
    pub(crate) fn forget(&mut self) -> usize {
        std::mem::take(&mut self.at)
    }

    /// Forgets the first of the bytes looked at.
    pub(crate) fn forget_first(&mut self, bytes: usize) {
        self.at -= bytes;
    }

    /// Gets ready for the next reply, which begins at the current position.
    pub(crate) fn next_reply(&mut self) {
        self.cost = 0;
    }

    fn begin(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        let (&kind, rest) = line.split_first().ok_or(ProtocolError("an empty line"))?;
        self.cost = self.cost.saturating_add(ELEMENT_COST + rest.len());
        match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'_' | b'(' => {}
            b'$' | b'=' | b'!' => {
                if let Some(length) = length(rest)? {
                    self.body = length + 2;
                    self.cost = self.cost.saturating_add(length);
                }
            }
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let Some(count) = length(rest)? else { return Ok(()) };
                let count = match kind {
                    b'%' => count as u64 * 2,
                    // Attributes stand before the reply that they belong to.
                    b'|' => count as u64 * 2 + 1,
                    _ => count as u64,
                };
                // Taken off again by `close_finished`, which counts this header as an element of its own.
                self.open.push(count + 1);
            }
            _ => return Err(ProtocolError("an unknown type")),
        }
        Ok(())
    }

    /// Closes the aggregates that end with the element that has just ended. Returns `true` when the whole reply ends.
    fn close_finished(&mut self) -> bool {
        loop {
            match self.open.last_mut() {
                None => return true,
                Some(left) => {
                    *left -= 1;
                    if *left > 0 {
                        return false;
                    }
                    self.open.pop();
                }
            }
        }
    }
}

/// Reads a length or count; returns `None` for the null of RESP2, which is -1.
fn length(digits: &[u8]) -> Result<Option<usize>, ProtocolError> {
    /// Far above what a server sends (512 MB strings by default), far below what overflows.
    const LONGEST: usize = 1 << 40;
    if digits == b"-1" {
        return Ok(None);
    }
    if digits.is_empty() || digits.len() > 13 {
        return Err(ProtocolError("a bad length"));
    }
    let mut length = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(ProtocolError("a bad length"));
        }
        length = length * 10 + usize::from(digit - b'0');
    }
    if length > LONGEST { Err(ProtocolError("a bad length")) } else { Ok(Some(length)) }
}

/// Builds the one reply that these bytes are, which nobody has scanned before.
///
/// # Errors
/// If they are no reply, or none that is whole.
pub(crate) fn decode_whole(bytes: &Bytes) -> Result<Reply, ProtocolError> {
    match Scanner::default().scan(bytes)? {
        true => decode(bytes, &mut 0),
        false => Err(ProtocolError("a reply that ends too soon")),
    }
}

/// Builds the reply that starts at `*at` in bytes that a [`Scanner`] has found whole; moves `*at` behind it.
pub(crate) fn decode(bytes: &Bytes, at: &mut usize) -> Result<Reply, ProtocolError> {
    let mut reader = Reader { bytes, at: *at, too_deep: false };
    let reply = reader.reply(0);
    *at = reader.at;
    match reply {
        Ok(_) if reader.too_deep => {
            Ok(Reply::Error(Bytes::from(format!("ERR the reply nests deeper than {DEEPEST} levels"))))
        }
        other => other,
    }
}

/// Returns the text of a reply that is a bulk string, and `None` for any other reply.
#[cfg(feature = "module")]
pub(crate) fn bulk(reply: &[u8]) -> Option<&[u8]> {
    let rest = reply.strip_prefix(b"$")?;
    let start = memchr::memchr(b'\n', rest)? + 1;
    rest.get(start..rest.len().checked_sub(2)?).filter(|_| rest[0] != b'-')
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
    too_deep: bool,
}

impl Reader<'_> {
    fn reply(&mut self, depth: usize) -> Result<Reply, ProtocolError> {
        if depth > DEEPEST {
            self.too_deep = true;
            return self.pass().map(|()| Reply::Null);
        }
        let (kind, start, end) = self.line()?;
        let line = &self.bytes[start..end];
        Ok(match kind {
            // The most common of all replies needs no bytes of its own.
            b'+' if line == b"OK" => Reply::Simple(Bytes::from_static(b"OK")),
            b'+' => Reply::Simple(self.bytes.slice(start..end)),
            b'-' => Reply::Error(self.bytes.slice(start..end)),
            b':' => Reply::Integer(parse(line, "a bad integer")?),
            b',' => Reply::Double(double(line)?),
            b'#' => Reply::Boolean(line == b"t"),
            b'_' => Reply::Null,
            b'(' => Reply::BigNumber(self.bytes.slice(start..end)),
            b'$' => match length(line)? {
                Some(length) => Reply::Bulk(self.body(length)?),
                None => Reply::Null,
            },
            b'!' => match length(line)? {
                Some(length) => Reply::Error(self.body(length)?),
                None => Reply::Null,
            },
            b'=' => match length(line)? {
                Some(length) => verbatim(self.body(length)?)?,
                None => Reply::Null,
            },
            b'*' | b'>' => match length(line)? {
                Some(count) => Reply::Array(self.elements(count, depth)?),
                None => Reply::NullArray,
            },
            b'~' => Reply::Set(self.elements(length(line)?.unwrap_or(0), depth)?),
            b'%' => Reply::Map(self.pairs(length(line)?.unwrap_or(0), depth)?),
            b'|' => {
                let attributes = self.pairs(length(line)?.unwrap_or(0), depth)?;
                Reply::Attributed { attributes, reply: Box::new(self.reply(depth + 1)?) }
            }
            _ => return Err(ProtocolError("an unknown type")),
        })
    }

    fn elements(&mut self, count: usize, depth: usize) -> Result<Vec<Reply>, ProtocolError> {
        // An element takes three bytes at least, so what is there bounds what is set aside.
        let mut elements = Vec::with_capacity(count.min((self.bytes.len() - self.at) / 3));
        for _ in 0..count {
            elements.push(self.reply(depth + 1)?);
        }
        Ok(elements)
    }

    fn pairs(&mut self, count: usize, depth: usize) -> Result<Vec<(Reply, Reply)>, ProtocolError> {
        let mut pairs = Vec::with_capacity(count.min((self.bytes.len() - self.at) / 6));
        for _ in 0..count {
            pairs.push((self.reply(depth + 1)?, self.reply(depth + 1)?));
        }
        Ok(pairs)
    }

    /// Passes one reply without building it.
    fn pass(&mut self) -> Result<(), ProtocolError> {
        let mut scanner = Scanner::default();
        if !scanner.scan(&self.bytes[self.at..])? {
            return Err(ProtocolError("a reply that ends too soon"));
        }
        self.at += scanner.position();
        Ok(())
    }

    /// Reads a line: returns its type, and the start and end of its rest.
    fn line(&mut self) -> Result<(u8, usize, usize), ProtocolError> {
        let rest = &self.bytes[self.at..];
        match memchr::memchr(b'\n', rest) {
            Some(end) if end >= 2 => {
                let start = self.at;
                self.at += end + 1;
                Ok((rest[0], start + 1, start + end - 1))
            }
            _ => Err(ProtocolError("a reply that ends too soon")),
        }
    }

    fn body(&mut self, length: usize) -> Result<Bytes, ProtocolError> {
        let end = self.at + length;
        if end + 2 > self.bytes.len() {
            return Err(ProtocolError("a reply that ends too soon"));
        }
        let body = self.bytes.slice(self.at..end);
        self.at = end + 2;
        Ok(body)
    }
}

fn parse<T: std::str::FromStr>(line: &[u8], what: &'static str) -> Result<T, ProtocolError> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(ProtocolError(what))
}

/// Reads a double, `inf`, `-inf` and any spelling of `nan` included: Redis passes on what the C library printed.
fn double(line: &[u8]) -> Result<f64, ProtocolError> {
    if line.ends_with(b"nan") { Ok(f64::NAN) } else { parse(line, "a bad double") }
}

fn verbatim(body: Bytes) -> Result<Reply, ProtocolError> {
    match body.first_chunk::<3>() {
        Some(&format) if body.get(3) == Some(&b':') => Ok(Reply::Verbatim { format, text: body.slice(4..) }),
        _ => Err(ProtocolError("a bad verbatim string")),
    }
}

#[cfg(test)]
mod tests;
