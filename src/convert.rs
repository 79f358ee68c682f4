//! [`FromReply`]: a reply as the type that a program wants.
//!
//! A reply converts only where nothing is lost or guessed: text to a number if Redis would read it as one, an array to a
//! tuple of its very length, "no value" to [`Option`] alone. Maps are also read from the flat arrays that RESP2 has in
//! their place, and from arrays of pairs, as `ZRANGE ... WITHSCORES` gives them in RESP3.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use bytes::Bytes;

use crate::error::Error;
use crate::number::Number;
use crate::printable::printable;
use crate::reply::Reply;

/// A type that a [`Reply`] converts to. Implement it for types of your own.
///
/// ```
/// use std::collections::HashMap;
/// use rmr::{Error, FromReply, Reply};
///
/// struct Price(i64);
///
/// impl FromReply for Price {
///     fn from_reply(reply: Reply) -> Result<Self, Error> {
///         reply.get().map(Self)
///     }
/// }
///
/// # fn main() -> Result<(), Error> {
/// let fields = Reply::Array(vec!["tea".into(), "3".into(), "salt".into(), 1.into()]);
/// let prices: HashMap<String, Price> = fields.get()?;
/// assert_eq!(prices["tea"].0, 3);
/// # Ok(())
/// # }
/// ```
pub trait FromReply: Sized {
    /// Converts a reply.
    ///
    /// # Errors
    /// [`Error::Conversion`] if the reply is of another type.
    fn from_reply(reply: Reply) -> Result<Self, Error>;
}

impl Reply {
    /// Converts the reply to any type that has [`FromReply`].
    ///
    /// ```
    /// use rmr::Reply;
    ///
    /// # fn main() -> Result<(), rmr::Error> {
    /// let (cursor, keys): (u64, Vec<String>) = Reply::Array(vec!["17".into(), Reply::Array(vec!["a".into()])]).get()?;
    /// assert_eq!((cursor, keys), (17, vec!["a".to_owned()]));
    /// assert_eq!(Reply::Null.get::<Option<i64>>()?, None);
    /// let error = Reply::from("many").get::<i64>().unwrap_err();
    /// assert_eq!(error.to_string(), "expected a 64 bit signed integer, but the reply is a string ('many')");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Conversion`] if the reply is of another type.
    pub fn get<T: FromReply>(self) -> Result<T, Error> {
        T::from_reply(self)
    }

    /// Takes off the attributes that a server has put in front.
    fn without_attributes(self) -> Self {
        match self {
            Self::Attributed { reply, .. } => reply.without_attributes(),
            reply => reply,
        }
    }
}

fn no(wanted: &'static str, reply: &Reply) -> Error {
    let found = match reply {
        Reply::Error(message) => format!("the error '{}'", printable(message)),
        other => other.describe(),
    };
    Error::Conversion { wanted, found }
}

macro_rules! integers {
    ($($type:ty => $wanted:literal;)*) => {
        $(impl FromReply for $type {
            fn from_reply(reply: Reply) -> Result<Self, Error> {
                let integer = reply.integer().and_then(|integer| integer.try_into().ok());
                // The integers from 2^63 on are text to Redis.
                let digits = || std::str::from_utf8(reply.bytes()?).ok()?.parse().ok();
                integer.or_else(digits).ok_or_else(|| no($wanted, &reply))
            }
        })*
    };
}

integers! {
    i64 => "a 64 bit signed integer";
    u64 => "a 64 bit unsigned integer";
    i32 => "a 32 bit signed integer";
    u32 => "a 32 bit unsigned integer";
    i16 => "a 16 bit signed integer";
    u16 => "a 16 bit unsigned integer";
    usize => "an unsigned integer";
}

impl FromReply for f64 {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        match &reply {
            Reply::Double(double) => Ok(*double),
            Reply::Attributed { .. } => reply.without_attributes().get(),
            // Unlike `number()`, with the infinities that sorted sets have.
            other => {
                let text = || std::str::from_utf8(other.bytes()?).ok()?.parse().ok();
                other.number().map(Number::as_f64).or_else(text).ok_or_else(|| no("a number", other))
            }
        }
    }
}

impl FromReply for Number {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        reply.number().ok_or_else(|| no("a number", &reply))
    }
}

/// Converts a boolean, 0, 1, and the status `OK`.
impl FromReply for bool {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        match reply.integer() {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ if reply == Reply::OK => Ok(true),
            _ => Err(no("a boolean", &reply)),
        }
    }
}

/// Converts any kind of string, and numbers as Redis writes them.
impl FromReply for Bytes {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        match reply.without_attributes() {
            Reply::Integer(integer) => Ok(integer.to_string().into()),
            Reply::Double(double) => Ok(double.to_string().into()),
            reply => match reply.bytes() {
                Some(_) => Ok(reply.into_bytes().unwrap_or_default()),
                None => Err(no("a string", &reply)),
            },
        }
    }
}

impl FromReply for Vec<u8> {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        Bytes::from_reply(reply).map(Self::from)
    }
}

impl FromReply for String {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        let bytes = Bytes::from_reply(reply)?;
        Self::from_utf8(bytes.into()).map_err(|wrong| no("UTF-8 text", &Reply::Bulk(wrong.into_bytes().into())))
    }
}

impl FromReply for Reply {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        Ok(reply)
    }
}

/// Converts anything but an error: for commands whose answer says nothing.
impl FromReply for () {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        match reply {
            Reply::Error(_) => Err(no("a success", &reply)),
            _ => Ok(()),
        }
    }
}

impl<T: FromReply> FromReply for Option<T> {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        match reply.without_attributes() {
            Reply::Null | Reply::NullArray => Ok(None),
            reply => reply.get().map(Some),
        }
    }
}

/// Takes the elements of an array or a set; of a map its pairs, each an array of two.
fn elements(reply: Reply) -> Result<Vec<Reply>, Error> {
    match reply.without_attributes() {
        Reply::Array(elements) | Reply::Set(elements) => Ok(elements),
        Reply::Map(pairs) => Ok(pairs.into_iter().map(|(key, value)| Reply::Array(vec![key, value])).collect()),
        other => Err(no("an array", &other)),
    }
}

fn pairs(reply: Reply) -> Result<Vec<(Reply, Reply)>, Error> {
    let wanted = "a map, or an array of names and values";
    match reply.without_attributes() {
        Reply::Map(pairs) => Ok(pairs),
        Reply::Array(elements) if elements.iter().all(|pair| matches!(pair, Reply::Array(two) if two.len() == 2)) => {
            elements.into_iter().map(Reply::get).collect()
        }
        Reply::Array(flat) if flat.len() % 2 == 0 => {
            let mut flat = flat.into_iter();
            Ok(std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect())
        }
        other => Err(no(wanted, &other)),
    }
}

impl<T: FromReply> FromReply for Vec<T> {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        elements(reply)?.into_iter().map(T::from_reply).collect()
    }
}

impl<T: FromReply + Eq + Hash, S: BuildHasher + Default> FromReply for HashSet<T, S> {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        elements(reply)?.into_iter().map(T::from_reply).collect()
    }
}

impl<T: FromReply + Ord> FromReply for BTreeSet<T> {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        elements(reply)?.into_iter().map(T::from_reply).collect()
    }
}

impl<K: FromReply + Eq + Hash, V: FromReply, S: BuildHasher + Default> FromReply for HashMap<K, V, S> {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        pairs(reply)?.into_iter().map(|(key, value)| Ok((key.get()?, value.get()?))).collect()
    }
}

impl<K: FromReply + Ord, V: FromReply> FromReply for BTreeMap<K, V> {
    fn from_reply(reply: Reply) -> Result<Self, Error> {
        pairs(reply)?.into_iter().map(|(key, value)| Ok((key.get()?, value.get()?))).collect()
    }
}

macro_rules! tuples {
    ($($length:literal: $wanted:literal: $($type:ident $name:ident),+;)*) => {
        $(impl<$($type: FromReply),+> FromReply for ($($type,)+) {
            fn from_reply(reply: Reply) -> Result<Self, Error> {
                match <[Reply; $length]>::try_from(elements(reply)?) {
                    Ok([$($name),+]) => Ok(($($name.get()?,)+)),
                    Err(found) => Err(Error::Conversion { wanted: $wanted, found: format!("an array of {}", found.len()) }),
                }
            }
        })*
    };
}

tuples! {
    1: "an array of 1": A a;
    2: "an array of 2": A a, B b;
    3: "an array of 3": A a, B b, C c;
    4: "an array of 4": A a, B b, C c, D d;
    5: "an array of 5": A a, B b, C c, D d, E e;
    6: "an array of 6": A a, B b, C c, D d, E e, F f;
}

macro_rules! try_from {
    ($($type:ty)*) => {
        $(impl TryFrom<Reply> for $type {
            type Error = Error;

            fn try_from(reply: Reply) -> Result<Self, Error> {
                reply.get()
            }
        })*
    };
}

try_from! { i64 u64 i32 u32 i16 u16 usize f64 Number bool Bytes String }

impl<T> TryFrom<Reply> for Vec<T>
where
    Vec<T>: FromReply,
{
    type Error = Error;

    fn try_from(reply: Reply) -> Result<Self, Error> {
        reply.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Reply {
        Reply::Array(words.iter().map(|&word| word.into()).collect())
    }

    fn refused<T: FromReply + std::fmt::Debug>(reply: Reply) -> String {
        reply.get::<T>().unwrap_err().to_string()
    }

    #[test]
    fn numbers_are_read_where_they_fit() {
        assert_eq!(Reply::Integer(-3).get::<i64>().unwrap(), -3);
        assert_eq!(Reply::from("18446744073709551615").get::<u64>().unwrap(), u64::MAX);
        assert_eq!(Reply::Double(2.5).get::<f64>().unwrap(), 2.5);
        assert_eq!(Reply::from("-inf").get::<f64>().unwrap(), f64::NEG_INFINITY);
        assert_eq!(Reply::from("1.5").get::<Number>().unwrap(), Number::Double(1.5));
        let number: Result<i64, Error> = Reply::from("12").try_into();
        assert_eq!(number.unwrap(), 12);
        assert_eq!(
            refused::<u16>(Reply::Integer(70_000)),
            "expected a 16 bit unsigned integer, but the reply is an integer"
        );
        assert_eq!(refused::<i64>(Reply::Null), "expected a 64 bit signed integer, but the reply is null");
        assert_eq!(refused::<i64>(Reply::Double(2.5)), "expected a 64 bit signed integer, but the reply is a double");
    }

    #[test]
    fn strings_are_bytes_or_text() {
        assert_eq!(Reply::from("x").get::<String>().unwrap(), "x");
        assert_eq!(Reply::Integer(7).get::<String>().unwrap(), "7");
        assert_eq!(Reply::Bulk(Bytes::from_static(b"\xff")).get::<Vec<u8>>().unwrap(), b"\xff");
        assert!(refused::<String>(Reply::Bulk(Bytes::from_static(b"\xff"))).starts_with("expected UTF-8 text"));
        let error = Reply::Error(Bytes::from_static(b"OOM full"));
        assert_eq!(refused::<Bytes>(error.clone()), "expected a string, but the reply is the error 'OOM full'");
        assert!(error.get::<()>().is_err() && Reply::OK.get::<()>().is_ok() && Reply::OK.get::<bool>().unwrap());
        assert_eq!([0, 1].map(|integer| Reply::Integer(integer).get::<bool>().unwrap()), [false, true]);
    }

    #[test]
    fn no_value_is_none_and_nothing_else() {
        assert_eq!(Reply::NullArray.get::<Option<Vec<String>>>().unwrap(), None);
        assert_eq!(Reply::from("a").get::<Option<String>>().unwrap().as_deref(), Some("a"));
        let mixed = Reply::Array(vec!["1".into(), Reply::Null]);
        assert_eq!(mixed.clone().get::<Vec<Option<i64>>>().unwrap(), [Some(1), None]);
        assert!(mixed.get::<Vec<i64>>().is_err());
    }

    #[test]
    fn maps_are_read_from_each_form_that_servers_have() {
        let map = Reply::Map(vec![("a".into(), "1".into()), ("b".into(), 2.into())]);
        let nested = Reply::Array(vec![list(&["a", "1"]), list(&["b", "2"])]);
        let wanted = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        for reply in [map.clone(), nested.clone(), list(&["a", "1", "b", "2"])] {
            assert_eq!(reply.clone().get::<BTreeMap<String, i64>>().unwrap(), wanted);
            assert_eq!(reply.get::<HashMap<String, i64>>().unwrap().len(), 2);
        }
        for reply in [map, nested] {
            assert_eq!(reply.get::<Vec<(String, i64)>>().unwrap(), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        }
        assert!(list(&["a"]).get::<BTreeMap<String, String>>().is_err());
        assert!(list(&[]).get::<BTreeMap<String, String>>().unwrap().is_empty());
    }

    #[test]
    fn tuples_are_arrays_of_their_length() {
        let (cursor, keys): (u64, Vec<String>) = Reply::Array(vec!["5".into(), list(&["k"])]).get().unwrap();
        assert_eq!((cursor, keys), (5, vec!["k".to_owned()]));
        assert_eq!(refused::<(i64, i64)>(list(&["1"])), "expected an array of 2, but the reply is an array of 1");
        let set: BTreeSet<String> = Reply::Set(vec!["b".into(), "a".into()]).get().unwrap();
        assert_eq!(set.into_iter().collect::<String>(), "ab");
        let attributed = Reply::Attributed { attributes: vec![], reply: Box::new(list(&["1", "2"])) };
        assert_eq!(attributed.get::<(i64, i64)>().unwrap(), (1, 2));
    }

    #[test]
    fn what_is_inside_is_taken_without_a_copy() {
        let text = Bytes::from_static(b"text");
        assert_eq!(Reply::Bulk(text.clone()).into_bytes().map(|bytes| bytes.as_ptr()), Some(text.as_ptr()));
        assert_eq!(list(&["a"]).into_elements(), Some(vec!["a".into()]));
        assert_eq!((Reply::Null.into_bytes(), Reply::Null.into_elements()), (None, None));
    }
}
