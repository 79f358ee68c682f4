//! Shares of flows as somebody asks for them who is no node: they do nothing that their connection's user may not do, nor
//! what the user may not do on whose account they are said to run, and belong to the connection that began them.

use std::time::Duration;

use crate::common::{Server, Wire, eventually};
use crate::users::{login, make_user};

/// The version that all nodes have.
const VERSION: u8 = 4;

/// The kinds of requests.
const RUN_FLOW: u8 = 1;
const NEXT_REPORT: u8 = 2;
const TAKE_RECORDS: u8 = 3;
const JOBS: u8 = 4;
const GIVE_UP: u8 = 5;

/// Asks for a report within 100 ms; the share goes on, and takes records for all stages.
const NEXT: &[u8] = &[100, 0, 0];

/// The ends of requests.
const DONE: u8 = 0;
const DECLINED: u8 = 1;
const FAILED: u8 = 3;

fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    varint(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

/// Returns a request of this kind, about what has this id.
fn envelope(id: u64, kind: u8, body: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    varint(&mut bytes, id);
    varint(&mut bytes, 10_000);
    varint(&mut bytes, 1 << 30);
    bytes.push(1);
    bytes.push(kind);
    body.iter().for_each(|body| string(&mut bytes, body));
    bytes
}

/// Returns a share: all keys, a command of one word for each unless it is empty, all records as the answer; `caller` is on whose
/// account it runs.
fn share(command: &str, caller: Option<&str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    string(&mut bytes, b"n-1");
    string(&mut bytes, b"n");
    // The reader: keys, all of them, of any type, without values.
    bytes.push(0);
    string(&mut bytes, b"*");
    bytes.extend([0, 0]);
    // One stage; its steps, and what comes after it.
    bytes.push(1);
    if command.is_empty() {
        bytes.push(0);
    } else {
        bytes.extend([1, 0]);
        let words: Vec<&str> = command.split(' ').collect();
        varint(&mut bytes, words.len() as u64);
        words.iter().for_each(|word| string(&mut bytes, word.as_bytes()));
        // The key stands behind the name. It may write.
        bytes.extend([1, 0]);
    }
    bytes.push(0);
    // Records, no failures wanted, replies in RESP3, no code; no slots, no limit.
    bytes.extend([1, 0, 1, 0, 0, 0]);
    match caller {
        None => bytes.push(0),
        Some(name) => {
            bytes.push(1);
            string(&mut bytes, name.as_bytes());
            // The hash of the rules: not the right one.
            bytes.push(7);
        }
    }
    varint(&mut bytes, 1 << 28);
    // The first place, nobody who takes records; no coordinator, and no stages of code.
    bytes.extend([0, 0, 0, 0]);
    bytes
}

/// Asks, and returns the end with what comes behind it.
fn ask(wire: &mut Wire, id: u64, kind: u8, body: Option<&[u8]>) -> (u8, Vec<u8>) {
    let reply = wire.call(&[&b"RMR.INNER"[..], &envelope(id, kind, body)]);
    let head = reply.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    assert!(reply[0] == b'$' && reply[head] == VERSION, "{}", reply.escape_ascii());
    (reply[head + 1], reply[head + 2..reply.len() - 2].to_vec())
}

/// Asks for reports until one has this in it, or nothing runs any more; returns all that was reported.
fn reports(wire: &mut Wire, id: u64) -> String {
    let mut all = Vec::new();
    for _ in 0..100 {
        let (end, report) = ask(wire, id, NEXT_REPORT, Some(NEXT));
        if end != DONE {
            return all.escape_ascii().to_string();
        }
        all.extend(report);
    }
    panic!("a share without an end: {}", all.escape_ascii());
}

fn server() -> Server {
    let server = Server::start();
    server.run::<()>(&["MSET", "app:1", "a", "app:2", "b", "secret:1", "c"]);
    server
}

#[test]
fn a_share_shows_and_does_what_its_user_may() {
    let server = server();
    make_user(std::slice::from_ref(&server), "app", "~app:* resetchannels +rmr.inner +get +scan");
    let mut wire = login(&server, "app");
    assert_eq!(ask(&mut wire, 1, RUN_FLOW, Some(&share("", None))).0, DONE);
    let shown = reports(&mut wire, 1);
    assert!(shown.contains("app:1") && shown.contains("app:2") && !shown.contains("secret"), "{shown}");

    assert_eq!(ask(&mut wire, 2, RUN_FLOW, Some(&share("GET", None))).0, DONE);
    let shown = reports(&mut wire, 2);
    assert!(shown.contains("app:1") && !shown.contains("secret"), "{shown}");

    for command in ["DEL", "UNLINK", "FLUSHALL", "EVAL return(1) 1", "APPEND more"] {
        let (end, _) = ask(&mut wire, 3, RUN_FLOW, Some(&share(command, None)));
        if end == DONE {
            reports(&mut wire, 3);
        }
        assert_eq!(server.reply("MGET app:1 app:2 secret:1"), "[\"a\", \"b\", \"c\"]", "{command}");
    }
}

#[test]
fn a_share_on_the_account_of_nobody_known_does_nothing() {
    let server = server();
    make_user(std::slice::from_ref(&server), "app", "~app:* resetchannels +rmr.inner +get +scan");
    let mut wire = server.wire();
    for (caller, why) in [("nobody", "does not exist"), ("app", "has other rules")] {
        let (end, text) = ask(&mut wire, 1, RUN_FLOW, Some(&share("DEL", Some(caller))));
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(end, FAILED, "{text}");
        assert!(text.contains(&format!("NOPERM the user {caller} {why} on this node")), "{text}");
        assert_eq!(ask(&mut wire, 1, NEXT_REPORT, Some(NEXT)).0, DECLINED);
    }
    assert_eq!(server.run::<usize>(&["DBSIZE"]), 3);
}

#[test]
fn a_share_belongs_to_its_connection_and_ends_with_it() {
    let server = Server::builder().unloadable().start();
    // More than one batch, so that the share waits for somebody to take it.
    let names: Vec<String> = (0..20_000).map(|index| format!("key:{index:040}")).collect();
    for names in names.chunks(1000) {
        let line: Vec<&str> = ["MSET"].into_iter().chain(names.iter().flat_map(|name| [name.as_str(), "v"])).collect();
        server.run::<()>(&line);
    }
    let (mut owner, mut other) = (server.wire(), server.wire());
    assert_eq!(ask(&mut owner, 1, RUN_FLOW, Some(&share("", None))).0, DONE);
    assert_eq!(ask(&mut owner, 1, RUN_FLOW, Some(&share("", None))).0, DECLINED, "an id is somebody's once");
    let (end, why) = ask(&mut other, 1, NEXT_REPORT, Some(NEXT));
    assert!(end == DECLINED && why.ends_with(b"no share of this id runs for this connection"), "{end} {why:?}");
    eventually(Duration::from_secs(10), "a batch is reported", || {
        let (end, report) = ask(&mut owner, 1, NEXT_REPORT, Some(NEXT));
        assert_eq!(end, DONE);
        report.len() > 100_000
    });

    let unloaded = || server.try_run::<()>(&["MODULE", "UNLOAD", "rmr"]).is_ok();
    // The server itself refuses for a moment, until it has let go of the client that waited.
    eventually(Duration::from_secs(5), "the module says why it stays", || {
        assert!(!unloaded(), "a share of somebody else runs here");
        server.log().contains("not unloaded: 1 shares of flows of other nodes run here")
    });
    drop(owner);
    eventually(Duration::from_secs(5), "the share ends with its connection", unloaded);
}

#[test]
fn a_share_can_be_given_up_from_another_connection() {
    let server = server();
    let (mut owner, mut other) = (server.wire(), server.wire());
    assert_eq!(ask(&mut owner, 1, RUN_FLOW, Some(&share("", None))).0, DONE);
    assert_eq!(ask(&mut other, 1, GIVE_UP, None), (DONE, vec![1, 1]));
    assert_eq!(ask(&mut other, 1, GIVE_UP, None), (DONE, vec![1, 0]));
    assert_eq!(ask(&mut owner, 1, NEXT_REPORT, Some(NEXT)).0, DECLINED);
}

#[test]
fn nobody_hands_records_to_a_share_whose_name_he_does_not_know() {
    let server = server();
    let (mut owner, mut other) = (server.wire(), server.wire());
    assert_eq!(ask(&mut owner, 1, RUN_FLOW, Some(&share("", None))).0, DONE);
    let mut records = Vec::new();
    string(&mut records, b"n-2");
    string(&mut records, b"n");
    // Into the second stage, not gathered: one key, one value.
    records.extend([1, 0, 1, 8]);
    string(&mut records, b"secret:1");
    records.extend([1, 0, 0]);
    let (end, why) = ask(&mut other, 2, TAKE_RECORDS, Some(&records));
    assert!(end == DECLINED && why.ends_with(b"no share takes these records here"), "{end} {}", why.escape_ascii());
}

#[test]
fn messages_of_flows_that_are_none_are_declined() {
    let server = server();
    let mut wire = server.wire();
    let whole = share("GET", None);
    for kind in [RUN_FLOW, NEXT_REPORT, TAKE_RECORDS, JOBS] {
        for body in
            [&b""[..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", &[7; 50], &[&whole[..], b"more"].concat()]
        {
            assert_eq!(ask(&mut wire, 1, kind, Some(body)).0, DECLINED, "{kind} {body:?}");
        }
    }
    for end in 0..whole.len() {
        assert_eq!(ask(&mut wire, 1, RUN_FLOW, Some(&whole[..end])).0, DECLINED, "{end}");
    }
    assert_eq!(server.reply("PING"), "+PONG");
}
