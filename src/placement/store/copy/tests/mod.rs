//! Keys of all types from one real server to another.

mod values;

use std::time::{Duration, SystemTime};

use super::carry::{Carried, carry};
use super::compare::compare;
use super::node::DataNode;
use super::scan::{drop_slots, keys_of};
use super::value::put_together;
use super::{LARGE, UNFINISHED};
use crate::command::Command;
use crate::link::{LinkOptions, Links};
use crate::placement::slot::SlotFunc;
use crate::reply::Reply;
use crate::testing::Server;
use values::{Value, all, large};

/// Two servers, and a conversation with each.
struct Fixture {
    servers: [Server; 2],
    source: DataNode,
    target: [DataNode; 1],
}

impl Fixture {
    async fn start() -> Self {
        let servers = [Server::start(), Server::start()];
        let links = Links::new(LinkOptions::new(), None);
        let source = DataNode::connect(&links, &servers[0].address().to_string()).await.unwrap();
        let target = [DataNode::connect(&links, &servers[1].address().to_string()).await.unwrap()];
        Self { servers, source, target }
    }

    fn call(&self, server: usize, words: &[&[u8]]) -> Reply {
        self.servers[server].call(Command::from_args(words).unwrap()).unwrap()
    }

    /// Has the source hold these values, as far as it knows such. Returns their keys.
    async fn fill(&mut self, mut values: Vec<Value>) -> Vec<Vec<u8>> {
        values.retain(|value| value.field_ttls <= self.source.has_field_ttls);
        for value in &values {
            for commands in value.commands.chunks(500) {
                self.source.call_all(commands).await.unwrap();
            }
        }
        values.into_iter().map(|value| value.key).collect()
    }

    async fn carry(&mut self, keys: &[Vec<u8>]) -> Carried {
        carry(&mut self.source, &mut self.target, keys).await.unwrap()
    }

    /// Returns the differences in words.
    async fn differences(&mut self, keys: &[Vec<u8>]) -> Vec<String> {
        let differences = compare(&mut self.source, &mut self.target[0], keys).await.unwrap();
        differences.iter().map(|found| format!("{} {}", String::from_utf8_lossy(&found.key), found.what)).collect()
    }
}

fn in_a_while(after: Duration) -> i64 {
    (SystemTime::now() + after).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

#[tokio::test]
async fn all_types_arrive_as_they_are() {
    let mut fixture = Fixture::start().await;
    let keys = fixture.fill(all()).await;
    let carried = fixture.carry(&keys).await;
    assert_eq!(carried, Carried { keys: keys.len() as u64, gone: 0, in_pieces: 0 });
    assert_eq!(fixture.differences(&keys).await, [""; 0]);
    for key in &keys {
        let expires: &[&[u8]] = &[b"PEXPIRETIME", key];
        assert_eq!(fixture.call(0, expires), fixture.call(1, expires));
    }

    // The same in pieces, over what is there already.
    for key in &keys {
        assert!(put_together(&mut fixture.source, &mut fixture.target, key).await.unwrap().is_some());
    }
    assert_eq!(fixture.differences(&keys).await, [""; 0]);
    for key in &keys {
        for about in values::questions(key) {
            let words: Vec<&[u8]> = about.iter().map(|word| &word[..]).collect();
            let ask = |server: usize| fixture.servers[server].call(Command::from_args(&words).unwrap()).ok();
            assert_eq!(ask(0), ask(1), "{}", String::from_utf8_lossy(&about.join(&b' ')));
        }
    }
    assert_eq!(fixture.call(0, &[b"DBSIZE"]), fixture.call(1, &[b"DBSIZE"]));
}

#[tokio::test]
async fn large_values_go_in_pieces() {
    let mut fixture = Fixture::start().await;
    let keys = fixture.fill(large(2 * LARGE as usize)).await;
    let carried = fixture.carry(&keys).await;
    assert_eq!((carried.in_pieces, carried.gone), (keys.len() as u64, 0));
    assert_eq!(fixture.differences(&keys).await, [""; 0]);
    let stats = fixture.call(0, &[b"INFO", b"commandstats"]);
    let stats = String::from_utf8_lossy(stats.bytes().unwrap()).into_owned();
    assert!(!stats.contains("cmdstat_dump:"), "{stats}");
    // A copy that is cut off in the middle is taken up again.
    for key in &keys {
        let unfinished = [UNFINISHED, key].concat();
        fixture.call(1, &[b"SET", &unfinished, b"rest"]);
    }
    assert_eq!(fixture.carry(&keys).await, carried);
    assert_eq!(fixture.differences(&keys).await, [""; 0]);
    assert_eq!(fixture.call(1, &[b"DBSIZE"]), Reply::Integer(keys.len() as i64));

    // A change of a single element is seen.
    for (key, change) in [
        ("text", ["SETRANGE", "text", "1500000", "!"].as_slice()),
        ("list", &["LSET", "list", "77", "!"]),
        ("set", &["SADD", "set", "!"]),
        ("scores", &["ZADD", "scores", "0.5", "member:17"]),
        ("hash", &["HSET", "hash", "field:17", "!"]),
        ("stream", &["XADD", "stream", "*", "a", "b"]),
    ] {
        let words: Vec<&[u8]> = change.iter().map(|word| word.as_bytes()).collect();
        fixture.call(1, &words);
        assert_eq!(fixture.differences(&[key.as_bytes().to_vec()]).await, [format!("{key} has another value")]);
    }
}

#[tokio::test]
async fn what_is_gone_at_the_source_goes_at_the_target() {
    let mut fixture = Fixture::start().await;
    for (key, value) in [("gone", "1"), ("other", "1")] {
        fixture.call(1, &[b"SET", key.as_bytes(), value.as_bytes()]);
    }
    let over = in_a_while(Duration::from_millis(30)).to_string();
    fixture.call(0, &[b"SET", b"ends", b"1", b"PXAT", over.as_bytes()]);
    let keys = ["gone", "ends"].map(|key| key.as_bytes().to_vec());
    // The key may or may not have ended by now, and does so at both by itself.
    fixture.carry(&keys).await;
    assert_eq!(fixture.differences(&keys).await, [""; 0]);
    crate::testing::eventually(Duration::from_secs(5), "the key has ended at both", || {
        (0..2).all(|server| fixture.call(server, &[b"EXISTS", b"ends"]) == Reply::Integer(0))
    });
    assert_eq!(fixture.carry(&keys).await, Carried { keys: 0, gone: 2, in_pieces: 0 });
    assert_eq!(fixture.call(1, &[b"EXISTS", b"gone", b"ends", b"other"]), Reply::Integer(1));
    assert_eq!(
        fixture.differences(&["other"].map(|key| key.as_bytes().to_vec())).await,
        ["other is only at the other node"]
    );
}

#[tokio::test]
async fn differences_are_named() {
    let mut fixture = Fixture::start().await;
    let (sooner, later) =
        (in_a_while(Duration::from_secs(90)).to_string(), in_a_while(Duration::from_secs(99)).to_string());
    let set = |server: usize, words: &str| {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        fixture.call(server, &words);
    };
    set(0, "SET same 1");
    set(1, "SET same 1");
    set(0, "SET value 1");
    set(1, "SET value 2");
    set(0, "SET type 1");
    set(1, "RPUSH type 1");
    set(0, &format!("SET ttl 1 PXAT {sooner}"));
    set(1, &format!("SET ttl 1 PXAT {later}"));
    set(0, "SET here 1");
    // The same members, in whatever order each server has them.
    let members: Vec<String> = (0..200).map(|number| format!("member:{number}")).collect();
    set(0, &format!("SADD set {}", members.join(" ")));
    set(1, &format!("SADD set {}", members.iter().rev().cloned().collect::<Vec<_>>().join(" ")));
    let keys = ["same", "value", "type", "ttl", "here", "set", "nowhere", "same"].map(|key| key.as_bytes().to_vec());
    let expected = [
        "here is not at the other node",
        "ttl expires at another time",
        "type is of another type",
        "value has another value",
    ];
    let mut found = fixture.differences(&keys).await;
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn one_pass_finds_the_keys_of_many_slots() {
    let mut fixture = Fixture::start().await;
    let func = SlotFunc::default();
    let names: Vec<Vec<u8>> = (0..5000).map(|number| format!("key:{number}").into_bytes()).collect();
    let set = |name: &Vec<u8>| Command::new("SET").key(name).arg("1");
    fixture.source.call_all(&names.iter().map(set).collect::<Vec<_>>()).await.unwrap();
    let unfinished = [UNFINISHED, b"key:1"].concat();
    fixture.call(0, &[b"SET", b"rmr:mark", b"7"]);
    fixture.call(0, &[b"SET", &unfinished, b"1"]);
    let wanted = |slot: u16| slot % 3 == 1;
    let found = keys_of(&mut fixture.source, func, wanted).await.unwrap();
    let mut expected: Vec<Vec<u8>> = names.iter().filter(|name| wanted(func.slot(name))).cloned().collect();
    let mut keys: Vec<Vec<u8>> = found.values().flatten().map(|name| name.to_vec()).collect();
    assert!(found.iter().all(|(&slot, names)| names.iter().all(|name| func.slot(name) == slot)));
    expected.sort_unstable();
    keys.sort_unstable();
    assert_eq!(keys, expected);

    let with_unfinished = expected.len() as u64 + u64::from(wanted(func.slot(b"key:1")));
    assert_eq!(drop_slots(&mut fixture.source, func, wanted).await.unwrap(), with_unfinished);
    assert!(keys_of(&mut fixture.source, func, wanted).await.unwrap().is_empty());
    let rest = 5000 - expected.len() as i64 + 1 + i64::from(!wanted(func.slot(b"key:1")));
    assert_eq!(fixture.call(0, &[b"DBSIZE"]), Reply::Integer(rest));
}

#[tokio::test]
async fn a_node_that_dies_ends_it_with_its_name() {
    let mut fixture = Fixture::start().await;
    let keys = fixture.fill(all()).await;
    fixture.servers[1].kill();
    let error = carry(&mut fixture.source, &mut fixture.target, &keys).await.unwrap_err().to_string();
    assert!(error.contains(&fixture.servers[1].address().to_string()), "{error}");
    let links = Links::new(LinkOptions::new(), None);
    assert!(DataNode::connect(&links, &fixture.servers[1].address().to_string()).await.is_err());
}
