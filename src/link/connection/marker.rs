//! Markers: where the reply to a command ends that runs code of others.
//!
//! Some servers, Redis 8.2 among them, do not take the line breaks out of the error that a script ends in. The text behind
//! the break then looks like replies of its own, and would be given to the next commands on the connection: to other
//! callers. So each such command is followed by one of ours that nobody else could make the server repeat: `ECHO` of
//! digits that were drawn for this once. All that comes before the digits belongs to the command, however it looks.
//!
//! A server that refuses `ECHO` (it is busy with a script, or the user lacks the right) is asked by a `HELLO` that is not
//! well-formed, which servers take from everybody at all times: the error repeats the digits. It is no more than the second
//! choice because servers count their errors.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use memchr::memmem;

use crate::resp::{push_array_header, push_bulk};

/// The digits of one marker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker([u8; LENGTH]);

const LENGTH: usize = 32;

/// The bytes before the digits in the reply to `ECHO`.
const HEADER: &[u8] = b"$32\r\n";

/// The lines in which servers repeat digits, or refuse to, are shorter.
pub(super) const LONGEST_LINE: usize = 512;

/// The command by which the server is asked to repeat the digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MarkedBy {
    Echo,
    Hello,
}

/// The reply that stands where a marker was expected.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Behind {
    /// The marker, of this many bytes.
    Marker(usize),
    /// The server's refusal to repeat it, of this many bytes.
    Refusal(usize),
    /// Too little to tell.
    Unknown,
    /// Something else.
    Other,
}

/// The progress of reading a reply with a marker behind it.
#[derive(Default)]
pub(super) enum MarkedReply {
    /// Nothing of it has come.
    #[default]
    Open,
    /// A part of one that is no error.
    InReply,
    /// All of a reply that is no error has come; here it is, if it is wanted.
    Whole(Option<Bytes>),
    /// A part of an error, which reaches up to the marker; this many of its bytes have been searched for that.
    InError(usize),
}

impl Marker {
    /// Draws digits that nobody can foresee, and that do not come again.
    pub(super) fn draw() -> Self {
        static SECRET: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
        let mut digits = [0; LENGTH];
        for (half, secret) in digits.chunks_exact_mut(16).zip(&*SECRET) {
            let number = secret.hash_one(drawn);
            for (at, digit) in half.iter_mut().enumerate() {
                *digit = b"0123456789abcdef"[(number >> (at * 4)) as usize & 0xf];
            }
        }
        Self(digits)
    }

    /// Appends the command that has the server repeat the digits.
    pub(super) fn push_to(&self, wire: &mut Vec<u8>, by: MarkedBy) {
        let words: &[&[u8]] = match by {
            MarkedBy::Echo => &[b"ECHO", &self.0],
            MarkedBy::Hello => &[b"HELLO", b"3", &self.0],
        };
        push_array_header(wire, words.len());
        words.iter().for_each(|word| push_bulk(wire, word));
    }

    /// Looks for the marker's reply in bytes that end in it, or will: from where to where it reaches. `from`: how many of
    /// the bytes have been searched before.
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Option<(usize, usize)> {
        let from = from.saturating_sub(LONGEST_LINE);
        let at = from + memmem::find(&bytes[from..], &self.0)?;
        if bytes[..at].ends_with(HEADER) {
            let end = at + LENGTH + 2;
            return (end <= bytes.len()).then_some((at - HEADER.len(), end));
        }
        // An error of one line, which repeats what it was given.
        let start = memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |end| end + 1);
        line_length(&bytes[at..]).map(|rest| (start, at + rest))
    }

    /// Looks at bytes that begin with the marker's reply.
    pub(super) fn look(&self, bytes: &[u8]) -> Behind {
        match bytes.first() {
            None => Behind::Unknown,
            Some(b'-') => match line_length(bytes) {
                None => Behind::Unknown,
                Some(length) if memmem::find(&bytes[..length], &self.0).is_some() => Behind::Marker(length),
                Some(length) => Behind::Refusal(length),
            },
            Some(_) => {
                let mut expected = HEADER.iter().chain(&self.0).chain(b"\r\n");
                let length = HEADER.len() + LENGTH + 2;
                match bytes.iter().zip(expected.by_ref()).all(|(byte, expected)| byte == expected) {
                    true if bytes.len() >= length => Behind::Marker(length),
                    true => Behind::Unknown,
                    false => Behind::Other,
                }
            }
        }
    }
}

/// Returns the length of the first line, its end included; `None` if the end has not come.
fn line_length(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n").map(|end| end + 2)
}

/// Returns where an error ends behind which the server has refused to repeat a marker. A script may have written both, so
/// the connection is of no use any more. `from`: how many of the bytes have been searched before.
pub(super) fn before_refusal(error: &[u8], from: usize) -> Option<usize> {
    const REFUSALS: [&[u8]; 5] = [b"-BUSY ", b"-NOPERM ", b"-NOAUTH ", b"-LOADING ", b"-MASTERDOWN "];
    let from = from.saturating_sub(LONGEST_LINE);
    let mut lines = memmem::find_iter(&error[from..], b"\r\n-").map(|end| from + end + 2);
    lines.find(|&start| {
        let line = &error[start..];
        REFUSALS.iter().any(|refusal| line.starts_with(refusal)) && line_length(line).is_some()
    })
}

/// Makes one error of bytes that begin with one: without its `-`, and with spaces for line breaks.
pub(super) fn error_of(raw: &[u8]) -> Vec<u8> {
    let text = raw.strip_suffix(b"\r\n").unwrap_or(raw);
    let space = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
    text.iter().skip(1).map(space).collect()
}

/// Knows by which command a node repeats markers.
#[derive(Debug)]
pub(in crate::link) struct Marking {
    began: Instant,
    /// Milliseconds from then until which `ECHO` is not asked.
    refused_until: AtomicU64,
}

impl Default for Marking {
    fn default() -> Self {
        Self { began: Instant::now(), refused_until: AtomicU64::new(0) }
    }
}

impl Marking {
    /// Returns what to ask by now.
    pub(super) fn by(&self) -> MarkedBy {
        let until = self.refused_until.load(Ordering::Relaxed);
        if until == 0 || self.age() >= until { MarkedBy::Echo } else { MarkedBy::Hello }
    }

    /// Hears that the node has refused `ECHO` with this line.
    pub(super) fn was_refused(&self, line: &[u8]) {
        /// A script that keeps the node busy will end.
        const PAUSE: Duration = Duration::from_secs(5);
        let until = match line.starts_with(b"-NOPERM") {
            true => u64::MAX,
            false => self.age() + PAUSE.as_millis() as u64,
        };
        self.refused_until.fetch_max(until, Ordering::Relaxed);
    }

    fn age(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echoed(marker: &Marker) -> Vec<u8> {
        [HEADER, &marker.0, b"\r\n"].concat()
    }

    #[test]
    fn no_two_markers_are_alike() {
        let mut drawn: Vec<[u8; LENGTH]> = (0..1000).map(|_| Marker::draw().0).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 1000);
        assert!(drawn.iter().flatten().all(u8::is_ascii_hexdigit));
    }

    #[test]
    fn a_marker_is_found_wherever_the_bytes_are_parted() {
        let marker = Marker::draw();
        let error = b"-ERR x\r\n+forged\r\n$32\r\nshort\r\n";
        let refusal = [b"-ERR unknown command 'ECHO', with args beginning with: '", &marker.0[..], b"' \r\n"].concat();
        for end in [echoed(&marker), refusal] {
            let whole = [&error[..], &end].concat();
            for parted in 0..whole.len() {
                assert_eq!(marker.find(&whole[..parted], 0), None);
                assert_eq!(marker.find(&whole, parted), Some((error.len(), whole.len())), "{parted}");
            }
        }
        assert_eq!(Marker::draw().find(&echoed(&marker), 0), None);
    }

    #[test]
    fn what_stands_in_the_markers_place_is_told_apart() {
        let marker = Marker::draw();
        let echoed = echoed(&marker);
        assert_eq!(marker.look(&echoed), Behind::Marker(39));
        assert_eq!(marker.look(&[&echoed[..], b"+OK\r\n"].concat()), Behind::Marker(39));
        assert!((0..39).all(|length| marker.look(&echoed[..length]) == Behind::Unknown));
        assert_eq!(marker.look(b"-BUSY Redis"), Behind::Unknown);
        assert_eq!(marker.look(b"-BUSY Redis\r\n:1"), Behind::Refusal(13));
        assert_eq!(marker.look(b"+OK\r\n"), Behind::Other);
        assert_eq!(marker.look(&self::echoed(&Marker::draw())), Behind::Other);
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(error_of(b"-ERR x\r\n+forged script: f\r\n"), b"ERR x  +forged script: f");
        assert_eq!(error_of(b"-ERR x\n\r\n"), b"ERR x ");
        assert_eq!(before_refusal(b"-BUSY a\r\n-BUSY a\r\n", 0), Some(9));
        assert_eq!(before_refusal(b"-ERR a\r\n+forged\r\n-NOPERM b\r\n-BUSY c\r\n", 3), Some(17));
        assert_eq!(before_refusal(b"-ERR a\r\n-ERR b\r\n", 0), None);
        assert_eq!(before_refusal(b"-ERR a\r\n-BUSY b", 0), None);
    }

    #[test]
    fn a_node_that_refuses_echo_is_asked_otherwise() {
        let marking = Marking::default();
        assert_eq!(marking.by(), MarkedBy::Echo);
        marking.was_refused(b"-BUSY Redis is busy\r\n");
        assert_eq!(marking.by(), MarkedBy::Hello);
        let mut wire = Vec::new();
        Marker([b'0'; LENGTH]).push_to(&mut wire, marking.by());
        assert_eq!(wire, [&b"*3\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$32\r\n"[..], &[b'0'; 32], b"\r\n"].concat());
    }
}
