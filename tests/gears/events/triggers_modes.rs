//! Functions that clients call by a name, in each mode: what they are given, and how what they return is answered.

use super::{Counts, Shown, settled};
use crate::common::{elements, show};
use crate::servers::{Servers, call};
use crate::table::each;

/// Registers a function of the name `t` with these steps and arguments.
#[track_caller]
fn register(servers: &Servers, steps: &str, arguments: &str) {
    servers.ok(&format!("GB('CommandReader'){steps}.register(trigger='t'{arguments})"));
}

#[test]
fn arguments_and_results_are_safe_for_all_bytes() {
    let servers = Servers::single();
    register(&servers, ".map(lambda x: repr(x))", ", mode='async_local'");
    servers.ok("GB('CommandReader').flatmap(lambda x: [bytes(a) if isinstance(a, bytearray) else a.encode() for a in x[:0:-1]])\
.register(trigger='echo', mode='async_local', convertToStr=False)");
    let words: [&[u8]; 6] = [b"t", b"plain", b"a\0b", b"\x00\xff\r\n", "\u{e9}".as_bytes(), b""];
    let expected = r#"["['t', 'plain', 'a\x00b', bytearray(b'\x00\xff\r\n'), '\xc3\xa9', '']"]"#;
    assert_eq!(servers.reply(&[&[&b"RG.TRIGGER"[..]], &words[..]].concat()), expected);
    let big = vec![0xfe; 3_000_000];
    let reply = call(servers.first(), &[&b"RG.TRIGGER"[..], b"echo", b"a\0b", &big, b"\r\n", b"\xff\0"]);
    let mut frame = b"*4\r\n$3\r\na\0b\r\n$3000000\r\n".to_vec();
    frame.extend_from_slice(&big);
    frame.extend_from_slice(b"\r\n$2\r\n\r\n\r\n$2\r\n\xff\0\r\n");
    assert!(reply == frame, "{} bytes, {} expected", reply.len(), frame.len());
}

/// Values of Python, and what they are in a reply: as they are, and after `str()`.
const CONVERSIONS: &[(&str, &str, &str)] = &[
    ("5", "5", r#""5""#),
    ("-5", "-5", "-5"),
    ("True", "1", r#""True""#),
    ("1.5", r#""1.500000""#, r#""1.5""#),
    ("'text'", r#""text""#, r#""text""#),
    ("''", r#""""#, r#""""#),
    ("'+OK'", "+OK", "+OK"),
    ("'-ERR no'", "-ERR no", "-ERR no"),
    ("'+'", r#""+""#, r#""+""#),
    ("'-'", r#""-""#, r#""-""#),
    ("b'bytes'", r#""bytes""#, r#""b'bytes'""#),
    ("[1, 'a', ['+b', [2.5]]]", r#"[1, "a", [+b, ["2.500000"]]]"#, r#""[1, 'a', ['+b', [2.5]]]""#),
    ("[]", "[]", r#""[]""#),
    ("None", r#""PY RECORD""#, r#""None""#),
    ("{'a': 1}", r#""PY RECORD""#, r#""{'a': 1}""#),
    ("(1, 2)", r#""PY RECORD""#, r#""(1, 2)""#),
    ("{1}", r#""PY RECORD""#, r#""{1}""#),
    ("bytearray(b'x')", r#""PY RECORD""#, r#""bytearray(b'x')""#),
    ("object", r#""PY RECORD""#, r#""<class 'object'>""#),
];

#[test]
fn results_are_converted_as_replies_are() {
    for mode in ["async", "async_local", "sync"] {
        let servers = Servers::single();
        for (name, convert) in [("raw", "False"), ("text", "True")] {
            servers.ok(&format!(
                "GB('CommandReader').map(lambda x: eval(x[1])).register(trigger='{name}', convertToStr={convert}, mode='{mode}')"
            ));
        }
        each(CONVERSIONS.iter().map(|row| (format!("{mode}, {}", row.0), row)), |(value, raw, text)| {
            // An error is none of the whole: it is one of the results.
            assert_eq!(servers.reply(&["RG.TRIGGER", "raw", value]), format!("[{raw}]"));
            assert_eq!(servers.reply(&["RG.TRIGGER", "text", value]), format!("[{text}]"));
        });
        let rows = CONVERSIONS.len() as u64;
        for place in [0, 1] {
            assert_eq!(settled(servers.first(), place), Counts::of_successes(rows), "{mode}");
        }
    }
}

#[test]
fn results_are_none_one_or_many() {
    for mode in ["async", "async_local", "sync"] {
        for servers in Servers::both() {
            register(&servers, ".filter(lambda x: False)", &format!(", mode='{mode}'"));
            servers.ok(&format!(
                "GB('CommandReader').flatmap(lambda x: x[1:]).register(trigger='many', mode='{mode}', collect=False)"
            ));
            assert_eq!(servers.reply(&["RG.TRIGGER", "t"]), "[]", "{mode}, {}", servers.kind);
            let many = r#"["c", "b", "a"]"#;
            assert_eq!(servers.reply(&["RG.TRIGGER", "many", "a", "b", "c"]), many, "{mode}, {}", servers.kind);
            assert_eq!(servers.reply(&["RG.TRIGGER", "many"]), "[]", "{mode}, {}", servers.kind);
        }
    }
}

#[test]
fn an_error_is_the_whole_reply_and_counted() {
    for mode in ["async", "async_local", "sync"] {
        for servers in Servers::both() {
            register(&servers, ".map(lambda x: 1 / int(x[1]))", &format!(", mode='{mode}'"));
            servers.ok(&format!(
                "GB('CommandReader').map(lambda x: flat_error('just so')).register(trigger='flat', mode='{mode}')"
            ));
            let what = format!("{mode}, {}", servers.kind);
            let reply = servers.reply(&["RG.TRIGGER", "t", "0"]);
            assert!(reply.starts_with('-') && reply.contains("ZeroDivisionError"), "{what}: {reply}");
            assert!(Shown::of(servers.first(), 0).field("lastError").contains("ZeroDivisionError"), "{what}");
            assert_eq!(servers.reply(&["RG.TRIGGER", "flat"]), "-just so", "{what}");
            assert_eq!(Shown::of(servers.first(), 1).field("lastError"), "\"just so\"", "{what}");
            let copies = if servers.is_cluster() && mode == "async" { 3 } else { 1 };
            let reply = servers.reply(&["RG.TRIGGER", "t", "2"]);
            assert_eq!(reply, format!("[{}]", vec![r#""0.5""#; copies].join(", ")), "{what}");
            let counts = settled(servers.first(), 0);
            assert_eq!(counts, Counts { triggered: 2, succeeded: 1, failed: 1, aborted: 0 }, "{what}");
            assert_eq!(Shown::of(servers.first(), 0).field("lastError"), "nil", "{what}");
        }
    }
}

#[test]
fn names_are_known_as_they_were_registered() {
    for servers in Servers::both() {
        register(&servers, ".map(lambda x: x[1:])", "");
        let results = vec![r#""['a', 'b']""#; if servers.is_cluster() { 3 } else { 1 }].join(", ");
        assert_eq!(servers.reply(&["RG.TRIGGER", "t", "a", "b"]), format!("[{results}]"), "{}", servers.kind);
        assert_eq!(servers.reply(&["rg.trigger", "t", "a", "b"]), format!("[{results}]"), "{}", servers.kind);
        for unknown in ["T", "t2", "", "nosuch"] {
            let reply = servers.reply(&["RG.TRIGGER", unknown, "a", "b"]);
            assert_eq!(reply, "-ERR subcommand not found", "{}", servers.kind);
        }
        let missing = servers.reply(&["RG.TRIGGER"]).to_lowercase();
        assert_eq!(missing, "-err wrong number of arguments for 'rg.trigger' command", "{}", servers.kind);
        let twice = servers.reply(&["RG.PYEXECUTE", "GB('CommandReader').map(lambda x: x[1:]).register(trigger='t')"]);
        assert!(twice.starts_with("[-") && twice.contains("trigger already registered"), "{}: {twice}", servers.kind);
        let in_one = "GB('CommandReader').register(trigger='u')\nGB('CommandReader').register(trigger='u')";
        let in_one = servers.reply(&["RG.PYEXECUTE", in_one]);
        assert!(in_one.contains("trigger already registered in this session"), "{}: {in_one}", servers.kind);
        assert_eq!(servers.reply(&["RG.TRIGGER", "u"]), "-ERR subcommand not found", "{}", servers.kind);
    }
}

#[test]
fn in_transactions_and_scripts_only_those_run_that_the_server_waits_for() {
    let servers = Servers::single();
    register(&servers, ".map(lambda x: 1)", "");
    servers.ok("GB('CommandReader').map(lambda x: 1).register(trigger='local', mode='async_local')
GB('CommandReader').map(lambda x: execute('INCR', 'n')).register(trigger='sync', mode='sync')");
    let refused = "-ERR can not run a non-sync execution inside a MULTI/LUA (blocking is not allowed) or on loading.";
    let mut wire = servers.first().wire();
    for line in ["MULTI", "RG.TRIGGER t", "RG.TRIGGER local", "RG.TRIGGER sync", "INCR n", "RG.TRIGGER sync"] {
        wire.reply(line);
    }
    assert_eq!(wire.reply("EXEC"), format!(r#"[{refused}, {refused}, ["1"], 2, ["3"]]"#));
    for (name, expected) in [("t", refused), ("local", refused), ("sync", r#"["4"]"#)] {
        let script = "local r = redis.pcall('RG.TRIGGER', KEYS[1]) return r";
        assert_eq!(servers.reply(&["EVAL", script, "1", name]), expected, "{name}");
    }
    // A call that is refused was not begun.
    assert_eq!(Shown::of(servers.first(), 0).counts(), Counts::of_successes(0));
    assert_eq!(settled(servers.first(), 2), Counts::of_successes(3));
}

#[test]
fn each_shard_gets_a_copy_of_a_call_unless_it_is_local() {
    let servers = Servers::cluster();
    for mode in ["async", "async_local", "sync"] {
        servers.ok(&format!("GB('CommandReader').count().register(trigger='{mode}', mode='{mode}')"));
    }
    for node in servers.nodes() {
        let replies = ["async", "async_local", "sync"].map(|mode| node.reply(&format!("RG.TRIGGER {mode} a")));
        assert_eq!(replies, [r#"["3"]"#, r#"["1"]"#, r#"["1"]"#]);
        for place in 0..3 {
            assert_eq!(settled(node, place), Counts::of_successes(1), "only where it was called");
        }
    }
}

#[test]
fn a_call_on_a_key_goes_to_the_shard_of_the_key() {
    let servers = Servers::cluster();
    register(&servers, ".map(lambda x: [x, execute('SET', x[1], x[2]), execute('GET', x[1])])", ", mode='async_local'");
    let cluster = servers.as_cluster();
    let (own, other) = (cluster.key_for(0, "k"), cluster.key_for(1, "k"));
    let expected = format!(r#"["[['t', '{own}', 'v'], 'OK', 'v']"]"#);
    assert_eq!(servers.reply(&["RG.TRIGGERONKEY", "t", &own, "v"]), expected);
    let moved = servers.reply(&["RG.TRIGGERONKEY", "t", &other, "v"]);
    assert!(moved.starts_with("-MOVED "), "{moved}");
    // Where the key is not said, that is the function's matter.
    let refused = servers.reply(&["RG.TRIGGER", "t", &other, "v"]);
    assert!(refused.contains("Operation not permitted"), "{refused}");
    assert_eq!(servers.reply(&["COMMAND", "GETKEYS", "RG.TRIGGERONKEY", "t", &own, "v"]), format!("[\"{own}\"]"));
}

#[test]
fn replies_are_the_same_with_the_newer_protocol_and_executions_are_kept() {
    let servers = Servers::single();
    register(&servers, ".map(lambda x: x[1:])", ", mode='async_local'");
    assert_eq!(servers.first().reply3("RG.TRIGGER t a"), r#"["['a']"]"#);
    let kept = servers.reply(&["RG.DUMPEXECUTIONS"]);
    assert!(
        kept.contains(r#""status", "done", "registered", 1]"#) && kept.matches("executionId").count() == 1,
        "{kept}"
    );
    let reply = call(servers.first(), &["RG.DUMPREGISTRATIONS"]);
    let fields = elements(elements(&reply)[0]).into_iter().map(show).collect::<Vec<_>>();
    assert_eq!((&*fields[2], &*fields[3]), ("\"reader\"", "\"CommandReader\""));
    assert_eq!(Shown::of(servers.first(), 0).field("args"), r#"["trigger", "t", "inorder", 0]"#);
}
