//! Reads one value.
//!
//! The bytes come from a process that runs code of users, who may have taken it over. So nothing is believed: an
//! announced count is at most the bytes that are left, nesting is bounded, and all that is wrong is an error.

use bytes::Bytes;

use super::value::Value;

/// The depth to which values may nest. Heads nest five or six deep.
const DEEPEST: usize = 64;

/// Says why bytes are no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the worker does not speak marshal: {0}")]
pub(crate) struct BadMarshal(&'static str);

/// Reads the one value that these bytes are. Its `bytes` are slices of them.
pub(crate) fn read(bytes: &Bytes) -> Result<Value, BadMarshal> {
    let mut cursor = Cursor { bytes, at: 0 };
    let value = cursor.value(0)?;
    if cursor.at == bytes.len() { Ok(value) } else { Err(BadMarshal("bytes behind the value")) }
}

struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, BadMarshal> {
        let kind = self.byte()?;
        self.value_of(kind, depth)
    }

    fn value_of(&mut self, kind: u8, depth: usize) -> Result<Value, BadMarshal> {
        if depth > DEEPEST {
            return Err(BadMarshal("values nested too deep"));
        }
        Ok(match kind {
            b'N' => Value::None,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            b'i' => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'l' => Value::Int(self.long()?),
            b'g' => Value::Float(f64::from_le_bytes(self.array()?)),
            b's' => Value::Bytes(self.counted()?),
            b'u' | b't' => Value::Text(text(&self.counted()?)),
            b'z' => {
                let length = usize::from(self.byte()?);
                Value::Text(text(&self.slice(length)?))
            }
            b'(' => Value::Tuple(self.items(depth)?),
            b'[' => Value::List(self.items(depth)?),
            b'<' | b'>' => Value::Set(self.items(depth)?),
            b'{' => Value::Dict(self.pairs(depth)?),
            _ => return Err(BadMarshal("an unknown type")),
        })
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Value>, BadMarshal> {
        let count = self.count()?;
        let mut items = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            items.push(self.value(depth + 1)?);
        }
        Ok(items)
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Value, Value)>, BadMarshal> {
        let mut pairs = Vec::new();
        loop {
            match self.byte()? {
                b'0' => return Ok(pairs),
                kind => pairs.push((self.value_of(kind, depth + 1)?, self.value(depth + 1)?)),
            }
        }
    }

    /// Reads an `int` of more than 32 bits: its digits to the base 2^15, the lowest first.
    fn long(&mut self) -> Result<i64, BadMarshal> {
        let count = i32::from_le_bytes(self.array()?);
        let mut sum: i128 = 0;
        for place in 0..count.unsigned_abs() {
            let digit = i128::from(u16::from_le_bytes(self.array()?));
            if place > 4 || digit > 0x7fff {
                return Err(BadMarshal("a number of more than 64 bits"));
            }
            sum |= digit << (15 * place);
        }
        let number = if count < 0 { -sum } else { sum };
        number.try_into().map_err(|_| BadMarshal("a number of more than 64 bits"))
    }

    fn counted(&mut self) -> Result<Bytes, BadMarshal> {
        let length = self.count()?;
        self.slice(length)
    }

    /// Reads a length, or a count of items, each of which takes a byte at least.
    fn count(&mut self) -> Result<usize, BadMarshal> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        if count > self.bytes.len() - self.at {
            return Err(BadMarshal("a count of more than there is"));
        }
        Ok(count)
    }

    fn byte(&mut self) -> Result<u8, BadMarshal> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadMarshal> {
        let found = self.bytes[self.at..].first_chunk().ok_or(BadMarshal("a value that ends too soon"))?;
        self.at += N;
        Ok(*found)
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, BadMarshal> {
        let end = self.at + length;
        if end > self.bytes.len() {
            return Err(BadMarshal("a value that ends too soon"));
        }
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(slice)
    }
}

/// Returns a text; Python writes half of a surrogate pair, too, which is no UTF-8.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
