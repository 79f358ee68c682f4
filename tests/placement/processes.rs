//! The example as its readers would run it: workers that come, are killed, and leave.

use std::process::Command;

use rmr::testing::{Server, eventually};

use crate::common::example_bin;
use crate::group::{LIMIT, url};
use crate::pool::{SLOTS, Worker, done, holders, push, settled};

/// R9, R14, R22: one of three workers is killed with kill -9 while they work; its slots, and only they, go to the others, and
/// every job is done once.
#[test]
fn a_killed_worker_is_replaced() {
    let server = Server::start();
    let mut workers = ["one", "two", "three"].map(|id| Worker::start(&server, id, 1));
    settled(&server, &["one", "two", "three"], 1);
    let jobs: Vec<String> = (0..600).map(|number| format!("5 job {number}")).collect();
    jobs.iter().for_each(|job| {
        push(&server, job);
    });
    eventually(LIMIT, "some are done", || done(&server).len() > 50);
    let before = holders(&server);
    workers[2].process.signal("KILL");
    eventually(LIMIT, "it is dead", || !workers[2].process.alive());
    settled(&server, &["one", "two"], 1);
    for (slot, (before, after)) in before.iter().zip(holders(&server)).enumerate() {
        assert!(*before == after || *before == ["three"], "slot {slot}: from {before:?} to {after:?}");
    }
    eventually(LIMIT, "all are done", || done(&server).len() == jobs.len());
    assert!(done(&server).iter().all(|times| *times == 1));
}

/// R35: a worker that is asked to end hands its slots over first.
#[test]
fn a_worker_that_ends_leaves_nothing_short() {
    let server = Server::start();
    let (one, mut two) = (Worker::start(&server, "one", 1), Worker::start(&server, "two", 1));
    settled(&server, &["one", "two"], 1);
    two.process.signal("TERM");
    two.await_line("left 0 slots short");
    eventually(LIMIT, "it has ended", || !two.process.alive());
    settled(&server, &["one"], 1);
    one.process.signal("INT");
    one.await_line(&format!("left {SLOTS} slots short"));
}

#[test]
fn jobs_are_pushed_from_the_command_line() {
    let server = Server::start();
    let _one = Worker::start(&server, "one", 1);
    let run = |arguments: &[&str]| Command::new(example_bin("member")).args(arguments).output().expect("its output");
    assert!(run(&["push", &url(&server), "1 apples", "1 pears"]).status.success());
    eventually(LIMIT, "both are done", || done(&server) == [1, 1]);
    let usage = run(&[]);
    assert!(!usage.status.success() && String::from_utf8_lossy(&usage.stderr).contains("usage: member work"));
}
