//! Executions: asked for from any node, waited for, cancelled, forgotten, and whose they are.

use std::time::{Duration, Instant};

use crate::common::{Server, eventually};
use crate::servers::Servers;

/// Returns the id that an execution in the background was given.
fn begin(node: &Server, map: &str) -> String {
    let id = node.reply(&format!("RMR.MAP ASYNC {map}"));
    assert!(id.starts_with('"'), "{id}");
    id.trim_matches('"').to_owned()
}

/// Returns a map that takes long: a script for each key.
fn slow<'a>(options: &[&'a str]) -> Vec<&'a str> {
    const SCRIPT: &str = "local n = 0 for i = 1, 200000 do n = n + i end return 1";
    [&["RMR.MAP"], options, &["SUM", "MATCH", "user:*", "EVAL", SCRIPT, "1", "{}"]].concat()
}

fn fill(servers: &Servers, count: usize) {
    let node = &servers.asked()[0];
    for number in 0..count {
        node.reply(&format!("RMR.EXEC SET user:{number} 1"));
    }
}

#[test]
fn a_job_is_seen_and_its_result_taken_from_any_node() {
    for servers in Servers::all() {
        let kind = servers.kind;
        fill(&servers, 30);
        let id = begin(&servers.asked()[0], "SUM MATCH user:* GET");
        for node in servers.asked() {
            assert_eq!(node.reply(&format!("RMR.JOB RESULT {id} BLOCK 20000")), "30", "{kind}");
            let status = node.reply3(&format!("RMR.JOB STATUS {id}"));
            for part in [
                format!("{{\"id\": \"{id}\", \"state\": \"done\", \"user\": \"default\""),
                "\"command\": \"RMR.MAP ASYNC SUM MATCH user:* GET\"".into(),
                "\"percent\": ,100, \"keys\": 30, ".into(),
                "\"slots-left\": 0, \"eta-ms\": nil, \"stages\": [{\"in\": 30, \"out\": 30}], \"error\": nil}".into(),
            ] {
                assert!(status.contains(&part), "{kind}: {part} in {status}");
            }
            assert!(node.reply3("RMR.JOB LIST").contains(&format!("\"id\": \"{id}\"")), "{kind}");
        }
        let last = servers.asked().last().expect("a node");
        assert_eq!(last.reply(&format!("RMR.JOB FORGET {id}")), "+OK", "{kind}");
        for question in ["STATUS", "RESULT", "CANCEL", "FORGET"] {
            let error = last.reply(&format!("RMR.JOB {question} {id}"));
            assert!(error.starts_with(&format!("-NOJOB there is no execution {id} ")), "{kind}: {error}");
        }
    }
}

#[test]
fn a_job_that_runs_is_cancelled_at_once_and_says_so() {
    for servers in [Servers::single(), Servers::cluster()] {
        let kind = servers.kind;
        fill(&servers, 600);
        let node = &servers.asked()[0];
        let last = servers.asked().last().expect("a node");
        let id = node.wire().reply_to(&slow(&["ASYNC"])).trim_matches('"').to_owned();
        let running = format!("-NOTREADY {id} still runs; ");
        assert!(last.reply(&format!("RMR.JOB RESULT {id}")).starts_with(&running), "{kind}");
        assert!(last.reply(&format!("RMR.JOB FORGET {id}")).starts_with(&running), "{kind}");
        let begun = Instant::now();
        assert_eq!(last.reply(&format!("RMR.JOB CANCEL {id}")), "+OK", "{kind}");
        let error = last.reply(&format!("RMR.JOB RESULT {id} BLOCK 20000"));
        let took = begun.elapsed();
        assert!(error.starts_with("-RMRCANCELLED "), "{kind}: {error}");
        // 100 ms are promised; this is no build for speed, on a machine that does other things.
        assert!(took < Duration::from_secs(3), "{kind}: {took:?}");
        let status = node.reply3(&format!("RMR.JOB STATUS {id}"));
        assert!(status.contains("\"state\": \"cancelled\""), "{kind}: {status}");
        assert_eq!(last.reply(&format!("RMR.JOB FORGET {id}")), "+OK", "{kind}");
    }
}

#[test]
fn a_client_that_goes_away_cancels_what_only_reads_and_nothing_else() {
    let servers = Servers::cluster();
    fill(&servers, 600);
    let node = &servers.asked()[0];
    let state = |count: usize| {
        let list = node.reply3("RMR.JOB LIST");
        list.split("\"state\": \"").nth(count).map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
    };
    // EVAL_RO only reads.
    let mut words = slow(&[]);
    let eval = words.iter().position(|word| *word == "EVAL").expect("the script");
    words[eval] = "EVAL_RO";
    let mut wire = node.wire();
    wire.send(&words);
    eventually(Duration::from_secs(10), "it runs", || state(1).as_deref() == Some("running"));
    drop(wire);
    eventually(Duration::from_secs(10), "it is cancelled", || state(1).as_deref() == Some("cancelled"));

    words[eval] = "EVAL";
    let mut wire = node.wire();
    wire.send(&words);
    eventually(Duration::from_secs(10), "the next one runs", || state(1).as_deref() == Some("running"));
    drop(wire);
    eventually(Duration::from_secs(60), "it ends by itself", || state(1).as_deref() == Some("done"));
}

#[test]
fn users_see_their_own_executions_and_who_may_do_everything_sees_all() {
    let servers = Servers::cluster();
    fill(&servers, 10);
    for node in servers.asked() {
        for user in ["ann", "bob"] {
            node.run::<()>(&["ACL", "SETUSER", user, "on", ">pw", "~*", "&*", "-@all", "+rmr.map", "+rmr.job", "+get"]);
        }
    }
    let as_user = |node: &Server, user: &str| {
        let mut wire = node.wire();
        assert_eq!(wire.reply(&format!("AUTH {user} pw")), "+OK");
        wire
    };
    let [first, .., last] = servers.asked() else { panic!("three nodes") };
    let id = as_user(first, "ann").reply("RMR.MAP ASYNC SUM MATCH user:* GET").trim_matches('"').to_owned();
    for node in [first, last] {
        assert_eq!(as_user(node, "ann").reply(&format!("RMR.JOB RESULT {id} BLOCK 20000")), "10");
        assert!(as_user(node, "ann").reply("RMR.JOB LIST").contains(&id));
        for question in ["STATUS", "RESULT", "CANCEL", "FORGET"] {
            let error = as_user(node, "bob").reply(&format!("RMR.JOB {question} {id}"));
            assert!(error.starts_with("-NOJOB "), "{error}");
        }
        assert_eq!(as_user(node, "bob").reply("RMR.JOB LIST"), "[]");
        assert!(
            node.reply3("RMR.JOB LIST").contains(&format!("\"id\": \"{id}\", \"state\": \"done\", \"user\": \"ann\""))
        );
    }
    let denied = as_user(first, "ann").reply("RMR.MAP SUM MATCH user:* STRLEN");
    assert!(denied.contains("NOPERM"), "{denied}");
}

#[test]
fn secrets_are_not_shown() {
    let server = Server::start();
    server.run::<()>(&["SET", "k", "1"]);
    let id = begin(&server, "LIST MATCH k MIGRATE h 1 {} 0 9 AUTH secret");
    server.reply(&format!("RMR.JOB RESULT {id} BLOCK 20000"));
    let list = server.reply("RMR.JOB LIST");
    assert!(list.contains("(redacted)") && !list.contains("secret"), "{list}");
}

#[test]
fn a_module_with_executions_is_not_unloaded() {
    let server = Server::builder().unloadable().start();
    for number in 0..400 {
        server.run::<()>(&["SET", &format!("user:{number}"), "1"]);
    }
    let id = server.wire().reply_to(&slow(&["ASYNC"])).trim_matches('"').to_owned();
    assert!(server.reply("MODULE UNLOAD rmr").starts_with('-'), "one runs");
    assert_eq!(server.reply(&format!("RMR.JOB CANCEL {id}")), "+OK");
    assert!(server.reply(&format!("RMR.JOB RESULT {id} BLOCK 20000")).starts_with("-RMRCANCELLED"));
    eventually(Duration::from_secs(10), "it is unloaded", || server.reply("MODULE UNLOAD rmr") == "+OK");
}
