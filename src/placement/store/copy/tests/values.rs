//! Values of all types for tests.

use std::time::Duration;

use super::in_a_while;
use crate::command::Command;

/// A key, and what makes its value.
pub(super) struct Value {
    pub(super) key: Vec<u8>,
    pub(super) commands: Vec<Command>,
    /// The server has to know TTLs of fields.
    pub(super) field_ttls: bool,
}

fn value(key: &[u8], lines: &[&str]) -> Value {
    let command = |line: &&str| {
        let mut words = line.split(' ');
        let name = Command::new(words.next().unwrap()).key(key);
        words.fold(name, Command::arg)
    };
    Value { key: key.to_vec(), commands: lines.iter().map(command).collect(), field_ttls: false }
}

/// Makes a command that has the key in its third place.
fn about(name: &str, word: &str, key: &[u8], rest: &str) -> Command {
    rest.split(' ').fold(Command::new(name).arg(word).key(key), Command::arg)
}

/// Small values, with and without TTL, and what is odd about values.
pub(super) fn all() -> Vec<Value> {
    let at = in_a_while(Duration::from_secs(600)).to_string();
    let binary: Vec<u8> = (0..=255).collect();
    let mut values = vec![
        value(b"number", &["SET 12345"]),
        value(b"text", &["SET text"]),
        value(b"no text", &["SET "]),
        value(b"with ttl", &["SET text", &format!("PEXPIREAT {at}")]),
        value(&binary, &["SET binary"]),
        value(b"", &["SET empty-name"]),
        value(b"{tag}\r\nname", &["SET text"]),
        value(b"hyperloglog", &["PFADD a b c d"]),
        value(b"bits", &["SETBIT 77 1"]),
        value(b"list", &["RPUSH a b  c", &format!("PEXPIREAT {at}")]),
        value(b"integers", &["SADD 1 2 3"]),
        value(b"set", &["SADD a b  c"]),
        value(b"many members", &[&members("SADD", 600)]),
        value(b"many elements", &[&members("RPUSH", 600)]),
        value(b"scores", &["ZADD 0.1 a -1e300 b inf c -inf d 3 e 0.30000000000000004 f"]),
        value(b"many scores", &[&format!("ZADD{}", (0..600).map(|n| format!(" {n}.25 m{n}")).collect::<String>())]),
        value(b"places", &["GEOADD 13.361389 38.115556 Palermo"]),
        value(b"hash", &["HSET a 1 b 2  3"]),
        value(b"many fields", &[&format!("HSET{}", (0..600).map(|n| format!(" f{n} v{n}")).collect::<String>())]),
        value(b"stream", &["XADD 5-1 a b", "XADD 5-2 c d e f", "XDEL 5-2"]),
        value(b"empty stream", &["XADD 7-7 a b", "XDEL 7-7"]),
        value(b"trimmed stream", &["XADD 7-7 a b", "XTRIM MAXLEN 0"]),
    ];
    values.push(Value {
        commands: vec![about("XGROUP", "CREATE", b"bare stream", "group 0 MKSTREAM")],
        ..value(b"bare stream", &[])
    });
    values.push(with_groups());
    let mut with_field_ttls = value(b"hash with TTLs", &["HSET a 1 b 2", &format!("HPEXPIREAT {at} FIELDS 1 a")]);
    with_field_ttls.field_ttls = true;
    values.push(with_field_ttls);
    values
}

/// Returns a stream with two groups, whose consumers have not acknowledged entries, some of which were trimmed or deleted since.
fn with_groups() -> Value {
    let key = b"stream with groups";
    let mut commands: Vec<Command> =
        (1..=9).map(|id| Command::new("XADD").key(key).arg(format!("{id}-0")).arg("field").arg(id)).collect();
    let read = |group: &str, consumer: &str, count: u32| {
        let read = Command::new("XREADGROUP").arg("GROUP").arg(group).arg(consumer).arg("COUNT").arg(count);
        read.arg("STREAMS").key(key).arg(">")
    };
    commands.extend([
        about("XGROUP", "CREATE", key, "one 0"),
        about("XGROUP", "CREATE", key, "two 4-0"),
        about("XGROUP", "CREATE", key, "unused $"),
        about("XGROUP", "CREATECONSUMER", key, "two idle"),
        read("one", "first", 3),
        read("one", "second", 6),
        read("two", "first", 2),
        Command::new("XACK").key(key).arg("one").arg("4-0"),
        Command::new("XCLAIM").key(key).arg("one").arg("first").arg(0).arg("7-0").arg("RETRYCOUNT").arg(5),
        Command::new("XDEL").key(key).arg("6-0").arg("9-0"),
        Command::new("XTRIM").key(key).arg("MINID").arg("3-0"),
    ]);
    Value { key: key.to_vec(), commands, field_ttls: false }
}

/// Values of each type that take about so many bytes.
pub(super) fn large(bytes: usize) -> Vec<Value> {
    let count = bytes / 400;
    let filler = "x".repeat(400);
    let one_each = |key: &str, make: &dyn Fn(usize) -> String| {
        let lines: Vec<String> = (0..count).map(make).collect();
        value(key.as_bytes(), &lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    vec![
        value(b"text", &[&format!("SET {}", "x".repeat(bytes))]),
        one_each("list", &|n| format!("RPUSH {filler}{n}")),
        one_each("set", &|n| format!("SADD {filler}{n}")),
        one_each("scores", &|n| format!("ZADD {n}.5 member:{n}{}", if n == 17 { "" } else { &filler })),
        one_each("hash", &|n| format!("HSET field:{n} {filler}{n}")),
        one_each("stream", &|n| format!("XADD {}-1 field {filler}{n}", n + 1)),
    ]
}

/// Returns the questions that show a value as a client sees it. A question about another type than that of the key is answered with an
/// error.
pub(super) fn questions(key: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let lines = [
        "TYPE KEY",
        "GET KEY",
        "LRANGE KEY 0 -1",
        "SORT KEY ALPHA",
        "ZRANGE KEY 0 -1 WITHSCORES",
        "HLEN KEY",
        "PEXPIRETIME KEY",
        "HPEXPIRETIME KEY FIELDS 2 a b",
        "HGET KEY f17",
        "XRANGE KEY - +",
        "XINFO GROUPS KEY",
        "XPENDING KEY one",
        "XPENDING KEY two",
        "XLEN KEY",
        "EXISTS KEY",
    ];
    let words = |line: &str| {
        line.split(' ').map(|word| if word == "KEY" { key.to_vec() } else { word.as_bytes().to_vec() }).collect()
    };
    lines.into_iter().map(words).collect()
}

fn members(command: &str, count: usize) -> String {
    (0..count).fold(command.to_owned(), |line, number| format!("{line} member:{number}"))
}
