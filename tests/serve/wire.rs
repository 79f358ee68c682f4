//! The protocol: lines that people type, arrays, both versions, pipelines, the end of a connection, values of any size.

use std::time::Duration;

use super::{plain_cluster, served};
use crate::common::{Cluster, RmrProxy, Server, Wire, show};

fn single() -> Server {
    Server::builder().module(false).start()
}

#[test]
fn whatever_form_a_request_has_it_is_answered_as_by_a_server() {
    let ((_cluster, proxy), server) = (served(), single());
    let (mut here, mut there) = (proxy.wire(), server.wire());
    for (bytes, replies) in [
        (&b"PING\r\n"[..], 1),
        (b"ping\n", 1),
        (b"\r\n\r\nPING\r\n", 1),
        (b"set k \"a b\\x41\\n\"\r\nget k\r\n", 2),
        (b"  set\t'k'   'it\\'s'  \r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 2),
        (b"*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n", 1),
        (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", 1),
        (b"*2\r\n$4\r\nECHO\r\n$5\r\n\x00\r\n\xff*\r\n", 1),
        (b"*1\r\n$0\r\n\r\n", 1),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n$1\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 2),
        (b"NOSUCH a \"b c\"\r\n", 1),
        (b"GET\r\nGET a b\r\n*1\r\n$3\r\nSET\r\n", 3),
    ] {
        here.send_raw(bytes);
        there.send_raw(bytes);
        for _ in 0..replies {
            assert_eq!(show(&here.read_frame()), show(&there.read_frame()), "{}", bytes.escape_ascii());
        }
    }
}

/// A byte at a time, as slow networks bring them.
#[test]
fn requests_come_in_any_pieces() {
    let (_cluster, proxy) = served();
    let mut wire = proxy.wire();
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\nGET k\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" {
        wire.send_raw(&[*byte]);
    }
    assert_eq!(
        [wire.read_frame(), wire.read_frame(), wire.read_frame()].map(|frame| show(&frame)),
        ["+OK", "\"value\"", "\"value\""]
    );
}

#[test]
fn what_is_no_request_ends_the_connection_in_the_words_of_a_server() {
    let ((_cluster, proxy), server) = (served(), single());
    let long = [b"GET ".to_vec(), vec![b'x'; 70_000]].concat();
    for bytes in [
        &b"*a\r\n"[..],
        b"*2147483648\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$x\r\n",
        b"GET \"a\r\n",
        b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n+\r\n",
        &long,
    ] {
        let read_all = |mut wire: Wire| {
            wire.send_raw(bytes);
            let mut shown = Vec::new();
            // Of the server only the words are compared: it may close the connection before all has been read.
            while let Ok(frame) = wire.try_read_frame() {
                shown.push(show(&frame));
            }
            shown
        };
        let (here, there) = (read_all(proxy.wire()), read_all(server.wire()));
        assert_eq!(here, there, "{}", bytes[..bytes.len().min(40)].escape_ascii());
        assert!(here.last().is_some_and(|last| last.starts_with("-ERR Protocol error: ")), "{here:?}");
    }
    // Some servers take this one.
    let mut wire = proxy.wire();
    wire.send_raw(b"GET \"a\"b\r\n");
    assert_eq!(show(&wire.read_frame()), "-ERR Protocol error: unbalanced quotes in request");
    assert_eq!(proxy.reply("PING"), "+PONG");
}

#[test]
fn hello_is_understood_as_by_a_server() {
    let ((_cluster, proxy), server) = (served(), single());
    let (mut here, mut there) = (proxy.wire(), server.wire());
    for line in [
        "HELLO 4",
        "HELLO x",
        "HELLO 3 BOGUS",
        "HELLO 3 SETNAME",
        "HELLO 3 AUTH default",
        "HELLO 3 AUTH nobody wrong",
        "CLIENT GETNAME",
        "ECHO still-2",
        "GET missing",
    ] {
        assert_eq!(here.reply(line), there.reply(line), "{line}");
    }
    for (line, proto) in [("HELLO", 2), ("HELLO 3 SETNAME me", 3), ("HELLO", 3), ("HELLO 2", 2), ("HELLO 3", 3)] {
        let hello = here.reply(line);
        for part in
            [&format!("\"proto\"{} {proto}", if proto == 3 { ":" } else { "," }), "standalone", "\"redis\"", "master"]
        {
            assert!(hello.contains(part), "{line}: {hello}");
        }
        assert_eq!(hello.starts_with('{'), proto == 3, "{hello}");
    }
    assert_eq!(here.reply("CLIENT GETNAME"), "\"me\"");
    there.reply("HELLO 3 SETNAME me");
    for line in [
        "GET missing",
        "HSET h f 1",
        "HGETALL h",
        "ZADD z 1.5 m",
        "ZSCORE z m",
        "SADD s a",
        "SMEMBERS s",
        "CONFIG GET nosuch",
    ] {
        assert_eq!(here.reply(line), there.reply(line), "{line} in RESP3");
    }
}

#[test]
fn a_pipeline_is_answered_in_its_order() {
    const ROUNDS: usize = 400;
    let (cluster, proxy) = served();
    for mut wire in [proxy.wire(), proxy.wire3()] {
        let mut sent = Vec::new();
        for number in 0..ROUNDS {
            for line in [
                format!("SET key:{number} {number}"),
                format!("GET key:{number}"),
                format!("MGET key:{number} {{other}}:{number} key:{number}"),
                format!("ECHO {number}"),
                format!("APPEND key:{number} x"),
                format!("STRLEN key:{number}"),
                "NOSUCH".to_owned(),
                "MULTI".to_owned(),
                format!("INCR {{n}}:{number}"),
                "EXEC".to_owned(),
                format!("DEL {{n}}:{number}"),
            ] {
                sent.extend_from_slice(line.as_bytes());
                sent.extend_from_slice(b"\r\n");
            }
        }
        // Bytes that are not read yet wait with the client: both sides of the connection fill up unless somebody reads.
        std::thread::scope(|scope| {
            let mut reader = wire.second_handle();
            scope.spawn(move || wire.send_raw(&sent));
            for number in 0..ROUNDS {
                let mut next = || show(&reader.read_frame());
                let length = number.to_string().len() + 1;
                assert_eq!((next(), next()), ("+OK".into(), format!("\"{number}\"")));
                assert_eq!(next(), format!("[\"{number}\", nil, \"{number}\"]"));
                assert_eq!((next(), next(), next()), (format!("\"{number}\""), length.to_string(), length.to_string()));
                assert!(next().starts_with("-ERR unknown command 'NOSUCH'"));
                assert_eq!(
                    (next(), next(), next(), next()),
                    ("+OK".into(), "+QUEUED".into(), "[1]".into(), "1".into())
                );
            }
        });
    }
    let keys: Vec<u64> = cluster.nodes().iter().map(|node| node.run(&["DBSIZE"])).collect();
    assert!(keys.iter().all(|&keys| keys > 50) && keys.iter().sum::<u64>() == ROUNDS as u64, "{keys:?}");
}

#[test]
fn quit_ends_a_connection_behind_what_came_before_it() {
    let (_cluster, proxy) = served();
    let mut wire = proxy.wire();
    wire.send_raw(b"SET k 1\r\nGET k\r\nQUIT\r\nGET k\r\n");
    assert_eq!(
        [wire.read_frame(), wire.read_frame(), wire.read_frame()].map(|frame| show(&frame)),
        ["+OK", "\"1\"", "+OK"]
    );
    assert!(wire.try_read_frame().is_err(), "it is over");
    proxy.await_clients(1);
}

#[test]
fn reset_makes_a_new_client_of_an_old_one() {
    let ((_cluster, proxy), server) = (served(), single());
    let (mut here, mut there) = (proxy.wire(), server.wire());
    for line in [
        "CLIENT SETNAME me",
        "HELLO 3",
        "MULTI",
        "SET k 1",
        "RESET",
        "EXEC",
        "CLIENT GETNAME",
        "GET k",
        "WATCH k",
        "SET k 2",
        "RESET",
        "MULTI",
        "GET k",
        "EXEC",
        "SUBSCRIBE channel",
        "GET k",
        "RESET",
        "GET k",
        "CLIENT REPLY ON",
    ] {
        let (ours, theirs) = (here.reply(line), there.reply(line));
        assert!(ours == theirs || line.starts_with("HELLO"), "{line}: {ours}, not {theirs}");
    }
}

#[test]
fn values_of_any_size_pass_without_being_kept() {
    const SIZE: usize = 24 << 20;
    let (_cluster, proxy) = served();
    let mut wire = proxy.wire();
    assert_eq!(wire.reply("PING"), "+PONG");
    let value: Vec<u8> = (0..SIZE).map(|at| (at * 31 % 251) as u8).collect();
    for _ in 0..3 {
        assert_eq!(show(&wire.call(&[&b"SET"[..], b"big", &value])), "+OK");
        let reply = wire.call(&["GET", "big"]);
        let head = format!("${SIZE}\r\n");
        assert!(reply.starts_with(head.as_bytes()) && reply[head.len()..head.len() + SIZE] == value, "the same bytes");
        assert_eq!(wire.call(&["GETRANGE", "big", "0", "-1"]), reply);
    }
    let peak = proxy.peak_bytes();
    assert!(peak < 6 * SIZE as u64, "{} MB at the most, for values of {}", peak >> 20, SIZE >> 20);
    drop(wire);
    proxy.await_clients(1);
}

#[test]
fn a_unix_socket_is_served_too() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    let cluster = plain_cluster();
    let keeper = RmrProxy::before(&cluster).start();
    let path = keeper.dir().join("socket");
    let path_text = path.to_str().expect("a path that is text");
    let seeds = cluster.node(1).address();
    let start = || RmrProxy::elsewhere().set("cluster", &seeds).set("unix", path_text);
    let proxy = start().start();
    let mut stream = UnixStream::connect(&path).expect("a socket");
    stream.write_all(b"SET k 1\r\nGET k\r\nCLIENT INFO\r\nQUIT\r\n").expect("a request");
    let mut replies = String::new();
    stream.read_to_string(&mut replies).expect("replies");
    assert!(
        replies.starts_with("+OK\r\n$1\r\n1\r\n$") && replies.contains(&format!(" laddr={path_text}:0 ")),
        "{replies}"
    );
    assert_eq!(keeper.reply("GET k"), "\"1\"");
    let refusal = start().try_start().err().expect("a socket that is in use");
    assert!(refusal.contains("--unix") && refusal.contains("in use"), "{refusal}");
    proxy.terminate();
    assert!(proxy.end(super::SOON).success() && !path.exists());
    // Files that a killed one has left behind are in nobody's way.
    drop(start().start());
    assert!(path.exists());
    drop(start().start());
}

/// The nodes are asked by their clients only: a proxy starts without them, and says what is the matter.
#[test]
fn a_proxy_waits_for_its_nodes() {
    let cluster = Cluster::builder().module(false).shards(1).start();
    cluster.node(0).kill();
    let proxy = RmrProxy::before(&cluster).set("timeout-ms", 1000).start();
    let mut wire = proxy.wire();
    let began = std::time::Instant::now();
    let error = wire.reply("GET k");
    assert!(error.starts_with('-') && error.contains(&cluster.node(0).address()), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    cluster.node(0).restart();
    crate::common::eventually(super::SOON, "the node is found", || wire.reply("SET k 1") == "+OK");
}
