//! Clients that know nothing of clusters, as programs really use them: each sees through the proxy what it sees of a server.
//!
//! The programs are in `tests/python/` and `tests/node/`. Where there is no node, those are left out, which is said.

use std::io::Write;
use std::process::{Command, Stdio};

use super::served;
use crate::common::{RmrProxy, Server, run_node, run_python, run_python_with_celery};

fn single() -> Server {
    Server::builder().module(false).start()
}

/// Runs a program of the server's package against the proxy.
fn run(program: &str, proxy: &RmrProxy, words: &[&str], input: &[u8]) -> String {
    let port = proxy.port().to_string();
    let mut child = Command::new(program)
        .args(["-p", &port])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().expect("an input").write_all(input).expect("a program that reads");
    let output = child.wait_with_output().expect("a program that ends");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?}:\n{printed}\n{errors}");
    printed
}

#[test]
fn redis_py_sees_a_single_server() {
    let ((_cluster, proxy), server) = (served(), single());
    for protocol in ["2", "3"] {
        let shown = run_python("single_server", &[&proxy.port().to_string(), protocol]);
        assert!(shown.ends_with("done\n"), "{shown}");
        assert_eq!(shown, run_python("single_server", &[&server.port().to_string(), protocol]), "RESP{protocol}");
    }
}

#[test]
fn node_redis_sees_a_single_server() {
    let ((_cluster, proxy), server) = (served(), single());
    for protocol in ["2", "3"] {
        let Some(shown) = run_node("single_server", &[&proxy.port().to_string(), protocol]) else { return };
        assert!(shown.ends_with("done\n"), "{shown}");
        assert_eq!(Some(shown), run_node("single_server", &[&server.port().to_string(), protocol]), "RESP{protocol}");
    }
}

#[test]
fn ioredis_sees_a_single_server() {
    let ((_cluster, proxy), server) = (served(), single());
    let Some(shown) = run_node("ioredis", &[&proxy.port().to_string()]) else { return };
    assert!(shown.ends_with("done\n"), "{shown}");
    assert_eq!(Some(shown), run_node("ioredis", &[&server.port().to_string()]));
}

#[test]
fn celery_keeps_its_jobs_in_a_cluster() {
    let (_cluster, proxy) = served();
    assert_eq!(run_python_with_celery("celery_jobs", &[&proxy.port().to_string()]), "done\n");
}

#[test]
fn redis_benchmark_runs() {
    let (cluster, proxy) = served();
    for depth in ["1", "16"] {
        let words = ["-n", "2000", "-c", "20", "-P", depth, "-r", "1000", "-q", "--csv"];
        let tests = ["-t", "ping,set,get,incr,lpush,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100"];
        let shown = run("redis-benchmark", &proxy, &[&words[..], &tests[..]].concat(), b"");
        for test in ["SET", "GET", "INCR", "LPUSH", "ZADD", "LRANGE_100 (first 100 elements)"] {
            assert!(shown.contains(&format!("\"{test}\",")), "{test}: {shown}");
        }
    }
    let sizes: Vec<u64> = cluster.nodes().iter().map(|node| node.run(&["DBSIZE"])).collect();
    assert!(sizes.iter().all(|&size| size > 100), "{sizes:?}");
}

#[test]
fn redis_cli_goes_through_all_keys() {
    let (cluster, proxy) = served();
    cluster.fill(200, |number| (format!("key:{number}"), "x"));
    cluster.set("largest", "x".repeat(5000));
    assert_eq!(proxy.reply("RPUSH longest a b c d"), "4");
    let mut keys: Vec<String> = run("redis-cli", &proxy, &["--scan"], b"").lines().map(str::to_owned).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 202);
    assert_eq!(run("redis-cli", &proxy, &["--scan", "--pattern", "long*"], b""), "longest\n");
    let shown = run("redis-cli", &proxy, &["--bigkeys"], b"");
    assert!(shown.contains("202 keys"), "{shown}");
    for (key, size) in [("largest", "5000 bytes"), ("longest", "4 items")] {
        assert!(shown.lines().any(|line| line.contains(key) && line.contains(size)), "{key}: {shown}");
    }
    let shown = run("redis-cli", &proxy, &["--memkeys"], b"");
    assert!(shown.contains("202 keys"), "{shown}");
}

#[test]
fn redis_cli_writes_in_masses() {
    const COUNT: usize = 20_000;
    let (_cluster, proxy) = served();
    let lines: String = (0..COUNT).map(|number| format!("SET key:{number} {number}\r\n")).collect();
    let shown = run("redis-cli", &proxy, &["--pipe"], lines.as_bytes());
    assert!(shown.contains(&format!("errors: 0, replies: {COUNT}")), "{shown}");
    assert_eq!(proxy.reply("DBSIZE"), COUNT.to_string());
    assert_eq!(proxy.reply("MGET key:0 key:19999"), "[\"0\", \"19999\"]");
    let shown = run("redis-cli", &proxy, &[], b"SET k 1\nINCR k\nHELLO 3\nHGETALL nothing\nMULTI\nGET k\nEXEC\n");
    for part in ["OK", "2", "QUEUED"] {
        assert!(shown.contains(part), "{shown}");
    }
}
