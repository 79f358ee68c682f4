//! Tests that RESP is read back as it was written, however it is cut into pieces.

use proptest::prelude::*;

use super::*;

/// Writes a reply as a RESP3 server would.
fn encode(reply: &Reply, out: &mut Vec<u8>) {
    let head = |out: &mut Vec<u8>, kind: char, count: usize| out.extend(format!("{kind}{count}\r\n").bytes());
    let line = |out: &mut Vec<u8>, kind: u8, text: &[u8]| {
        out.push(kind);
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    };
    match reply {
        Reply::Null => out.extend_from_slice(b"_\r\n"),
        Reply::NullArray => out.extend_from_slice(b"*-1\r\n"),
        Reply::Integer(integer) => line(out, b':', integer.to_string().as_bytes()),
        Reply::Double(double) => line(out, b',', double.to_string().as_bytes()),
        Reply::Boolean(boolean) => line(out, b'#', if *boolean { b"t" } else { b"f" }),
        Reply::Simple(text) => line(out, b'+', text),
        Reply::Error(text) => line(out, b'-', text),
        Reply::BigNumber(text) => line(out, b'(', text),
        Reply::Bulk(text) => {
            head(out, '$', text.len());
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Reply::Verbatim { format, text } => {
            head(out, '=', text.len() + 4);
            out.extend_from_slice(format);
            out.push(b':');
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Reply::Array(elements) | Reply::Set(elements) => {
            head(out, if matches!(reply, Reply::Set(_)) { '~' } else { '*' }, elements.len());
            elements.iter().for_each(|element| encode(element, out));
        }
        Reply::Map(pairs) => {
            head(out, '%', pairs.len());
            pairs.iter().flat_map(|(key, value)| [key, value]).for_each(|element| encode(element, out));
        }
        Reply::Attributed { attributes, reply } => {
            head(out, '|', attributes.len());
            attributes.iter().flat_map(|(key, value)| [key, value]).for_each(|element| encode(element, out));
            encode(reply, out);
        }
    }
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let line = || {
        bytes().prop_map(|text| text.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect::<Vec<_>>().into())
    };
    let leaf = prop_oneof![
        Just(Reply::Null),
        Just(Reply::NullArray),
        any::<i64>().prop_map(Reply::Integer),
        any::<f64>().prop_filter("NaN is not itself", |double| !double.is_nan()).prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Boolean),
        line().prop_map(Reply::Simple),
        line().prop_map(Reply::Error),
        "-?[0-9]{1,40}".prop_map(|digits| Reply::BigNumber(digits.into())),
        bytes().prop_map(Reply::Bulk),
        bytes().prop_map(|text| Reply::Verbatim { format: *b"txt", text }),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let pairs = || prop::collection::vec((inner.clone(), inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Reply::Array),
            prop::collection::vec(inner.clone(), 0..8).prop_map(Reply::Set),
            pairs().prop_map(Reply::Map),
            (pairs(), inner.clone())
                .prop_map(|(attributes, reply)| Reply::Attributed { attributes, reply: Box::new(reply) }),
        ]
    })
}

/// Feeds the bytes in pieces; gives the replies, and what the scanner said they cost.
fn read(wire: &[u8], pieces: &[usize]) -> Vec<(Reply, usize)> {
    let (mut scanner, mut seen, mut start) = (Scanner::default(), 0, 0);
    let mut replies = Vec::new();
    let mut pieces = pieces.iter().cycle();
    while start < wire.len() {
        while scanner.scan(&wire[..seen]).unwrap() {
            let whole = Bytes::copy_from_slice(&wire[start..scanner.position()]);
            let mut at = 0;
            replies.push((decode(&whole, &mut at).unwrap(), scanner.cost()));
            assert_eq!(at, whole.len());
            start = scanner.position();
            scanner.next_reply();
        }
        seen = (seen + pieces.next().unwrap()).min(wire.len());
    }
    replies
}

proptest! {
    #[test]
    fn replies_survive_any_cutting(
        replies in prop::collection::vec(any_reply(), 1..6),
        pieces in prop::collection::vec(1usize..40, 1..10),
    ) {
        let mut wire = Vec::new();
        replies.iter().for_each(|reply| encode(reply, &mut wire));
        let read: Vec<Reply> = read(&wire, &pieces).into_iter().map(|(reply, _)| reply).collect();
        prop_assert_eq!(read, replies);
    }

    #[test]
    fn random_bytes_are_refused_or_read_but_never_panic(wire in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut scanner = Scanner::default();
        if scanner.scan(&wire) == Ok(true) {
            let _ = decode(&Bytes::copy_from_slice(&wire[..scanner.position()]), &mut 0);
        }
        let _ = decode(&Bytes::from(wire), &mut 0);
    }
}

#[test]
fn resp2_nulls_are_null() {
    let replies = read(b"$-1\r\n*-1\r\n*2\r\n$-1\r\n:1\r\n", &[3]);
    let replies: Vec<Reply> = replies.into_iter().map(|(reply, _)| reply).collect();
    assert_eq!(replies, [Reply::Null, Reply::NullArray, Reply::Array(vec![Reply::Null, Reply::Integer(1)])]);
}

#[test]
fn an_error_line_need_not_be_utf8() {
    assert_eq!(read(b"-ERR caf\xe9\r\n", &[1])[0].0, Reply::Error(Bytes::from_static(b"ERR caf\xe9")));
}

#[test]
fn infinities_and_nan_are_doubles() {
    let replies = read(b",inf\r\n,-inf\r\n,-nan\r\n", &[100]);
    assert_eq!(replies[0].0, Reply::Double(f64::INFINITY));
    assert_eq!(replies[1].0, Reply::Double(f64::NEG_INFINITY));
    assert!(matches!(replies[2].0, Reply::Double(double) if double.is_nan()));
}

#[test]
fn a_reply_that_nests_too_deep_is_an_error_of_its_own() {
    let mut wire = b"*1\r\n".repeat(5000);
    wire.extend_from_slice(b":1\r\n+next\r\n");
    let replies = read(&wire, &[4096]);
    assert!(matches!(&replies[0].0, Reply::Error(text) if text.starts_with(b"ERR the reply nests")));
    assert_eq!(replies[1].0, Reply::Simple(Bytes::from_static(b"next")));
}

#[test]
fn an_announced_string_costs_before_it_has_come() {
    let mut scanner = Scanner::default();
    assert_eq!(scanner.scan(b"*2\r\n:1\r\n$5000000\r\nabc"), Ok(false));
    assert!(scanner.cost() >= 5_000_000 + 3 * ELEMENT_COST);
    assert_eq!(scanner.missing(), 5_000_002 - 3);
}

#[test]
fn what_is_not_resp_is_refused() {
    for wrong in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"$x\r\n", b"*-2\r\n", b"$99999999999999\r\n", b"\r\n", b"+a\n"]
    {
        assert!(Scanner::default().scan(wrong).is_err(), "{}", wrong.escape_ascii());
    }
}
