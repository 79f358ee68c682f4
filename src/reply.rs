//! [`Reply`]: what a node answers, without loss.
//!
//! Strings are [`Bytes`]: slices of the buffer that they arrived in, so that a reply of a thousand values costs no
//! thousand allocations.

use std::fmt;

use bytes::Bytes;

use crate::number::Number;
use crate::printable::printable;

/// A reply, in the types of RESP3. The replies of a RESP2 server are a part of these.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// The null: RESP3 `_`, RESP2 `$-1`.
    Null,
    /// The null in place of a list: RESP2 `*-1`. RESP3 has one null for all.
    NullArray,
    /// `:`
    Integer(i64),
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `+`, a status such as `OK`.
    Simple(Bytes),
    /// `$`
    Bulk(Bytes),
    /// `=`
    Verbatim {
        /// Three letters, such as `txt`.
        format: [u8; 3],
        /// The text itself.
        text: Bytes,
    },
    /// `(`, in decimal digits.
    BigNumber(Bytes),
    /// `-` and `!`, its prefix first.
    Error(Bytes),
    /// `*`
    Array(Vec<Reply>),
    /// `~`
    Set(Vec<Reply>),
    /// `%`, in the order in which the server sent it.
    Map(Vec<(Reply, Reply)>),
    /// `|`: a reply with attributes in front.
    Attributed {
        /// The attributes.
        attributes: Vec<(Reply, Reply)>,
        /// The reply that they belong to.
        reply: Box<Reply>,
    },
}

impl From<Number> for Reply {
    fn from(number: Number) -> Self {
        match number {
            Number::Integer(integer) => Self::Integer(integer),
            Number::Double(double) => Self::Double(double),
        }
    }
}

impl Reply {
    /// The status `OK`.
    pub const OK: Self = Self::Simple(Bytes::from_static(b"OK"));

    /// Returns the number that this reply is, or that its text says. Booleans are 0 and 1. `None` for everything else.
    ///
    /// ```
    /// use rmr::{Number, Reply};
    ///
    /// assert_eq!(Reply::from("12").number(), Some(Number::Integer(12)));
    /// assert_eq!(Reply::from("1.5").number(), Some(Number::Double(1.5)));
    /// assert_eq!(Reply::from("twelve").number(), None);
    /// ```
    pub fn number(&self) -> Option<Number> {
        match self {
            Self::Integer(integer) => Some(Number::Integer(*integer)),
            Self::Double(double) if double.is_finite() => Some(Number::Double(*double)),
            Self::Boolean(boolean) => Some(Number::Integer(i64::from(*boolean))),
            Self::Attributed { reply, .. } => reply.number(),
            _ => Number::parse(self.bytes()?),
        }
    }

    /// Returns the integer that this reply is, or that its text says.
    pub fn integer(&self) -> Option<i64> {
        match self.number() {
            Some(Number::Integer(integer)) => Some(integer),
            _ => None,
        }
    }

    /// Returns the bytes of any kind of string. Returns `None` for everything else.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) | Self::Simple(bytes) | Self::BigNumber(bytes) => Some(bytes),
            Self::Verbatim { text, .. } => Some(text),
            Self::Attributed { reply, .. } => reply.bytes(),
            _ => None,
        }
    }

    /// Returns the elements of an array or a set. Returns `None` for everything else.
    pub fn elements(&self) -> Option<&[Reply]> {
        match self {
            Self::Array(elements) | Self::Set(elements) => Some(elements),
            Self::Attributed { reply, .. } => reply.elements(),
            _ => None,
        }
    }

    /// Returns the bytes of any kind of string, without a copy. `None` for everything else.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Bulk(bytes) | Self::Simple(bytes) | Self::BigNumber(bytes) => Some(bytes),
            Self::Verbatim { text, .. } => Some(text),
            Self::Attributed { reply, .. } => reply.into_bytes(),
            _ => None,
        }
    }

    /// Returns the elements of an array or a set, without a copy. `None` for everything else.
    pub fn into_elements(self) -> Option<Vec<Reply>> {
        match self {
            Self::Array(elements) | Self::Set(elements) => Some(elements),
            Self::Attributed { reply, .. } => reply.into_elements(),
            _ => None,
        }
    }

    /// Returns the value of a field: of a map, or of the flat array of names and values that RESP2 has in its place.
    pub fn field(&self, name: &str) -> Option<&Reply> {
        match self {
            Self::Map(pairs) => {
                pairs.iter().find(|(key, _)| key.bytes() == Some(name.as_bytes())).map(|(_, value)| value)
            }
            Self::Array(flat) => {
                flat.chunks_exact(2).find(|pair| pair[0].bytes() == Some(name.as_bytes())).map(|pair| &pair[1])
            }
            Self::Attributed { reply, .. } => reply.field(name),
            _ => None,
        }
    }

    /// Returns whether this is an array, a set or a map.
    pub(crate) fn is_aggregate(&self) -> bool {
        match self {
            Self::Array(_) | Self::Set(_) | Self::Map(_) => true,
            Self::Attributed { reply, .. } => reply.is_aggregate(),
            _ => false,
        }
    }

    /// Tells whether the reply is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::NullArray)
    }

    /// Appends the reply as RESP3.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        let mut line = |kind: u8, text: &[u8]| out.extend([&[kind][..], text, b"\r\n"].into_iter().flatten());
        let mut digits = itoa::Buffer::new();
        match self {
            Self::Null => line(b'_', b""),
            Self::NullArray => line(b'*', b"-1"),
            Self::Integer(integer) => line(b':', digits.format(*integer).as_bytes()),
            Self::Double(double) if double.is_nan() => line(b',', b"nan"),
            Self::Double(double) => line(b',', double.to_string().as_bytes()),
            Self::Boolean(boolean) => line(b'#', if *boolean { b"t" } else { b"f" }),
            Self::BigNumber(number) => line(b'(', number),
            Self::Simple(text) if !text.contains(&b'\n') && !text.contains(&b'\r') => line(b'+', text),
            Self::Simple(text) | Self::Bulk(text) => write_body(out, b'$', [text, &[][..]]),
            Self::Error(text) => write_body(out, b'!', [text, &[][..]]),
            Self::Verbatim { format, text } => write_body(out, b'=', [&[format[0], format[1], format[2], b':'], text]),
            Self::Array(elements) | Self::Set(elements) => {
                let kind = if matches!(self, Self::Set(_)) { b'~' } else { b'*' };
                line(kind, digits.format(elements.len()).as_bytes());
                elements.iter().for_each(|element| element.write_to(out));
            }
            Self::Map(pairs) => {
                line(b'%', digits.format(pairs.len()).as_bytes());
                write_pairs(out, pairs);
            }
            Self::Attributed { attributes, reply } => {
                line(b'|', digits.format(attributes.len()).as_bytes());
                write_pairs(out, attributes);
                reply.write_to(out);
            }
        }
    }

    /// Names the reply's type for error texts; short strings are shown.
    pub fn describe(&self) -> String {
        let kind = match self {
            Self::Null | Self::NullArray => "null",
            Self::Integer(_) => "an integer",
            Self::Double(_) => "a double",
            Self::Boolean(_) => "a boolean",
            Self::Simple(_) | Self::Bulk(_) => "a string",
            Self::Verbatim { .. } => "a verbatim string",
            Self::BigNumber(_) => "a big number",
            Self::Error(_) => "an error",
            Self::Array(_) => "an array",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
            Self::Attributed { reply, .. } => return reply.describe(),
        };
        match self.bytes() {
            Some(bytes) if bytes.len() <= 32 => format!("{kind} ('{}')", printable(bytes)),
            _ => kind.to_owned(),
        }
    }
}

/// Appends a string that says its length.
fn write_body(out: &mut Vec<u8>, kind: u8, parts: [&[u8]; 2]) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(parts[0].len() + parts[1].len()).as_bytes());
    out.extend([b"\r\n", parts[0], parts[1], b"\r\n"].into_iter().flatten());
}

fn write_pairs(out: &mut Vec<u8>, pairs: &[(Reply, Reply)]) {
    for (key, value) in pairs {
        key.write_to(out);
        value.write_to(out);
    }
}

macro_rules! reply_from {
    ($($type:ty => |$value:ident| $reply:expr;)*) => {
        $(impl From<$type> for Reply {
            fn from($value: $type) -> Self {
                $reply
            }
        })*
    };
}

reply_from! {
    i64 => |value| Self::Integer(value);
    f64 => |value| Self::Double(value);
    bool => |value| Self::Boolean(value);
    Bytes => |value| Self::Bulk(value);
    Vec<u8> => |value| Self::Bulk(value.into());
    String => |value| Self::Bulk(value.into());
    &str => |value| Self::Bulk(Bytes::copy_from_slice(value.as_bytes()));
    Vec<Reply> => |value| Self::Array(value);
    Vec<(Reply, Reply)> => |value| Self::Map(value);
}

/// An absent value is [`Reply::Null`].
impl<T: Into<Reply>> From<Option<T>> for Reply {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A reply as `redis-cli` would print a simple one; for logs and examples.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null | Self::NullArray => f.write_str("(nil)"),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Double(double) => write!(f, "{double}"),
            Self::Boolean(boolean) => write!(f, "{boolean}"),
            Self::Error(message) => write!(f, "(error) {}", String::from_utf8_lossy(message)),
            Self::Array(elements) | Self::Set(elements) => {
                f.write_str("[")?;
                for (index, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
            Self::Attributed { reply, .. } => write!(f, "{reply}"),
            Self::Simple(bytes) | Self::Bulk(bytes) | Self::BigNumber(bytes) | Self::Verbatim { text: bytes, .. } => {
                f.write_str(&String::from_utf8_lossy(bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_redis_calls_numbers() {
        let number = |text: &str| Reply::from(text).number();
        assert_eq!(number("9223372036854775807"), Some(Number::Integer(i64::MAX)));
        assert_eq!(number("-5"), Some(Number::Integer(-5)));
        assert_eq!(number("3e2"), Some(Number::Double(300.0)));
        assert_eq!(number("9223372036854775808"), Some(Number::Double(9_223_372_036_854_775_808.0)));
        for not_a_number in ["", " 1", "1 ", "nan", "inf", "-inf", "0x10", "one", "1,5", "-"] {
            assert_eq!(number(not_a_number), None, "{not_a_number}");
        }
        assert_eq!(Reply::Double(f64::NAN).number(), None);
        assert_eq!(Reply::Array(vec![]).number(), None);
    }

    #[test]
    fn fields_are_found_in_maps_and_flat_arrays() {
        let map = Reply::Map(vec![("a".into(), 1.into()), ("b".into(), 2.into())]);
        let flat = Reply::Array(vec!["a".into(), 1.into(), "b".into(), 2.into()]);
        for reply in [map, flat] {
            assert_eq!(reply.field("b"), Some(&Reply::Integer(2)));
            assert_eq!(reply.field("c"), None);
        }
    }
}
