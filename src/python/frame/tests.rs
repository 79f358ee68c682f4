//! The frames of `worker/vectors.txt`, byte by byte, and frames that are broken.

use std::fmt::Write;

use super::*;

const VECTORS: &str = include_str!("../worker/vectors.txt");

struct Vector {
    name: &'static str,
    head: &'static str,
    bytes: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let vector = |line: &'static str| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("a field");
        Vector { name: field(), head: field(), bytes: unhexed(field()) }
    };
    VECTORS.lines().map(vector).collect()
}

fn unhexed(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hex digit") as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Shows a value as Python's `json` does.
fn json(value: &Value) -> String {
    let list = |items: &[Value]| items.iter().map(json).collect::<Vec<_>>().join(", ");
    match value {
        Value::None => "null".into(),
        Value::Bool(is_true) => is_true.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => quoted(text),
        Value::Bytes(bytes) => {
            let mut digits = String::new();
            bytes.iter().for_each(|byte| write!(digits, "{byte:02x}").expect("a string takes all"));
            format!("{{\"bytes\": \"{digits}\"}}")
        }
        Value::Tuple(items) | Value::List(items) | Value::Set(items) => format!("[{}]", list(items)),
        Value::Dict(pairs) => {
            let pair = |(key, value): &(Value, Value)| format!("{}: {}", json(key), json(value));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            ' '..='~' => quoted.push(letter),
            other => other.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                write!(quoted, "\\u{unit:04x}").expect("a string takes all");
            }),
        }
    }
    quoted + "\""
}

fn only_frame(bytes: &[u8]) -> Result<Option<Frame>, BadFrame> {
    let mut reader = FrameReader::default();
    reader.room().extend_from_slice(bytes);
    reader.next()
}

#[test]
fn frames_of_a_worker_are_read() {
    assert!(vectors().len() > 30);
    for Vector { name, head, bytes } in vectors() {
        let frame = only_frame(&bytes).expect(name).expect(name);
        assert_eq!(json(&frame.head), head, "{name}");
    }
}

#[test]
fn a_frame_that_is_written_says_the_same() {
    for Vector { name, bytes, .. } in vectors() {
        let frame = only_frame(&bytes).expect(name).expect(name);
        let mut again = start_of(frame.kind, frame.id, &frame.head.to_marshal(), frame.sections.len());
        again.extend_from_slice(&frame.sections);
        assert_eq!(only_frame(&again).expect(name), Some(frame), "{name}");
    }
}

#[test]
fn frames_are_found_however_the_bytes_come() {
    let vectors = vectors();
    let stream = vectors.iter().flat_map(|vector| vector.bytes.clone()).collect::<Vec<_>>();
    for size in [1, 2, 7, 16, 17, 18, 100, stream.len()] {
        let mut reader = FrameReader::default();
        let mut found = Vec::new();
        for piece in stream.chunks(size) {
            reader.room().extend_from_slice(piece);
            while let Some(frame) = reader.next().expect("a frame") {
                found.push(frame);
            }
        }
        let alone = vectors.iter().map(|vector| only_frame(&vector.bytes).expect(vector.name).expect(vector.name));
        assert!(found.iter().eq(alone.collect::<Vec<_>>().iter()), "in pieces of {size}");
    }
}

#[test]
fn a_frame_that_is_cut_off_is_none_yet() {
    for Vector { name, bytes, .. } in vectors() {
        for end in 0..bytes.len() {
            assert_eq!(only_frame(&bytes[..end]), Ok(None), "{name}, {end} bytes");
        }
    }
}

#[test]
fn frames_that_make_no_sense_are_errors() {
    let good = encode(FrameKind::Done, 1, &Value::None.to_marshal());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert!(matches!(only_frame(&with(16, 99)), Err(BadFrame::Kind(99))));
    assert!(matches!(only_frame(&with(3, 0x80)), Err(BadFrame::Size { .. })));
    assert!(matches!(only_frame(&with(4, 2)), Err(BadFrame::Size { body: 1, head: 2 })));
    assert!(matches!(only_frame(&with(17, b'?')), Err(BadFrame::Head(_))));
}

#[test]
fn room_grows_with_the_frame_that_is_announced_but_not_without_end() {
    let mut reader = FrameReader::default();
    let header = start_of(FrameKind::Done, 1, b"", 300 << 10);
    reader.room().extend_from_slice(&header);
    let room = reader.room();
    assert!(room.capacity() - room.len() >= 300 << 10);
    let mut reader = FrameReader::default();
    reader.room().extend_from_slice(&start_of(FrameKind::Done, 1, b"", 1 << 30));
    assert!(reader.room().capacity() < 4 << 20);
}
