//! [`Records`]: a batch of keys and values, in two columns, so that a thousand records are four allocations.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::reply::Reply;
use crate::resp::decode_whole;

/// The number of records in a batch that is sent from node to node.
pub(super) const BATCH_RECORDS: usize = 4096;
pub(super) const BATCH_BYTES: usize = 256 * 1024;

/// A batch of records: keys, each with a value. The steps that make and take a value know its meaning; the value of a
/// command's record is its reply, in RESP3.
///
/// ```
/// use rmr::flow::Records;
///
/// let mut records = Records::new();
/// records.push(b"user:1", b"ada");
/// records.push(b"user:2", b"grace");
/// assert_eq!(records.iter().nth(1), Some((&b"user:2"[..], &b"grace"[..])));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TwoColumns")]
pub struct Records {
    keys: Column,
    values: Column,
}

/// Byte strings, one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Column {
    lengths: Vec<u32>,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

/// Records as they came from another node.
#[derive(Deserialize)]
struct TwoColumns {
    keys: Column,
    values: Column,
}

impl TryFrom<TwoColumns> for Records {
    type Error = &'static str;

    fn try_from(TwoColumns { keys, values }: TwoColumns) -> Result<Self, &'static str> {
        if keys.lengths.len() != values.lengths.len() || !keys.is_sound() || !values.is_sound() {
            return Err("records whose keys and values have other lengths");
        }
        Ok(Self { keys, values })
    }
}

impl Records {
    /// Makes a batch without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the records of keys that nothing was done for.
    pub(super) fn of_keys(keys: &[Bytes]) -> Self {
        let mut records = Self::new();
        keys.iter().for_each(|key| records.push(key, &[]));
        records
    }

    /// Makes so many records of two columns as others write them: the lengths, four bytes each, and then the strings. An
    /// empty column of keys stands for keys that are empty.
    pub(crate) fn of_columns(count: usize, keys: &[u8], values: &[u8]) -> Option<Self> {
        // They show that there are so many.
        let values = Column::of_wire(count, values)?;
        let keys = if keys.is_empty() { Column::of_empty(count) } else { Column::of_wire(count, keys)? };
        Some(Self { keys, values })
    }

    /// Returns the values, one after the other.
    pub(crate) fn into_values(self) -> Vec<u8> {
        self.values.bytes
    }

    /// Returns how many records there are.
    pub fn len(&self) -> usize {
        self.keys.lengths.len()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.lengths.is_empty()
    }

    /// Returns the memory that they take, in bytes.
    pub fn byte_len(&self) -> usize {
        self.keys.byte_len() + self.values.byte_len()
    }

    /// Adds a record.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.keys.push(key);
        self.values.push(value);
    }

    /// Adds a record whose value is a reply.
    pub fn push_reply(&mut self, key: &[u8], reply: &Reply) {
        self.keys.push(key);
        self.values.push_with(|bytes| reply.write_to(bytes));
    }

    /// Adds a record whose value is a letter and a reply.
    pub(super) fn push_typed(&mut self, key: &[u8], letter: u8, reply: &Reply) {
        self.keys.push(key);
        self.values.push_with(|bytes| {
            bytes.push(letter);
            reply.write_to(bytes);
        });
    }

    /// Adds a record whose value is written by `write`, which appends to the bytes that it is given.
    pub(crate) fn push_written(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.keys.push(key);
        self.values.push_with(write);
    }

    /// Returns the keys, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.keys.iter()
    }

    /// Returns the values, in order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.values.iter()
    }

    /// Returns the records, each as its key and its value.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.keys.iter().zip(self.values.iter())
    }

    /// Returns the records of commands, each as its key and the reply. Keys that nothing was done for have empty values, which
    /// are nulls here.
    pub fn replies(&self) -> impl ExactSizeIterator<Item = (&[u8], Result<Reply, Error>)> {
        let reply = |value: &[u8]| {
            if value.is_empty() {
                return Ok(Reply::Null);
            }
            let damaged = |error| Error::Internal(format!("the value of a record is no reply: {error}"));
            decode_whole(&Bytes::copy_from_slice(value)).map_err(damaged)
        };
        self.iter().map(move |(key, value)| (key, reply(value)))
    }

    /// Adds the records of another batch.
    pub fn append(&mut self, other: &Self) {
        self.keys.append(&other.keys);
        self.values.append(&other.values);
    }

    /// Takes the first `most` records out, or all.
    #[must_use]
    pub fn take_first(&mut self, most: usize) -> Self {
        if most >= self.len() {
            return std::mem::take(self);
        }
        Self { keys: self.keys.take_first(most), values: self.values.take_first(most) }
    }

    /// Tells whether they are enough to be sent.
    pub(super) fn is_batch(&self) -> bool {
        self.len() >= BATCH_RECORDS || self.byte_len() >= BATCH_BYTES
    }

    /// Takes the first records out: at most so many, and at most so many bytes unless the first one alone has more.
    pub(super) fn take_batch(&mut self, most: usize, most_bytes: usize) -> Self {
        if self.len() <= most && self.byte_len() <= most_bytes {
            return std::mem::take(self);
        }
        let size = |(key, value): (&[u8], &[u8])| key.len() + value.len() + 2 * size_of::<u32>();
        let ends = self.iter().map(size).scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        let fits = ends.take_while(|end| *end <= most_bytes).count();
        self.take_first(fits.clamp(1, most))
    }
}

impl Column {
    fn push(&mut self, string: &[u8]) {
        self.push_with(|bytes| bytes.extend_from_slice(string));
    }

    fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.lengths.push((self.bytes.len() - start) as u32);
    }

    fn of_empty(count: usize) -> Self {
        Self { lengths: vec![0; count], bytes: Vec::new() }
    }

    fn of_wire(count: usize, column: &[u8]) -> Option<Self> {
        let (lengths, bytes) = column.split_at_checked(count.checked_mul(size_of::<u32>())?)?;
        let (lengths, _) = lengths.as_chunks::<4>();
        let lengths = lengths.iter().map(|length| u32::from_le_bytes(*length)).collect();
        Some(Self { lengths, bytes: bytes.to_vec() }).filter(Self::is_sound)
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |&length| {
            let (string, behind) = rest.split_at(length as usize);
            rest = behind;
            string
        })
    }

    fn append(&mut self, other: &Self) {
        self.lengths.extend_from_slice(&other.lengths);
        self.bytes.extend_from_slice(&other.bytes);
    }

    fn take_first(&mut self, most: usize) -> Self {
        let rest = self.lengths.split_off(most);
        let lengths = std::mem::replace(&mut self.lengths, rest);
        let size = lengths.iter().map(|&length| length as usize).sum();
        let rest = self.bytes.split_off(size);
        Self { lengths, bytes: std::mem::replace(&mut self.bytes, rest) }
    }

    fn byte_len(&self) -> usize {
        self.bytes.len() + self.lengths.len() * size_of::<u32>()
    }

    fn is_sound(&self) -> bool {
        self.lengths.iter().map(|&length| u64::from(length)).sum::<u64>() == self.bytes.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pairs: &[(&str, &str)]) -> Records {
        let mut records = Records::new();
        pairs.iter().for_each(|(key, value)| records.push(key.as_bytes(), value.as_bytes()));
        records
    }

    #[test]
    fn the_first_ones_are_taken_out_and_added_again() {
        let all = records(&[("a", "1"), ("", ""), ("ccc", "33")]);
        let mut rest = all.clone();
        let mut first = rest.take_first(2);
        assert_eq!((&first, &rest), (&records(&[("a", "1"), ("", "")]), &records(&[("ccc", "33")])));
        first.append(&rest);
        assert_eq!(first, all);
        assert_eq!((rest.take_first(9).len(), rest.len(), rest.is_empty()), (1, 0, true));
        assert_eq!(all.byte_len(), 4 + 3 + 6 * 4);
    }

    #[test]
    fn columns_of_others_are_looked_at() {
        let column = |strings: &[&str]| {
            let lengths = strings.iter().flat_map(|string| (string.len() as u32).to_le_bytes());
            lengths.chain(strings.iter().flat_map(|string| string.bytes())).collect::<Vec<u8>>()
        };
        let of = |keys: &[u8], values| Records::of_columns(2, keys, values);
        let (keys, values) = (column(&["a", "bb"]), column(&["1", ""]));
        assert_eq!(of(&keys, &values), Some(records(&[("a", "1"), ("bb", "")])));
        assert_eq!(of(&[], &values), Some(records(&[("", "1"), ("", "")])));
        assert_eq!(of(&keys, &values).unwrap().into_values(), b"1");
        for bad in [&b""[..], b"1234567", &values[..8], &[&values[..], b"x"].concat(), &column(&["1"])] {
            assert_eq!(of(&keys, bad), None, "{bad:?}");
        }
        assert_eq!(Records::of_columns(usize::MAX, &keys, &values), None);
    }

    #[test]
    fn values_may_be_replies() {
        let mut records = Records::new();
        records.push_reply(b"k", &Reply::Array(vec![Reply::Integer(7), Reply::Null]));
        let (key, reply) = records.replies().next().unwrap();
        assert_eq!((key, reply.unwrap()), (&b"k"[..], Reply::Array(vec![Reply::Integer(7), Reply::Null])));
        records.push(b"k", b"no reply");
        assert!(records.replies().nth(1).unwrap().1.is_err());
    }

    #[test]
    fn they_travel_and_damaged_ones_are_refused() {
        let all = records(&[("a", "1"), ("bb", "22")]);
        let wire = postcard::to_stdvec(&all).unwrap();
        assert_eq!(postcard::from_bytes::<Records>(&wire).unwrap(), all);
        let mut damaged = wire;
        // The length of the first key.
        damaged[1] += 1;
        assert!(postcard::from_bytes::<Records>(&damaged).is_err());
    }
}
