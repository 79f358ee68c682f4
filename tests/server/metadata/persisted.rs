//! Settings that outlive a restart: the configuration file and `CONFIG REWRITE`.

use std::collections::BTreeMap;

use crate::common::{Server, StartError, module_path};

fn get(server: &Server, name: &str) -> String {
    let pair: Vec<String> = server.run(&["CONFIG", "GET", name]);
    pair[1].clone()
}

/// Returns a configuration file that loads the module, with what else stands there.
fn file(args: &str, lines: &str) -> String {
    format!("loadmodule {} {args}\n{lines}\n", module_path().display())
}

#[test]
fn settings_in_the_file_are_taken() {
    let lines =
        "rmr.timeout-ms 321\nrmr.shard-func crc32\nrmr.nodes \"127.0.0.1:1 127.0.0.1:2\"\nrmr.max-reply-bytes 2mb";
    let server = Server::builder().module(false).config_file(file("timeout-ms 5 max-inflight 7", lines)).start();
    assert_eq!(get(&server, "rmr.timeout-ms"), "321", "the file's own line goes before the argument");
    assert_eq!(get(&server, "rmr.max-inflight"), "7");
    assert_eq!(get(&server, "rmr.shard-func"), "crc32");
    assert_eq!(get(&server, "rmr.nodes"), "127.0.0.1:1 127.0.0.1:2");
    assert_eq!(get(&server, "rmr.max-reply-bytes"), "2097152");
}

#[test]
fn bad_settings_in_the_file_keep_the_server_from_starting() {
    for lines in ["rmr.timeout-ms 0", "rmr.provider best", "rmr.nodes nonsense", "rmr.nosuch 1", "rmr.provider static"]
    {
        match Server::builder().module(false).config_file(file("", lines)).try_start() {
            Err(StartError::Exited(log)) => assert!(!log.contains("BUG REPORT") && !log.contains("panicked"), "{log}"),
            other => panic!("'{lines}' did not keep it from starting: {:?}", other.err()),
        }
    }
}

#[test]
fn a_rewrite_keeps_what_was_set_at_run_time() {
    let server = Server::builder().module(false).config_file(file("max-inflight 7", "rmr.timeout-ms 321")).start();
    let set = ["rmr.timeout-ms", "444", "rmr.nodes", "127.0.0.1:1 127.0.0.1:2", "rmr.user", "some one"];
    let more = ["rmr.provider", "static", "rmr.shard-func", "rendezvous", "rmr.max-reply-bytes", "3mb"];
    server.run::<()>(&[&["CONFIG", "SET"][..], &set, &more].concat());
    server.run::<()>(&["CONFIG", "REWRITE"]);
    let all = || -> BTreeMap<String, String> { server.run(&["CONFIG", "GET", "rmr.*"]) };
    let before = all();
    server.restart();
    assert_eq!(all(), before);
    assert_eq!(get(&server, "rmr.timeout-ms"), "444");
    assert_eq!(get(&server, "rmr.max-inflight"), "7");
    assert!(server.reply3("RMR.TOPOLOGY").contains("\"source\": \"static\""));
}

#[test]
fn a_rewrite_keeps_a_default_that_stands_against_an_argument() {
    let server = Server::builder().module(false).config_file(file("timeout-ms 321 shard-func crc32", "")).start();
    server.run::<()>(&["CONFIG", "SET", "rmr.timeout-ms", "5000", "rmr.shard-func", "auto"]);
    server.run::<()>(&["CONFIG", "REWRITE"]);
    server.restart();
    assert_eq!(get(&server, "rmr.timeout-ms"), "5000");
    assert_eq!(get(&server, "rmr.shard-func"), "auto");
}

#[test]
fn a_rewrite_of_a_module_that_was_loaded_at_run_time_keeps_it() {
    let server = Server::builder().module(false).config_file("").start();
    let path = module_path();
    server.run::<()>(&["MODULE", "LOAD", path.to_str().expect("a path of text"), "max-inflight", "7"]);
    server.run::<()>(&["CONFIG", "SET", "rmr.timeout-ms", "444"]);
    server.run::<()>(&["CONFIG", "REWRITE"]);
    server.restart();
    assert_eq!(get(&server, "rmr.timeout-ms"), "444");
    assert_eq!(get(&server, "rmr.max-inflight"), "7");
    assert_eq!(server.reply("RMR.PING"), "+OK");
}
