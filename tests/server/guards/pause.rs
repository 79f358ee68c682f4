//! `CLIENT PAUSE WRITE` holds what it holds of plain clients, and nothing else.

use std::time::Duration;

use crate::common::{Server, eventually};

const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f', function(k) return redis.call('INCR', k[1]) end)";

#[test]
fn a_pause_of_writes_holds_what_plain_holds_and_nothing_else_by_exec_and_fanout() {
    let server = Server::start();
    server.run::<()>(&["FUNCTION", "LOAD", LIBRARY]);
    let sha = server.run::<String>(&["SCRIPT", "LOAD", "return 7"]);
    let own = server.address();
    for command in [
        vec!["FUNCTION", "LIST"],
        vec!["FUNCTION", "STATS"],
        vec!["SCRIPT", "EXISTS", &sha],
        vec!["SCRIPT", "LOAD", "return 8"],
        vec!["EVAL_RO", "return 7", "0"],
        vec!["EVALSHA_RO", &sha, "0"],
        vec!["GET", "k"],
        vec!["DBSIZE"],
    ] {
        for road in [&["RMR.EXEC", "NODE", &own][..], &["RMR.FANOUT", "NODE", &own][..]] {
            server.run::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"]);
            let reply = server.wire().reply_to(&[road, &command].concat());
            assert!(!reply.starts_with('-'), "{road:?} {command:?}: {reply}");
        }
    }
    for command in [
        vec!["SET", "k", "1"],
        vec!["EVAL", "return redis.call('SET', 'k', '1')", "0"],
        vec!["FCALL", "f", "1", "k"],
        vec!["EVALSHA", &sha, "0"],
        vec!["PUBLISH", "c", "m"],
        vec!["PFCOUNT", "p"],
        vec!["FUNCTION", "FLUSH"],
    ] {
        for road in ["RMR.EXEC", "RMR.FANOUT"] {
            server.run::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"]);
            let reply = server.wire().reply_to(&[&[road, "NODE", &own, "TIMEOUT", "150"][..], &command].concat());
            assert!(reply.starts_with('-'), "{road} {command:?}: {reply}");
            assert_eq!(server.reply("RMR.EXEC EXISTS k"), "0", "{command:?}");
            server.run::<()>(&["CLIENT", "UNPAUSE"]);
            // A command that was given up may run now.
            server.run::<()>(&["DEL", "k"]);
        }
    }
}

#[test]
fn what_a_pause_of_writes_holds_is_done_when_it_ends() {
    let server = Server::start();
    let mut wires = [server.wire(), server.wire()];
    server.run::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    wires[0].send(&["RMR.EXEC", "EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"]);
    wires[1].send(&["RMR.EXEC", "INCRBY", "n", "10"]);
    eventually(Duration::from_secs(10), "both wait", || server.rmr_figure("inflight") == 2);
    assert_eq!(server.reply("RMR.EXEC EXISTS n"), "0");
    server.run::<()>(&["CLIENT", "UNPAUSE"]);
    wires.iter_mut().for_each(|wire| assert_eq!(wire.read_frame()[0], b':'));
    assert_eq!(server.reply("GET n"), "\"11\"");
}
