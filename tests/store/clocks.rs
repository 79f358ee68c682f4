//! The clock of a proxy's machine may be wrong, and be set while all runs (S12).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rmr::testing::ScratchDir;

use super::copies::{holders, node, two_copies};
use super::lease::sequencers;
use super::{SOON, await_served, url};
use crate::common::{RmrProxy, Server, eventually, poll};

/// The library that says another time than the system's, where Debian has it.
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// The time that keys live, in milliseconds.
const LIVES: i64 = 60_000;

/// Starts a proxy that takes the time for another one, as a file says.
fn proxy_with_clock(config: &Server, file: &Path) -> RmrProxy {
    let machine = Command::new("cc").arg("-print-multiarch").output().expect("cc");
    let machine = String::from_utf8(machine.stdout).unwrap();
    let library = format!("/usr/lib/{}/{LIBRARY}", machine.trim());
    assert!(Path::new(&library).exists(), "{library} is missing: the package faketime has it");
    RmrProxy::builder()
        .set("placement", url(config))
        .env("LD_PRELOAD", &library)
        .env("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        // Clocks that only count are right everywhere.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .start()
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Returns by how many hours the last line of a proxy's log is ahead, from `2026-01-31T23:59:59`.
fn hours_ahead(proxy: &RmrProxy) -> i64 {
    let log = proxy.log();
    let last =
        log.lines().rev().find(|line| line.len() > 19 && line.as_bytes()[10] == b'T').expect("a line of the log");
    let seconds = Command::new("date").args(["-u", "+%s", "-d", &last[..19]]).output().expect("date");
    let seconds: i64 = String::from_utf8(seconds.stdout).unwrap().trim().parse().expect("a time in the log");
    ((seconds - now() / 1000) as f64 / 3600.0).round() as i64
}

/// S12: the clock of a proxy is an hour ahead, and is set back by two hours. Keys expire when they should, at the same millisecond
/// at all copies, and no proxy is taken for dead.
#[test]
fn clocks_of_proxies_may_be_wrong() {
    let (config, nodes, right) = two_copies::<3>(&[]);
    let dir = ScratchDir::new();
    let file = dir.path().join("clock");
    fs::write(&file, "+3600\n").unwrap();
    let wrong = proxy_with_clock(&config, &file);
    await_served(&wrong);
    assert_eq!(hours_ahead(&wrong), 1, "{}", wrong.log());
    let has_share = || right.log().contains("are handed over to other proxies");
    eventually(SOON, "the other proxy has its share", has_share);
    let before = sequencers(&config);
    for (round, offset) in ["+3600\n", "-3600\n"].iter().enumerate() {
        fs::write(&file, offset).unwrap();
        // Longer than a proxy is known that says nothing.
        poll(Duration::from_millis(2500), || None::<()>);
        for number in 0..20 {
            let key = format!("key:{round}:{number}");
            let asked = now();
            assert_eq!(wrong.reply(&format!("SET {key} 1 PX {LIVES}")), "+OK");
            let expires: Vec<i64> =
                holders(&config, &key).iter().map(|at| node(&nodes, at).run(&["PEXPIRETIME", &key])).collect();
            assert_eq!(expires[0], expires[1], "{key}");
            assert!((asked + LIVES - 1000..now() + LIVES + 1000).contains(&expires[0]), "{key} in round {round}");
        }
    }
    assert_eq!(sequencers(&config), before);
    assert_eq!(right.reply("EXISTS key:0:0"), "1");
}
