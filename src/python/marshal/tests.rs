//! Values there and back, what is no value, and replies as values.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i16>().prop_map(|number| Value::Int(number.into())),
        any::<i32>().prop_map(|number| Value::Float(f64::from(number) / 8.0)),
        any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<String>().prop_map(Value::Text),
        "[a-z]{0,300}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let items = prop::collection::vec(inner.clone(), 0..8);
        prop_oneof![
            items.clone().prop_map(Value::Tuple),
            items.clone().prop_map(Value::List),
            items.prop_map(Value::Set),
            prop::collection::vec((inner.clone(), inner), 0..8).prop_map(Value::Dict),
        ]
    })
}

fn read_slice(bytes: &[u8]) -> Result<Value, BadMarshal> {
    read(&Bytes::copy_from_slice(bytes))
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in any_value()) {
        prop_assert_eq!(read_slice(&value.to_marshal()), Ok(value));
    }

    #[test]
    fn no_bytes_do_harm(bytes in any::<Vec<u8>>()) {
        let _ = read_slice(&bytes);
    }

    #[test]
    fn a_value_that_is_cut_off_is_an_error(value in any_value(), part in 0.0..1.0) {
        let bytes = value.to_marshal();
        let end = (bytes.len() as f64 * part) as usize;
        prop_assert!(read_slice(&bytes[..end]).is_err());
    }

    #[test]
    fn no_reply_does_harm(bytes in any::<Vec<u8>>()) {
        let mut writer = Writer::default();
        if write_reply(&bytes, &mut writer) != WrittenReply::Value {
            prop_assert_eq!(writer.len(), 0);
        }
    }
}

#[test]
fn numbers_stand_as_python_writes_them() {
    let written = |number| Value::Int(number).to_marshal();
    assert_eq!(written(5), b"i\x05\0\0\0");
    assert_eq!(written(-1), b"i\xff\xff\xff\xff");
    assert_eq!(written(1 << 40), b"l\x03\0\0\0\0\0\0\0\x00\x04");
    assert_eq!(written(-(1 << 40)), b"l\xfd\xff\xff\xff\0\0\0\0\x00\x04");
    for number in [i64::MIN, i64::MAX, i64::from(i32::MAX) + 1, i64::from(i32::MIN) - 1, 1 << 45, 1 << 60] {
        assert_eq!(read_slice(&written(number)), Ok(Value::Int(number)));
    }
    assert!(read_slice(b"l\x05\0\0\0\0\0\0\0\0\0\0\0\x08\0").is_err(), "2^63");
}

#[test]
fn nothing_is_believed() {
    for bad in
        [&b"["[..], b"[\xff\xff\xff\xff", b"(\x02\0\0\0N", b"u\x09\0\0\0abc", b"z\x09abc", b"{N", b"NN", b"r\0\0\0\0"]
    {
        assert!(read_slice(bad).is_err(), "{}", bad.escape_ascii());
    }
    let deep = |levels: usize| [b"[\x01\0\0\0".repeat(levels), b"N".to_vec()].concat();
    assert!(read_slice(&deep(60)).is_ok());
    assert!(read_slice(&deep(100_000)).is_err());
}

#[test]
fn half_of_a_surrogate_pair_is_no_reason_to_fail() {
    assert_eq!(read_slice(b"u\x05\0\0\0a\xed\xa0\x80b"), Ok(Value::text("a\u{fffd}\u{fffd}\u{fffd}b")));
}

#[test]
fn names_are_written_once() {
    let mut writer = Writer::default();
    for name in [&b"name"[..], b"value", b"name", b"\xff", b"value"] {
        writer.name(name);
    }
    assert_eq!(writer.written(), b"\xfa\x04name\xfa\x05valuer\0\0\0\0s\x01\0\0\0\xffr\x01\0\0\0");
    writer.reset();
    writer.name(b"name");
    assert!(!writer.has_bytes());
    assert_eq!(writer.into_bytes(), b"\xfa\x04name");
}

fn value_of(reply: &[u8]) -> Value {
    let mut writer = Writer::default();
    assert_eq!(write_reply(reply, &mut writer), WrittenReply::Value, "{}", reply.escape_ascii());
    read_slice(&writer.into_bytes()).expect("a value")
}

#[test]
fn replies_become_values() {
    let text = Value::text;
    assert_eq!(value_of(b"+OK\r\n"), text("OK"));
    assert_eq!(value_of(b"$2\r\n\xc3\xbc\r\n"), text("ü"));
    assert_eq!(value_of(b"$1\r\n\xff\r\n"), Value::Bytes(Bytes::from_static(b"\xff")));
    assert_eq!(value_of(b":-7\r\n"), Value::Int(-7));
    assert_eq!(value_of(b"$-1\r\n"), Value::None);
    assert_eq!(value_of(b"*-1\r\n"), Value::None);
    assert_eq!(value_of(b"_\r\n"), Value::None);
    assert_eq!(value_of(b",1.5\r\n"), text("1.5"));
    assert_eq!(value_of(b"#t\r\n"), Value::Int(1));
    assert_eq!(value_of(b"=6\r\ntxt:ab\r\n"), text("ab"));
    let inner = Value::List(vec![text("a"), text("ERR no"), Value::List(vec![])]);
    assert_eq!(value_of(b"*3\r\n$1\r\na\r\n-ERR no\r\n*0\r\n"), inner);
    assert_eq!(value_of(b"%1\r\n+k\r\n:1\r\n"), Value::List(vec![text("k"), Value::Int(1)]));
    assert_eq!(value_of(b"|1\r\n+k\r\n:1\r\n+v\r\n"), text("v"));
}

#[test]
fn an_error_is_told_apart() {
    let mut writer = Writer::default();
    assert_eq!(write_reply(b"-ERR no\r\n", &mut writer), WrittenReply::Error(b"ERR no"));
    assert_eq!(write_reply(b"!6\r\nERR no\r\n", &mut writer), WrittenReply::Error(b"ERR no"));
    assert_eq!(writer.len(), 0);
}

#[test]
fn a_reply_that_is_not_whole_writes_nothing() {
    let mut writer = Writer::default();
    writer.none();
    for bad in [&b""[..], b"*2\r\n:1\r\n", b"$3\r\nab\r\n", b"+OK\n", b"+OK\r\n+OK\r\n", b"?\r\n", b"*99999999999\r\n"]
    {
        assert_eq!(write_reply(bad, &mut writer), WrittenReply::Broken, "{}", bad.escape_ascii());
    }
    assert_eq!(write_reply(&b"*1\r\n".repeat(100_000), &mut writer), WrittenReply::Broken);
    assert_eq!(writer.into_bytes(), b"N");
}
