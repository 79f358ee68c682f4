//! Tests the rights of functions: those of the user who has called, on every shard.

use crate::common::Wire;
use crate::servers::{Servers, one_record, run_at};

/// Servers with keys `a:*` and `b:*`, and a user who may use the former only.
fn servers() -> [Servers; 2] {
    let both = Servers::both();
    for servers in &both {
        for number in 0..30 {
            servers.at_owner(&format!("SET a:{number} 1"));
            servers.at_owner(&format!("SET b:{number} 1"));
        }
        for node in servers.nodes() {
            assert_eq!(node.reply("ACL SETUSER app on >secret ~a:* &* +@all -flushall"), "+OK");
        }
    }
    both
}

fn app(servers: &Servers) -> Wire {
    let mut wire = servers.first().wire();
    assert_eq!(wire.reply("AUTH app secret"), "+OK");
    wire
}

const TRIES: &str = "
def tried(*words):
    try:
        return execute(*words)
    except Exception as e:
        return str(e)
";

#[test]
fn commands_have_the_rights_of_the_caller_everywhere() {
    for servers in servers() {
        let kind = servers.kind;
        let mut app = app(&servers);
        let mut tried = |words: &str| {
            app.reply_to(&[
                "RG.PYEXECUTE",
                &format!("{TRIES}\nGB('ShardsIDReader').map(lambda x: tried({words})).distinct().run()"),
            ])
        };
        let refused = tried("'SET', 'b:{%s}' % hashtag(), 1");
        assert!(
            refused.starts_with("[[\"") && refused.contains("NOPERM")
                || refused.contains("no permission")
                || refused.contains("permissions"),
            "{kind}: {refused}"
        );
        assert_eq!(tried("'SET', 'a:{%s}' % hashtag(), 1"), "[[\"OK\"], []]", "{kind}");
        let command = tried("'FLUSHALL'");
        assert!(command.contains("permission") || command.contains("NOPERM"), "{kind}: {command}");
        // At the top level, too.
        let top = app.reply_to(&["RG.PYEXECUTE", "execute('SET', 'b:{%s}' % hashtag(), 1)"]);
        assert!(
            top.starts_with("-['Traceback") && (top.contains("NOPERM") || top.contains("permission")),
            "{kind}: {top}"
        );
        assert_eq!(servers.result("GB().count().run('b:*')"), "30", "{kind}");
    }
}

#[test]
fn readers_show_what_the_caller_may_read() {
    for servers in servers() {
        let mut app = app(&servers);
        for (script, count) in [
            ("GB().count().run()", "30"),
            ("GB('KeysOnlyReader').count().run()", "30"),
            ("GB().map(lambda r: r['value']).count().run('a:*')", "30"),
            ("GB().map(lambda r: r['value']).run('b:*')", ""),
        ] {
            let expected = if count.is_empty() { "[[], []]".to_owned() } else { format!("[[\"{count}\"], []]") };
            assert_eq!(app.reply_to(&["RG.PYEXECUTE", script]), expected, "{}: {script}", servers.kind);
        }
        assert_eq!(servers.result("GB().count().run()"), "60", "{}", servers.kind);
    }
}

/// The old way: functions may do what the server may.
#[test]
fn rights_of_the_server_on_demand() {
    for servers in servers() {
        for node in servers.nodes() {
            node.run::<()>(&["CONFIG", "SET", "rmr.gears-rights", "server"]);
        }
        let mut app = app(&servers);
        let script = "GB('ShardsIDReader').map(lambda x: execute('SET', 'b:{%s}' % hashtag(), 1)).distinct().run()";
        assert_eq!(app.reply_to(&["RG.PYEXECUTE", script]), "[[\"OK\"], []]", "{}", servers.kind);
    }
}

/// Sessions of different users share no process.
#[test]
fn users_have_processes_of_their_own() {
    let servers = Servers::single();
    assert_eq!(servers.first().reply("ACL SETUSER app on >secret ~a:* &* +@all"), "+OK");
    let script = format!("import os\n{}", one_record(".map(lambda x: os.getpid())"));
    let own = run_at(servers.first(), &script).results;
    let theirs = app(&servers).reply_to(&["RG.PYEXECUTE", &script]);
    assert!(!theirs.contains(&own[0]), "{theirs} and {own:?}");
}
