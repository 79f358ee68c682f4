//! Types all that `docs/how-to/run-rmr-proxy.md` types, at a proxy before two plain servers, and compares what comes out.

use std::process::{Command, Stdio};
use std::time::Duration;

use rmr::testing::{Process, ScratchDir, Servers, eventually, free_port};

const PAGE: &str = include_str!("../../docs/how-to/run-rmr-proxy.md");

/// Types a line into a shell, with the port of the page made that of the proxy.
fn typed(line: &str, port: u16) -> String {
    let line = line.replace("-p 6380", &format!("-p {port}"));
    let output = Command::new("sh").args(["-c", &line]).output().expect("a shell");
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

#[test]
fn what_is_typed_in_the_page_is_true() {
    let servers = Servers::start(2);
    let nodes: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    let port = free_port();
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_rmr-proxy"));
    proxy.args(["--nodes", &nodes.join(" "), "--listen", &format!("127.0.0.1:{port}")]).stderr(Stdio::null());
    let folder = ScratchDir::new();
    let _proxy = Process::spawn(&mut proxy, folder.path());
    eventually(Duration::from_secs(60), "the proxy answers", || typed("redis-cli -p 6380 PING", port) == "PONG");
    let blocks: Vec<&str> = PAGE.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 1, "nothing is typed in the page");
    for typed_and_shown in blocks.iter().flat_map(|block| block.split("$ ").skip(1)) {
        let (line, shown) = typed_and_shown.split_once('\n').expect("a line");
        assert_eq!(typed(line, port), shown.trim_end(), "{line}");
    }
}
