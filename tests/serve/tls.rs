//! TLS on both sides of the proxy: to its clients, whose certificates it may ask for, and to the nodes.

use std::process::{Command, Output};

use super::{SOON, plain_cluster};
use crate::common::{Authority, RmrProxy, Server, Wire, free_port, with_tls};

/// Runs redis-cli over TLS, as a client that believes this authority.
fn redis_cli(proxy: &RmrProxy, authority: &Authority, options: &[&str], words: &[&str]) -> Output {
    let (port, ca) = (proxy.port().to_string(), authority.file("ca", "crt"));
    let mut command = Command::new("redis-cli");
    command.args(["-p", &port, "--tls", "--cacert", &ca]).args(options).args(words);
    command.output().expect("redis-cli")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn clients_may_speak_tls() {
    let Some((keeper, authority)) = with_tls() else { return };
    let cluster = plain_cluster();
    let proxy = RmrProxy::before(&cluster)
        .set("tls-cert", authority.file("node", "crt"))
        .set("tls-key", authority.file("node", "key"))
        .start();
    let key = cluster.key_for(1, "k");
    assert_eq!(text(&redis_cli(&proxy, &authority, &[], &["SET", &key, "1"])), "OK\n");
    assert_eq!(text(&redis_cli(&proxy, &authority, &["-3"], &["INCR", &key])), "2\n");
    // Larger than one record.
    let big = "x".repeat(100_000);
    assert_eq!(text(&redis_cli(&proxy, &authority, &[], &["SET", &key, &big])), "OK\n");
    assert_eq!(text(&redis_cli(&proxy, &authority, &[], &["GET", &key])).trim_end(), big);
    let stranger = Authority::new(keeper.dir(), "stranger");
    let refused = redis_cli(&proxy, &stranger, &[], &["PING"]);
    assert!(!refused.status.success(), "a client that does not believe the authority: {}", text(&refused));
    // Plain words are no TLS, and harm nobody.
    let mut plain = Wire::connect(proxy.port());
    assert!(plain.try_call(&["PING"]).is_err() || !plain.answers_within(SOON));
    assert_eq!(text(&redis_cli(&proxy, &authority, &[], &["PING"])), "PONG\n");
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let Some((keeper, authority)) = with_tls() else { return };
    let cluster = plain_cluster();
    authority.sign("client");
    let proxy = RmrProxy::before(&cluster)
        .set("tls-cert", authority.file("node", "crt"))
        .set("tls-key", authority.file("node", "key"))
        .set("tls-client-ca", authority.file("ca", "crt"))
        .start();
    let show = |of: &Authority, name: &str| {
        ["--cert".to_owned(), of.file(name, "crt"), "--key".to_owned(), of.file(name, "key")]
    };
    let with = |shown: [String; 4]| {
        let options: Vec<&str> = shown.iter().map(String::as_str).collect();
        redis_cli(&proxy, &authority, &options, &["PING"])
    };
    assert_eq!(text(&with(show(&authority, "client"))), "PONG\n");
    let without = redis_cli(&proxy, &authority, &[], &["PING"]);
    assert!(!text(&without).contains("PONG"), "{}", text(&without));
    let stranger = Authority::new(keeper.dir(), "stranger");
    stranger.sign("client");
    let strange = with(show(&stranger, "client"));
    assert!(!text(&strange).contains("PONG"), "{}", text(&strange));
}

#[test]
fn nodes_may_speak_tls() {
    let Some((keeper, authority)) = with_tls() else { return };
    let ports = [free_port(), free_port(), free_port()];
    let servers: Vec<Server> = ports.iter().map(|&port| authority.server(port).module(false).start()).collect();
    let nodes: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let start = |ca: &Authority| {
        RmrProxy::builder()
            .set("nodes", nodes.join(" "))
            .set("node-tls-ca", ca.file("ca", "crt"))
            .set("node-tls-cert", authority.file("node", "crt"))
            .set("node-tls-key", authority.file("node", "key"))
            .start()
    };
    let proxy = start(&authority);
    let mut wire = proxy.wire();
    for number in 0..30 {
        assert_eq!(wire.reply(&format!("SET key:{number} {number}")), "+OK");
    }
    assert_eq!((wire.reply("DBSIZE"), wire.reply("BLPOP list 0.01")), ("30".into(), "nil".into()));
    assert!(servers.iter().all(|server| server.run::<u64>(&["DBSIZE"]) > 0));
    // A proxy that does not believe the nodes sends them nothing, and says why.
    let stranger = Authority::new(keeper.dir(), "stranger");
    let error = start(&stranger).reply("SET key:1 other");
    assert!(error.starts_with('-') && error.contains("certificate"), "{error}");
    assert_eq!(wire.reply("GET key:1"), "\"1\"");
}

#[test]
fn files_that_are_no_certificates_are_named_at_the_start() {
    let Some((keeper, authority)) = with_tls() else { return };
    let nothing = keeper.dir().join("nothing.pem");
    std::fs::write(&nothing, "nothing").expect("a file");
    let nothing = nothing.to_str().expect("a path that is text");
    let (cert, key) = (authority.file("node", "crt"), authority.file("node", "key"));
    for (cert, key, named) in [(nothing, &*key, nothing), (&*cert, nothing, nothing), ("/nosuch", &*key, "/nosuch")] {
        let builder = RmrProxy::builder().set("cluster", "127.0.0.1:1").set("tls-cert", cert).set("tls-key", key);
        let refusal = builder.try_start().err().expect("no certificate");
        assert!(refusal.contains(named), "{refusal}");
    }
}
