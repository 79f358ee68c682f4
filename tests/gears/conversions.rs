//! Tests the forms of records: as results for a client, and between shards.

use crate::common::show;
use crate::servers::{Servers, call, records};
use crate::table::each;

/// A record, and its reply byte by byte, where results are not made text.
const AS_REPLIES: &[(&str, &str)] = &[
    ("5", ":5\r\n"),
    ("-5", ":-5\r\n"),
    ("True", ":1\r\n"),
    ("1.5", "$8\r\n1.500000\r\n"),
    ("'text'", "$4\r\ntext\r\n"),
    ("''", "$0\r\n\r\n"),
    ("b'by\\x00\\xfftes'", "$7\r\nby\0\u{fffd}tes\r\n"),
    ("[1, 'a', [2.0]]", "*3\r\n:1\r\n$1\r\na\r\n*1\r\n$8\r\n2.000000\r\n"),
    ("[]", "*0\r\n"),
    ("None", "$9\r\nPY RECORD\r\n"),
    ("{'a': 1}", "$9\r\nPY RECORD\r\n"),
    ("(1, 2)", "$9\r\nPY RECORD\r\n"),
    ("{1}", "$9\r\nPY RECORD\r\n"),
    ("bytearray(b'x')", "$9\r\nPY RECORD\r\n"),
    ("[None]", "*1\r\n$9\r\nPY RECORD\r\n"),
    // In arrays of results these are no status and no error.
    ("'-5'", "$2\r\n-5\r\n"),
    ("'+1'", "$2\r\n+1\r\n"),
    ("['+OK', '-ERR x']", "*2\r\n$3\r\n+OK\r\n$6\r\n-ERR x\r\n"),
];

#[test]
fn as_replies() {
    for servers in Servers::both() {
        each(AS_REPLIES.iter().map(|row| (format!("{}, {}", servers.kind, row.0), row)), |(record, reply)| {
            let script = format!(
                "GB('PythonReader').run(lambda: (x for x in [{record}]), convertToStr=False, mode='async_local')"
            );
            let frame = call(servers.first(), &["RG.PYEXECUTE", &script]);
            assert_eq!(String::from_utf8_lossy(&frame), format!("*2\r\n*1\r\n{reply}*0\r\n"));
        });
    }
}

/// A record, and the text that it is.
const AS_TEXTS: &[(&str, &str)] = &[
    ("17", "17"),
    ("'text'", "text"),
    ("None", "None"),
    ("True", "True"),
    ("1.5", "1.5"),
    ("42.0", "42.0"),
    ("(84, 2)", "(84, 2)"),
    ("b'hello'", "b'hello'"),
    ("bytearray(b'x')", "bytearray(b'x')"),
    ("[1, 'a']", "[1, 'a']"),
    ("{'key': 'Smith', 'value': 3}", "{'key': 'Smith', 'value': 3}"),
    ("-5", "-5"),
    ("'+1'", "+1"),
    ("1 << 100", "1267650600228229401496703205376"),
];

#[test]
fn as_texts() {
    for servers in Servers::both() {
        each(AS_TEXTS.iter().map(|row| (format!("{}, {}", servers.kind, row.0), row)), |(record, text)| {
            assert_eq!(servers.ordered(&records(&format!("[{record}]"), "")), [*text]);
        });
    }
}

/// Records that go from shard to shard, and come as they were.
#[test]
fn between_shards() {
    let servers = Servers::cluster();
    for record in [
        "5",
        "1 << 100",
        "-(1 << 70)",
        "1.5",
        "None",
        "True",
        "'text'",
        "'\\u00e4\\U0001f600'",
        "b'\\xff\\x00'",
        "(1, (2, [3]))",
        "{'a': {1: None}}",
        "{1, 2}",
        "frozenset([1])",
        "'x' * 100000",
        "[[[[[[[[1]]]]]]]]",
        "complex(1, 2)",
    ] {
        for steps in [".collect()", ".repartition(lambda x: 'somewhere')", ".repartition(lambda x: hashtag())"] {
            let script = format!(
                "GB('ShardsIDReader').map(lambda x: {record}){steps}.map(lambda x: x == {record} and type(x) is type({record})).run()"
            );
            assert_eq!(servers.results(&script), ["True"; 3], "{record}{steps}");
        }
    }
}

#[test]
fn objects_of_a_class_stay_where_they_are() {
    for servers in Servers::both() {
        let class = "class C:\n  n = 5\n";
        let local = format!("{class}GB('ShardsIDReader').map(lambda x: C()).map(lambda c: c.n).run()");
        assert_eq!(servers.results(&local), vec!["5"; servers.nodes().len()], "{}", servers.kind);
        let moved =
            servers.run(&format!("{class}GB('ShardsIDReader').map(lambda x: C()).collect().map(lambda c: c.n).run()"));
        if servers.is_cluster() {
            assert!(moved.errors.iter().any(|error| error.contains("Failed serializing record")), "{moved:?}");
            assert!(moved.errors.len() >= 2, "{moved:?}");
        } else {
            assert_eq!((&*moved.results, moved.errors.len()), (&["5".to_owned()][..], 0), "{moved:?}");
        }
    }
}

#[test]
fn the_same_in_resp3() {
    let servers = Servers::single();
    let script = "GB('PythonReader').run(lambda: (x for x in [1, 1.5, 'a', None]), convertToStr=False)";
    let reply = servers.first().wire3().call(&["RG.PYEXECUTE", script]);
    assert_eq!(show(&reply), "[[1, \"1.500000\", \"a\", \"PY RECORD\"], []]");
}
