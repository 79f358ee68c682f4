//! Replies on their way to a client, in the protocol that it speaks.
//!
//! Short replies are gathered in one buffer. A long string is not copied: it stays the slice of the bytes in which it came
//! from its node, and stands in a row with the others until all are written.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::reply::Reply;
use crate::resp::Protocol;

/// Strings from this length on, in bytes, are not copied.
const LONG: usize = 16 * 1024;

/// Holds replies until they are written.
#[derive(Default)]
pub(super) struct ReplyBuffer {
    /// The pieces before the tail.
    ready: VecDeque<Bytes>,
    tail: BytesMut,
    /// The number of bytes.
    len: usize,
}

impl ReplyBuffer {
    /// Returns how many bytes wait to be written.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns whether nothing waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds bytes that are replies already.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.tail.extend_from_slice(bytes);
    }

    /// Adds a reply.
    pub(super) fn push(&mut self, reply: &Reply, protocol: Protocol) {
        match protocol {
            Protocol::Resp2 => self.push2(reply),
            Protocol::Resp3 => self.push3(reply),
        }
    }

    /// Adds an error, whose line breaks are made spaces.
    pub(super) fn push_error(&mut self, text: &[u8]) {
        self.put(b"-");
        let line: Vec<u8> = text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect();
        self.put(&line);
        self.put(b"\r\n");
    }

    /// Adds the header of an aggregate: `*` of an array, `%` of a map, `>` of a push.
    pub(super) fn push_header(&mut self, kind: u8, count: usize) {
        self.put(&[kind]);
        self.put(itoa::Buffer::new().format(count).as_bytes());
        self.put(b"\r\n");
    }

    /// Adds a string.
    pub(super) fn push_bulk(&mut self, text: &Bytes) {
        self.push_header(b'$', text.len());
        self.put_long(text);
        self.put(b"\r\n");
    }

    fn put(&mut self, bytes: &[u8]) {
        self.push_bytes(bytes);
    }

    fn put_long(&mut self, text: &Bytes) {
        if text.len() < LONG {
            return self.put(text);
        }
        if !self.tail.is_empty() {
            self.ready.push_back(self.tail.split().freeze());
        }
        self.len += text.len();
        self.ready.push_back(text.clone());
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.put(&[kind]);
        self.put(text);
        self.put(b"\r\n");
    }

    fn push2(&mut self, reply: &Reply) {
        match reply {
            Reply::Null => self.put(b"$-1\r\n"),
            Reply::NullArray => self.put(b"*-1\r\n"),
            Reply::Integer(integer) => self.line(b':', itoa::Buffer::new().format(*integer).as_bytes()),
            Reply::Boolean(boolean) => self.put(if *boolean { b":1\r\n" } else { b":0\r\n" }),
            Reply::Double(double) => self.push_bulk(&Bytes::from(shown(*double))),
            Reply::Simple(text) if is_one_line(text) => self.line(b'+', text),
            Reply::Simple(text) | Reply::Bulk(text) | Reply::BigNumber(text) | Reply::Verbatim { text, .. } => {
                self.push_bulk(text);
            }
            Reply::Error(text) => self.push_error(text),
            Reply::Array(elements) | Reply::Set(elements) => {
                self.push_header(b'*', elements.len());
                elements.iter().for_each(|element| self.push2(element));
            }
            Reply::Map(pairs) => {
                self.push_header(b'*', pairs.len() * 2);
                for (key, value) in pairs {
                    self.push2(key);
                    self.push2(value);
                }
            }
            // RESP2 has no place for them.
            Reply::Attributed { reply, .. } => self.push2(reply),
        }
    }

    fn push3(&mut self, reply: &Reply) {
        match reply {
            Reply::Null | Reply::NullArray => self.put(b"_\r\n"),
            Reply::Boolean(boolean) => self.put(if *boolean { b"#t\r\n" } else { b"#f\r\n" }),
            Reply::Double(double) => self.line(b',', shown(*double).as_bytes()),
            Reply::BigNumber(number) => self.line(b'(', number),
            Reply::Verbatim { format, text } => {
                self.push_header(b'=', text.len() + format.len() + 1);
                self.put(format);
                self.put(b":");
                self.put_long(text);
                self.put(b"\r\n");
            }
            Reply::Array(elements) | Reply::Set(elements) => {
                self.push_header(if matches!(reply, Reply::Set(_)) { b'~' } else { b'*' }, elements.len());
                elements.iter().for_each(|element| self.push3(element));
            }
            Reply::Map(pairs) => {
                self.push_header(b'%', pairs.len());
                self.pairs(pairs);
            }
            Reply::Attributed { attributes, reply } => {
                self.push_header(b'|', attributes.len());
                self.pairs(attributes);
                self.push3(reply);
            }
            same => self.push2(same),
        }
    }

    fn pairs(&mut self, pairs: &[(Reply, Reply)]) {
        for (key, value) in pairs {
            self.push3(key);
            self.push3(value);
        }
    }

    /// Writes everything.
    ///
    /// # Errors
    /// If the client takes no more.
    pub(super) async fn write_to(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        /// The number of pieces that go in one call.
        const PIECES: usize = 16;
        if self.ready.is_empty() {
            stream.write_all(&self.tail).await?;
            self.tail.clear();
            self.len = 0;
            return stream.flush().await;
        }
        if !self.tail.is_empty() {
            self.ready.push_back(self.tail.split().freeze());
        }
        while !self.ready.is_empty() {
            let pieces: Vec<IoSlice<'_>> = self.ready.iter().take(PIECES).map(|piece| IoSlice::new(piece)).collect();
            let mut written = stream.write_vectored(&pieces).await?;
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.len -= written;
            while let Some(first) = self.ready.front_mut().filter(|_| written > 0) {
                let passed = written.min(first.len());
                first.advance(passed);
                written -= passed;
                if first.is_empty() {
                    self.ready.pop_front();
                }
            }
        }
        stream.flush().await
    }

    /// Gives the memory of an idle client back.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }
}

fn is_one_line(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Returns a double as Redis shows it.
fn shown(double: f64) -> String {
    if double.is_nan() { "nan".into() } else { double.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(buffer: &mut ReplyBuffer) -> Vec<u8> {
        let mut out = Vec::new();
        buffer.write_to(&mut out).await.unwrap();
        assert!(buffer.is_empty());
        out
    }

    async fn shown_in(reply: &Reply, protocol: Protocol) -> String {
        let mut buffer = ReplyBuffer::default();
        buffer.push(reply, protocol);
        String::from_utf8(written(&mut buffer).await).unwrap()
    }

    #[tokio::test]
    async fn each_type_has_its_form_in_each_protocol() {
        let attributed = Reply::Attributed { attributes: vec![("a".into(), 1.into())], reply: Box::new(true.into()) };
        let verbatim = Reply::Verbatim { format: *b"txt", text: "v".into() };
        for (reply, resp2, resp3) in [
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::NullArray, "*-1\r\n", "_\r\n"),
            (Reply::Integer(-7), ":-7\r\n", ":-7\r\n"),
            (Reply::Double(0.5), "$3\r\n0.5\r\n", ",0.5\r\n"),
            (Reply::Double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (attributed, ":1\r\n", "|1\r\n$1\r\na\r\n:1\r\n#t\r\n"),
            (verbatim, "$1\r\nv\r\n", "=5\r\ntxt:v\r\n"),
            (Reply::OK, "+OK\r\n", "+OK\r\n"),
            (Reply::Error("ERR a\r\nb".into()), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (Reply::Set(vec!["a".into()]), "*1\r\n$1\r\na\r\n", "~1\r\n$1\r\na\r\n"),
            (Reply::Map(vec![("a".into(), Reply::Null)]), "*2\r\n$1\r\na\r\n$-1\r\n", "%1\r\n$1\r\na\r\n_\r\n"),
            (Reply::BigNumber("12".into()), "$2\r\n12\r\n", "(12\r\n"),
        ] {
            assert_eq!(shown_in(&reply, Protocol::Resp2).await, resp2);
            assert_eq!(shown_in(&reply, Protocol::Resp3).await, resp3);
        }
    }

    #[tokio::test]
    async fn long_strings_keep_their_place_and_their_bytes() {
        let long = Bytes::from(vec![b'x'; LONG + 3]);
        let mut buffer = ReplyBuffer::default();
        let all = Reply::Array(vec![1.into(), Reply::Bulk(long.clone()), 2.into(), Reply::Bulk(long.clone())]);
        buffer.push(&all, Protocol::Resp2);
        assert!(buffer.ready.iter().any(|piece| piece.as_ptr() == long.as_ptr()), "not copied");
        let length = buffer.len();
        let out = written(&mut buffer).await;
        assert_eq!(out.len(), length);
        let text = String::from_utf8(out).unwrap();
        let x = "x".repeat(long.len());
        assert_eq!(text, format!("*4\r\n:1\r\n${0}\r\n{x}\r\n:2\r\n${0}\r\n{x}\r\n", x.len()));
    }
}
