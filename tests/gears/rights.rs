//! Tests which users may use which commands.

use crate::servers::Servers;
use crate::table::each;

/// Commands that make or control functions, or show the server.
const FOR_ADMINISTRATORS: &[&[&str]] = &[
    &["RG.PYEXECUTE", "execute('SET', 'ran', 1)"],
    &["RG.ABORTEXECUTION", "0-0"],
    &["RG.DROPEXECUTION", "0-0"],
    &["RG.CONFIGSET", "MaxExecutions", "5"],
    &["RG.PYIMPORTREQ", "x"],
    &["RG.REFRESHCLUSTER"],
];

/// The commands that everybody may use: those that return results.
const FOR_ALL: &[&[&str]] = &[&["RG.GETRESULTS", "0-0"], &["RG.GETRESULTSBLOCKING", "0-0"]];

#[test]
fn by_category() {
    for servers in Servers::both() {
        for rules in ["-@admin -@dangerous -@scripting", "-@admin", "-@dangerous", "-@scripting"] {
            let user = format!("ACL SETUSER limited reset on >secret ~* &* +@all {rules}");
            assert_eq!(servers.first().reply(&user), "+OK");
            let mut wire = servers.first().wire();
            assert_eq!(wire.reply("AUTH limited secret"), "+OK");
            for words in FOR_ADMINISTRATORS {
                let reply = wire.reply_to(words);
                assert!(reply.starts_with("-NOPERM"), "{}: {rules}: {words:?}: {reply}", servers.kind);
            }
            for words in FOR_ALL {
                assert_eq!(wire.reply_to(words), "-execution plan does not exist", "{}: {rules}", servers.kind);
            }
        }
        assert_eq!(servers.at_owner("EXISTS ran"), "0", "{}", servers.kind);
        let mut wire = servers.first().wire();
        assert_eq!(wire.reply("ACL SETUSER allowed on >secret ~* &* +@all"), "+OK");
        assert_eq!(wire.reply("AUTH allowed secret"), "+OK");
        assert_eq!(wire.reply_to(&["RG.PYEXECUTE", "x = 1"]), "+OK", "{}", servers.kind);
    }
}

/// From Redis 7.2 on the categories of the commands are set, and can be asked for.
#[test]
fn categories_are_shown_where_modules_can_set_them() {
    let servers = Servers::single();
    if servers.first().redis_version() < (7, 2) {
        return;
    }
    for category in ["admin", "dangerous", "scripting"] {
        let commands: Vec<String> = servers.first().run(&["ACL", "CAT", category]);
        assert!(commands.iter().any(|name| name.eq_ignore_ascii_case("rg.pyexecute")), "{category}: {commands:?}");
        assert!(!commands.iter().any(|name| name.eq_ignore_ascii_case("rg.getresults")), "{category}");
    }
}

#[test]
fn results_are_their_owners() {
    let servers = Servers::single();
    for user in ["ann", "bob"] {
        let rules = if user == "ann" { "+@all" } else { "+@all -@admin -@dangerous -@scripting" };
        assert_eq!(servers.first().reply(&format!("ACL SETUSER {user} on >secret ~* &* {rules}")), "+OK");
    }
    let mut ann = servers.first().wire();
    assert_eq!(ann.reply("AUTH ann secret"), "+OK");
    let id = ann.reply_to(&["RG.PYEXECUTE", "GB('ShardsIDReader').run()", "UNBLOCKING"]);
    let id = id.trim_matches('"').to_owned();
    assert_eq!(ann.reply(&format!("RG.GETRESULTSBLOCKING {id}")), "[[\"1\"], []]");
    let mut bob = servers.first().wire();
    assert_eq!(bob.reply("AUTH bob secret"), "+OK");
    assert_eq!(bob.reply(&format!("RG.GETRESULTS {id}")), "-execution plan does not exist");
    // A user who may do everything sees everything.
    assert_eq!(servers.reply(&["RG.GETRESULTS", &id]), "[[\"1\"], []]");
}

/// Each command is there, and none has keys.
#[test]
fn commands_are_there_and_have_no_keys() {
    let servers = Servers::single();
    let names = [
        "PYEXECUTE",
        "GETRESULTS",
        "GETRESULTSBLOCKING",
        "GETEXECUTION",
        "DUMPEXECUTIONS",
        "DROPEXECUTION",
        "ABORTEXECUTION",
        "CONFIGGET",
        "CONFIGSET",
        "INFOCLUSTER",
        "REFRESHCLUSTER",
        "PYSTATS",
        "PYDUMPREQS",
        "PYDUMPSESSIONS",
        "PYEXPORTREQ",
        "PYIMPORTREQ",
        "PYPROFILE",
        "DUMPPLUGINS",
        "HELLO",
        "NETWORKTEST",
    ];
    each(names.iter().map(|name| (*name, name)), |name| {
        let info = servers.first().reply(&format!("COMMAND INFO RG.{name}"));
        assert!(info.contains("readonly"), "{info}");
        assert!(info.contains(", 0, 0, 0, "), "{info}");
    });
}
