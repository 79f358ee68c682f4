//! `rmr.flow-share`: how much of a server's main thread flows get while clients wait, and while nobody does.

use std::time::{Duration, Instant};

use crate::common::{Server, Wire, while_repeating};

const KEYS: usize = 40_000;

/// Returns a server with many keys.
fn filled() -> Server {
    let server = Server::builder().unloadable().start();
    let script = "for i = ARGV[1], ARGV[2] do redis.call('SET', 'k:' .. i, i) end";
    for first in (0..KEYS).step_by(20_000) {
        server.run::<()>(&["EVAL", script, "0", &first.to_string(), &(first + 19_999).to_string()]);
    }
    server
}

/// Has the server run a script of a tenth of a millisecond or two, again and again.
fn busy(server: &Server) -> impl FnMut() + '_ {
    let mut wire = server.wire();
    move || assert_eq!(wire.call(&["EVAL", "for i = 1, 30000 do end return 1", "0"]), b":1\r\n")
}

/// Counts all keys. Returns the time that this took, and how much of it flows had the main thread.
fn count(server: &Server) -> (Duration, Duration) {
    let used = || Duration::from_micros(server.rmr_figure("flow_usec"));
    let (before, began) = (used(), Instant::now());
    let mut wire = Wire::connect_with_timeout(server.port(), Duration::from_secs(120));
    assert_eq!(wire.reply("RMR.MAP TIMEOUT 120000 SUM MATCH k:* STRLEN"), "188890");
    (began.elapsed(), used() - before)
}

#[test]
fn flows_leave_clients_their_share() {
    let server = filled();
    let (alone, _) = count(&server);
    let shares = [5, 25, 100].map(|share: u32| {
        server.run::<()>(&["CONFIG", "SET", "rmr.flow-share", &share.to_string()]);
        let (took, used) = while_repeating(&[(); 8], |()| busy(&server), || count(&server));
        let percent = used.as_micros() * 100 / took.as_micros();
        // While all clients are about to send their next script nobody waits.
        assert!(percent <= u128::from(share) + 10, "{percent} % of {took:?} at a share of {share} %, {alone:?} alone");
        took
    });
    assert!(shares[0] > shares[2], "a small share takes longer: {shares:?}");
    assert!(server.rmr_figure("flow_waits") > 0 && server.rmr_figure("flow_turns") > 0);
}

#[test]
fn the_module_unloads_while_no_flow_runs() {
    let server = filled();
    count(&server);
    assert_eq!(server.reply("MODULE UNLOAD rmr"), "+OK");
    assert_eq!(server.reply("PING"), "+PONG");
}
