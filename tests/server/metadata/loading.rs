//! Loading: arguments, `MODULE LOAD`, `MODULE LOADEX`, `MODULE UNLOAD`; and one clear line where it is refused.

use std::time::Duration;

use crate::common::{Server, StartError, eventually, module_path};

fn path() -> String {
    module_path().to_str().expect("a path of text").to_owned()
}

fn get(server: &Server, name: &str) -> String {
    let pair: Vec<String> = server.run(&["CONFIG", "GET", name]);
    pair[1].clone()
}

/// Servers may bring modules of their own.
fn is_loaded(server: &Server) -> bool {
    server.reply("MODULE LIST").contains("\"rmr\"")
}

/// Good arguments: each is the value of its setting afterwards.
const GOOD: [(&str, &str); 14] = [
    ("timeout-ms", "1234"),
    ("CONNECT-TIMEOUT-MS", "77"),
    ("rmr.topology-refresh-ms", "500"),
    ("max-inflight", "9"),
    ("max-reply-bytes", "65536"),
    ("threads", "2"),
    ("flow-timeout-ms", "7000"),
    ("flow-memory", "2097152"),
    ("flow-share", "25"),
    ("provider", "static"),
    ("shard-func", "Rendezvous"),
    ("nodes", "127.0.0.1:1 127.0.0.1:2"),
    ("user", "linker"),
    ("password", "with blanks and 'quotes'"),
];

fn check_good(server: &Server) {
    for (name, value) in GOOD {
        let name = name.to_lowercase();
        let name = format!("rmr.{}", name.trim_start_matches("rmr."));
        let value = if name == "rmr.shard-func" { "rendezvous" } else { value };
        assert_eq!(get(server, &name), value, "{name}");
    }
}

#[test]
fn arguments_are_settings() {
    let server = Server::builder().module_args(GOOD.iter().flat_map(|(name, value)| [*name, *value])).start();
    check_good(&server);
}

#[test]
fn a_memory_size_may_have_a_unit() {
    let server = Server::builder().module_args(["max-reply-bytes", "2mb"]).start();
    assert_eq!(get(&server, "rmr.max-reply-bytes"), "2097152");
}

/// Arguments that must not load, and the line that says why.
const BAD: [(&[&str], &str); 12] = [
    (&["timeout-ms"], "the argument 'timeout-ms' has no value; give name value"),
    (&["timeout-ms", "0"], "timeout-ms is '0'; give a number from 1 to 3600000"),
    (&["timeout-ms", "soon"], "timeout-ms is 'soon'; give a number from 1 to 3600000"),
    (&["threads", "65"], "threads is '65'; give a number from 1 to 64"),
    (&["topology-refresh-ms", "49"], "topology-refresh-ms is '49'; give a number from 50 to 3600000"),
    (&["max-reply-bytes", "12"], "max-reply-bytes is '12'; give a number from 1024 to 9223372036854775807"),
    (&["provider", "best"], "provider is 'best'; give one of auto, single, static, cluster"),
    (&["shard-func", "best"], "shard-func is 'best'; give one of auto, crc16, crc32, ketama, ketama-rb, rendezvous"),
    (&["nodes", "nonsense"], "nodes: 'nonsense' is no address; give host:port"),
    (&["provider", "static"], "rmr.provider static needs rmr.nodes \"host:port ...\""),
    (&["nosuch", "1"], "there is no argument 'nosuch'; known are timeout-ms, connect-timeout-ms, "),
    (&["timeout-ms", "5", "nosuch"], "the argument 'nosuch' has no value; give name value"),
];

/// Returns the lines in a log that are warnings of rmr.
fn complaints(log: &str) -> Vec<&str> {
    let ours = |line: &&str| line.contains(" # <rmr> ") && !line.contains("defrag");
    log.lines().filter(ours).collect()
}

#[test]
fn bad_arguments_keep_the_server_from_starting_with_one_clear_line() {
    for (args, reason) in BAD {
        match Server::builder().module_args(args.iter().copied()).try_start() {
            Err(StartError::Exited(log)) => {
                let lines = complaints(&log);
                assert_eq!(lines.len(), 1, "{args:?}: {log}");
                assert!(lines[0].contains(&format!("not loaded: {reason}")), "{args:?}: {}", lines[0]);
                assert!(!log.contains("panicked") && !log.contains("BUG REPORT"), "{log}");
            }
            other => panic!("{args:?} did not keep it from starting: {:?}", other.err()),
        }
    }
}

#[test]
fn bad_arguments_are_refused_at_run_time_and_good_ones_work_after_them() {
    let server = Server::builder().module(false).start();
    for (args, reason) in BAD {
        let error = server.wire().reply_to(&[&["MODULE", "LOAD", &path()][..], args].concat());
        assert!(error.starts_with("-ERR Error loading the extension"), "{args:?}: {error}");
        assert!(
            complaints(&server.log()).last().is_some_and(|line| line.contains(reason)),
            "{args:?}: {}",
            server.log()
        );
        assert!(!is_loaded(&server), "{args:?}");
        assert_eq!(server.reply("CONFIG GET rmr.*"), "[]", "{args:?}");
        assert!(server.reply("RMR.PING").starts_with("-ERR unknown command"), "{args:?}");
    }
    assert_eq!(complaints(&server.log()).len(), BAD.len());
    let good: Vec<&str> = GOOD.iter().flat_map(|(name, value)| [*name, *value]).collect();
    assert_eq!(server.wire().reply_to(&[&["MODULE", "LOAD", &path()][..], &good].concat()), "+OK");
    check_good(&server);
}

#[test]
fn a_module_that_is_loaded_anew_begins_anew() {
    let server = Server::builder().module(false).start();
    server.load_unloadable(&["timeout-ms", "4200", "user", "u"]);
    assert_eq!(get(&server, "rmr.timeout-ms"), "4200");
    assert_eq!(server.reply("RMR.PING"), "+OK");
    eventually(Duration::from_secs(10), "it can go", || server.reply("MODULE UNLOAD rmr") == "+OK");
    assert_eq!(server.rmr_threads(), 0);
    server.load_unloadable(&[]);
    assert_eq!(get(&server, "rmr.timeout-ms"), "5000");
    assert_eq!(get(&server, "rmr.user"), "");
    assert_eq!(server.reply("RMR.PING"), "+OK");
}

#[test]
fn loadex_takes_settings_and_arguments() {
    let server = Server::builder().module(false).start();
    let path = path();
    let settings = ["CONFIG", "rmr.timeout-ms", "321", "CONFIG", "rmr.shard-func", "crc32"];
    let args = ["ARGS", "timeout-ms", "9", "max-inflight", "8"];
    let reply = server.wire().reply_to(&[&["MODULE", "LOADEX", &path][..], &settings, &args].concat());
    assert_eq!(reply, "+OK");
    assert_eq!(get(&server, "rmr.timeout-ms"), "321", "a setting goes before an argument");
    assert_eq!(get(&server, "rmr.max-inflight"), "8");
    assert_eq!(get(&server, "rmr.shard-func"), "crc32");
}

#[test]
fn loadex_refuses_bad_settings_and_loads_after_them() {
    let server = Server::builder().module(false).start();
    for config in [
        &["CONFIG", "rmr.timeout-ms", "0"][..],
        // The server loads it first and unloads it then, which Valkey does not survive with a module that has a data type.
        &["CONFIG", "rmr.nosuch", "1", "ARGS", "gears", "batch"],
        &["CONFIG", "rmr.provider", "best"],
        &["CONFIG", "rmr.nodes", "nonsense"],
        &["CONFIG", "rmr.provider", "static"],
        &["ARGS", "nosuch", "1"],
    ] {
        let reply = server.wire().reply_to(&[&["MODULE", "LOADEX", &path()][..], config].concat());
        assert!(reply.starts_with("-ERR Error loading the extension"), "{config:?}: {reply}");
        assert!(!is_loaded(&server), "{config:?}");
    }
    let reply = server.wire().reply_to(&["MODULE", "LOADEX", &path(), "CONFIG", "rmr.timeout-ms", "321"]);
    assert_eq!(reply, "+OK", "{}", server.log());
    assert_eq!(get(&server, "rmr.timeout-ms"), "321");
    assert_eq!(server.reply("RMR.PING"), "+OK");
}

#[test]
fn a_second_load_is_refused_and_harms_nothing() {
    let server = Server::start();
    assert_eq!(server.reply("RMR.PING"), "+OK");
    for _ in 0..3 {
        let error = server.wire().reply_to(&["MODULE", "LOAD", &path()]);
        assert!(error.starts_with("-ERR Error loading the extension"), "{error}");
        assert_eq!(server.reply("RMR.PING"), "+OK");
        assert_eq!(get(&server, "rmr.timeout-ms"), "5000");
    }
}

#[test]
fn a_load_says_version_and_mode_in_the_log() {
    let server = Server::start();
    let log = server.log();
    let line = log.lines().find(|line| line.contains("<rmr> rmr 0.1.0 on ")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.ends_with(", standalone"), "{line}");
    let node = Server::builder().config("cluster-enabled", "yes").start();
    assert!(node.log().lines().any(|line| line.contains("<rmr> rmr 0.1.0 on ") && line.ends_with(", cluster")));
}

#[test]
fn info_modules_and_module_list_show_it() {
    let server = Server::start();
    let info: String = server.run(&["INFO", "modules"]);
    assert!(info.contains("module:name=rmr,ver=100,"), "{info}");
    assert!(server.reply("MODULE LIST").contains("\"rmr\""));
}
