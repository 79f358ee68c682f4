//! The start and the end of the program: what it is called with, and what becomes of clients when it goes.

use std::fs;
use std::time::{Duration, Instant};

use super::{SOON, plain_cluster, served};
use crate::common::{RmrProxy, Wire, eventually, show};

#[test]
fn who_has_asked_is_answered_before_the_end() {
    let (cluster, proxy) = served();
    let key = cluster.key_for(0, "k");
    cluster.set(&key, "1");
    let mut idle = proxy.wire();
    assert_eq!(idle.reply("PING"), "+PONG");
    let mut busy = proxy.wire();
    assert_eq!(busy.reply(&format!("GET {key}")), "\"1\"");
    cluster.node(0).stop_signal();
    busy.send(&["STRLEN", &key]);
    busy.send(&["PING"]);
    let mut subscriber = proxy.wire();
    assert!(subscriber.reply("SUBSCRIBE channel").contains("subscribe"));
    eventually(SOON, "it has been sent", || {
        idle.reply("CLIENT LIST").contains(" cmd=strlen ") || idle.reply("CLIENT LIST").contains(" cmd=ping ")
    });
    proxy.terminate();
    assert!(
        idle.try_read_frame().is_err() && subscriber.try_read_frame().is_err(),
        "who waits for no answer is sent away"
    );
    eventually(SOON, "nobody is let in", || Wire::try_connect(proxy.port(), SOON).is_err());
    cluster.node(0).cont_signal();
    assert_eq!(show(&busy.read_frame()), "1");
    assert_eq!(show(&busy.read_frame()), "+PONG");
    assert!(busy.try_read_frame().is_err());
    assert!(proxy.end(SOON).success());
}

#[test]
fn the_end_waits_for_nobody_for_ever() {
    let (cluster, _proxy) = served();
    let proxy = RmrProxy::before(&cluster).set("drain-ms", 300).set("timeout-ms", 60_000).start();
    let key = cluster.key_for(0, "k");
    let mut busy = proxy.wire();
    assert_eq!(busy.reply(&format!("GET {key}")), "nil");
    let mut waits = proxy.wire();
    waits.send(&["BLPOP", &cluster.key_for(1, "list"), "0"]);
    eventually(SOON, "it waits", || cluster.node(1).figure("clients", "blocked_clients") == 1);
    cluster.node(0).stop_signal();
    busy.send(&["GET", &key]);
    proxy.terminate();
    let began = Instant::now();
    assert!(proxy.end(SOON).success());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    cluster.node(0).cont_signal();
    eventually(SOON, "nobody waits at the nodes", || cluster.node(1).figure("clients", "blocked_clients") == 0);
}

#[test]
fn what_it_is_called_with_may_stand_in_a_file() {
    let cluster = plain_cluster();
    let keeper = RmrProxy::before(&cluster).start();
    let file = keeper.dir().join("proxy.toml");
    let path = file.to_str().expect("a path that is text");
    let seeds = cluster.node(0).address();
    fs::write(
        &file,
        format!("cluster = \"{seeds}\"\nlisten = \"127.0.0.1:0\"\nmax-clients = 3\nsplit-writes = true\n"),
    )
    .expect("a file");
    let proxy = RmrProxy::elsewhere().set("config", path).start();
    assert_eq!(proxy.reply("MSET a 1 b 2 c 3"), "+OK");
    assert!(proxy.reply("INFO clients").contains("maxclients:3"));
    assert_eq!(keeper.reply("MGET a b c"), "[\"1\", \"2\", \"3\"]");
    let refusal = keeper.reply("MSET a 1 b 2 c 3");
    assert!(refusal.starts_with("-CROSSSLOT "), "{refusal}");
    // The command line comes first.
    let proxy = RmrProxy::elsewhere().set("config", path).set("max-clients", 5).start();
    assert!(proxy.reply("INFO clients").contains("maxclients:5"));
    fs::write(&file, "cluster = \"a:1\"\nlisten-to = \"x\"\n").expect("a file");
    let refusal = RmrProxy::elsewhere().set("config", path).try_start().err().expect("a file with a mistake");
    assert!(refusal.contains("unknown field `listen-to`") && refusal.contains(path), "{refusal}");
}

#[test]
fn what_makes_no_sense_is_refused_at_the_start() {
    for (arguments, why) in [
        (vec![], "which nodes?"),
        (vec![("cluster", "nonsense")], "--cluster"),
        (vec![("nodes", "host:notaport")], "--nodes"),
        (vec![("cluster", "127.0.0.1:1"), ("threads", "0")], "--threads 0"),
        (vec![("cluster", "127.0.0.1:1"), ("shard-func", "ketama")], "--shard-func is for --nodes"),
        (vec![("nodes", "127.0.0.1:1"), ("shard-func", "other")], "ketama-rb and rendezvous are known"),
        (vec![("cluster", "127.0.0.1:1"), ("user", "me")], "--user needs --password-file"),
        (vec![("cluster", "127.0.0.1:1"), ("password-file", "/nosuch")], "/nosuch"),
        (vec![("cluster", "127.0.0.1:1"), ("config", "/nosuch.toml")], "/nosuch.toml"),
    ] {
        let builder = arguments.iter().fold(RmrProxy::builder(), |builder, (name, value)| builder.set(name, value));
        let refusal = builder.try_start().err().unwrap_or_else(|| panic!("{arguments:?} is taken"));
        assert!(refusal.contains(why) && !refusal.contains('\x1b'), "{arguments:?}: {refusal}");
    }
}
