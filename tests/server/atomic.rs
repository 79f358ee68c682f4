//! Tests that an act which the server does in one piece stays in one piece: while a script runs, while a data set is loaded, no
//! turn of a distributed request comes in between, although the server looks after its clients meanwhile.

use std::time::Duration;

use crate::common::{Server, eventually, text_of, while_repeating};

const SOON: Duration = Duration::from_secs(10);

/// More keys than fit into one turn on the main thread, many times over.
const KEYS: usize = 8_000;

#[test]
fn a_script_that_runs_for_long_sees_no_change_made_by_others() {
    let server = Server::builder().config("busy-reply-threshold", "5").start();
    server.run::<()>(&["SET", "counter", "0"]);
    let mut increment = vec!["RMR.MAP".to_owned(), "COUNT".to_owned(), KEYS.to_string()];
    increment.extend(std::iter::repeat_n("counter".to_owned(), KEYS));
    increment.push("INCR".to_owned());
    let script = "local before = redis.call('GET', KEYS[1])
        local until_then = redis.call('TIME')
        local function micros(time) return time[1] * 1000000 + time[2] end
        while micros(redis.call('TIME')) < micros(until_then) + 60000 do end
        return {before, redis.call('GET', KEYS[1])}";

    let incrementing = |_: &usize| {
        let mut wire = server.wire();
        let increment = &increment;
        move || {
            let reply = wire.ask(increment);
            assert!(reply == format!(":{KEYS}") || reply.starts_with("-BUSY"), "{reply}");
        }
    };
    let mut seen = Vec::new();
    while_repeating(&[0, 1], incrementing, || {
        let mut wire = server.wire();
        // Where scripts follow closely, others may be told to come back for a while.
        while seen.len() < 10 || seen.len() < 200 && seen.first() == seen.last() {
            seen.push(text_of(&wire.call(&["EVAL", script, "1", "counter"])));
        }
    });
    for pair in &seen {
        let words: Vec<&str> = pair.split(' ').collect();
        assert!(words.len() == 5 && words[2] == words[4], "the counter changed under a script: {pair}");
    }
    assert_ne!(seen.first(), seen.last(), "nothing was incremented");
    assert!(server.alive());
}

#[test]
fn a_replica_that_loads_anew_gives_the_true_sum_or_an_error() {
    let primary = Server::builder().config("repl-diskless-sync-delay", "0").start();
    let replica = Server::builder()
        .config("loading-process-events-interval-bytes", "1024")
        .config("key-load-delay", "20")
        .config("replica-serve-stale-data", "yes")
        .start();
    let mut set = vec!["MSET".to_owned()];
    let mut sum = vec!["RMR.SUM".to_owned()];
    for number in 0..KEYS {
        set.extend([format!("key:{number}"), "1".to_owned()]);
        sum.push(format!("key:{number}"));
    }
    assert_eq!(primary.wire().ask(&set), "+OK");
    let in_sync = || {
        eventually(SOON, "the replica is in sync", || {
            replica.try_run::<String>(&["INFO", "replication"]).is_ok_and(|info| info.contains("master_link_status:up"))
        });
    };
    replica.run::<()>(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    in_sync();
    let truth = format!(":{KEYS}");
    let ask = |_: &usize| {
        let mut wire = replica.wire();
        let (sum, truth, replica) = (&sum, &truth, &replica);
        move || match wire.try_call(sum).map(|frame| text_of(&frame)) {
            Ok(reply) => assert!(reply == *truth || reply.starts_with('-'), "{reply}, not {truth}"),
            Err(_) => wire = replica.wire(),
        }
    };
    while_repeating(&[0, 1, 2], ask, || {
        for _ in 0..4 {
            // The primary calls itself by another name, so the replica takes everything anew.
            primary.run::<()>(&["DEBUG", "CHANGE-REPL-ID"]);
            let synced = primary.figure("stats", "sync_full");
            primary.run::<()>(&["CLIENT", "KILL", "TYPE", "replica"]);
            eventually(SOON, "it is sent anew", || primary.figure("stats", "sync_full") > synced);
            in_sync();
        }
    });
    assert_eq!(replica.wire().ask(&sum), truth);
}
