//! Links over TLS, with the server's own certificates: alone, beside plain ports, and against peers that are not to be
//! trusted.
//!
//! A server that was built without TLS cannot show any of this; the tests then say so and end.

use std::time::Duration;

use crate::common::{Authority, SLOTS, Server, Wire, eventually, free_port, module_path, slot_of, with_tls};

const SOON: Duration = Duration::from_secs(3);

/// The longest that meeting nodes may take to form a cluster.
const FORMATION: Duration = Duration::from_secs(30);

/// Three nodes that speak TLS among each other, and an open plain connection to each.
struct TlsCluster {
    nodes: Vec<Server>,
    tls_ports: Vec<u16>,
    wires: Vec<Wire>,
}

impl TlsCluster {
    fn start(authority: &Authority) -> Self {
        let tls_ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let start = |&port: &u16| {
            let node = authority.server(port).module(false).config("cluster-enabled", "yes");
            node.config("cluster-node-timeout", "2000").start()
        };
        let nodes: Vec<Server> = tls_ports.iter().map(start).collect();
        let mut wires: Vec<Wire> = nodes.iter().map(Server::wire).collect();
        for (index, wire) in wires.iter_mut().enumerate() {
            let (first, last) = (first_slot(index), first_slot(index + 1) - 1);
            let range = [first.to_string(), last.to_string()];
            assert_eq!(wire.ask(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]), "+OK");
            assert_eq!(wire.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]), "+OK");
            assert_eq!(wire.ask(&["CLUSTER", "MEET", "127.0.0.1", &tls_ports[0].to_string()]), "+OK");
        }
        eventually(FORMATION, "the cluster is formed", || {
            wires.iter_mut().all(|wire| {
                let info = wire.ask(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
        });
        Self { nodes, tls_ports, wires }
    }

    fn load_module(&mut self) {
        let path = module_path();
        let path = path.to_str().expect("a path that is text");
        for wire in &mut self.wires {
            assert_eq!(wire.ask(&["MODULE", "LOAD", path]), "+OK");
        }
    }

    /// Puts some numbers all over it, and checks that each node adds them up over TLS.
    fn check(&mut self) {
        let keys: Vec<String> = (0..60).map(|number| format!("number:{number}")).collect();
        for key in &keys {
            let owner = (0..3).rfind(|&node| first_slot(node) <= u32::from(slot_of(key))).expect("an owner");
            assert_eq!(self.wires[owner].ask(&["SET", key, "2"]), "+OK");
        }
        let mut sum = vec!["RMR.SUM"];
        sum.extend(keys.iter().map(String::as_str));
        for wire in &mut self.wires {
            assert_eq!(wire.ask(&sum), ":120");
            assert_eq!(wire.ask(&["RMR.FANOUT", "REDUCE", "SUM", "DBSIZE"]), ":60");
            assert_eq!(wire.ask(&["RMR.FANOUT", "ECHO", "x"]), "*3 $1 x $1 x $1 x");
        }
        // Larger than one record of TLS, many times over, in both directions.
        let big = "x".repeat(3 << 20);
        let set = self.wires[0].ask(&["RMR.MAP", "LIST", "3", &keys[0], &keys[1], &keys[2], "SET", "{}", &big]);
        assert_eq!(set, "*3 +OK +OK +OK");
        let lengths = self.wires[1].ask(&["RMR.MAP", "SUM", "3", &keys[0], &keys[1], &keys[2], "STRLEN"]);
        assert_eq!(lengths, format!(":{}", 9 << 20));
        let values = self.wires[2].ask(&["RMR.MAP", "LIST", "3", &keys[0], &keys[1], &keys[2], "GET"]);
        assert!(values.len() > 9 << 20);
    }

    /// Returns the addresses that requests are sent to, as a node tells them.
    fn topology(&mut self) -> String {
        self.wires[0].ask(&["RMR.REFRESH"])
    }
}

fn first_slot(index: usize) -> u32 {
    u32::from(SLOTS) * index as u32 / 3
}

#[test]
fn links_use_the_tls_ports_beside_plain_ones() {
    let Some((_keeper, authority)) = with_tls() else { return };
    let mut cluster = TlsCluster::start(&authority);
    cluster.load_module();
    cluster.check();
    let topology = cluster.topology();
    for port in cluster.tls_ports.clone() {
        assert!(topology.contains(&format!("127.0.0.1:{port}")), "{topology}");
    }
}

#[test]
fn links_work_where_there_are_no_plain_ports() {
    let Some((_keeper, authority)) = with_tls() else { return };
    let mut cluster = TlsCluster::start(&authority);
    for (wire, node) in cluster.wires.iter_mut().zip(&cluster.nodes) {
        // The connection that is open stays.
        assert_eq!(wire.ask(&["CONFIG", "SET", "port", "0"]), "+OK");
        assert!(Wire::try_connect(node.port(), SOON).is_err(), "the plain port is closed");
    }
    cluster.load_module();
    cluster.check();
}

/// Returns a coordinator of these servers, over TLS.
fn coordinator(authority: &Authority, ports: &[u16]) -> Server {
    let nodes: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    authority.server(free_port()).module_args(["nodes", &nodes.join(" ")]).start()
}

#[test]
fn a_peer_of_another_authority_is_refused_and_named() {
    let Some((keeper, authority)) = with_tls() else { return };
    let stranger = Authority::new(keeper.dir(), "stranger");
    let (trusted, strange) = (free_port(), free_port());
    let _trusted = authority.server(trusted).module(false).start();
    let shard = stranger.server(strange).module(false).config("tls-auth-clients", "no").start();
    let coordinator = coordinator(&authority, &[trusted, strange]);
    let mut wire = coordinator.wire();
    let reply = wire.ask(&["RMR.FANOUT", "PING"]);
    assert!(reply.starts_with(&format!("-RMRNODE 127.0.0.1:{strange}: TLS: ")), "{reply}");
    assert!(reply.contains("certificate"), "{reply}");
    let partial = wire.ask(&["RMR.FANOUT", "PARTIAL", "PING"]);
    assert!(partial.starts_with("*2 +PONG -RMRNODE "), "{partial}");
    assert_eq!(shard.calls_of("ping"), 1, "only the harness has asked it");
}

#[test]
fn a_peer_that_does_not_trust_us_is_named() {
    let Some((keeper, authority)) = with_tls() else { return };
    let other = Authority::new(keeper.dir(), "other");
    let port = free_port();
    // It shows a certificate that we trust, and wants one of an authority that has not signed ours.
    let shard = authority.server(port).module(false).config("tls-ca-cert-file", other.file("ca", "crt")).start();
    let coordinator = coordinator(&authority, &[port]);
    let reply = coordinator.wire().ask(&["RMR.MAP", "LIST", "1", "counter", "INCR"]);
    assert!(reply.starts_with(&format!("-RMRNODE 127.0.0.1:{port}: ")), "{reply}");
    assert!(!reply.contains("outcome"), "nothing was ever taken: {reply}");
    assert_eq!(shard.run::<u64>(&["EXISTS", "counter"]), 0);
}

#[test]
fn a_plain_port_where_tls_was_expected_is_named_in_time() {
    let Some((_keeper, authority)) = with_tls() else { return };
    let plain = Server::builder().module(false).start();
    let coordinator = coordinator(&authority, &[plain.port()]);
    let mut wire = coordinator.wire();
    let reply = wire.ask(&["RMR.FANOUT", "TIMEOUT", "5000", "PING"]);
    assert!(reply.starts_with(&format!("-RMRNODE 127.0.0.1:{}: ", plain.port())), "{reply}");
    assert_eq!(wire.ask(&["PING"]), "+PONG");
}

#[test]
fn certificates_that_are_renewed_are_used_by_new_connections() {
    let Some((keeper, authority)) = with_tls() else { return };
    let port = free_port();
    let shard = authority.server(port).module(false).start();
    let coordinator = coordinator(&authority, &[port]);
    let mut wire = coordinator.wire();
    assert_eq!(wire.ask(&["RMR.FANOUT", "PING"]), "*1 +PONG");
    // Another authority takes over, by the settings of both servers.
    let successor = Authority::new(keeper.dir(), "successor");
    for server in [&shard, &coordinator] {
        let (ca, certificate, key) =
            (successor.file("ca", "crt"), successor.file("node", "crt"), successor.file("node", "key"));
        let renewed = ["CONFIG", "SET", "tls-ca-cert-file", &ca, "tls-cert-file", &certificate, "tls-key-file", &key];
        server.run::<()>(&renewed);
    }
    shard.run::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually(SOON, "a new connection works", || wire.ask(&["RMR.FANOUT", "PING"]) == "*1 +PONG");
}

/// Returns the certificates that `rediss://` needs to reach a server of this authority.
fn certificates(authority: &Authority) -> String {
    let file = |name: &str, kind: &str| authority.file(name, kind);
    format!("?cacert={}&cert={}&key={}", file("ca", "crt"), file("node", "crt"), file("node", "key"))
}

#[test]
fn a_list_of_hosts_says_of_each_whether_tls_is_spoken() {
    let Some((keeper, authority)) = with_tls() else { return };
    let other = Authority::new(keeper.dir(), "other");
    let (first, second) = (free_port(), free_port());
    let _first = authority.server(first).module(false).start();
    let _second = other.server(second).module(false).start();
    let plain = Server::builder().module(false).start();
    let by_tls = |port: u16, authority: &Authority| format!("rediss://127.0.0.1:{port}{}", certificates(authority));
    let nodes = format!("{} redis://{}/2 {}", by_tls(first, &authority), plain.address(), by_tls(second, &other));
    let coordinator = Server::builder().module_args(["nodes", &nodes]).start();
    assert_eq!(coordinator.wire().ask(&["RMR.FANOUT", "PING"]), "*3 +PONG +PONG +PONG");
    // Where the host names none, the certificates are the server's.
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &format!("rediss://127.0.0.1:{first}")]);
    let none = coordinator.wire().ask(&["RMR.FANOUT", "PING"]);
    assert!(none.contains("TLS needs tls-ca-cert-file or tls-ca-cert-dir"), "{none}");
    let own = free_port();
    let nodes = format!("redis://{} 127.0.0.1:{first} rediss://localhost:{own}", plain.address());
    let coordinator = authority.server(own).module_args(["nodes", &nodes]).start();
    assert_eq!(coordinator.wire().ask(&["RMR.FANOUT", "PING"]), "*3 +PONG +PONG +PONG");
    assert!(coordinator.wire().ask(&["RMR.TOPOLOGY"]).contains("local"), "it knows itself by its TLS port");
}
