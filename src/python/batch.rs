//! [`RecordBatch`]: records as a worker takes them in, and [`StageAnswer`]: what it says of them.

use bytes::Bytes;

use super::marshal::{Value, Writer};
use crate::error::Error;
use crate::flow::Records;
use crate::flow::values::TypeLetter;
use crate::resp::Arguments;

/// The form in which a batch has its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchShape {
    /// Keys, types and values.
    Keys,
    /// Keys alone.
    Names,
    /// Nothing but their number.
    Count,
    /// The bytes that a worker has written.
    Records,
}

/// Records as they stand in a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RecordBatch {
    shape: BatchShape,
    count: usize,
    /// Some string is not UTF-8.
    has_bytes: bool,
    pub(super) sections: Vec<Bytes>,
}

impl RecordBatch {
    /// Writes records in this shape: those of keys have been read with [typed](crate::flow::plan::ValuesRead::Typed) values
    /// where the shape has values.
    ///
    /// # Errors
    /// If a value is none.
    pub(super) fn of(shape: BatchShape, records: Records) -> Result<Self, Error> {
        let count = records.len();
        let (has_bytes, sections) = match shape {
            BatchShape::Keys => columns_of_keys(&records)?,
            BatchShape::Names => {
                let mut keys = Writer::with_capacity(records.byte_len());
                records.keys().for_each(|key| keys.text_or_bytes(key));
                (keys.has_bytes(), vec![keys.into_bytes().into()])
            }
            BatchShape::Count => (false, Vec::new()),
            BatchShape::Records => (false, vec![records.into_values().into()]),
        };
        Ok(Self { shape, count, has_bytes, sections })
    }

    /// Returns the head of the request that gives the batch to a stage of an execution.
    pub(super) fn head(&self, execution: u64, stage: u64) -> Value {
        let shape = match self.shape {
            BatchShape::Keys => "keys",
            BatchShape::Names => "names",
            BatchShape::Count => "count",
            BatchShape::Records => "records",
        };
        let sizes = self.sections.iter().map(|section| (section.len() as u64).into()).collect();
        Value::Tuple(vec![
            execution.into(),
            stage.into(),
            shape.into(),
            (self.count as u64).into(),
            self.has_bytes.into(),
            Value::Tuple(sizes),
        ])
    }
}

/// Writes the columns of keys, types and values.
pub(super) fn columns_of_keys(records: &Records) -> Result<(bool, Vec<Bytes>), Error> {
    let bytes = records.byte_len();
    let (mut keys, mut values) = (Writer::with_capacity(bytes / 2), Writer::with_capacity(bytes));
    let mut types = Vec::with_capacity(records.len());
    for (key, value) in records.iter() {
        keys.text_or_bytes(key);
        let damaged = || Error::Internal(format!("the value of '{}' is none", key.escape_ascii()));
        let (letter, reply) = value.split_first().ok_or_else(damaged)?;
        types.push(*letter);
        write_value(*letter, reply, &mut values).ok_or_else(damaged)?;
    }
    let has_bytes = keys.has_bytes() || values.has_bytes();
    Ok((has_bytes, vec![keys.into_bytes().into(), types.into(), values.into_bytes().into()]))
}

/// Writes the value of a key of this type, which has been read by this reply. Names of fields are written once.
fn write_value(letter: u8, reply: &[u8], to: &mut Writer) -> Option<()> {
    if letter == TypeLetter::String.byte() {
        to.text_or_bytes(Arguments::of(reply).next()?);
        return Some(());
    }
    if letter != TypeLetter::Hash.byte() && letter != TypeLetter::List.byte() {
        to.none();
        return Some(());
    }
    let end = memchr::memchr(b'\n', reply)?;
    let count: usize = std::str::from_utf8(reply.get(1..end.checked_sub(1)?)?).ok()?.parse().ok()?;
    let mut elements = Arguments::of(&reply[end + 1..]);
    if letter == TypeLetter::List.byte() {
        to.begin_list(count);
        for _ in 0..count {
            to.text_or_bytes(elements.next()?);
        }
        return Some(());
    }
    to.begin_dict();
    while let Some(name) = elements.next() {
        to.name(name);
        to.text_or_bytes(elements.next()?);
    }
    to.end_dict();
    Some(())
}

/// The answer of a worker to a request for a stage.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StageAnswer {
    /// Results are replies.
    pub(super) records: Records,
    pub(super) errors: Vec<Bytes>,
    pub(super) more: bool,
    pub(super) enough: bool,
    /// An abort has ended code.
    pub(super) aborted: bool,
}

impl StageAnswer {
    /// Reads an answer; [`None`] if it is none.
    pub(super) fn read(head: &Value, sections: &Bytes) -> Option<Self> {
        let [form, count, more, enough, _waiting, aborted, errors, sizes] = head.items()? else { return None };
        let [keys, values] = sizes.items()? else { return None };
        let (keys, values) = (keys.as_count()? as usize, values.as_count()? as usize);
        let (keys, values) = sections.get(..keys.checked_add(values)?)?.split_at(keys);
        let count = count.as_count()? as usize;
        let mut records = if count == 0 { Records::new() } else { Records::of_columns(count, keys, values)? };
        match form.as_text()? {
            "records" | "replies" => {}
            "bulk" => records = as_replies(&records),
            _ => return None,
        }
        let text = |error: &Value| Some(Bytes::copy_from_slice(error.as_bytes()?));
        Some(Self {
            records,
            errors: errors.items()?.iter().map(text).collect::<Option<_>>()?,
            more: more.as_bool()?,
            enough: enough.as_bool()?,
            aborted: aborted.as_bool()?,
        })
    }
}

/// Writes each value as a bulk string.
fn as_replies(records: &Records) -> Records {
    let mut replies = Records::new();
    let mut digits = itoa::Buffer::new();
    for (key, value) in records.iter() {
        replies.push_written(key, |bytes| {
            for part in [b"$", digits.format(value.len()).as_bytes(), b"\r\n", value, b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        });
    }
    replies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::marshal;

    fn read_all(section: &Bytes, count: usize) -> Vec<Value> {
        let list = [&[b'['][..], &(count as u32).to_le_bytes(), section].concat();
        marshal::read(&Bytes::from(list)).unwrap().items().unwrap().to_vec()
    }

    fn keys() -> Records {
        let mut records = Records::new();
        records.push(b"a", b"s$1\r\nx\r\n");
        records.push(b"b", b"l*2\r\n$1\r\n1\r\n$0\r\n\r\n");
        records.push(b"c", b"t");
        records.push(b"d", b"e");
        records
    }

    #[test]
    fn keys_types_and_values_are_columns() {
        let batch = RecordBatch::of(BatchShape::Keys, keys()).unwrap();
        let text = Value::text;
        assert_eq!(read_all(&batch.sections[0], 4), ["a", "b", "c", "d"].map(text));
        assert_eq!(batch.sections[1], b"slte"[..]);
        let list = Value::List(vec![text("1"), text("")]);
        assert_eq!(read_all(&batch.sections[2], 4), [text("x"), list, Value::None, Value::None]);
        let sizes = batch.sections.iter().map(|section| (section.len() as u64).into()).collect();
        let head = vec![7.into(), 0.into(), "keys".into(), 4.into(), false.into(), Value::Tuple(sizes)];
        assert_eq!(batch.head(7, 0), Value::Tuple(head));
    }

    #[test]
    fn names_of_fields_are_written_once() {
        let mut records = Records::new();
        records.push(b"a", b"h%1\r\n$1\r\nf\r\n$1\r\n1\r\n");
        records.push(b"b", b"h%1\r\n$1\r\nf\r\n$1\r\n\xff\r\n");
        let batch = RecordBatch::of(BatchShape::Keys, records).unwrap();
        assert!(batch.has_bytes);
        assert_eq!(batch.sections[2], b"{\xfa\x01fz\x0110{r\0\0\0\0s\x01\0\0\0\xff0"[..]);
    }

    #[test]
    fn other_shapes_have_less() {
        let names = RecordBatch::of(BatchShape::Names, keys()).unwrap();
        assert_eq!(read_all(&names.sections[0], 4).len(), 4);
        let count = RecordBatch::of(BatchShape::Count, keys()).unwrap();
        assert_eq!((count.count, count.sections.len()), (4, 0));
        let mut records = Records::new();
        records.push(b"k", b"N");
        records.push(b"", b"T");
        assert_eq!(RecordBatch::of(BatchShape::Records, records).unwrap().sections, [&b"NT"[..]]);
        for damaged in [&b""[..], b"s", b"l*x\r\n", b"h%"] {
            let mut records = Records::new();
            records.push(b"k", damaged);
            assert!(RecordBatch::of(BatchShape::Keys, records).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn answers_are_records_and_errors() {
        let answer = |form: &str, count: u64, sections: &'static [u8], keys: u64, values: u64| {
            let errors = Value::List(vec!["no".into(), Value::Bytes(Bytes::from_static(b"\xff"))]);
            let sizes = Value::Tuple(vec![keys.into(), values.into()]);
            let head =
                vec![form.into(), count.into(), true.into(), false.into(), 0.into(), false.into(), errors, sizes];
            StageAnswer::read(&Value::Tuple(head), &Bytes::from_static(sections))
        };
        let bulk = answer("bulk", 2, b"\x01\0\0\0\x02\0\0\0abc", 0, 11).unwrap();
        assert_eq!(bulk.records.values().collect::<Vec<_>>(), [&b"$1\r\na\r\n"[..], b"$2\r\nbc\r\n"]);
        assert!(bulk.more && !bulk.enough && bulk.errors == [&b"no"[..], b"\xff"]);
        let moved = answer("records", 1, b"\x01\0\0\0k\x01\0\0\0N", 5, 5).unwrap();
        assert_eq!(moved.records.iter().collect::<Vec<_>>(), [(&b"k"[..], &b"N"[..])]);
        assert!(answer("records", 0, b"", 0, 0).unwrap().records.is_empty());
        assert!(answer("records", 1, b"\x01\0\0\0", 0, 5).is_none() && answer("other", 0, b"", 0, 0).is_none());
        assert!(answer("bulk", u64::MAX >> 2, b"", 0, 0).is_none());
    }
}
