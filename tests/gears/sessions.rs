//! Sessions: their names, what replaces them, and how long they live.

use std::time::Duration;

use crate::common::eventually;
use crate::servers::{ENDLESS, Servers, WAITS, one_record};

/// Begins a script that waits in a session of this name; returns the execution.
#[track_caller]
fn begin(servers: &Servers, session: &str) -> String {
    let reply = servers.reply(&["RG.PYEXECUTE", WAITS, "UNBLOCKING", "ID", session]);
    assert!(reply.starts_with('"'), "{}: {reply}", servers.kind);
    reply.trim_matches('"').to_owned()
}

#[test]
fn a_name_is_taken_while_the_session_lives() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let script = one_record("");
        let id = begin(&servers, "mine");
        assert_eq!(servers.reply(&["RG.PYEXECUTE", &script, "ID", "mine"]), "-Session mine already exists", "{kind}");
        assert_eq!(servers.reply(&["RG.PYEXECUTE", &script, "ID", "Mine"]), "[[\"1\"], []]", "{kind}");
        let other = begin(&servers, "other");
        assert_eq!(
            servers.reply(&["RG.PYEXECUTE", &script, "ID", "mine", "REPLACE_WITH", "other"]),
            "-Can not replace an existing session mine with other",
            "{kind}"
        );
        assert_eq!(servers.reply(&["RG.PYEXECUTE", &script, "ID", "mine", "UPGRADE"]), "[[\"1\"], []]", "{kind}");
        servers.go();
        for id in [&id, &other] {
            assert_eq!(servers.reply(&["RG.GETRESULTSBLOCKING", id]), "[[\"1\"], []]", "{kind}");
            assert_eq!(servers.reply(&["RG.DROPEXECUTION", id]), "+OK", "{kind}");
        }
        eventually(Duration::from_secs(30), "the sessions end", || servers.reply(&["RG.PYDUMPSESSIONS"]) == "[]");
        assert_eq!(servers.reply(&["RG.PYEXECUTE", &script, "ID", "mine"]), "[[\"1\"], []]", "{kind}");
    }
}

#[test]
fn a_session_without_a_name_has_forty_digits() {
    let servers = Servers::single();
    servers.begin(WAITS);
    let list = servers.reply(&["RG.PYDUMPSESSIONS"]);
    let name = list.split('"').nth(3).expect("a name");
    assert!(name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{list}");
    servers.go();
}

#[test]
fn functions_of_a_session_share_their_globals_on_a_shard() {
    for servers in Servers::both() {
        let script = "
n = 0
def first(x):
    global n
    n += 1
    return x
def second(x):
    return n
GB('PythonReader').map(first).collect().accumulate(lambda a, x: x).map(second).run(lambda: (i for i in range(3)), mode='async_local')";
        assert_eq!(servers.result(script), "3", "{}", servers.kind);
        // The next script knows nothing of it.
        assert_eq!(servers.value("'n' in globals()"), "False", "{}", servers.kind);
    }
}

#[test]
fn scripts_leave_nothing_behind_for_others() {
    let servers = Servers::single();
    for _ in 0..5 {
        servers.ok("import builtins, asyncio\nleft = 1\nexecute('SET', 'k', 1)");
        assert_eq!(servers.value("'left' in globals()"), "False");
    }
    assert_eq!(servers.value("__name__"), "'not_main'");
}

#[test]
fn sessions_do_not_wait_for_each_other() {
    for servers in Servers::both() {
        let endless = servers.begin(ENDLESS);
        servers.await_loops();
        for _ in 0..10 {
            assert_eq!(servers.result(&one_record("")), "1", "{}", servers.kind);
        }
        assert_eq!(servers.reply(&["RG.ABORTEXECUTION", &endless]), "+OK", "{}", servers.kind);
    }
}
