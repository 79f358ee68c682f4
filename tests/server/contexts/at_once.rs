//! Callers that cannot wait: `MULTI`, scripts, functions, calls within calls. Requests that the asked node can serve
//! itself are served at once; all else is refused before anything has happened.

use std::time::Duration;

use crate::common::{Cluster, Server, Wire, eventually};

/// The command in which a request is wrapped.
#[derive(Clone, Copy, Debug)]
enum Context {
    Multi,
    Eval,
    Function,
    Nested,
}

use Context::{Eval, Function, Multi, Nested};

const CONTEXTS: [Context; 4] = [Multi, Eval, Function, Nested];

/// Returns the answer to the request in this context, as if it stood alone.
fn call(node: &Server, context: Context, line: &str) -> String {
    let mut wire: Wire = node.wire();
    let words: Vec<&str> = line.split_whitespace().collect();
    const SCRIPT: &str = "return redis.pcall(unpack(ARGV))";
    match context {
        Multi => {
            assert_eq!(wire.reply("MULTI"), "+OK");
            assert_eq!(wire.reply_to(&words), "+QUEUED");
            let reply = wire.reply("EXEC");
            reply.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).expect("one reply").to_owned()
        }
        Eval => wire.reply_to(&[&["EVAL", SCRIPT, "0"][..], &words].concat()),
        Function => {
            let library =
                "#!lua name=lib\nredis.register_function('call', function(k, a) return redis.pcall(unpack(a)) end)";
            wire.call(&["FUNCTION", "LOAD", "REPLACE", library]);
            wire.reply_to(&[&["FCALL", "call", "0"][..], &words].concat())
        }
        // The outer request runs the script as its own share, in process: a call of the module by the module.
        Nested => {
            let on = format!("NODE {}", node.address());
            let outer: Vec<&str> = ["RMR.FANOUT", "PARTIAL"].into_iter().chain(on.split(' ')).collect();
            let reply = wire.reply_to(&[&outer[..], &["EVAL", SCRIPT, "0"], &words].concat());
            let inner = reply.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).expect("one reply");
            inner.replacen(&format!("-RMRSHARD {}: ", shown(node)), "-", 1)
        }
    }
}

fn shown(node: &Server) -> String {
    match node.try_run::<String>(&["CLUSTER", "MYID"]) {
        Ok(_) => node.shown_name(),
        Err(_) => node.address(),
    }
}

/// Returns the answer to a write in the contexts that are scripts, which may be such as must not write.
fn not_in_scripts(name: &str) -> String {
    format!("-ERR '{name}' may change data: scripts write by themselves, not through rmr")
}

const CANNOT_WAIT: &str = "-ERR in MULTI, scripts and calls from other modules only what this node can serve itself is possible; this one needs ";

#[test]
fn a_standalone_server_serves_everything_at_once() {
    for context in CONTEXTS {
        let server = Server::start();
        server.run::<()>(&["MSET", "a", "1", "b", "41"]);
        for (line, reply) in [
            ("RMR.SUM a b missing", "42"),
            ("RMR.PING", "+OK"),
            ("RMR.FANOUT DBSIZE", "[2]"),
            ("RMR.FANOUT REDUCE SUM DBSIZE", "2"),
            ("RMR.MAP LIST 2 a b GET", "[\"1\", \"41\"]"),
            ("RMR.MAP PARTIAL LIST 1 a GET", "[\"1\"]"),
        ] {
            assert_eq!(call(&server, context, line), reply, "{context:?}: {line}");
        }
        let shown = call(&server, context, "RMR.TOPOLOGY");
        assert!(shown.contains("\"single\""), "{context:?}: {shown}");
        // It looks again now, unless that was done a moment ago and so has to wait.
        let shown = call(&server, context, "RMR.REFRESH");
        assert!(shown.contains("\"single\"") || shown.starts_with("-ERR in MULTI, "), "{context:?}: {shown}");
    }
}

#[test]
fn writes_are_served_at_once_but_not_in_scripts() {
    for context in CONTEXTS {
        let server = Server::start();
        server.run::<()>(&["MSET", "a", "1", "b", "41"]);
        let reply = call(&server, context, "RMR.MAP SUM 2 a b INCR");
        let values: Vec<String> = server.run(&["MGET", "a", "b"]);
        if matches!(context, Multi) {
            assert_eq!((reply.as_str(), &values[..]), ("44", &["2".to_owned(), "42".to_owned()][..]));
        } else {
            assert_eq!(reply, not_in_scripts("INCR"), "{context:?}");
            assert_eq!(values, ["1", "41"], "{context:?}");
            let reply = call(&server, context, "RMR.FANOUT PUBLISH c m");
            assert_eq!(reply, not_in_scripts("PUBLISH"), "{context:?}");
        }
    }
}

#[test]
fn no_script_runs_within_a_script_by_exec_map_batch_and_fanout() {
    let server = Server::start();
    let library = "#!lua name=ones\nredis.register_function{function_name='one', callback=function() return 1 end, \
                   flags={'no-writes'}}";
    server.run::<()>(&["FUNCTION", "LOAD", library]);
    for context in CONTEXTS {
        for (name, inner) in [("EVAL_RO", "EVAL_RO return(1) 1 a"), ("FCALL_RO", "FCALL_RO one 1 a")] {
            let count = inner.split(' ').count();
            for line in [
                format!("RMR.EXEC {inner}"),
                format!("RMR.MAP LIST 1 a {}", inner.replace(" a", " {}")),
                format!("RMR.BATCH a 1 {count} {inner}"),
                format!("RMR.FANOUT {inner}"),
            ] {
                let reply = call(&server, context, &line);
                let refusal = format!("-ERR '{name}' runs a script, and none can run within another");
                if matches!(context, Multi) {
                    assert!(reply.contains('1') && !reply.starts_with('-'), "{line}: {reply}");
                } else {
                    assert_eq!(reply, refusal, "{context:?}: {line}");
                }
                assert_eq!(server.reply("PING"), "+PONG", "{context:?}: {line}");
            }
        }
    }
}

#[test]
fn keys_of_the_asked_node_are_served_at_once() {
    let cluster = Cluster::start(3);
    for (index, node) in cluster.nodes().iter().enumerate() {
        let keys: Vec<String> = cluster.keys_for(index, "n").take(3).collect();
        cluster.fill(3, |number| (keys[number].clone(), "5"));
        for context in CONTEXTS {
            let reply = call(node, context, &format!("RMR.SUM {}", keys.join(" ")));
            assert_eq!(reply, "15", "{context:?}");
            let reply = call(node, context, &format!("RMR.MAP LIST 1 {} STRLEN", keys[0]));
            assert_eq!(reply, "[1]", "{context:?}");
            let reply = call(node, context, &format!("RMR.FANOUT NODE {} ECHO me", node.address()));
            assert_eq!(reply, "[\"me\"]", "{context:?}");
        }
    }
}

#[test]
fn keys_of_other_nodes_are_refused_before_anything_has_run() {
    let cluster = Cluster::start(3);
    let (node, other) = (cluster.node(0), cluster.node(1));
    let [here, there] = [0, 1].map(|shard| cluster.key_for(shard, "k"));
    let expected = format!("{CANNOT_WAIT}{}", other.shown_name());
    for context in CONTEXTS {
        for line in [format!("RMR.SUM {here} {there}"), format!("RMR.SUM {there}"), "RMR.PING".into()] {
            assert_eq!(call(node, context, &line), expected, "{context:?}: {line}");
        }
        for (name, line) in [
            ("SET", format!("RMR.MAP LIST 2 {here} {there} SET {{}} v")),
            ("SET", format!("RMR.MAP PARTIAL LIST 2 {here} {there} SET {{}} v")),
            ("FLUSHALL", "RMR.FANOUT FLUSHALL".into()),
        ] {
            let expected = if matches!(context, Multi) { expected.clone() } else { not_in_scripts(name) };
            assert_eq!(call(node, context, &line), expected, "{context:?}: {line}");
        }
    }
    for any in cluster.nodes() {
        assert_eq!(any.run::<usize>(&["DBSIZE"]), 0);
        assert_eq!(any.calls_of("set") + any.calls_of("flushall"), 0);
    }
    let line = format!("RMR.MAP LIST 2 {here} {there} SET {{}} v");
    assert_eq!(node.reply(&line), "[+OK, +OK]", "the next command works");
}

#[test]
fn a_refusal_does_not_end_the_transaction_around_it() {
    let cluster = Cluster::start(2);
    let [here, there] = [0, 1].map(|shard| cluster.key_for(shard, "k"));
    let mut wire = cluster.node(0).wire();
    wire.reply("MULTI");
    for line in [&format!("SET {here} 1"), &format!("RMR.SUM {there}"), &format!("RMR.SUM {here}"), "RMR.NOSUCH"] {
        wire.reply(line);
    }
    assert!(wire.reply("EXEC").starts_with("-EXECABORT "), "an unknown command does");
    wire.reply("MULTI");
    for line in [&format!("SET {here} 1"), &format!("RMR.SUM {there}"), &format!("RMR.SUM {here}")] {
        assert_eq!(wire.reply(line), "+QUEUED");
    }
    let reply = wire.reply("EXEC");
    assert!(reply.starts_with("[+OK, -ERR in MULTI, ") && reply.ends_with(", 1]"), "{reply}");
    assert_eq!(wire.reply(&format!("RMR.SUM {here} {there}")), "1");
}

#[test]
fn wrong_arguments_are_told_in_every_context() {
    let server = Server::start();
    for context in CONTEXTS {
        assert_eq!(
            call(&server, context, "RMR.MAP SUM 0 k GET"),
            "-ERR numkeys is '0'; give how many keys follow, 1 or more, or MATCH pattern",
            "{context:?}"
        );
    }
}

#[test]
fn a_script_reads_through_rmr_what_it_has_written_itself() {
    let server = Server::start();
    let script = "redis.call('SET', 'a', '1'); redis.call('SET', 'b', '10'); return redis.call('RMR.SUM', 'a', 'b')";
    assert_eq!(server.wire().reply_to(&["EVAL", script, "0"]), "11");
}

#[test]
fn the_first_request_of_all_may_be_in_a_transaction_even_on_a_cold_server() {
    let server = Server::builder().module(false).start();
    server.run::<()>(&["SET", "a", "7"]);
    for round in 0..60 {
        server.load_unloadable(&[]);
        let context = [Multi, Eval, Function][round % 3];
        assert_eq!(call(&server, context, "RMR.SUM a"), "7", "round {round}, {context:?}");
        eventually(Duration::from_secs(10), "the module can go", || {
            server.try_run::<()>(&["MODULE", "UNLOAD", "rmr"]).is_ok()
        });
    }
}

#[test]
fn unblocking_a_waiting_client_by_hand_does_not_confuse_its_request() {
    let cluster = Cluster::builder().shards(2).node_timeout(Duration::from_secs(60)).start();
    let [node, frozen] = cluster.nodes() else { panic!("two nodes") };
    assert_eq!(node.reply("RMR.PING"), "+OK");
    frozen.stop_signal();
    let mut waiting = node.wire();
    let id = waiting.reply("CLIENT ID");
    waiting.send(&["RMR.FANOUT", "TIMEOUT", "30000", "ECHO", "once"]);
    eventually(Duration::from_secs(10), "the request waits", || node.figure("clients", "blocked_clients") == 1);
    for how in ["", "TIMEOUT", "ERROR"] {
        assert_eq!(node.reply(&format!("CLIENT UNBLOCK {id} {how}")), "0", "it is not to be unblocked");
    }
    frozen.cont_signal();
    assert_eq!(crate::common::show(&waiting.read_frame()), "[\"once\", \"once\"]");
    assert_eq!(waiting.reply("PING"), "+PONG", "one reply, and the next is the next");
}
