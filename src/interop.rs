//! Replies and commands of rmr as those of the crate `redis`, and back; with the feature `redis`.
//!
//! A program that has types of its own with [`redis::FromRedisValue`], or functions that build a [`redis::Cmd`], keeps them.
//! Replies that `redis` has no form for are said as near as it can: its error lines, statuses and verbatim strings are text, so bytes that
//! are no UTF-8 are replaced there.

use bytes::Bytes;
use redis::{Cmd, FromRedisValue, ParsingError, Value, VerbatimFormat};

use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;
use crate::resp::decode;

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        match value {
            Value::Nil => Self::Null,
            Value::Int(integer) => Self::Integer(integer),
            Value::Double(double) => Self::Double(double),
            Value::Boolean(boolean) => Self::Boolean(boolean),
            Value::Okay => Self::OK,
            Value::SimpleString(text) => Self::Simple(text.into()),
            Value::BulkString(bytes) => Self::Bulk(bytes.into()),
            Value::VerbatimString { format, text } => {
                let name = format.to_string();
                Self::Verbatim { format: name.as_bytes().try_into().unwrap_or(*b"txt"), text: text.into() }
            }
            Value::BigNumber(number) => Self::BigNumber(number.digits()),
            Value::ServerError(error) => {
                let (code, details) = (error.code(), error.details());
                Self::Error(details.map_or_else(|| code.to_owned(), |details| format!("{code} {details}")).into())
            }
            Value::Array(elements) => Self::Array(all(elements)),
            Value::Set(elements) => Self::Set(all(elements)),
            Value::Map(pairs) => Self::Map(all_pairs(pairs)),
            Value::Attribute { data, attributes } => {
                Self::Attributed { attributes: all_pairs(attributes), reply: Box::new((*data).into()) }
            }
            Value::Push { kind, data } => {
                Self::Array(std::iter::once(kind.to_string().into()).chain(data.into_iter().map(Into::into)).collect())
            }
            other => Self::Error(format!("ERR a reply of a kind that rmr does not know: {other:?}").into()),
        }
    }
}

impl From<Reply> for Value {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Null | Reply::NullArray => Self::Nil,
            Reply::Integer(integer) => Self::Int(integer),
            Reply::Double(double) => Self::Double(double),
            Reply::Boolean(boolean) => Self::Boolean(boolean),
            Reply::Simple(text) if text == "OK" => Self::Okay,
            Reply::Simple(text) => Self::SimpleString(lossy(&text)),
            Reply::Bulk(bytes) => Self::BulkString(bytes.into()),
            Reply::Verbatim { format, text } => {
                let format = match &format {
                    b"txt" => VerbatimFormat::Text,
                    b"mkd" => VerbatimFormat::Markdown,
                    other => VerbatimFormat::Unknown(lossy(other)),
                };
                Self::VerbatimString { format, text: lossy(&text) }
            }
            // Only the parser of `redis` makes an error of a text, and, with its feature `num-bigint`, a number of digits.
            Reply::Error(message) => parsed(b'-', &message),
            Reply::BigNumber(digits) => parsed(b'(', &digits),
            Reply::Array(elements) => Self::Array(all(elements)),
            Reply::Set(elements) => Self::Set(all(elements)),
            Reply::Map(pairs) => Self::Map(all_pairs(pairs)),
            Reply::Attributed { attributes, reply } => {
                Self::Attribute { data: Box::new((*reply).into()), attributes: all_pairs(attributes) }
            }
        }
    }
}

fn all<A: Into<B>, B>(elements: Vec<A>) -> Vec<B> {
    elements.into_iter().map(Into::into).collect()
}

fn all_pairs<A: Into<B>, B>(pairs: Vec<(A, A)>) -> Vec<(B, B)> {
    pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Has `redis` read a line; one that it cannot read is a string.
fn parsed(kind: u8, text: &Bytes) -> Value {
    let text = lossy(text).replace(['\r', '\n'], " ");
    let line = [&[kind], text.as_bytes(), b"\r\n"].concat();
    redis::parse_redis_value(&line).unwrap_or(Value::BulkString(text.into_bytes()))
}

/// Says a big number in digits. `redis` keeps one as its digits or, when any crate of the program switches its feature
/// `num-bigint` on, as a number that can be displayed; the compiler takes the first of these two that fits.
trait Digits {
    fn digits(&self) -> Bytes;
}

impl Digits for Vec<u8> {
    fn digits(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

#[allow(dead_code, reason = "only with the feature num-bigint of redis")]
trait Displayed {
    fn digits(&self) -> Bytes;
}

impl<T: std::fmt::Display> Displayed for &T {
    fn digits(&self) -> Bytes {
        self.to_string().into()
    }
}

impl Reply {
    /// Converts the reply to any type that has [`redis::FromRedisValue`].
    ///
    /// ```
    /// use rmr::Reply;
    ///
    /// let reply = Reply::Array(vec!["a".into(), 1.into()]);
    /// let pair: (String, i64) = reply.get_redis().unwrap();
    /// assert_eq!(pair, ("a".to_owned(), 1));
    /// ```
    ///
    /// # Errors
    /// Those of the type.
    pub fn get_redis<T: FromRedisValue>(self) -> Result<T, ParsingError> {
        T::from_redis_value(self.into())
    }
}

/// A [`Reply`] is itself one of the types that a connection of `redis` can be asked for.
impl FromRedisValue for Reply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        Ok(value.into())
    }
}

/// The command as `redis` has built it. It is routed by no key so far: a `Cmd` does not say which arguments are keys.
///
/// ```
/// use rmr::Command;
///
/// let mut incr = redis::cmd("INCRBY");
/// incr.arg("visits").arg(3);
/// assert_eq!(Command::try_from(&incr).unwrap().routed_by("visits").to_string(), "INCRBY visits 3");
/// ```
impl TryFrom<&Cmd> for Command {
    type Error = Error;

    /// [`Error::Invalid`] for a `Cmd` without a name.
    fn try_from(cmd: &Cmd) -> Result<Self, Error> {
        let packed = Bytes::from(cmd.get_packed_command());
        let words = decode(&packed, &mut 0).ok().and_then(Reply::into_elements).unwrap_or_default();
        let command = Self::from_args(words.into_iter().filter_map(Reply::into_bytes));
        command.ok_or_else(|| Error::Invalid("the redis::Cmd is empty; give a command's name".into()))
    }
}

impl From<&Command> for Cmd {
    fn from(command: &Command) -> Self {
        let mut cmd = Self::new();
        command.words().for_each(|word| {
            cmd.arg(word);
        });
        cmd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each_kind() -> Vec<Reply> {
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        vec![
            Reply::Null,
            Reply::Integer(-1),
            Reply::Double(1.5),
            Reply::Boolean(true),
            Reply::OK,
            Reply::Simple(text("PONG")),
            Reply::Bulk(Bytes::from_static(b"\xff\x00")),
            Reply::Verbatim { format: *b"mkd", text: text("# a") },
            Reply::BigNumber(text("123456789012345678901234567890")),
            Reply::Error(text("WRONGTYPE Operation against a key")),
            Reply::Error(text("ERR no such key")),
            Reply::Error(text("OWN")),
            Reply::Map(vec![("a".into(), 1.into())]),
            Reply::Attributed { attributes: vec![("ttl".into(), 5.into())], reply: Box::new("x".into()) },
        ]
    }

    #[test]
    fn a_reply_goes_there_and_comes_back() {
        for reply in each_kind().into_iter().chain([Reply::Array(each_kind()), Reply::Set(each_kind())]) {
            assert_eq!(Reply::from(Value::from(reply.clone())), reply);
        }
        assert_eq!(Value::from(Reply::NullArray), Value::Nil);
    }

    #[test]
    fn an_error_keeps_its_code() {
        let Value::ServerError(error) = Value::from(Reply::Error(Bytes::from_static(b"MOVED 1 a:1"))) else {
            panic!("no error");
        };
        assert_eq!((error.code(), error.details()), ("MOVED", Some("1 a:1")));
    }

    #[test]
    fn commands_keep_their_words() {
        let command = Command::new("SET").key("k").arg(&b"\xff\r\n"[..]);
        let cmd = Cmd::from(&command);
        let mut wire = Vec::new();
        command.write_to(&mut wire);
        assert_eq!(cmd.get_packed_command(), wire);
        let back = Command::try_from(&cmd).unwrap();
        assert!(back.words().eq(command.words()) && back.routing_key().is_none());
        assert!(Command::try_from(&Cmd::new()).is_err());
        let mut scan = redis::cmd("SCAN");
        scan.cursor_arg(17);
        assert_eq!(Command::try_from(&scan).unwrap().to_string(), "SCAN 17");
    }

    #[test]
    fn types_of_redis_are_read() {
        let reply = Reply::Map(vec![("a".into(), "1".into())]);
        let map: std::collections::HashMap<String, i64> = reply.get_redis().unwrap();
        assert_eq!(map["a"], 1);
        assert!(Reply::from("x").get_redis::<i64>().is_err());
    }
}
