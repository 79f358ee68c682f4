//! The options of `RG.PYEXECUTE`, and which of its replies comes first.

use std::time::Duration;

use crate::common::{Wire, eventually};
use crate::servers::{Servers, one_record};
use crate::table::each;

const NOT_HERE: &str = "Can not run gears inside a multi exec, lua, or when blocking is not allowed";

/// Options, and how the error begins.
const REFUSED: &[(&[&str], &str)] = &[
    (&["FOO"], "-Unknown arguments were given: FOO"),
    (&["UNBLOCKING", "foo", "bar"], "-Unknown arguments were given: foo"),
    (&["REPLACE_WITH"], "-REPLACE_WITH is missing"),
    (&["ID"], "-ID is missing"),
    (&["UNBLOCKING", "DESCRIPTION"], "-DESCRIPTION is missing"),
    (&["ID", "a b"], "-ID must be compose of: ['A'-'Z' | 'a'-'z' | '0' - '9' | '-' | '_']"),
    (&["ID", "é"], "-ID must be compose of: ['A'-'Z' | 'a'-'z' | '0' - '9' | '-' | '_']"),
    (&["ID", "a.b"], "-ID must be compose of: ['A'-'Z' | 'a'-'z' | '0' - '9' | '-' | '_']"),
    (&["REPLACE_WITH", "nobody"], "-Can not replace with nobody, session does not exists."),
];

#[test]
fn options_that_are_refused() {
    for servers in Servers::both() {
        let rows = REFUSED.iter().map(|row| (row.0.join(" "), row));
        each(rows, |(options, error)| {
            let words = [&["RG.PYEXECUTE", "execute('SET', 'ran', 1)"], *options].concat();
            assert_eq!(servers.reply(&words), *error, "{}", servers.kind);
        });
        assert_eq!(servers.at_owner("EXISTS ran"), "0", "{}: nothing has been run", servers.kind);
        let arity = servers.reply(&["RG.PYEXECUTE"]).to_lowercase();
        assert!(arity.starts_with("-err wrong number of arguments for 'rg.pyexecute'"), "{arity}");
    }
}

#[test]
fn options_in_any_order_and_in_any_case() {
    let servers = Servers::single();
    let script = one_record("");
    for options in [
        &["ID", "one-A_1", "DESCRIPTION", "words of it"][..],
        &["description", "words", "id", "two"],
        &["UPGRADE", "ID", "three"],
        &["FORCE_REINSTALL_REQUIREMENTS"],
        &["REQUIREMENTS"],
        &["ID", "four", "REQUIREMENTS"],
    ] {
        assert_eq!(servers.reply(&[&["rg.pyexecute", &script], options].concat()), "[[\"1\"], []]", "{options:?}");
        let unblocking = [&["RG.PYEXECUTE", &script, "unblocking"], options].concat();
        let id = servers.reply(&unblocking);
        assert!(id.starts_with(&format!("\"{}-", "0".repeat(40))), "{options:?}: {id}");
        let id = id.trim_matches('"').to_owned();
        assert_eq!(servers.reply(&["RG.GETRESULTSBLOCKING", &id]), "[[\"1\"], []]", "{options:?}");
        assert_eq!(servers.reply(&["RG.DROPEXECUTION", &id]), "+OK");
    }
}

/// The context comes before the number of arguments.
#[test]
fn where_no_client_may_block() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let mut wire = servers.first().wire();
        for words in ["RG.PYEXECUTE x=1", "RG.PYEXECUTE x=1 FOO"] {
            assert_eq!(wire.reply("MULTI"), "+OK");
            assert_eq!(wire.reply(words), "+QUEUED", "{kind}");
            assert_eq!(wire.reply("EXEC"), format!("[-{NOT_HERE}]"), "{kind}: {words}");
        }
        let lua = wire.reply_to(&["EVAL", "return redis.pcall('RG.PYEXECUTE', 'x = 1')", "0"]);
        assert!(lua.contains(NOT_HERE), "{kind}: {lua}");
    }
}

#[test]
fn what_the_reply_is() {
    for servers in Servers::both() {
        let kind = servers.kind;
        // A script that raises is answered its traceback, whatever it has begun before.
        let error = servers.refusal("GB('ShardsIDReader').run()\nraise Exception('in the end')");
        assert!(error.starts_with("-['Traceback (most recent call last):\\n', "), "{kind}: {error}");
        assert!(error.contains("Exception: in the end"), "{kind}: {error}");
        let error = servers.refusal("def f(:");
        assert!(error.contains("SyntaxError"), "{kind}: {error}");
        let error = servers.refusal("GB().run()\nGB().run()");
        assert!(error.contains("Can not run more then 1 executions in a single script"), "{kind}: {error}");
        assert_eq!(servers.reply(&["RG.PYEXECUTE", "x = 1", "UNBLOCKING"]), "+OK", "{kind}");
        servers.ok("");
        servers.ok("# only words\n");
        assert_eq!(servers.reply(&["RG.DUMPEXECUTIONS"]), "[]", "{kind}: nothing is kept");
    }
}

#[test]
fn only_the_asked_shard_sees_the_script() {
    let servers = Servers::cluster();
    let script = "execute('INCR', 'n:{%s}' % hashtag())\nGB('ShardsIDReader').run()";
    assert_eq!(servers.results(script).len(), 3);
    let keys = servers.reply(&["RMR.MAP", "COUNT", "MATCH", "n:*"]);
    assert_eq!(keys, "1");
}

#[test]
fn a_client_that_goes_away_changes_nothing() {
    for servers in Servers::both() {
        let script = "
import time
def f(x):
    execute('SET', 'begun{%s}' % hashtag(), 1)
    time.sleep(0.5)
    execute('SET', 'ended{%s}' % hashtag(), 1)
    return x
GB('PythonReader').foreach(f).run(lambda: (i for i in [1]), mode='async_local')";
        let mut wire = Wire::connect(servers.first().port());
        wire.send(&["RG.PYEXECUTE", script]);
        let is_there = |name: &str| servers.reply(&["RMR.MAP", "COUNT", "MATCH", name]) == "1";
        eventually(Duration::from_secs(30), "it runs", || is_there("begun*"));
        drop(wire);
        eventually(Duration::from_secs(30), "it ends by itself", || is_there("ended*"));
        eventually(Duration::from_secs(30), "it is forgotten", || servers.reply(&["RG.DUMPEXECUTIONS"]) == "[]");
    }
}
