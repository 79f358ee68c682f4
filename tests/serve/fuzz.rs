//! Requests by chance, of clients that know what they do and of others that send anything: the proxy lives, serves everybody
//! who can still be served, and takes no more memory than at first.
//!
//! - `RMR_PROXY_REQUESTS`: how many there are; 50,000 unless it is said.
//! - `RMR_LAW_SEED`: another course of events.

use std::env;
use std::io::ErrorKind;
use std::time::Duration;

use super::served;
use crate::common::{Cluster, Random, RmrProxy, Wire, elements, show};

/// The number of clients at once.
const CLIENTS: usize = 8;

/// The longest that a client that can be served may wait for its replies.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes that the proxy may take at the end more than after the first part.
const MEMORY: u64 = 48 << 20;

fn number_of(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is '{text}'")))
}

/// Commands of the server that read and write, but for those that may wait for ever or reach other servers.
fn names(cluster: &Cluster) -> Vec<String> {
    let mut names = Vec::new();
    for category in ["read", "write"] {
        let listed: Vec<String> = cluster.node(0).run(&["COMMAND", "LIST", "FILTERBY", "ACLCAT", category]);
        names.extend(listed);
    }
    let blocking: Vec<String> = cluster.node(0).run(&["COMMAND", "LIST", "FILTERBY", "ACLCAT", "blocking"]);
    names.retain(|name| !blocking.contains(name) && name != "migrate" && name != "restore-asking");
    names.sort();
    names.dedup();
    assert!(names.len() > 100, "{names:?}");
    names
}

/// A part of a client's life.
enum Sent {
    /// Requests that are answered, whatever the answer is.
    Requests(Vec<u8>, usize),
    /// Bytes after which the connection may be over.
    Broken(Vec<u8>),
}

fn encode(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn line(text: &str) -> Vec<u8> {
    encode(&text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
}

fn word(random: &mut Random) -> Vec<u8> {
    const WORDS: [&str; 26] = [
        "a",
        "b",
        "{t}a",
        "{t}b",
        "list",
        "hash",
        "0",
        "1",
        "-1",
        "3.5",
        "+",
        "-",
        "(1",
        "WITHSCORES",
        "COUNT",
        "MATCH",
        "*",
        "$",
        "GET",
        "EX",
        "NX",
        "STREAMS",
        "LEFT",
        "1-1",
        "",
        "key:7",
    ];
    match random.below(20) {
        0 => (0..random.below(40)).map(|_| random.roll() as u8).collect(),
        1 => vec![b'x'; random.below(60_000)],
        _ => random.pick(&WORDS).as_bytes().to_vec(),
    }
}

/// Returns requests that are understood: commands by chance, and commands about the connection.
fn understood(random: &mut Random, names: &[String]) -> Sent {
    const LINES: [&str; 40] = [
        "PING",
        "PING x",
        "ECHO x",
        "HELLO 2",
        "HELLO 3",
        "HELLO 9",
        "CLIENT ID",
        "CLIENT INFO",
        "CLIENT LIST",
        "CLIENT SETNAME a",
        "CLIENT KILL ID 0",
        "CLIENT NO-EVICT ON",
        "CLIENT TRACKING ON",
        "INFO",
        "INFO keyspace",
        "SELECT 0",
        "SELECT 5",
        "MULTI",
        "EXEC",
        "DISCARD",
        "WATCH {t}a {t}b",
        "WATCH a list",
        "UNWATCH",
        "RESET",
        "AUTH x",
        "AUTH a b",
        "CLUSTER SLOTS",
        "READONLY",
        "MONITOR",
        "DBSIZE",
        "KEYS *",
        "SCAN 0",
        "FLUSHALL",
        "MGET a b list {t}a",
        "DEL a b list hash {t}a",
        "BLPOP list 0.01",
        "XREAD BLOCK 10 STREAMS list $",
        "NOSUCH",
        "ACL WHOAMI",
        "COMMAND COUNT",
    ];
    let mut bytes = Vec::new();
    let count = random.below(20) + 1;
    for _ in 0..count {
        match random.below(10) {
            0..=2 => bytes.extend(line(random.pick(&LINES))),
            3 => bytes.extend_from_slice([b"  get a\r\n", &b"set 'a b' \"\\x00\\n\"\r\n"[..]][random.below(2)]),
            4 => bytes.extend(line(["SUBSCRIBE c", "PUBLISH c x", "UNSUBSCRIBE c", "PSUBSCRIBE c*"][random.below(4)])),
            _ => {
                let name = random.pick(names).into_bytes();
                let words = (0..random.below(6)).map(|_| word(random));
                let words: Vec<Vec<u8>> = std::iter::once(name).chain(words).collect();
                bytes.extend(encode(&words));
            }
        }
    }
    Sent::Requests(bytes, count)
}

/// Returns bytes that are not understood: requests that are spoilt or cut off, and bytes that never were a request.
fn broken(random: &mut Random, names: &[String]) -> Sent {
    let Sent::Requests(mut bytes, _) = understood(random, names) else { unreachable!("they are understood") };
    match random.below(6) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            for _ in 0..random.below(5) + 1 {
                let at = random.below(bytes.len());
                // Not so that a name becomes one of a command that nobody is to send.
                bytes[at] = b"*$\r\n:-0"[random.below(7)];
            }
        }
        2 => bytes.extend((0..random.below(300)).map(|_| (random.roll() as u8) | 0x80)),
        3 => bytes.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\nxxx"),
        4 => bytes.extend_from_slice(b"*1000000\r\n$1\r\n"),
        _ => bytes.extend_from_slice(&[b'x'; 70_000]),
    }
    Sent::Broken(bytes)
}

/// Lives one life of a client; returns how many requests it has sent.
fn live(proxy: &RmrProxy, random: &mut Random, names: &[String]) -> usize {
    let mut wire = Wire::connect_with_timeout(proxy.port(), PATIENCE);
    let mut sent = 0;
    for _ in 0..random.below(4) + 1 {
        let (bytes, is_broken) = match if random.chance(25) { broken(random, names) } else { understood(random, names) }
        {
            Sent::Requests(bytes, count) => {
                sent += count;
                (bytes, false)
            }
            Sent::Broken(bytes) => {
                sent += 10;
                (bytes, true)
            }
        };
        // Some do not stay to hear what they are answered.
        let leaves = random.chance(10);
        let mut writer = wire.second_handle();
        let mark = format!("mark-{}", random.roll());
        let outcome = std::thread::scope(|scope| {
            let end = [line("RESET"), line(&format!("ECHO {mark}"))].concat();
            let whole = if is_broken { bytes } else { [bytes, end].concat() };
            scope.spawn(move || writer.try_send_raw(&whole).is_ok());
            if leaves { Ok(false) } else { read_until(&mut wire, &mark, is_broken) }
        });
        match outcome {
            Ok(true) => {}
            Ok(false) => return sent,
            Err(what) => panic!("{what}"),
        }
    }
    sent
}

/// Reads up to a mark, or to the end of a connection that has been spoilt. Returns whether it is good for more.
fn read_until(wire: &mut Wire, mark: &str, is_broken: bool) -> Result<bool, String> {
    if is_broken {
        // It waits for the rest of a request, or is closed: nothing that is waited for.
        while wire.answers_within(Duration::from_millis(30)) {
            if wire.try_read_frame().is_err() {
                break;
            }
        }
        return Ok(false);
    }
    let end = format!("\"{mark}\"");
    let mut last = String::new();
    loop {
        match wire.try_read_frame() {
            Ok(frame) if frame.len() < 200 && show(&frame) == end => return Ok(true),
            Ok(frame) => {
                if frame[0] == b'*' || frame[0] == b'>' {
                    let _ = elements_of(&frame);
                }
                let is_redirect = frame.starts_with(b"-MOVED ") || frame.starts_with(b"-ASK ");
                if is_redirect {
                    return Err(format!("a redirect: {}", show(&frame)));
                }
                last = String::from_utf8_lossy(&frame[..frame.len().min(200)]).into_owned();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(format!("stuck after {last}")),
            Err(error) => return Err(format!("{error}, after {last}")),
        }
    }
}

/// Returns the elements of a frame, if it is one that has some.
fn elements_of(frame: &[u8]) -> usize {
    if frame.starts_with(b"*-1") { 0 } else { elements(frame).len() }
}

#[test]
fn nothing_that_clients_send_harms_the_proxy() {
    let (requests, seed) = (number_of("RMR_PROXY_REQUESTS", 50_000) as usize, number_of("RMR_LAW_SEED", 1));
    println!("RMR_PROXY_REQUESTS={requests} RMR_LAW_SEED={seed}");
    let (cluster, proxy) = served();
    let names = names(&cluster);
    let part = |first: u64, requests: usize| {
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (proxy, names) = (&proxy, &names);
                scope.spawn(move || {
                    let mut random = Random::new(seed.wrapping_mul(1_000_003) + first + client as u64);
                    let mut sent = 0;
                    while sent < requests / CLIENTS {
                        sent += live(proxy, &mut random, names);
                    }
                });
            }
        });
        proxy.await_clients(1);
        assert!(proxy.alive() && cluster.nodes().iter().all(|node| node.alive()));
        assert!(!proxy.log().contains("panicked"), "a thread of the proxy has panicked");
        proxy.resident_bytes()
    };
    let first = part(0, requests / 5);
    let mut last = first;
    for more in 1..5 {
        last = part(1000 * more, requests / 5);
    }
    println!("resident at first {} kB, in the end {} kB", first >> 10, last >> 10);
    assert!(last < first + MEMORY, "{first} to {last} bytes");
    assert_eq!(proxy.reply("SET k 1"), "+OK");
}
