//! Functions that clients call by a name: arguments, replies, order, and what becomes of calls that cannot be.

use super::{PATIENCE, Shown, settled};
use crate::common::{elements, eventually, show};
use crate::servers::{Servers, call};

#[test]
fn arguments_and_replies_are_binary_safe_and_have_their_types() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("GB('CommandReader').register(trigger='echo', mode='async_local', convertToStr=False)
GB('CommandReader').flatmap(lambda x: [1, 'text', b'raw', 2.5, ['a', [1]], '+status', '', '-', None][::-1]).register(trigger='types', mode='async_local', convertToStr=False)
GB('CommandReader').map(lambda x: '-ERR made by hand').register(trigger='error', mode='async_local', convertToStr=False)
GB('CommandReader').map(lambda x: x[1]).register(trigger='str', mode='async_local')
GB('CommandReader').filter(lambda x: False).register(trigger='none', mode='async_local')");
    // A bytearray, as what is no text is in scripts, is no reply.
    let reply = call(node, &[&b"RG.TRIGGER"[..], b"echo", b"a\0b", b"\xff", b""]);
    assert_eq!(show(elements(&reply)[0]), r#"["echo", "a\x00b", "PY RECORD", ""]"#);
    // A flatmap gives the last one first.
    let types = show(&call(node, &["RG.TRIGGER", "types"]));
    assert_eq!(types, r#"[1, "text", "raw", "2.500000", ["a", [1]], +status, "", "-", "PY RECORD"]"#);
    assert_eq!(node.reply("RG.TRIGGER error"), "[-ERR made by hand]");
    assert_eq!(node.reply("RG.TRIGGER str 5"), r#"["5"]"#);
    assert_eq!(node.reply("RG.TRIGGER none"), "[]");
    assert_eq!(node.reply("RG.TRIGGER nobody"), "-ERR subcommand not found");
    assert_eq!(node.reply("RG.TRIGGER Echo"), "-ERR subcommand not found", "names have a case");
    assert!(node.reply("RG.TRIGGER").starts_with("-ERR wrong number of arguments"));
}

#[test]
fn an_error_is_the_reply_and_counted() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("def f(x):
    raise Exception('it is bad')
GB('CommandReader').map(f).register(trigger='bad', mode='async_local')");
    let reply = node.reply("RG.TRIGGER bad");
    assert!(reply.starts_with('-') && reply.contains("it is bad"), "{reply}");
    let shown = Shown::of(node, 0);
    assert_eq!((shown.number("numTriggered"), shown.number("numFailures")), (1, 1));
    assert!(shown.field("lastError").contains("it is bad"), "{shown:?}");
    assert_eq!(shown.field("args"), r#"["trigger", "bad", "inorder", 0]"#);
}

#[test]
fn in_a_transaction_only_those_run_that_the_server_waits_for() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("GB('CommandReader').map(lambda x: 'later').register(trigger='later', mode='async_local')
GB('CommandReader').map(lambda x: execute('INCR', 'n')).register(trigger='now', mode='sync', convertToStr=False)");
    let mut wire = node.wire();
    for line in ["MULTI", "RG.TRIGGER now", "INCR n", "RG.TRIGGER now", "RG.TRIGGER later"] {
        wire.reply(line);
    }
    let refused = "-ERR can not run a non-sync execution inside a MULTI/LUA (blocking is not allowed) or on loading.";
    assert_eq!(wire.reply("EXEC"), format!("[[1], 2, [3], {refused}]"));
    let script = "return redis.call('RG.TRIGGER', 'now')";
    assert_eq!(node.wire().reply_to(&["EVAL", script, "0"]), "[4]");
}

#[test]
fn calls_in_order_end_one_after_the_other() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("import asyncio
async def f(x):
    execute('RPUSH', 'log', 'begin ' + x[1])
    await asyncio.sleep(0.05)
    execute('RPUSH', 'log', 'end ' + x[1])
    return x[1]
GB('CommandReader').map(f).register(trigger='t', mode='async_local', inorder=True)");
    let mut wires: Vec<_> = (0..4).map(|_| node.wire()).collect();
    for (number, wire) in wires.iter_mut().enumerate() {
        wire.send(&["RG.TRIGGER", "t", &number.to_string()]);
        eventually(PATIENCE, "the call is counted", || Shown::of(node, 0).number("numTriggered") == number as u64 + 1);
    }
    for (number, wire) in wires.iter_mut().enumerate() {
        assert_eq!(show(&wire.read_frame()), format!("[\"{number}\"]"));
    }
    let expected: Vec<String> =
        (0..4).flat_map(|number| [format!("begin {number}"), format!("end {number}")]).collect();
    assert_eq!(super::list(node, "log"), expected);
}

#[test]
fn a_call_waits_for_a_future_that_another_call_continues() {
    let servers = Servers::single();
    let node = servers.first();
    for mode in ["async_local", "sync"] {
        servers.ok(&format!(
            "waiting = []
def wait(x):
    f = gearsFuture()
    waiting.append(f)
    return f
GB('CommandReader').map(wait).register(trigger='wait:{mode}', mode='{mode}')
GB('CommandReader').map(lambda x: [f.continueRun(x[1]) for f in waiting] and len(waiting)).register(trigger='go:{mode}', mode='{mode}')"
        ));
        let mut wire = node.wire();
        wire.send(&["RG.TRIGGER", &format!("wait:{mode}")]);
        let mut said = String::new();
        eventually(PATIENCE, "somebody waits", || {
            said = node.reply(&format!("RG.TRIGGER go:{mode} done"));
            said != r#"["[]"]"#
        });
        assert_eq!(said, r#"["1"]"#, "{mode}");
        assert_eq!(show(&wire.read_frame()), r#"["done"]"#, "{mode}");
    }
}

#[test]
fn every_shard_gets_a_copy_of_a_call_in_the_mode_async() {
    let servers = Servers::cluster();
    servers.ok("GB('CommandReader').map(lambda x: x[1]).register(trigger='all', mode='async')
GB('CommandReader').count().register(trigger='count', mode='async', convertToStr=False)
GB('CommandReader').map(lambda x: x[1]).register(trigger='one', mode='async_local')
GB('CommandReader').map(lambda x: hashtag()).register(trigger='where', mode='sync')");
    let mut tags = Vec::new();
    for node in servers.nodes() {
        assert_eq!(node.reply("RG.TRIGGER all x"), r#"["x", "x", "x"]"#);
        assert_eq!(node.reply("RG.TRIGGER count"), "[3]");
        assert_eq!(node.reply("RG.TRIGGER one x"), r#"["x"]"#);
        tags.push(node.reply("RG.TRIGGER where"));
        // It is counted where it was called.
        assert_eq!(settled(node, 0).triggered, 1);
    }
    tags.dedup();
    assert_eq!(tags.len(), 3);
}

#[test]
fn a_call_with_a_key_goes_where_the_key_is() {
    let servers = Servers::cluster();
    let cluster = servers.as_cluster();
    servers.ok("GB('CommandReader').map(lambda x: execute('SET', x[1], x[2])).register(trigger='set', mode='async_local', convertToStr=False)");
    let key = cluster.key_for(1, "k");
    assert!(cluster.node(0).reply(&format!("RG.TRIGGERONKEY set {key} v")).starts_with("-MOVED"));
    assert_eq!(cluster.node(1).reply(&format!("RG.TRIGGERONKEY set {key} v")), r#"["OK"]"#);
    assert_eq!(cluster.node(1).reply(&format!("GET {key}")), r#""v""#);
}

#[test]
fn a_user_who_is_gone_has_no_functions_that_run() {
    let servers = Servers::single();
    let node = servers.first();
    assert_eq!(node.reply("ACL SETUSER maker on nopass ~* &* +@all"), "+OK");
    let mut wire = node.wire();
    assert_eq!(wire.reply("AUTH maker x"), "+OK");
    let script = "GB('CommandReader').map(lambda x: execute('INCR', 'n')).register(trigger='t', mode='async_local')
GB('CommandReader').map(lambda x: execute('INCR', 'n')).register(trigger='s', mode='sync')
GB().foreach(lambda x: execute('INCR', 'n')).register(prefix='k*', mode='async_local')";
    assert_eq!(wire.reply_to(&["RG.PYEXECUTE", script]), "+OK");
    assert_eq!([node.reply("RG.TRIGGER t"), node.reply("RG.TRIGGER s")], [r#"["1"]"#, r#"["2"]"#]);
    assert_eq!(node.reply("ACL SETUSER maker -incr"), "+OK");
    assert!(node.reply("RG.TRIGGER t").contains("NOPERM"));
    assert_eq!(node.reply("ACL DELUSER maker"), "1");
    for name in ["t", "s"] {
        let reply = node.reply(&format!("RG.TRIGGER {name}"));
        assert!(reply.starts_with('-') && reply.contains("maker"), "{name}: {reply}");
    }
    node.reply("SET k1 v");
    settled(node, 2);
    let shown = Shown::of(node, 2);
    assert!(shown.field("lastError").contains("maker") && shown.number("numFailures") == 1, "{shown:?}");
    assert_eq!(node.reply("GET n"), r#""2""#);
}
