//! The elements of arrays and sets, from many replies, each with its place.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::reply::Reply;
use crate::resp::decode_whole;

/// Elements in any order; their places say in which they are to stand.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Elements {
    all: Vec<Element>,
    #[serde(skip)]
    bytes: usize,
    /// The positions of the elements of which only one may be kept.
    #[serde(skip)]
    seen: HashMap<ByValue, usize>,
}

#[derive(Serialize, Deserialize)]
struct Element {
    /// The place of the reply, and that in the reply.
    place: (u32, u32),
    #[serde(with = "travelling")]
    reply: Reply,
}

impl Elements {
    /// Adds all elements of a reply.
    pub(super) fn add_all(&mut self, place: u32, elements: Vec<Reply>) {
        let bytes = &mut self.bytes;
        let element = |(at, reply)| {
            *bytes += cost(&reply);
            Element { place: (place, at as u32), reply }
        };
        self.all.extend(elements.into_iter().enumerate().map(element));
    }

    /// Adds those elements of a reply that are not there yet.
    pub(super) fn add_new(&mut self, place: u32, elements: Vec<Reply>) {
        for (at, reply) in elements.into_iter().enumerate() {
            self.add_one(Element { place: (place, at as u32), reply });
        }
    }

    /// Adds all of others'.
    pub(super) fn append(&mut self, other: Self) {
        self.bytes += other.all.iter().map(|element| cost(&element.reply)).sum::<usize>();
        self.all.extend(other.all);
    }

    /// Adds those of others' that are not there yet.
    pub(super) fn merge(&mut self, other: Self) {
        other.all.into_iter().for_each(|element| self.add_one(element));
    }

    /// Returns the elements in order.
    pub(super) fn finish(mut self) -> Vec<Reply> {
        self.all.sort_by_key(|element| element.place);
        self.all.into_iter().map(|element| element.reply).collect()
    }

    /// Returns the memory that they take, in bytes, more or less.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an element. Of equal elements the first counts, with its place and as it is written: 0.0 and -0.0 are
    /// equal.
    fn add_one(&mut self, element: Element) {
        match self.seen.get(&ByValue(element.reply.clone())) {
            Some(&known) if element.place < self.all[known].place => self.all[known] = element,
            Some(_) => {}
            None => {
                self.bytes += 2 * cost(&element.reply);
                self.seen.insert(ByValue(element.reply.clone()), self.all.len());
                self.all.push(element);
            }
        }
    }
}

/// Returns the memory that a reply takes, in bytes, more or less.
fn cost(reply: &Reply) -> usize {
    let within = match reply {
        Reply::Array(elements) | Reply::Set(elements) => elements.iter().map(cost).sum(),
        Reply::Map(pairs) => pairs.iter().map(|(key, value)| cost(key) + cost(value)).sum(),
        Reply::Attributed { attributes, reply } => {
            cost(reply) + attributes.iter().map(|(key, value)| cost(key) + cost(value)).sum::<usize>()
        }
        other => other.bytes().map_or(0, <[u8]>::len),
    };
    size_of::<Element>() + within
}

/// A reply travels as it does between server and client: the reader of those knows how deep they may go.
mod travelling {
    use bytes::Bytes;
    use serde::de::Error;

    use super::{Deserialize, Deserializer, Reply, Serializer, decode_whole};

    pub(super) fn serialize<S: Serializer>(reply: &Reply, serializer: S) -> Result<S::Ok, S::Error> {
        let mut wire = Vec::new();
        reply.write_to(&mut wire);
        serde_bytes::serialize(&wire, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Reply, D::Error> {
        let wire = <&serde_bytes::Bytes>::deserialize(deserializer)?;
        decode_whole(&Bytes::copy_from_slice(wire)).map_err(D::Error::custom)
    }
}

/// A reply that can be looked up.
struct ByValue(Reply);

impl PartialEq for ByValue {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for ByValue {}

impl Hash for ByValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(&self.0, state);
    }
}

fn hash<H: Hasher>(reply: &Reply, state: &mut H) {
    std::mem::discriminant(reply).hash(state);
    match reply {
        Reply::Integer(integer) => integer.hash(state),
        // 0.0 and -0.0 are equal.
        Reply::Double(double) => (double + 0.0).to_bits().hash(state),
        Reply::Boolean(boolean) => boolean.hash(state),
        Reply::Array(elements) | Reply::Set(elements) => elements.iter().for_each(|element| hash(element, state)),
        Reply::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            hash(key, state);
            hash(value, state);
        }),
        Reply::Error(message) => message.hash(state),
        other => other.bytes().hash(state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_elements_the_first_counts_as_it_is_written() {
        for order in [[0, 1], [1, 0]] {
            let mut elements = Elements::default();
            for place in order {
                elements.add_new(place, vec![Reply::Double(if place == 0 { -0.0 } else { 0.0 })]);
            }
            assert!(matches!(elements.finish()[..], [Reply::Double(zero)] if zero.is_sign_negative()), "{order:?}");
        }
    }
}
