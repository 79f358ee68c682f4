//! The inner command as somebody sends it who is no node: it refuses, and the server lives.

use std::hash::{BuildHasher, RandomState};

use crate::common::{Server, elements};

/// A server on its own shares no secret with others, and so does not hide the command.
fn server() -> Server {
    Server::start()
}

#[test]
fn it_says_its_version() {
    assert_eq!(server().reply("RMR.INNER"), "3");
}

#[test]
fn what_is_no_request_is_declined() {
    let server = server();
    let mut wire = server.wire();
    let mut declined = |request: &[u8]| wire.reply_to(&[b"RMR.INNER", request]);
    assert_eq!(declined(b""), "-RMRDECLINED the request is malformed: it is empty");
    assert_eq!(declined(b"\x02more"), "-RMRDECLINED the request has version 2, this node has 3");
    assert_eq!(declined(b"\x03"), "-RMRDECLINED the request is malformed: it is damaged");
    assert_eq!(server.reply("RMR.INNER a b"), "-ERR give no argument, a request, or GIVEUP and the id of one");
    assert_eq!(server.reply("RMR.INNER GIVEUP x"), "-ERR GIVEUP needs the id of a request, a number");
    assert_eq!(server.reply("RMR.INNER GIVEUP 17"), "0");
    assert_eq!(server.reply("RMR.INNER a b c"), "-ERR give no argument, a request, or GIVEUP and the id of one");
}

#[test]
fn random_bytes_do_no_harm() {
    let server = server();
    let mut wire = server.wire();
    let mut seed = RandomState::new().hash_one(server.port());
    let mut next = || {
        // Marsaglia's xorshift.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..3000 {
        let length = next() % 200;
        let request: Vec<u8> = [3].into_iter().chain((0..length).map(|_| next() as u8)).collect();
        let reply = wire.reply_to(&[b"RMR.INNER", &request[..]]);
        assert!(reply.starts_with("-RMRDECLINED ") || reply.starts_with('"'), "{reply} to {request:?}");
    }
    assert_eq!(server.reply("PING"), "+PONG");
}

#[test]
fn it_waits_for_nobody_who_cannot_wait() {
    let server = server();
    let mut wire = server.wire();
    wire.call(&["MULTI"]);
    wire.call(&[&b"RMR.INNER"[..], b"\x01"]);
    let reply = wire.call(&["EXEC"]);
    let reply = String::from_utf8_lossy(elements(&reply)[0]).into_owned();
    assert!(reply.starts_with("-RMRDECLINED in MULTI, scripts and calls from other modules"), "{reply}");
}
