//! Databases of a server without a cluster, and its memory limit.

use crate::common::{Server, show};

/// Enough keys that their commands are not run in one go.
const MANY: usize = 20_000;

/// `RMR.MAP reducer n k:0 k:1 ... command`, as words.
fn map_over_many(reducer: &str, command: &str) -> Vec<String> {
    let start = ["RMR.MAP".to_owned(), reducer.to_owned(), MANY.to_string()];
    let keys = (0..MANY).map(|number| format!("k:{number}"));
    start.into_iter().chain(keys).chain(command.split(' ').map(str::to_owned)).collect()
}

#[test]
fn a_request_sees_the_selected_database() {
    let server = Server::start();
    let mut wires: Vec<_> = (0..3).map(|_| server.wire()).collect();
    for (database, wire) in wires.iter_mut().enumerate() {
        assert_eq!(wire.reply(&format!("SELECT {database}")), "+OK");
        assert_eq!(wire.reply(&format!("SET n {}", database * 10 + 1)), "+OK");
    }
    for (database, wire) in wires.iter_mut().enumerate() {
        let value = database * 10 + 1;
        assert_eq!(wire.reply("RMR.SUM n n"), (2 * value).to_string());
        assert_eq!(wire.reply("RMR.FANOUT DBSIZE"), "[1]");
        assert_eq!(wire.reply("RMR.MAP LIST 1 m SET {} x"), "[+OK]");
        assert_eq!(wire.reply("DBSIZE"), "2");
        assert_eq!(wire.reply("MULTI"), "+OK");
        wire.reply("RMR.SUM n");
        assert_eq!(wire.reply("EXEC"), format!("[{value}]"));
    }
}

#[test]
fn so_does_a_request_that_takes_several_turns() {
    let server = Server::start();
    let (mut third, mut first) = (server.wire(), server.wire());
    assert_eq!(third.reply("SELECT 3"), "+OK");
    assert_eq!(third.reply_to(&map_over_many("COUNT", "SET {} 1")), MANY.to_string());
    assert_eq!(third.reply("DBSIZE"), MANY.to_string());
    assert_eq!(first.reply("DBSIZE"), "0");
    assert_eq!(first.reply_to(&map_over_many("SUM", "INCRBY {} 2")), (2 * MANY).to_string());
    assert_eq!(third.reply_to(&map_over_many("SUM", "GET")), MANY.to_string());
}

/// Returns the number of times that another client is answered while these long requests are under way and none is done.
fn answered_meanwhile(server: &Server, requests: usize) -> usize {
    server.run::<()>(&["CONFIG", "RESETSTAT"]);
    // All of them are to be done, however busy the machine is.
    server.run::<()>(&["CONFIG", "SET", "rmr.timeout-ms", "60000"]);
    let mut long: Vec<_> = (0..requests).map(|_| server.wire()).collect();
    for wire in &mut long {
        wire.send(&map_over_many("SUM", "INCR"));
    }
    let (mut answered, mut other) = (0, server.wire());
    loop {
        assert!(other.reply("RMR.FANOUT CONFIG GET port").starts_with("[[\"port\", "));
        let done = server.calls_of("incr") as usize;
        if done == requests * MANY {
            break;
        }
        answered += usize::from(done > 0);
    }
    for wire in &mut long {
        assert!(!show(&wire.read_frame()).starts_with('-'));
    }
    answered
}

#[test]
fn long_requests_do_not_keep_others_out() {
    let server = Server::start();
    let alone = answered_meanwhile(&server, 1);
    assert!(alone > 0, "one request was worked off in one go");
    let together = answered_meanwhile(&server, 8);
    assert!(together > 8, "eight requests took turns among themselves: only {together} answers for another client");
}

#[test]
fn a_server_that_is_full_takes_no_writes() {
    let server = Server::start();
    server.run::<()>(&["SET", "n", "1"]);
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let name = server.address();
    let full = format!("-RMRSHARD {name}: OOM command not allowed when used memory > 'maxmemory'.");
    let reply = server.reply("RMR.MAP LIST 2 n m SET {} 2");
    assert_eq!(reply, format!("{full} (key 'n')"));
    let reply = server.reply("RMR.FANOUT SET n 2");
    assert_eq!(reply, full);
    assert_eq!(server.reply("RMR.SUM n"), "1", "reads go on");
    assert_eq!(server.reply("RMR.MAP LIST 1 n DEL"), "[1]", "and so does what frees memory");
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(server.reply("RMR.MAP LIST 1 n SET {} 2"), "[+OK]");
}

#[test]
fn a_long_write_makes_room_as_any_other() {
    let server = Server::builder().config("maxmemory-policy", "allkeys-lru").start();
    let used = server.figure("memory", "used_memory");
    server.run::<()>(&["CONFIG", "SET", "maxmemory", &(used + (4 << 20)).to_string()]);
    let value = "x".repeat(1000);
    let reply = server.wire().reply_to(&map_over_many("COUNT", &format!("SET {{}} {value}")));
    assert!(reply == MANY.to_string() || reply.contains(": OOM "), "{reply}");
    assert!(server.figure("stats", "evicted_keys") > 0);
    assert!(server.run::<usize>(&["DBSIZE"]) < MANY);
}
