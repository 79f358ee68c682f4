//! The inner command as somebody sends it who is no node: it refuses, and the server lives.

use std::hash::{BuildHasher, RandomState};

use crate::common::{Server, elements};

/// A server on its own shares no secret with others, and so does not hide the command.
fn server() -> Server {
    Server::start()
}

#[test]
fn it_says_its_version() {
    assert_eq!(server().reply("RMR.INNER"), "4");
}

#[test]
fn what_is_no_request_is_declined() {
    let server = server();
    let mut wire = server.wire();
    let mut declined = |request: &[u8]| wire.reply_to(&[b"RMR.INNER", request]);
    assert_eq!(declined(b""), "-RMRDECLINED the request is malformed: it is empty");
    assert_eq!(declined(b"\x02more"), "-RMRDECLINED the request has version 2, this node has 4");
    assert_eq!(declined(b"\x03more"), "-RMRDECLINED the request has version 3, this node has 4");
    assert_eq!(declined(b"\x04"), "-RMRDECLINED the request is malformed: it is damaged");
    // Kinds 0 to 5, and no 6: id 17, no time, no bytes, RESP2.
    let of_kind = |kind: &[u8]| [b"\x04\x11\0\0\0", kind].concat();
    for kind in
        [&b"\x00"[..], b"\x01", b"\x01\x05four", b"\x02", b"\x03\xff\xff\xff\xff\xff", b"\x04", b"\x06", b"\xff"]
    {
        assert_eq!(declined(&of_kind(kind)), "-RMRDECLINED the request is malformed: it is damaged", "{kind:?}");
    }
    for kind in [&b"\x05\0"[..], b"\x01\0\0", b"\x05\x05"] {
        let more = "-RMRDECLINED the request is malformed: there is more than the request";
        assert_eq!(declined(&of_kind(kind)), more, "{kind:?}");
    }
    assert_eq!(server.reply("RMR.INNER a b"), "-ERR give no argument, or one request");
    assert_eq!(server.reply("RMR.INNER GIVEUP 17"), "-ERR give no argument, or one request");
}

#[test]
fn a_request_that_is_not_under_way_cannot_be_given_up() {
    let server = server();
    let mut wire = server.wire();
    let given_up = wire.call(&[&b"RMR.INNER"[..], b"\x04\x11\0\0\0\x05"]);
    assert_eq!(given_up, b"$4\r\n\x04\x00\x01\x00\r\n", "version 4, done, one byte: it was not known");
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
        let request: Vec<u8> = [4].into_iter().chain((0..length).map(|_| next() as u8)).collect();
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
    wire.call(&[&b"RMR.INNER"[..], b"\x04\x11\0\0\0\x05"]);
    let reply = wire.call(&["EXEC"]);
    let reply = String::from_utf8_lossy(elements(&reply)[0]).into_owned();
    assert!(reply.contains("\x04\x01") && reply.contains("in MULTI, scripts and calls from other modules"), "{reply}");
}
