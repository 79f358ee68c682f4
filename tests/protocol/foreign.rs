//! Replies that no server of today sends, and that a module or a proxy may: they pass, or fail their request alone.

use crate::common::{FakeNode, Server, show};

/// Returns a server whose only shard is a node that answers these bytes.
fn in_front_of(bytes: impl Into<Vec<u8>>) -> Server {
    let node = FakeNode::answering(bytes);
    let server = Server::start();
    server.run::<()>(&["CONFIG", "SET", "rmr.nodes", &node.address()]);
    server
}

/// Returns what comes of these bytes in a fan-out through rmr, in RESP2 and in RESP3.
fn passed(bytes: impl Into<Vec<u8>>) -> [String; 2] {
    let server = in_front_of(bytes);
    [server.wire(), server.wire3()].map(|mut wire| {
        let reply = wire.call(&["RMR.FANOUT", "GET", "k"]);
        reply.strip_prefix(b"*1\r\n").unwrap_or(&reply).escape_ascii().to_string()
    })
}

#[test]
fn attributes_go_to_callers_that_know_them() {
    let reply = b"|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n";
    assert_eq!(passed(reply), [r"$1\r\nv\r\n", r"|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n"]);
    let within = b"*2\r\n|1\r\n$1\r\na\r\n%1\r\n+k\r\n,0.5\r\n:1\r\n:2\r\n";
    let three = r"*2\r\n|1\r\n$1\r\na\r\n%1\r\n+k\r\n,0.5\r\n:1\r\n:2\r\n";
    assert_eq!(passed(within), [r"*2\r\n:1\r\n:2\r\n", three]);
}

#[test]
fn a_number_with_attributes_is_a_number() {
    let server = in_front_of(b"|1\r\n+unit\r\n+ms\r\n:41\r\n");
    assert_eq!(server.reply("RMR.FANOUT REDUCE SUM GET k"), "41");
    assert_eq!(server.reply3("RMR.SUM k k"), "82");
}

#[test]
fn maps_may_have_any_keys() {
    let reply = b"%2\r\n:1\r\n#t\r\n*1\r\n_\r\n~0\r\n";
    assert_eq!(passed(reply), [r"*4\r\n:1\r\n:1\r\n*1\r\n$-1\r\n*0\r\n", r"%2\r\n:1\r\n#t\r\n*1\r\n_\r\n~0\r\n"]);
}

#[test]
fn nulls_of_either_protocol_are_null() {
    assert_eq!(passed("$-1\r\n"), [r"$-1\r\n", r"_\r\n"]);
    assert_eq!(passed("*-1\r\n"), [r"*-1\r\n", r"_\r\n"]);
    assert_eq!(passed("_\r\n"), [r"$-1\r\n", r"_\r\n"]);
}

#[test]
fn a_not_a_number_is_a_double_that_no_sum_takes() {
    let [resp2, resp3] = passed(",nan\r\n");
    assert_eq!(resp2, r"$3\r\nnan\r\n");
    assert!(resp3 == r",nan\r\n" || resp3 == r"$3\r\nnan\r\n", "{resp3}");
    let error = in_front_of(",nan\r\n").reply("RMR.FANOUT REDUCE SUM GET k");
    assert!(error.starts_with("-RMRMIXED SUM cannot take a double from "), "{error}");
}

#[test]
fn a_long_error_is_one_line() {
    let node = FakeNode::answering("!22\r\nSYNTAX invalid\r\nsyntax\r\n");
    let server = Server::start();
    server.run::<()>(&["CONFIG", "SET", "rmr.nodes", &node.address()]);
    for reply in [server.reply("RMR.FANOUT PARTIAL GET k"), server.reply3("RMR.FANOUT PARTIAL GET k")] {
        assert_eq!(reply, format!("[-RMRSHARD {}: SYNTAX invalid  syntax]", node.address()));
    }
}

#[test]
fn a_simple_string_is_not_cut_at_a_zero() {
    let [resp2, resp3] = passed("+a\0b\r\n");
    assert_eq!(resp2, resp3);
    assert!(resp2.contains(r"a\x00b"), "{resp2}");
}

#[test]
fn verbatim_strings_keep_their_format() {
    assert_eq!(passed("=7\r\nmkd:# x\r\n"), [r"$3\r\n# x\r\n", r"=7\r\nmkd:# x\r\n"]);
}

#[test]
fn a_reply_that_nests_without_end_fails_its_request_alone() {
    let deep = [&b"*1\r\n".repeat(5000)[..], b":1\r\n"].concat();
    let server = in_front_of(deep);
    for _ in 0..3 {
        let error = server.reply("RMR.FANOUT GET k");
        assert!(error.contains("nests deeper than"), "{error}");
    }
    assert_eq!(server.rmr_figure("connects"), 1, "the link is still good");
}

#[test]
fn a_node_that_does_not_speak_resp_is_an_error_that_names_it() {
    for bytes in ["HTTP/1.1 400 Bad Request\r\n", "$x\r\n", "*99999999999999\r\n", ":notanumber\r\n", ":1\n", "\r\n"] {
        let node = FakeNode::answering(bytes);
        let server = Server::start();
        server.run::<()>(&["CONFIG", "SET", "rmr.nodes", &node.address()]);
        for _ in 0..2 {
            let error = server.reply("RMR.FANOUT TIMEOUT 5000 GET k");
            let named = format!("-RMRNODE {}: ", node.address());
            assert!(error.starts_with(&named) && error.contains("does not speak RESP"), "{error}");
        }
        assert_eq!(server.reply("PING"), "+PONG");
    }
}

#[test]
fn a_reply_that_nobody_asked_for_does_not_become_anothers() {
    let server = in_front_of(":1\r\n:2\r\n");
    for _ in 0..20 {
        let reply = show(&server.wire().call(&["RMR.FANOUT", "GET", "k"]));
        assert!(reply == "[1]" || reply.starts_with("-RMRNODE "), "{reply}");
    }
}

#[test]
fn an_announced_length_is_not_believed_before_it_is_there() {
    let server = in_front_of("$1000000000000\r\nshort");
    let error = server.reply("RMR.FANOUT TIMEOUT 300 GET k");
    assert!(error.starts_with("-RMRTOOBIG ") || error.starts_with("-RMRTIMEOUT "), "{error}");
    assert!(server.figure("memory", "used_memory") < 100 << 20);
}

#[test]
fn a_greeting_without_end_is_not_gathered() {
    let node = FakeNode::with(|_| [b"$1000000000\r\n", &vec![b'x'; 2 << 20][..]].concat());
    let server = Server::start();
    server.run::<()>(&["CONFIG", "SET", "rmr.nodes", &node.address()]);
    let error = server.reply("RMR.FANOUT GET k");
    assert!(error.starts_with(&format!("-RMRNODE {}: ", node.address())), "{error}");
    assert!(error.contains("first words with more than 1048576 bytes"), "{error}");
}

/// As servers before Redis 6 are: one password without a user, and no `HELLO`.
#[test]
fn a_server_that_knows_no_users_is_logged_in_to_by_its_password() {
    let old = FakeNode::with(|command| {
        let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let answer: &[u8] = match words[..] {
            [b"AUTH", b"secret"] | [b"SELECT", b"3"] => b"+OK\r\n",
            [b"AUTH", _] => b"-ERR invalid password\r\n",
            [b"AUTH", ..] => b"-ERR wrong number of arguments for 'auth' command\r\n",
            [b"GET", b"k"] => b"$3\r\nold\r\n",
            _ => b"-ERR unknown command\r\n",
        };
        answer.into()
    });
    let server = Server::start();
    let get = |login: &str| {
        server.run::<()>(&["CONFIG", "SET", "rmr.nodes", &format!("redis://{login}@{}/3", old.address())]);
        server.reply("RMR.EXEC GET k")
    };
    assert_eq!(get(":secret"), "\"old\"");
    assert_eq!(get("default:secret"), "\"old\"");
    assert!(get(":wrong").ends_with(": ERR invalid password"));
    assert!(get("app:secret").ends_with(": ERR wrong number of arguments for 'auth' command"));
}
