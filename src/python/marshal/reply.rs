//! Writes a reply of the server as the value that `execute()` returns for it.
//!
//! Bulk and simple strings become text, or bytes where they are not UTF-8; integers stay; nil is `None`; arrays become
//! lists, and an error within one is its text. A type of RESP3 alone becomes what RESP2 would have said.

use memchr::memchr;

use super::write::Writer;

/// The depth to which a reply may nest. Python's own limit is 2000.
const DEEPEST: usize = 128;

/// Says what a reply was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrittenReply<'a> {
    /// A value, which is written now.
    Value,
    /// An error, as the server sent it; nothing is written.
    Error(&'a [u8]),
    /// The value is no whole reply; nothing is written.
    Broken,
}

/// Writes one whole reply, in RESP2 or RESP3.
pub(crate) fn write_reply<'a>(reply: &'a [u8], to: &mut Writer) -> WrittenReply<'a> {
    let start = to.len();
    let mut replies = ReplyWalk { bytes: reply, at: 0 };
    if let Some(error) = replies.error() {
        return WrittenReply::Error(error);
    }
    match replies.value(to, 0) {
        Some(()) if replies.at == reply.len() => WrittenReply::Value,
        _ => {
            to.truncate(start);
            WrittenReply::Broken
        }
    }
}

struct ReplyWalk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> ReplyWalk<'a> {
    /// Returns the text of a reply that is an error as a whole.
    fn error(&mut self) -> Option<&'a [u8]> {
        match self.bytes.first()? {
            b'-' => self.line().map(|(_, text)| text),
            b'!' => {
                let (_, length) = self.line()?;
                self.body(length)
            }
            _ => None,
        }
    }

    /// Writes the next element; none where the bytes are not what they should be.
    fn value(&mut self, to: &mut Writer, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        let (kind, line) = self.line()?;
        match kind {
            b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' if line == b"-1" => to.none(),
            b'_' => to.none(),
            b'+' | b'-' | b',' | b'(' => to.text_or_bytes(line),
            b':' => to.int(number(line)?),
            b'#' => to.int(i64::from(line == b"t")),
            b'$' | b'!' => to.text_or_bytes(self.body(line)?),
            b'=' => to.text_or_bytes(self.body(line)?.get(4..)?),
            b'*' | b'~' | b'>' => self.elements(count(line)?, to, depth)?,
            b'%' => self.elements(count(line)?.checked_mul(2)?, to, depth)?,
            // Attributes stand before the reply that they belong to.
            b'|' => {
                let start = to.len();
                self.elements(count(line)?.checked_mul(2)?, to, depth)?;
                to.truncate(start);
                self.value(to, depth + 1)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn elements(&mut self, count: usize, to: &mut Writer, depth: usize) -> Option<()> {
        to.begin_list(count);
        for _ in 0..count {
            self.value(to, depth + 1)?;
        }
        Some(())
    }

    /// Reads a line: its type, and the rest.
    fn line(&mut self) -> Option<(u8, &'a [u8])> {
        let rest = &self.bytes[self.at..];
        let end = memchr(b'\n', rest)?;
        self.at += end + 1;
        let (kind, line) = rest[..end].strip_suffix(b"\r")?.split_first()?;
        Some((*kind, line))
    }

    fn body(&mut self, length: &[u8]) -> Option<&'a [u8]> {
        let length = count(length)?;
        let end = self.at.checked_add(length)?;
        let body = self.bytes.get(self.at..end)?;
        self.at = end + 2;
        (self.at <= self.bytes.len()).then_some(body)
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads a length or count, which fits the 32 bits that `marshal` has for it.
fn count(digits: &[u8]) -> Option<usize> {
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(number as usize)
}
