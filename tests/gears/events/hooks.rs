//! Functions that stand before commands, and commands whose clients wait for functions.

use super::{PATIENCE, Shown, await_reply, settled};
use crate::common::{eventually, show};
use crate::servers::{Servers, call};

#[track_caller]
fn hook(servers: &Servers, expression: &str, arguments: &str) {
    servers.ok(&format!("GB('CommandReader').map(lambda x: {expression}).register({arguments}, convertToStr=False)"));
}

#[track_caller]
fn refusal(servers: &Servers, arguments: &str) -> String {
    let script = format!("GB('CommandReader').register({arguments})");
    show(&call(servers.first(), &["RG.PYEXECUTE", &script]))
}

#[test]
fn a_function_answers_in_the_place_of_a_command_and_may_call_it() {
    for mode in ["sync", "async_local"] {
        let servers = Servers::single();
        let node = servers.first();
        node.reply("MSET a1 1 b1 2");
        hook(&servers, "'hooked ' + str(call_next(*x[1:]))", &format!("hook='GET', keyprefix='a', mode='{mode}'"));
        assert_eq!(node.reply("get a1"), r#""hooked 1""#);
        assert_eq!(node.reply("GET b1"), r#""2""#, "another key");
        assert_eq!(node.reply("STRLEN a1"), "1", "another command");
        let mut wire = node.wire();
        for line in ["MULTI", "GET a1", "GET b1"] {
            wire.reply(line);
        }
        let refused =
            "-ERR can not run a non-sync execution inside a MULTI/LUA (blocking is not allowed) or on loading.";
        let expected = if mode == "sync" { r#""hooked 1""# } else { refused };
        assert_eq!(wire.reply("EXEC"), format!("[{expected}, \"2\"]"), "{mode}");
        let id = Shown::of(node, 0).id;
        assert_eq!(node.reply(&format!("RG.UNREGISTER {id}")), "+OK");
        assert_eq!(node.reply("GET a1"), r#""1""#);
    }
}

#[test]
fn the_newest_stands_first_and_the_last_is_the_command() {
    let servers = Servers::single();
    let node = servers.first();
    node.reply("SET a 1");
    hook(&servers, "'old ' + call_next(*x[1:])", "hook='get', mode='sync'");
    hook(&servers, "'new ' + call_next(*x[1:])", "hook='get', mode='sync'");
    assert_eq!(node.reply("GET a"), r#""new old 1""#);
    hook(&servers, "'newest ' + call_next(*x[1:])", "hook='get', mode='async_local'");
    assert_eq!(node.reply("GET a"), r#""newest new old 1""#);
    assert!(refusal(&servers, "hook='get', mode='sync'").contains("Can not override a none sync registration"));
}

#[test]
fn what_a_function_returns_is_the_reply() {
    let servers = Servers::single();
    let node = servers.first();
    hook(&servers, "'+FINE'", "hook='echo', mode='sync'");
    assert_eq!(node.reply("ECHO x"), "+FINE");
    servers.ok("GB('CommandReader').flatmap(lambda x: [1, 2]).register(hook='dbsize', mode='sync')");
    assert_eq!(node.reply("DBSIZE"), "-Command hook must return exactly one result");
    servers.ok("def f(x):
    raise Exception('not today')
GB('CommandReader').map(f).register(hook='lolwut', mode='sync')");
    let reply = node.reply("LOLWUT");
    assert!(reply.starts_with('-') && reply.contains("not today"), "{reply}");
    hook(&servers, "override_reply('x')", "hook='type', mode='sync'");
    assert!(node.reply("TYPE a").contains("Can not get command ctx"));
    servers.ok("GB('CommandReader').map(lambda x: call_next('a')).register(trigger='t', mode='sync')");
    assert!(node.reply("RG.TRIGGER t").contains("Can not get CommandHook ctx"));
}

#[test]
fn commands_that_cannot_be_hooked_are_refused() {
    let servers = Servers::single();
    for (arguments, expected) in [
        ("hook='nosuch', mode='sync'", "Can not override an unexisting command"),
        ("hook='eval', mode='sync'", "Can not override a command which are not allowed inside a script"),
        ("hook='sort', keyprefix='a', mode='sync'", "Can not override a command with moveable keys by key prefix"),
        (
            "hook='ping', keyprefix='a', mode='sync'",
            "Can not override a command by key prefix with none positive first key",
        ),
    ] {
        let reply = refusal(&servers, arguments);
        assert!(
            reply.starts_with("[-ERR shard-") && reply.ends_with(&format!(": {expected}]")),
            "{arguments}: {reply}"
        );
    }
    assert_eq!(servers.first().reply("RG.DUMPREGISTRATIONS"), "[]");
}

#[test]
fn who_may_run_a_command_may_run_it_when_hooked_and_nobody_else() {
    let servers = Servers::single();
    let node = servers.first();
    node.reply("MSET a1 1 b1 2");
    hook(&servers, "'hooked ' + str(call_next(*x[1:]))", "hook='get', mode='sync'");
    node.reply("ACL SETUSER reader on >p ~a* resetchannels -@all +get");
    node.reply("ACL SETUSER writer on >p ~* resetchannels -@all +set +rg.innerhook +rg.innerhookforall");
    let mut wire = node.wire();
    assert_eq!(wire.reply("AUTH reader p"), "+OK");
    assert_eq!(wire.reply("GET a1"), r#""hooked 1""#);
    assert!(wire.reply("GET b1").starts_with("-NOPERM"));
    assert_eq!(wire.reply("AUTH writer p"), "+OK");
    assert!(wire.reply("GET a1").starts_with("-NOPERM"));
    assert!(wire.reply("RG.INNERHOOK GET a1").starts_with("-NOPERM"));
    // Where a password is needed, no way leads around it.
    node.reply("ACL SETUSER default >secret");
    let mut wire = node.wire();
    for line in ["GET a1", "RG.INNERHOOK GET a1", "RG.INNERHOOKFORALL GET a1"] {
        assert!(wire.reply(line).starts_with("-NOAUTH"), "{line}");
    }
    assert_eq!(wire.reply("AUTH secret"), "+OK");
    assert_eq!(wire.reply("GET a1"), r#""hooked 1""#);
}

#[test]
fn hooked_commands_are_redirected_as_ever_and_replicas_get_what_was_written() {
    let servers = Servers::cluster();
    let cluster = servers.as_cluster();
    hook(&servers, "call_next(x[1], 'by a hook')", "hook='set', keyprefix='k', mode='sync'");
    let key = cluster.key_for(1, "k");
    assert!(cluster.node(0).reply(&format!("SET {key} v")).starts_with("-MOVED"));
    assert_eq!(cluster.node(1).reply(&format!("SET {key} v")), r#""OK""#);
    assert_eq!(cluster.node(1).reply(&format!("GET {key}")), r#""by a hook""#);
}

#[test]
fn a_client_waits_for_the_functions_that_its_command_begins() {
    for mode in ["async_local", "async"] {
        let servers = Servers::single();
        let node = servers.first();
        servers.ok(&format!(
            "def load(r):
    execute('SET', r['key'], 'loaded')
    override_reply('%s of %s' % (execute('GET', r['key']), ' '.join(get_command())))
GB().foreach(load).register(prefix='c:*', eventTypes=['keymiss'], commands=['get'], mode='{mode}')"
        ));
        assert_eq!(node.reply("GET c:1"), r#""loaded of GET c:1""#, "{mode}");
        assert_eq!(node.reply("GET c:1"), r#""loaded""#);
        assert_eq!(node.reply("GET other"), "nil");
        // Other commands cause the event, too, and nobody waits.
        assert_eq!(node.reply("STRLEN c:2"), "0");
        settled(node, 0);
        let shown = Shown::of(node, 0);
        assert!(shown.field("lastError").contains("Can not get command ctx"), "{shown:?}");
        await_reply(node, "GET c:2", r#""loaded""#);
        assert_eq!(
            shown.field("args"),
            r#"["regex", "c:*", "eventTypes", ["keymiss"], "keyTypes", nil, "hookCommands", ["get"]]"#
        );
    }
}

#[test]
fn a_linked_client_gets_the_reply_of_its_command_where_no_function_gives_another() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("def f(r):
    execute('INCR', 'n')
    if r['value'] == 'twice':
        override_reply('one')
        override_reply('two')
GB().foreach(f).register(prefix='k*', commands=['set'], mode='async_local')");
    assert_eq!(node.reply("SET k1 v"), "+OK");
    assert_eq!(node.reply("GET n"), r#""1""#, "it has waited");
    assert_eq!(node.reply("SET k1 twice"), r#""one""#);
    eventually(PATIENCE, "the error is noted", || {
        Shown::of(node, 0).field("lastError").contains("Can only override reply once")
    });
    let mut wire = node.wire();
    for line in ["MULTI", "SET k1 v", "EXEC"] {
        wire.reply(line);
    }
    await_reply(node, "GET n", r#""3""#);
}
