//! [`Argument`]: what can be an argument of a command.

use std::borrow::Cow;

use bytes::Bytes;

/// A value that a command can carry: bytes, text, integers, and in a module the server's own strings.
pub trait Argument {
    /// The argument as it is sent.
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

borrowed!([u8], Vec<u8>, Bytes, Cow<'_, [u8]>, str, String);
in_digits!(i32, u32, i64, u64, usize);
