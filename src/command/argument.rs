//! [`Argument`]: what can be an argument of a command.

use std::borrow::Cow;

use bytes::Bytes;

/// A value that a command can carry: bytes, text, integers, and in a module the server's own strings.
pub trait Argument {
    /// Returns the argument as it is sent.
    fn to_argument(&self) -> Cow<'_, [u8]>;

    /// Calls with the same, which an integer can do without an allocation. The default is what all others need.
    fn with_argument(&self, take: &mut dyn FnMut(&[u8])) {
        take(&self.to_argument());
    }
}

impl<A: Argument + ?Sized> Argument for &A {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        (**self).to_argument()
    }

    fn with_argument(&self, take: &mut dyn FnMut(&[u8])) {
        (**self).with_argument(take);
    }
}

impl<const N: usize> Argument for [u8; N] {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self)
    }
}

macro_rules! borrowed {
    ($($type:ty),*) => {
        $(impl Argument for $type {
            fn to_argument(&self) -> Cow<'_, [u8]> {
                Cow::Borrowed(self.as_ref())
            }
        })*
    };
}

macro_rules! in_digits {
    ($($type:ty),*) => {
        $(impl Argument for $type {
            fn to_argument(&self) -> Cow<'_, [u8]> {
                Cow::Owned(itoa::Buffer::new().format(*self).as_bytes().to_vec())
            }

            fn with_argument(&self, take: &mut dyn FnMut(&[u8])) {
                take(itoa::Buffer::new().format(*self).as_bytes());
            }
        })*
    };
}

/// Reads an integer as the server reads those of its own commands: no sign but a minus, no zeros in front, no blanks.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = matches!(digits, [b'1'..=b'9', ..]) || text == b"0";
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}

borrowed!([u8], Vec<u8>, Bytes, Cow<'_, [u8]>, str, String);
in_digits!(i32, u32, i64, u64, usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_the_server_reads_them() {
        for (text, expected) in [("0", 0), ("7", 7), ("-12", -12), ("9223372036854775807", i64::MAX)] {
            assert_eq!(integer(text.as_bytes()), Some(expected));
        }
        for odd in ["", "-", "+5", "05", "-0", "-05", " 5", "5 ", "5x", "9223372036854775808"] {
            assert_eq!(integer(odd.as_bytes()), None, "{odd}");
        }
    }
}
