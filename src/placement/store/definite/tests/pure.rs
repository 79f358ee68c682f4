//! Tests of how writes are made definite, by their words alone.

use bytes::Bytes;

use super::super::transaction::Others;
use super::super::{CopyRefusal, Definite, WriteCall, definite, definite_transaction};
use crate::command::Command;
use crate::describe::Description;
use crate::reply::Reply;

const NOW: i64 = 1_700_000_000_000;

/// Returns a call whose keys are its first arguments, as many as that.
fn with_call<T>(line: &str, keys: usize, take: impl FnOnce(&WriteCall<'_>) -> T) -> T {
    let command = Command::from_args(line.split(' ')).unwrap();
    let name = String::from_utf8_lossy(command.name()).to_ascii_lowercase();
    let flag = if name.contains('.') { "module" } else { "write" };
    let flags = if name == "get" { Vec::new() } else { vec![flag.to_owned()] };
    let description = Description { name, arity: -1, flags, ..Description::default() };
    let keys: Vec<usize> = (1..=keys).collect();
    take(&WriteCall { command: &command, description: &description, keys: &keys, script: None })
}

fn made(line: &str) -> Definite {
    with_call(line, 1, |call| definite(call, NOW)).unwrap()
}

fn refusal(line: &str) -> CopyRefusal {
    with_call(line, 1, |call| definite(call, NOW)).unwrap_err()
}

/// Returns one word for what is made, or the command in its place.
fn shown(line: &str) -> String {
    match made(line) {
        Definite::AsIs => "as is".into(),
        Definite::Rewritten(rewritten) => rewritten.command.to_string(),
        Definite::First(first) => first.command.map_or("first".into(), |command| format!("first {command}")),
        Definite::CarryOver(_) => "carry over".into(),
    }
}

/// Returns the commands that the other copies, and those that the first, run after this reply.
fn after(line: &str, reply: Reply) -> [String; 2] {
    let Definite::First(first) = made(line) else { panic!("{line}") };
    let after = first.after(&reply);
    [after.others, after.first].map(|commands| commands.iter().map(Command::to_string).collect::<Vec<_>>().join("; "))
}

fn list(words: &[&str]) -> Reply {
    words.iter().map(|word| Reply::from(*word)).collect::<Vec<_>>().into()
}

#[test]
fn what_data_and_arguments_decide_is_definite_as_it_is() {
    for line in
        ["INCR k", "LPOP k", "SADD k a", "ZADD k 1 a", "MSET a 1 b 2", "SET k v", "SET k v NX GET", "HSET h f v"]
    {
        assert_eq!(shown(line), "as is", "{line}");
    }
    for line in
        ["SET k v PXAT 9", "EXPIREAT k 9", "GETEX k", "GETEX k PERSIST", "HSETEX h FIELDS 1 EX 10", "COPY a b DB 0"]
    {
        assert_eq!(shown(line), "as is", "{line}");
    }
}

#[test]
fn a_time_from_now_becomes_one_of_the_clock() {
    for (line, expected) in [
        ("EXPIRE k 10 NX", "pexpireat k 1700000010000 NX"),
        ("PEXPIRE k 10", "pexpireat k 1700000000010"),
        ("SETEX k 10 v", "set k v PXAT 1700000010000"),
        ("PSETEX k 10 v", "set k v PXAT 1700000000010"),
        ("SET k v XX EX 10 GET", "SET k v XX PXAT 1700000010000 GET"),
        ("SET ex ex px 10", "SET ex ex PXAT 1700000000010"),
        ("GETEX k EX 10", "GETEX k PXAT 1700000010000"),
        ("HEXPIRE h 10 NX FIELDS 1 f", "hpexpireat h 1700000010000 NX FIELDS 1 f"),
        ("HPEXPIRE h 10 FIELDS 1 f", "hpexpireat h 1700000000010 FIELDS 1 f"),
        ("HGETEX h EX 10 FIELDS 1 f", "HGETEX h PXAT 1700000010000 FIELDS 1 f"),
        ("HSETEX h FNX FIELDS 1 EX 10 PX 10", "HSETEX h FNX FIELDS 1 EX 10 PXAT 1700000000010"),
        ("MSETEX 1 EX 9 EX 10 NX", "MSETEX 1 EX 9 PXAT 1700000010000 NX"),
        ("RESTORE k 10 x REPLACE FREQ 1", "RESTORE k 1700000000010 x REPLACE FREQ 1 ABSTTL"),
    ] {
        assert_eq!(shown(line), expected, "{line}");
    }
}

#[test]
fn wrong_times_are_left_to_the_server() {
    for line in
        ["EXPIRE k 0", "EXPIRE k -1", "EXPIRE k x", "SETEX k 0 v", "SET k v EX -1", "SET k v EX", "GETEX k PX 0"]
    {
        assert_eq!(shown(line), "as is", "{line}");
    }
    for line in ["RESTORE k 0 x", "RESTORE k -1 x", "RESTORE k 10 x ABSTTL", "MSETEX x k v EX 1", "MSETEX 9 k v EX 1"] {
        assert_eq!(shown(line), "as is", "{line}");
    }
    for line in
        ["EXPIRE k 9223372036854775807", "PEXPIRE k 9223372036854775807", "SET k v EX 1 PX 1", "SET k v LATER 1"]
    {
        assert_eq!(shown(line), "carry over", "{line}");
    }
}

#[test]
fn an_error_names_the_command_that_was_sent() {
    let Definite::Rewritten(rewritten) = made("HEXPIRE h 10 FIELDS 1 f") else { panic!() };
    let error = |name: &str| Reply::Error(format!("ERR invalid expire time in '{name}' command").into());
    assert_eq!(rewritten.reply(error("hpexpireat")), error("hexpire"));
    assert_eq!(rewritten.reply(Reply::Integer(1)), Reply::Integer(1));
}

#[test]
fn what_comes_out_by_chance_goes_to_the_others() {
    assert_eq!(after("SPOP s", "a".into()), ["SREM s a", ""]);
    assert_eq!(after("SPOP s 2", list(&["a", "b"])), ["SREM s a b", ""]);
    assert_eq!(after("SPOP s 2", list(&[])), ["", ""]);
    assert_eq!(after("SPOP s", Reply::Null), ["", ""]);
    assert_eq!(after("SPOP s", Reply::Error("WRONGTYPE".into())), ["", ""]);
    let many: Vec<Reply> = (0..2500).map(|member: i64| member.to_string().into()).collect();
    assert_eq!(after("SPOP s 2500", Reply::Set(many))[0].matches("SREM").count(), 3);
    assert_eq!(after("INCRBYFLOAT k 0.1", "10.6".into()), ["SET k 10.6 KEEPTTL", ""]);
    assert!(after("HINCRBYFLOAT h f 0.1", "10.6".into())[0].ends_with("1 h f 10.6"));
}

#[test]
fn the_first_copy_gives_an_entry_its_id() {
    assert_eq!(after("XADD s NOMKSTREAM * * *", "1-1".into()), ["XADD s NOMKSTREAM 1-1 * *", ""]);
    assert_eq!(after("XADD s NOMKSTREAM * f v", Reply::Null), ["", ""]);
    assert_eq!(shown("XADD s maxlen ~ 5 LIMIT 9 * f v"), "first XADD s maxlen = 5 * f v");
    assert_eq!(after("XADD s maxlen ~ 5 LIMIT 9 * f v", "1-1".into())[0], "XADD s maxlen = 5 1-1 f v");
    assert_eq!(shown("XADD s MINID ~ 5 7-* f v"), "XADD s MINID = 5 7-* f v");
    for line in ["XADD s 1-1 f v", "XADD s MAXLEN 5 ACKED 1-1 f v", "XADD s MAXLEN = 5 1-1 f v", "XADD s MAXLEN"] {
        assert_eq!(shown(line), "as is", "{line}");
    }
    for line in ["XADD s MAXLEN ~ 5 LIMIT x * f v", "XADD s MAXLEN 5 LIMIT -1 * f v"] {
        assert_eq!(shown(line), "as is", "{line}");
    }
    assert_eq!(shown("XADD s LATER 1 * f v"), "carry over");
    assert_eq!(shown("XTRIM s MAXLEN ~ 5 LIMIT 9 KEEPREF"), "XTRIM s MAXLEN = 5 KEEPREF");
    assert_eq!(shown("XTRIM s MINID 5"), "as is");
}

#[test]
fn a_claim_has_one_time() {
    let time = format!("TIME {NOW}");
    assert_eq!(shown("XCLAIM s g c 0 1 2-0 FORCE"), format!("XCLAIM s g c 0 1 2-0 FORCE {time}"));
    assert_eq!(shown("XCLAIM s g c 0 1 IDLE 5 RETRYCOUNT 2"), "XCLAIM s g c 0 1 RETRYCOUNT 2 TIME 1699999999995");
    assert_eq!(shown("XCLAIM s g c 0 1 TIME 5 LASTID 3-3"), "XCLAIM s g c 0 1 LASTID 3-3 TIME 5");
    assert_eq!(shown("XCLAIM s g c 0 1 TIME 9999999999999"), format!("XCLAIM s g c 0 1 {time}"));
    assert_eq!(shown("XCLAIM s g c x 1"), "as is");
    assert_eq!(shown("XCLAIM s g c 0 1 LATER"), "carry over");

    let line = "XCLAIM s g c 10 1 2-0 3-0 JUSTID";
    assert_eq!(shown(line), format!("first {line} {time}"));
    let never = i64::MAX;
    let expected = format!("XCLAIM s g c 0 1-0 3-0 JUSTID {time}; XCLAIM s g c {never} 2-0 JUSTID {time}");
    assert_eq!(after(line, list(&["1-0", "3-0"])), [expected, String::new()]);
}

#[test]
fn what_a_consumer_is_given_has_one_time() {
    let entry = |id: &str, fields: Reply| Reply::Array(vec![id.into(), fields]);
    let entries = || Reply::Array(vec![entry("1-0", list(&["f", "v"])), entry("2-0", Reply::Null)]);
    let line = "XREADGROUP GROUP g c STREAMS s t 0 >";
    let fix = format!("XCLAIM s g c 0 1-0 TIME {NOW} JUSTID");
    let expected = [format!("{line}; {fix}"), fix];
    assert_eq!(after(line, Reply::Map(vec![("s".into(), entries())])), expected);
    assert_eq!(after(line, Reply::Array(vec![Reply::Array(vec!["s".into(), entries()])])), expected);
    assert_eq!(after(line, Reply::NullArray), [line, ""]);
    assert_eq!(shown("XREADGROUP GROUP g c NOACK STREAMS s >"), "as is");
    assert_eq!(shown("XREADGROUP GROUP g c LATER 1 STREAMS s >"), "carry over");

    let never = i64::MAX;
    let last = format!("XAUTOCLAIM s g c {never} {0}-{0} COUNT 1 JUSTID", u64::MAX);
    let reply = Reply::Array(vec!["0-0".into(), entries(), list(&["3-0"])]);
    let others = format!("XCLAIM s g c 0 1-0 2-0 TIME {NOW}; XCLAIM s g c {never} 3-0 TIME {NOW} JUSTID; {last}");
    let first = format!("XCLAIM s g c 0 1-0 2-0 TIME {NOW} JUSTID");
    assert_eq!(after("XAUTOCLAIM s g c 10 0 COUNT 9", reply), [others, first]);
}

#[test]
fn what_is_made_of_other_keys_is_carried_if_machines_may_differ() {
    assert_eq!(shown("SORT k LIMIT 0 9 STORE d"), "as is");
    for line in ["SORT k ALPHA", "SORT k BY w_*", "GEORADIUS k 1 1 1 km"] {
        assert_eq!(shown(line), "first", "{line}");
    }
    let carried = |line: &str| match made(line) {
        Definite::CarryOver(carried) => carried,
        other => panic!("{line}: {other:?}"),
    };
    for line in ["SORT k ALPHA STORE d", "SORT k GET # STORE d", "GEORADIUS k 1 1 1 km STOREDIST d"] {
        assert_eq!(carried(line).keys, [Bytes::from("d")], "{line}");
    }
    assert!(!carried("SORT k ALPHA STORE d").is_needed(&Reply::Error("ERR".into())));
    for line in ["ZUNIONSTORE d 2 a b", "ZUNIONSTORE d 3 a b c AGGREGATE min", "ZINTERSTORE d x a"] {
        assert_eq!(shown(line), "as is", "{line}");
    }
    for line in ["ZUNIONSTORE d 3 a b c", "ZINTERSTORE d 1 a WEIGHTS 2"] {
        assert_eq!(shown(line), "carry over", "{line}");
    }
}

#[test]
fn what_is_not_known_is_carried() {
    for line in ["JSON.SET k", "WHATEVER k", "FCALL f 1 k"] {
        let Definite::CarryOver(carried) = made(line) else { panic!("{line}") };
        assert!(carried.is_needed(&Reply::Error("ERR".into())), "{line}");
        assert_eq!(carried.keys.len(), 1);
    }
    assert_eq!(shown("GET k"), "first");
}

#[test]
fn what_leaves_the_copies_or_waits_is_refused() {
    for line in ["MOVE k 1", "COPY a b DB 1", "MIGRATE h 1 k 0 1", "SWAPDB 0 1"] {
        assert!(!refusal(line).contains("waits"), "{line}");
    }
    for line in ["BLPOP k 0", "BZMPOP 0 1 k MIN", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"] {
        assert!(refusal(line).contains("waits"), "{line}");
    }
}

fn transaction<T>(lines: &[&str], take: impl FnOnce(Result<super::super::DefiniteTransaction, CopyRefusal>) -> T) -> T {
    fn collect<T>(lines: &[&str], calls: &mut Vec<WriteCall<'_>>, take: impl FnOnce(&[WriteCall<'_>]) -> T) -> T {
        match lines {
            [] => take(calls),
            [line, rest @ ..] => with_call(line, usize::from(line.contains(' ')), |call| {
                let mut calls: Vec<WriteCall<'_>> = calls.iter().copied().chain([*call]).collect();
                collect(rest, &mut calls, take)
            }),
        }
    }
    collect(lines, &mut Vec::new(), |calls| take(definite_transaction(calls, NOW)))
}

#[test]
fn a_transaction_is_as_definite_as_its_commands() {
    let text = |commands: &[Command]| commands.iter().map(Command::to_string).collect::<Vec<_>>().join("; ");
    transaction(&["INCR k", "EXPIRE k 10", "BLPOP l 0"], |made| {
        let made = made.unwrap();
        assert!(matches!(made.others(), Others::Same));
        assert_eq!(text(made.commands()), "INCR k; pexpireat k 1700000010000; BLPOP l 0");
        let error = |name: &str| Reply::Error(format!("ERR '{name}'").into());
        assert_eq!(made.replies(vec![1.into(), error("pexpireat")]), [1.into(), error("expire")]);
    });
    transaction(&["INCR k", "XADD s * f v", "GET k", "EXPIRE k 10"], |made| {
        let made = made.unwrap();
        assert!(matches!(made.others(), Others::FromReplies));
        let after = made.after(&[1.into(), "1-1".into(), "1".into(), 1.into()]);
        assert_eq!(text(&after), "INCR k; XADD s 1-1 f v; pexpireat k 1700000010000");
    });
    for lines in [["INCR k", "XREADGROUP GROUP g c STREAMS s >"], ["INCR k", "JSON.SET j"], ["GET a", "FCALL k"]] {
        transaction(&lines, |made| assert!(matches!(made.unwrap().others(), Others::Carried(_)), "{lines:?}"));
    }
    transaction(&["INCR k", "FLUSHALL"], |made| assert!(made.unwrap_err().contains("no key")));
    transaction(&["INCR k", "MOVE k 1"], |made| assert!(made.is_err()));
}
