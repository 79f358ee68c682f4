//! Replies as the one string that a list, a hash or a stream has room for: single values as they are, everything else as
//! JSON.

use crate::number::double_text;
use crate::reply::Reply;

/// Returns a reply as a string. A null is an empty one, as `SORT STORE` has it.
pub(super) fn reply_text(reply: &Reply) -> Vec<u8> {
    let mut text = Vec::new();
    match reply {
        Reply::Null | Reply::NullArray => {}
        Reply::Boolean(boolean) => text.push(if *boolean { b'1' } else { b'0' }),
        Reply::Error(message) => text.extend_from_slice(message),
        Reply::Attributed { reply, .. } => return reply_text(reply),
        other => match other.bytes() {
            Some(bytes) => text.extend_from_slice(bytes),
            None => push_json(other, &mut text),
        },
    }
    text
}

/// Returns a key and its value as a JSON array.
pub(super) fn pair_text(key: &Reply, value: &Reply) -> Vec<u8> {
    let mut text = vec![b'['];
    push_json(key, &mut text);
    text.push(b',');
    push_json(value, &mut text);
    text.push(b']');
    text
}

fn push_json(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Null | Reply::NullArray => out.extend_from_slice(b"null"),
        Reply::Integer(integer) => out.extend_from_slice(integer.to_string().as_bytes()),
        Reply::Double(double) if double.is_finite() => out.extend_from_slice(double_text(*double).as_bytes()),
        Reply::Double(double) => push_string(double_text(*double).as_bytes(), out),
        Reply::Boolean(boolean) => out.extend_from_slice(if *boolean { b"true" } else { b"false" }),
        Reply::BigNumber(digits) => out.extend_from_slice(digits),
        Reply::Error(text) => push_string(text, out),
        Reply::Array(elements) | Reply::Set(elements) => {
            push_list(b"[]", elements, push_json, out);
        }
        Reply::Map(pairs) => {
            let pair = |(key, value): &(Reply, Reply), out: &mut Vec<u8>| {
                // A name is a string, whatever the key is.
                push_string(&reply_text(key), out);
                out.push(b':');
                push_json(value, out);
            };
            push_list(b"{}", pairs, pair, out);
        }
        Reply::Attributed { reply, .. } => push_json(reply, out),
        Reply::Simple(text) | Reply::Bulk(text) | Reply::Verbatim { text, .. } => push_string(text, out),
    }
}

fn push_list<T>(around: &[u8; 2], elements: &[T], push: impl Fn(&T, &mut Vec<u8>), out: &mut Vec<u8>) {
    out.push(around[0]);
    for (at, element) in elements.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push(element, out);
    }
    out.push(around[1]);
}

/// Writes a string. Bytes that are no text stay as they are: nothing is lost, and what reads text sees where it is.
fn push_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_values_are_as_they_are_and_all_else_is_json() {
        let text = |reply: Reply| String::from_utf8(reply_text(&reply)).unwrap();
        assert_eq!(text("a \"b\"".into()), "a \"b\"");
        assert_eq!(text(Reply::Null), "");
        assert_eq!(
            (text(7.into()), text(Reply::Double(1.5)), text(Reply::Boolean(true))),
            ("7".into(), "1.5".into(), "1".into())
        );
        let nested =
            Reply::Array(vec!["a\"\n\u{1}ü".into(), 1.into(), Reply::Null, Reply::Set(vec![Reply::Boolean(false)])]);
        assert_eq!(text(nested), "[\"a\\\"\\n\\u0001ü\",1,null,[false]]");
        let map = Reply::Map(vec![(1.into(), Reply::Double(f64::INFINITY)), ("k".into(), Reply::Array(vec![]))]);
        assert_eq!(text(map), "{\"1\":\"inf\",\"k\":[]}");
        assert_eq!(pair_text(&"k".into(), &2.into()), b"[\"k\",2]");
    }
}
