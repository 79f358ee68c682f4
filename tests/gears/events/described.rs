//! `RG.DUMPREGISTRATIONS`, element by element: clients read it by position.

use super::settled;
use crate::common::{elements, functions_python, show};
use crate::servers::{Servers, call};

/// The first eight fields of `RegistrationData` of every reader.
const COUNTED: [&str; 8] = [
    "mode",
    "numTriggered",
    "numSuccess",
    "numFailures",
    "numAborted",
    "lastRunDurationMS",
    "totalRunDurationMS",
    "avgRunDurationMS",
];

struct Expected {
    script: &'static str,
    reader: &'static str,
    desc: &'static str,
    mode: &'static str,
    /// The fields behind the first eight, each with its value where that does not depend on time.
    rest: &'static [(&'static str, Option<&'static str>)],
}

/// One registration of each kind, in the order in which they are made.
const ALL: &[Expected] = &[
    Expected {
        script: "GB('KeysReader').register()",
        reader: "KeysReader",
        desc: "nil",
        mode: "async",
        rest: &[
            ("lastError", Some("nil")),
            ("args", Some(r#"["regex", "*", "eventTypes", nil, "keyTypes", nil, "hookCommands", nil]"#)),
        ],
    },
    Expected {
        script: "GB('KeysReader', desc='of keys').register('k*', mode='async_local', eventTypes=['set', 'del'], keyTypes=['stream', 'empty'], commands=['set'])",
        reader: "KeysReader",
        desc: "\"of keys\"",
        mode: "async_local",
        rest: &[
            ("lastError", Some("nil")),
            (
                "args",
                Some(
                    r#"["regex", "k*", "eventTypes", ["set", "del"], "keyTypes", ["stream", "empty"], "hookCommands", ["set"]]"#,
                ),
            ),
        ],
    },
    Expected {
        script: "GB('StreamReader').register('s*', batch=7, duration=250, trimStream=False, onFailedPolicy='retry', onFailedRetryInterval=3)",
        reader: "StreamReader",
        desc: "nil",
        mode: "async",
        rest: &[
            ("lastEstimatedLagMS", None),
            ("avgEstimatedLagMS", None),
            ("lastError", Some("nil")),
            (
                "args",
                Some(
                    r#"["batchSize", 7, "durationMS", 250, "stream", "s*", "trimStream", 0, "onFailedPolicy", "retry", "retryInterval", 3]"#,
                ),
            ),
            ("status", Some("\"OK\"")),
        ],
    },
    Expected {
        script: "GB('CommandReader', desc='called').register(trigger='t', mode='sync', inorder=False)",
        reader: "CommandReader",
        desc: "\"called\"",
        mode: "sync",
        rest: &[("lastError", Some("nil")), ("args", Some(r#"["trigger", "t", "inorder", 0]"#))],
    },
    Expected {
        script: "GB('CommandReader').register(trigger='u', inorder=True)",
        reader: "CommandReader",
        desc: "nil",
        mode: "async",
        rest: &[("lastError", Some("nil")), ("args", Some(r#"["trigger", "u", "inorder", 1]"#))],
    },
    Expected {
        script: "GB('CommandReader').map(lambda x: call_next(*x[1:])).register(hook='hget', keyprefix='h', mode='async_local')",
        reader: "CommandReader",
        desc: "nil",
        mode: "async_local",
        rest: &[("lastError", Some("nil")), ("args", Some(r#"["trigger", "hget", "inorder", 0]"#))],
    },
];

#[test]
fn registrations_are_described_element_by_element() {
    for servers in Servers::both() {
        let kind = servers.kind;
        // In one script, or each in its own: the order is that in which they were made.
        for expected in ALL {
            servers.ok(expected.script);
        }
        for node in servers.nodes() {
            let reply = call(node, &["RG.DUMPREGISTRATIONS"]);
            let all = elements(&reply);
            assert_eq!(all.len(), ALL.len(), "{kind}: {}", show(&reply));
            for (element, expected) in all.into_iter().zip(ALL) {
                let what = format!("{kind}: {}: {}", expected.script, show(element));
                let fields = elements(element);
                assert_eq!(fields.len(), 12, "{what}");
                let shown: Vec<String> = fields.iter().map(|field| show(field)).collect();
                let names: Vec<&str> = shown.iter().step_by(2).map(|name| name.trim_matches('"')).collect();
                assert_eq!(names, ["id", "reader", "desc", "RegistrationData", "PD", "ExecutionThreadPool"], "{what}");
                let id = shown[1].trim_matches('"').rsplit_once('-').expect("a number");
                assert!(id.0.len() == 40 && id.1.parse::<u64>().is_ok(), "{what}");
                assert_eq!(shown[3], format!("\"{}\"", expected.reader), "{what}");
                assert_eq!(shown[5], expected.desc, "{what}");
                assert_eq!(shown[11], "\"DefaultPool\"", "{what}");
                check_data(&elements(fields[7]), expected, &what);
            }
        }
    }
}

#[track_caller]
fn check_data(data: &[&[u8]], expected: &Expected, what: &str) {
    let names: Vec<String> = data.iter().step_by(2).map(|name| show(name)).collect();
    let all: Vec<String> =
        COUNTED.iter().chain(expected.rest.iter().map(|(name, _)| name)).map(|name| format!("\"{name}\"")).collect();
    assert_eq!(names, all, "{what}");
    assert_eq!(show(data[1]), format!("\"{}\"", expected.mode), "{what}");
    // Nothing has happened yet: counts and times are integers, means are texts.
    let is_nothing = |name: &str, got: &[u8]| match name.starts_with("avg") {
        true => got == b"$1\r\n0\r\n",
        false => got == b":0\r\n",
    };
    for (at, name) in COUNTED.iter().enumerate().skip(1) {
        assert!(is_nothing(name, data[2 * at + 1]), "{what}: {name}");
    }
    for ((name, value), got) in expected.rest.iter().zip(data[17..].iter().step_by(2)) {
        match value {
            Some(value) => assert_eq!(show(got), *value, "{what}: {name}"),
            None => assert!(is_nothing(name, got), "{what}: {name}"),
        }
    }
}

/// By the position at which clients of RedisGears read them.
#[test]
fn counts_stand_where_clients_look_for_them() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("GB('CommandReader').map(lambda x: 1 / int(x[1])).register(trigger='t', mode='async_local')");
    for (line, is_right) in [("RG.TRIGGER t 1", true), ("RG.TRIGGER t 2", true), ("RG.TRIGGER t 0", false)] {
        assert_eq!(!node.reply(line).starts_with('-'), is_right, "{line}");
    }
    settled(node, 0);
    let reply = call(node, &["RG.DUMPREGISTRATIONS"]);
    let data: Vec<String> = elements(elements(elements(&reply)[0])[7]).into_iter().map(show).collect();
    assert_eq!([3, 5, 7, 9].map(|at| data[at].clone()), ["3", "2", "1", "0"]);
    let [last, total, mean] =
        [11, 13, 15].map(|at| data[at].parse::<f64>().or_else(|_| data[at].trim_matches('"').parse()));
    assert!(last.is_ok() && total.is_ok() && mean.is_ok(), "{data:?}");
    assert!(data[17].contains("ZeroDivisionError"), "{data:?}");
    assert_eq!(node.reply("RG.CLEARREGISTRATIONSSTATS"), "+OK");
    let reply = call(node, &["RG.DUMPREGISTRATIONS"]);
    let data: Vec<String> = elements(elements(elements(&reply)[0])[7]).into_iter().map(show).collect();
    assert_eq!([3, 5, 7, 9, 11, 13].map(|at| data[at].clone()), ["0", "0", "0", "0", "0", "0"]);
}

/// `PD` is a literal of Python about the session, which redgrease evaluates.
#[test]
fn the_session_is_a_literal_of_python() {
    let servers = Servers::single();
    let script = "GB('CommandReader').register(trigger='t')\nGB('CommandReader').register(trigger='u')";
    assert_eq!(servers.reply(&["RG.PYEXECUTE", script, "ID", "name_1", "DESCRIPTION", "a \"name\""]), "+OK");
    let reply = call(servers.first(), &["RG.DUMPREGISTRATIONS"]);
    let all = elements(&reply);
    let text = |frame: &[u8]| {
        let start = frame.iter().position(|byte| *byte == b'\n').expect("a length") + 1;
        String::from_utf8(frame[start..frame.len() - 2].to_vec()).expect("text")
    };
    let ids: Vec<String> = all.iter().map(|element| text(elements(element)[1])).collect();
    for element in &all {
        let pd = text(elements(element)[9]);
        let program = "import ast, sys\nd = ast.literal_eval(sys.argv[1])\nprint(d['sessionName'], d['sessionDescription'], d['registrationsList'], d['dead'], d['depsList'])";
        let output =
            std::process::Command::new(functions_python()).args(["-c", program, &pd]).output().expect("a Python");
        let shown = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
        assert_eq!(shown, format!("name_1 a \"name\" [{list}] False []"), "{pd}");
    }
}
