//! Writing RESP: the arguments of commands as they travel, bulk strings one behind the other.
//!
//! [`ArgBuffer`] holds the bytes of one command, which are few as a rule. [`Arguments`] walks such bytes.

use std::ops::Range;

/// Bytes that are only added to. Up to 62 of them stand in the value itself: a map of a thousand short commands then
/// costs no thousand allocations.
#[derive(Clone)]
pub(crate) enum ArgBuffer {
    Short { length: u8, bytes: [u8; 62] },
    Long(Vec<u8>),
}

impl ArgBuffer {
    pub(crate) const EMPTY: Self = Self::Short { length: 0, bytes: [0; 62] };

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }

    /// Makes an empty buffer with room for `room` bytes.
    pub(crate) fn with_room(room: usize) -> Self {
        Self::Long(Vec::with_capacity(room))
    }

    /// Copies arguments that have the form in which they travel.
    pub(crate) fn of(wire: &[u8]) -> Self {
        let mut bytes = [0; 62];
        match bytes.get_mut(..wire.len()) {
            Some(short) => {
                short.copy_from_slice(wire);
                Self::Short { length: wire.len() as u8, bytes }
            }
            None => Self::Long(wire.to_vec()),
        }
    }

    /// Adds an argument in the form in which it travels. Gives where it stands itself.
    pub(crate) fn push(&mut self, argument: &[u8]) -> Range<usize> {
        if let Self::Short { length, bytes } = self {
            let at = usize::from(*length);
            let size = argument.len();
            // All that fits here has a length of two digits at the most.
            let (tens, ones) = (b'0' + (size / 10 % 10) as u8, b'0' + (size % 10) as u8);
            let (head, head_size) = match size {
                0..10 => ([b'$', ones, b'\r', b'\n', 0], 4),
                _ => ([b'$', tens, ones, b'\r', b'\n'], 5),
            };
            let (start, end) = (at + head_size, at + head_size + size);
            if end + 2 <= bytes.len() {
                bytes[at..at + 5].copy_from_slice(&head);
                bytes[start..end].copy_from_slice(argument);
                bytes[end..end + 2].copy_from_slice(b"\r\n");
                *length = (end + 2) as u8;
                return start..end;
            }
        }
        let mut digits = itoa::Buffer::new();
        self.extend([b"$", digits.format(argument.len()).as_bytes(), b"\r\n", argument, b"\r\n"]);
        let end = self.bytes().len() - 2;
        end - argument.len()..end
    }

    /// Adds the pieces, one behind the other.
    pub(crate) fn extend<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        if let Self::Short { length, bytes } = self {
            *self = Self::Long(bytes[..usize::from(*length)].to_vec());
        }
        if let Self::Long(long) = self {
            long.reserve(pieces.iter().map(|piece| piece.len()).sum());
            pieces.iter().for_each(|piece| long.extend_from_slice(piece));
        }
    }
}

/// However they are kept.
impl PartialEq for ArgBuffer {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for ArgBuffer {}

/// Appends a bulk string.
pub(crate) fn push_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    push_bulk_header(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the header of a bulk string of this length.
pub(crate) fn push_bulk_header(out: &mut Vec<u8>, length: usize) {
    push_header(out, b'$', length);
}

/// Appends the header of an array of `count` elements.
pub(crate) fn push_array_header(out: &mut Vec<u8>, count: usize) {
    push_header(out, b'*', count);
}

fn push_header(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Walks encoded arguments.
pub(crate) struct Arguments<'a> {
    encoded: &'a [u8],
}

impl<'a> Arguments<'a> {
    /// Begins at the first of these encoded arguments.
    pub(crate) fn of(encoded: &'a [u8]) -> Self {
        Self { encoded }
    }

    /// Returns the arguments that have not been walked, still encoded.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.encoded
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (mut at, mut length) = (1, 0);
        self.encoded.strip_prefix(b"$")?;
        loop {
            match *self.encoded.get(at)? {
                b'\r' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
            at += 1;
        }
        let (arg, rest) = self.encoded[at + 2..].split_at(length);
        self.encoded = &rest[2..];
        Some(arg)
    }
}
