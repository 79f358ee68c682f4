//! The readers, in batch.

use crate::common::show;
use crate::servers::{Servers, call};
use crate::table::each;

fn filled() -> [Servers; 2] {
    let both = Servers::both();
    for servers in &both {
        for line in [
            "SET string value",
            "SET number 12345",
            "HSET hash field value other ''",
            "RPUSH list a b a",
            "SADD set member",
            "ZADD zset 1 member",
            "XADD stream 5-1 field value",
            "XADD stream 6-1 field other second '2'",
        ] {
            servers.at_owner(line);
        }
    }
    both
}

/// Scripts, and the results.
const KEYS: &[(&str, &[&str])] = &[
    ("GB().run('string')", &["{'key': 'string', 'value': 'value', 'type': 'string', 'event': None}"]),
    ("GB().run('number')", &["{'key': 'number', 'value': '12345', 'type': 'string', 'event': None}"]),
    ("GB().run('hash')", &["{'key': 'hash', 'value': {'field': 'value', 'other': ''}, 'type': 'hash', 'event': None}"]),
    ("GB().run('list')", &["{'key': 'list', 'value': ['a', 'b', 'a'], 'type': 'list', 'event': None}"]),
    ("GB().run('set')", &["{'key': 'set', 'value': None, 'type': 'set', 'event': None}"]),
    ("GB().run('zset')", &["{'key': 'zset', 'value': None, 'type': 'zset', 'event': None}"]),
    ("GB().run('stream')", &["{'key': 'stream', 'value': None, 'type': 'unknown', 'event': None}"]),
    ("GB().run('none')", &[]),
    ("GB().run('str[i]ng')", &["{'key': 'string', 'value': 'value', 'type': 'string', 'event': None}"]),
    ("GB().map(lambda r: r['key']).run('?ist')", &["list"]),
    ("GB().map(lambda r: r['key']).run('*set')", &["set", "zset"]),
    ("GB().run('none', noScan=True)", &["{'key': 'none', 'value': None, 'type': 'empty', 'event': None}"]),
    ("GB().run('string', noScan=True)", &["{'key': 'string', 'value': 'value', 'type': 'string', 'event': None}"]),
    ("GB().run('str*', noScan=True)", &["{'key': 'str*', 'value': None, 'type': 'empty', 'event': None}"]),
    ("GB().run('string', readValue=False)", &["{'key': 'string', 'event': None}"]),
    ("GB().run('string', noScan=True, readValue=False)", &["{'key': 'string', 'event': None}"]),
    ("GB().count().run('s*')", &["3"]),
    ("GB('KeysOnlyReader').run('*set')", &["set", "zset"]),
    ("GB('KeysOnlyReader').run('*set', count=1)", &["set", "zset"]),
    ("GB('KeysOnlyReader').run('set', noScan=True)", &["set"]),
    ("GB('KeysOnlyReader').run('none', noScan=True)", &[]),
    ("GB('KeysOnlyReader').run('s*', noScan=True)", &[]),
    ("GB('KeysOnlyReader').run('nothing', patternGenerator=lambda: ('list', True))", &["list"]),
    ("GB('KeysOnlyReader').run('nothing', patternGenerator=lambda: ('l*', False))", &["list"]),
    ("GB('KeysOnlyReader').count().run()", &["7"]),
    ("GB('KeysOnlyReader', 'l*').run()", &["list"]),
];

#[test]
fn keys() {
    for servers in filled() {
        each(KEYS.iter().map(|row| (format!("{}, {}", servers.kind, row.0), row)), |(script, expected)| {
            assert_eq!(servers.results(script), *expected);
        });
    }
}

/// A value that is not UTF-8 is a bytearray, and nothing is cut.
#[test]
fn bytes() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let exec = |words: &[&[u8]]| {
            let words = [&[b"RMR.EXEC".as_slice()], words].concat();
            let reply = servers.reply(&words);
            assert!(!reply.starts_with('-'), "{kind}: {reply}");
        };
        exec(&[b"SET", b"b:1", b"\xff\xfe"]);
        exec(&[b"SET", b"b:\xff", b"v"]);
        exec(&[b"HSET", b"b:2", b"\xff", b"\xfe", b"f", b"v"]);
        exec(&[b"RPUSH", b"b:3", b"a\x00b", b"\xff"]);
        exec(&[b"SET", "b:é".as_bytes(), "ü".as_bytes()]);
        exec(&[b"SET", b"b:\x00z", b"\x00"]);
        let value =
            |key: &str| servers.result(&format!("GB().map(lambda r: ascii(r['value'])).run({key}, noScan=True)"));
        assert_eq!(value("'b:1'"), "bytearray(b'\\xff\\xfe')", "{kind}");
        assert_eq!(value("'b:2'"), "{b'\\xff': bytearray(b'\\xfe'), 'f': 'v'}", "{kind}");
        assert_eq!(value("'b:3'"), "['a\\x00b', bytearray(b'\\xff')]", "{kind}");
        assert_eq!(value("'b:\\u00e9'"), "'\\xfc'", "{kind}");
        assert_eq!(value("'b:\\x00z'"), "'\\x00'", "{kind}");
        let keys = servers.results("GB().map(lambda r: ascii(r['key'])).run('b:*')");
        assert_eq!(keys, ["'b:1'", "'b:2'", "'b:3'", "'b:\\x00z'", "'b:\\xe9'", "bytearray(b'b:\\xff')"], "{kind}");
    }
}

#[test]
fn readers_in_python() {
    for servers in Servers::both() {
        let shards = servers.nodes().len();
        let kind = servers.kind;
        // It runs on every shard.
        assert_eq!(servers.results("GB('PythonReader').run(lambda: (x for x in [5]))"), vec!["5"; shards], "{kind}");
        let script = "def f():\n  for i in range(3):\n    yield i\nGB('PythonReader').count().run(f)";
        assert_eq!(servers.result(script), (3 * shards).to_string(), "{kind}");
        let script = "GB('PythonReader', lambda: (x for x in 'ab')).run()";
        assert_eq!(servers.results(script).len(), 2 * shards, "{kind}");
        // A value that is no generator is one record.
        for (given, shown) in [("[1, 2]", "[1, 2]"), ("5", "5"), ("None", "None"), ("'ab'", "ab")] {
            let script = format!("GB('PythonReader').run(lambda: {given})");
            assert_eq!(servers.results(&script), vec![shown; shards], "{kind}: {given}");
        }
        let script = "def f():\n  yield 1\n  raise Exception('no more')\nGB('PythonReader').run(f, mode='async_local')";
        let answer = servers.run(script);
        assert_eq!((&*answer.results, answer.errors.len()), (&["1".to_owned()][..], 1), "{kind}: {answer:?}");
        assert!(answer.errors[0].contains("no more"), "{kind}: {answer:?}");
        let script = "GB('PythonReader').run(lambda: (execute('PING') for i in range(2)), mode='async_local')";
        assert_eq!(servers.results(script), ["PONG", "PONG"], "{kind}");
    }
}

#[test]
fn names_of_shards() {
    for servers in Servers::both() {
        let mut names: Vec<String> = match servers.is_cluster() {
            true => servers.nodes().iter().map(|node| node.run(&["CLUSTER", "MYID"])).collect(),
            false => vec!["1".into()],
        };
        names.sort();
        assert_eq!(servers.results("GB('ShardsIDReader').run()"), names, "{}", servers.kind);
    }
}

#[test]
fn streams() {
    for servers in filled() {
        let kind = servers.kind;
        let first = "{'id': '5-1', 'value': {'field': 'value'}, 'key': 'stream'}";
        let second = "{'id': '6-1', 'value': {'field': 'other', 'second': '2'}, 'key': 'stream'}";
        assert_eq!(servers.ordered("GB('StreamReader').run('stream')"), [first, second], "{kind}");
        assert_eq!(servers.ordered("GB('StreamReader').run('stream', fromId='5-1')"), [second], "{kind}");
        assert_eq!(servers.ordered("GB('StreamReader').run('stream', '5-0')"), [first, second], "{kind}");
        assert_eq!(servers.ordered("GB('StreamReader').run('stream', fromId='6-1')"), [""; 0], "{kind}");
        assert_eq!(servers.ordered("GB('StreamReader', 'stream').count().run()"), ["2"], "{kind}");
        assert_eq!(servers.ordered("GB('StreamReader').run('none')"), [""; 0], "{kind}");
        let mut words = vec!["RMR.EXEC".to_owned(), "EVAL".into()];
        words.push("for i = 1, 2500 do redis.call('XADD', KEYS[1], i .. '-0', 'n', i) end return 1".into());
        words.extend(["1".to_owned(), "long".to_owned()]);
        assert_eq!(servers.reply(&words), "1", "{kind}");
        let script = "GB('StreamReader').map(lambda r: int(r['value']['n'])).aggregate(0, lambda a, x: a + x, lambda a, x: a + x).run('long')";
        assert_eq!(servers.result(script), (2500 * 2501 / 2).to_string(), "{kind}");
    }
}

/// Reads database 0 only.
#[test]
fn other_databases_are_not_read() {
    let servers = Servers::single();
    let mut wire = servers.first().wire();
    assert_eq!(wire.reply("SELECT 3"), "+OK");
    assert_eq!(wire.reply("SET there 1"), "+OK");
    assert_eq!(wire.reply_to(&["RG.PYEXECUTE", "GB().run()"]), "[[], []]");
    assert_eq!(servers.at_owner("SET here 1"), "+OK");
    let count = "GB().map(lambda r: (r['key'], execute('EXISTS', r['key']))).run()";
    assert_eq!(wire.reply_to(&["RG.PYEXECUTE", count]), "[[\"('here', 1)\"], []]");
}

/// Keys are read once each, however many there are.
#[test]
fn many_keys() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let put = "import time\nfor i in range(20000 // 4):\n  execute('MSET', *sum([['n:{%s}:%d' % (hashtag(), 4 * i + j), 4 * i + j] for j in range(4)], []))";
        for node in servers.nodes() {
            assert_eq!(show(&call(node, &["RG.PYEXECUTE", put])), "+OK", "{kind}");
        }
        let keys = 20_000 * servers.nodes().len();
        assert_eq!(servers.result("GB().count().run()"), keys.to_string(), "{kind}");
        assert_eq!(servers.result("GB('KeysOnlyReader').count().run('n:*')"), keys.to_string(), "{kind}");
        let sum = "GB().map(lambda r: int(r['value'])).aggregate(0, lambda a, x: a + x, lambda a, x: a + x).run('n:*')";
        assert_eq!(servers.result(sum), (20_000 * 19_999 / 2 * servers.nodes().len()).to_string(), "{kind}");
        assert_eq!(servers.results("GB().run('n:*')").len(), keys, "{kind}");
        assert_eq!(
            servers.result("GB().limit(5).collect().count().run()"),
            (5 * servers.nodes().len()).to_string(),
            "{kind}"
        );
    }
}
