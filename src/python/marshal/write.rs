//! Writes values, one after the other, as heads of frames and sections of batches are made of.

use std::collections::HashMap;

use super::value::Value;

/// The flag of a string that may be referred to from behind it.
const IS_REPEATED: u8 = 0x80;

/// Appends values to bytes.
///
/// The caller sees to it that after a `begin_...` there come as many values as it said.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    has_bytes: bool,
    names: HashMap<Box<[u8]>, u32, foldhash::fast::FixedState>,
}

impl Writer {
    /// Makes one with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Returns how many bytes are written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Says whether one of the strings was not UTF-8, so that the reader has to look for it.
    pub(crate) fn has_bytes(&self) -> bool {
        self.has_bytes
    }

    /// Notes that what comes now is another frame, of which it is not known yet whether there is one that is not UTF-8.
    pub(crate) fn forget_bytes(&mut self) {
        self.has_bytes = false;
    }

    /// Begins anew in the same memory: a section has names of its own.
    pub(crate) fn reset(&mut self) {
        self.bytes.clear();
        self.has_bytes = false;
        self.names.clear();
    }

    /// Returns what is written so far.
    pub(crate) fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns what is written so far, to fill in sizes that were not known before.
    pub(crate) fn written_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Returns what is written.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Cuts off what is written from that length on. Not behind a `name` that stands there.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Appends values that are in the format already.
    pub(crate) fn raw(&mut self, values: &[u8]) {
        self.bytes.extend_from_slice(values);
    }

    /// Appends what another has written. Not where there are names in it.
    pub(crate) fn append(&mut self, other: &Self) {
        self.has_bytes |= other.has_bytes;
        self.raw(&other.bytes);
    }

    /// Writes `None`.
    pub(crate) fn none(&mut self) {
        self.bytes.push(b'N');
    }

    /// Writes a `bool`.
    pub(crate) fn bool(&mut self, is_true: bool) {
        self.bytes.push(if is_true { b'T' } else { b'F' });
    }

    /// Writes an `int`.
    pub(crate) fn int(&mut self, number: i64) {
        if let Ok(short) = i32::try_from(number) {
            self.bytes.push(b'i');
            self.bytes.extend_from_slice(&short.to_le_bytes());
            return;
        }
        let mut left = number.unsigned_abs();
        let count = (64 - left.leading_zeros()).div_ceil(15) as i32;
        self.bytes.push(b'l');
        self.bytes.extend_from_slice(&(if number < 0 { -count } else { count }).to_le_bytes());
        while left > 0 {
            self.bytes.extend_from_slice(&((left & 0x7fff) as u16).to_le_bytes());
            left >>= 15;
        }
    }

    /// Writes a `float`.
    pub(crate) fn float(&mut self, number: f64) {
        self.bytes.push(b'g');
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    /// Writes a `str`.
    pub(crate) fn text(&mut self, text: &str) {
        self.utf8(text.as_bytes(), 0);
    }

    /// Writes a `bytes`.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.push(b's');
        self.counted(bytes);
    }

    /// Writes a string of Redis: a `str`, or a `bytes` where it is not UTF-8.
    pub(crate) fn text_or_bytes(&mut self, string: &[u8]) {
        if is_utf8(string) {
            self.utf8(string, 0);
        } else {
            self.has_bytes = true;
            self.bytes(string);
        }
    }

    /// Writes a string of Redis that occurs often, as names of fields do: whole once, then as a reference.
    ///
    /// Only in sections: heads have no references.
    pub(crate) fn name(&mut self, string: &[u8]) {
        if let Some(number) = self.names.get(string) {
            self.bytes.push(b'r');
            self.bytes.extend_from_slice(&number.to_le_bytes());
            return;
        }
        if self.names.len() >= MOST_NAMES || !is_utf8(string) {
            self.text_or_bytes(string);
            return;
        }
        self.names.insert(string.into(), self.names.len() as u32);
        self.utf8(string, IS_REPEATED);
    }

    /// Begins a `list` of so many values.
    pub(crate) fn begin_list(&mut self, count: usize) {
        self.begin(b'[', count);
    }

    /// Begins a `tuple` of so many values.
    pub(crate) fn begin_tuple(&mut self, count: usize) {
        self.begin(b'(', count);
    }

    /// Begins a `dict`: pairs of values until its end.
    pub(crate) fn begin_dict(&mut self) {
        self.bytes.push(b'{');
    }

    /// Ends a `dict`.
    pub(crate) fn end_dict(&mut self) {
        self.bytes.push(b'0');
    }

    /// Writes a whole value.
    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::None => self.none(),
            Value::Bool(is_true) => self.bool(*is_true),
            Value::Int(number) => self.int(*number),
            Value::Float(number) => self.float(*number),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Text(text) => self.text(text),
            Value::Tuple(items) => self.items(b'(', items),
            Value::List(items) => self.items(b'[', items),
            Value::Set(items) => self.items(b'<', items),
            Value::Dict(pairs) => {
                self.begin_dict();
                for (key, value) in pairs {
                    self.value(key);
                    self.value(value);
                }
                self.end_dict();
            }
        }
    }

    fn items(&mut self, kind: u8, items: &[Value]) {
        self.begin(kind, items.len());
        for item in items {
            self.value(item);
        }
    }

    fn begin(&mut self, kind: u8, count: usize) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&(count as u32).to_le_bytes());
    }

    /// Writes a string that is UTF-8; short ones of plain ASCII, which Python reads faster, in a form of their own.
    fn utf8(&mut self, text: &[u8], flag: u8) {
        match u8::try_from(text.len()) {
            Ok(length) if text.is_ascii() => {
                self.bytes.extend_from_slice(&[b'z' | flag, length]);
                self.bytes.extend_from_slice(text);
            }
            _ => {
                self.bytes.push(b'u' | flag);
                self.counted(text);
            }
        }
    }

    fn counted(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }
}

impl Value {
    /// Returns the value as `marshal` writes it.
    pub(crate) fn to_marshal(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.value(self);
        writer.into_bytes()
    }
}

/// The number of names that a section writes once. Names of fields are few; where they are many they are data.
const MOST_NAMES: usize = 1024;

fn is_utf8(string: &[u8]) -> bool {
    string.is_ascii() || std::str::from_utf8(string).is_ok()
}
