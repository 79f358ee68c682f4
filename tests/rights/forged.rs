//! The error of a script or function is the answer to its caller alone, whatever bytes it has.
//!
//! Redis 8.2 leaves line breaks in errors that scripts end in, so that one of them looks like several replies. On a link
//! that all requests share, the next of these would go to whoever has asked next.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rmr::Command;

use crate::common::{Cluster, Server, while_repeating};

/// The ends of scripts. The escapes are Lua's.
const BODIES: [&str; 6] = [
    r"error('x\r\n+forged')",
    r"error('x\r\n+forged\r\n+forged')",
    r"error('x\r\nno reply at all')",
    r"error('x\r\n$100\r\nforged')",
    r"error('x\nforged')",
    r"error({err='x\r\n*2\r\n+forged'})",
];

/// Calls that reach one more node, in words: `SCRIPT` stands for how the script ends, `KEY` for a key of that node.
const ROADS: [(&str, &str); 8] = [
    ("exec", "RMR.EXEC EVAL SCRIPT 1 KEY"),
    ("exec_of_a_function", "RMR.EXEC FCALL forge 1 KEY"),
    ("map", "RMR.MAP PARTIAL LIST 1 KEY EVAL SCRIPT 1 {}"),
    ("pushdown", "RMR.MAP PARTIAL COUNT 1 KEY EVAL SCRIPT 1 {}"),
    ("batch", "RMR.BATCH KEY 1 4 EVAL SCRIPT 1 KEY"),
    ("batch_without_merging", "RMR.BATCH NOMERGE KEY 2 4 EVAL SCRIPT 1 KEY 2 GET KEY"),
    ("fanout", "RMR.FANOUT PARTIAL EVAL SCRIPT 0"),
    ("proxy", "EVAL SCRIPT 1 KEY"),
];

fn words<'a>(line: &'a str, script: &'a str, key: &'a str) -> Vec<&'a str> {
    let word = |word| match word {
        "SCRIPT" => script,
        "KEY" => key,
        word => word,
    };
    line.split(' ').map(word).collect()
}

fn cluster() -> (Cluster, bool) {
    let cluster = Cluster::builder().module_args(["pushdown", "on"]).start();
    let library = r"#!lua name=forging
        redis.register_function('forge', function(keys) error('x\r\n+forged') end)";
    let mut has_proxy_mode = true;
    for node in cluster.nodes() {
        node.run::<()>(&["FUNCTION", "LOAD", library]);
        has_proxy_mode &= node.try_run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "on"]).is_ok();
    }
    (cluster, has_proxy_mode)
}

#[test]
fn no_script_answers_for_another_caller_by_exec_map_pushdown_batch_fanout_or_proxy() {
    const ROUNDS: usize = 12;
    let (cluster, has_proxy_mode) = cluster();
    let key = cluster.key_for(1, "k");
    cluster.set(&key, "value");
    let asked = cluster.node(0);
    let answered = AtomicUsize::new(0);
    let reading = |road: &&str| {
        let (mut wire, line) = (asked.wire(), road.replace("KEY", &key));
        let answered = &answered;
        move || {
            assert_eq!(wire.reply(&line), if line.contains("LIST") { "[\"value\"]" } else { "\"value\"" }, "{line}");
            answered.fetch_add(1, Relaxed);
        }
    };
    while_repeating(&["RMR.EXEC GET KEY", "RMR.MAP LIST 1 KEY GET"], reading, || {
        let mut wire = asked.wire();
        for (road, line) in ROADS {
            if road == "proxy" && !has_proxy_mode {
                continue;
            }
            for body in BODIES.iter().cycle().take(ROUNDS * BODIES.len()) {
                let reply = wire.reply_to(&words(line, body, &key));
                let is_whole = [" on @user_script:1.", " on @user_function:2."].iter().any(|end| reply.contains(end));
                assert!(is_whole && !reply.contains("RMRNODE"), "{road}: {reply}");
                assert_eq!(wire.reply("ECHO behind"), "\"behind\"", "{road}");
            }
        }
    });
    assert!(answered.load(Relaxed) > 100, "too little was read meanwhile: {answered:?}");
}

/// The ends of scripts, each in one line, with blanks for line breaks.
const LINES: [&str; 6] = [
    "ERR user_script:1: x  +forged script: ",
    "ERR user_script:1: x  +forged  +forged script: ",
    "ERR user_script:1: x  no reply at all script: ",
    "ERR user_script:1: x  $100  forged script: ",
    "ERR user_script:1: x forged script: ",
    "x  *2  +forged script: ",
];

#[test]
fn a_broken_error_is_one_line_with_the_same_words_on_all_servers_by_all_roads_here_and_elsewhere() {
    let (cluster, has_proxy_mode) = cluster();
    let mut wire = cluster.node(0).wire();
    // Valkey 9 does not name the script.
    let is_named = !cluster.node(0).run::<String>(&["INFO", "server"]).contains("valkey_version:9");
    let names: Vec<String> = cluster.nodes().iter().map(Server::shown_name).collect();
    for shard in [0, 1] {
        let key = cluster.key_for(shard, "k");
        cluster.set(&key, "value");
        for (road, line) in ROADS {
            // In proxy mode a server answers for its own keys by itself, as it does without rmr.
            if road == "proxy" && (!has_proxy_mode || shard == 0) {
                continue;
            }
            for (body, text) in BODIES.into_iter().zip(LINES) {
                let (text, name, place) = match road {
                    "exec_of_a_function" => {
                        ("ERR user_function:2: x  +forged script: ", "forge".into(), "user_function:2")
                    }
                    _ => (text, cluster.node(0).run::<String>(&["SCRIPT", "LOAD", body]), "user_script:1"),
                };
                let name = if is_named { format!("{name}, ") } else { String::new() };
                let error = format!("{text}{name}on @{place}.");
                let of = |name: &String| format!("-RMRSHARD {name}: {error}");
                let expected = match road {
                    "map" => format!("[{} (key '{key}')]", of(&names[shard])),
                    "pushdown" => {
                        let address = cluster.node(shard).address();
                        format!("[0, [\"{address}\", {} (key '{key}')]]", of(&names[shard]))
                    }
                    "batch" => format!("[\"{key}\", [-{error}]]"),
                    "batch_without_merging" => format!("[\"{key}\", [-{error}, \"value\"]]"),
                    "fanout" => format!("[{}]", names.iter().map(of).collect::<Vec<_>>().join(", ")),
                    _ => format!("-{error}"),
                };
                assert_eq!(wire.reply_to(&words(line, body, &key)), expected, "{road} at {shard}: {body}");
            }
        }
    }
}

#[test]
fn a_batch_keeps_its_places_behind_a_broken_error() {
    let (cluster, _) = cluster();
    let key = cluster.key_for(1, "k");
    let mut wire = cluster.node(0).wire();
    for call in ["FCALL forge 1", "EVAL error('x\\r\\n+forged') 1"] {
        let line =
            format!("RMR.BATCH {key} 5 3 SET {key} a 4 {call} {key} 2 GET {key} 4 {call} {key} 3 APPEND {key} b");
        let reply = wire.reply(&line);
        let places: Vec<&str> = reply.split(", ").filter(|word| !word.starts_with("on @")).collect();
        assert_eq!(places.len(), 6, "{reply}");
        assert_eq!((places[1], places[3], places[5]), ("[+OK", "\"a\"", "2]]"), "{reply}");
    }
}

/// The user that links log in as may lack the right to `ECHO`, which is what markers take.
#[test]
fn a_node_that_refuses_markers_is_asked_otherwise() {
    let cluster = Cluster::start(2);
    let key = cluster.key_for(1, "k");
    cluster.set(&key, "value");
    let asked = cluster.node(0);
    cluster.node(1).run::<()>(&["ACL", "SETUSER", "default", "-echo"]);
    let mut wire = asked.wire();
    // The first of them finds it out, and ends its connection.
    for body in BODIES.iter().cycle().take(30) {
        let reply = wire.reply_to(&["RMR.EXEC", "EVAL", body, "1", &key]);
        assert!(reply.starts_with('-') && reply.contains('x') && !reply.contains("RMRNODE"), "{reply}");
        assert_eq!(wire.reply_to(&["RMR.EXEC", "EVAL", "return 7", "1", &key]), "7");
        assert_eq!(wire.reply(&format!("RMR.EXEC GET {key}")), "\"value\"");
    }
    assert!(refusals_of_echo(cluster.node(1)) <= 1, "ECHO is not tried again");
}

fn refusals_of_echo(node: &Server) -> u64 {
    let stats: String = node.run(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_echo:"));
    let calls = line.and_then(|line| line.split(',').find_map(|part| part.strip_prefix("rejected_calls=")));
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

#[tokio::test]
async fn no_script_answers_for_another_caller_of_the_library() {
    let servers = rmr::testing::Servers::start(1);
    let client = servers.client();
    client.execute(Command::new("SET").arg("k").arg("value")).await.expect("set");
    for body in BODIES.iter().cycle().take(60) {
        let call = || Command::new("EVAL").arg(*body).arg(1).arg("k");
        let get = || Command::new("GET").arg("k");
        let (failed, read, per_key) =
            tokio::join!(client.execute(call()), client.execute(get()), client.mget(["k", "k"]));
        assert!(failed.expect_err("the script fails").to_string().contains('x'));
        assert_eq!(read.expect("a value").bytes(), Some(&b"value"[..]));
        assert_eq!(per_key.expect("values").len(), 2);
    }
}
