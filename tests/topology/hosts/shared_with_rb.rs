//! A data set that rb has sharded is read through the module, and the other way round: the real rb, both of its routers.

use crate::common::{Server, Wire, run_python_with_rb};

/// rb's routers, and what they are called here.
const ROUTERS: [(&str, &str); 2] = [("partition", "crc32"), ("ketama", "ketama-rb")];

const PASSWORD: &str = "it's a \\ \"pass\"";

/// Returns the same keys as in `sharded.py`.
fn keys() -> Vec<Vec<u8>> {
    let of = |number: usize| {
        let bytes = [&b"\xff\x00"[..], number.to_string().as_bytes()].concat();
        [format!("key:{number}").into(), format!("clé:{number}").into(), bytes, number.to_string().into()]
    };
    (0..50).flat_map(of).collect()
}

/// Servers, and lists of their databases for both sides.
struct Hosts {
    servers: Vec<Server>,
    rb: String,
    rb_defaults: &'static str,
    ours: String,
}

impl Hosts {
    /// TCP and Unix sockets, several databases of one server, a password.
    fn start() -> Self {
        let server = || Server::builder().module(false).config("unixsocket", "redis.sock");
        let servers = vec![server().start(), server().start(), server().config("requirepass", PASSWORD).start()];
        let ports: Vec<u16> = servers.iter().map(|server| server.port()).collect();
        let sockets: Vec<String> = servers.iter().map(|it| it.dir().join("redis.sock").display().to_string()).collect();
        let (json, url) = (r#"it's a \\ \"pass\""#, "it's%20a%20%5c%20%22pass%22");
        let rb = [
            format!(r#""0": {{"port": {}}}"#, ports[0]),
            format!(r#""1": {{"port": {}, "db": 3}}"#, ports[0]),
            format!(r#""2": {{"port": {}, "db": 1}}"#, ports[1]),
            format!(r#""3": {{"unix_socket_path": "{}", "db": 2}}"#, sockets[1]),
            format!(r#""4": {{"port": {}, "password": "{json}"}}"#, ports[2]),
            format!(r#""5": {{"unix_socket_path": "{}", "db": 7, "password": "{json}"}}"#, sockets[2]),
        ];
        let ours = [
            "*=redis://127.0.0.1".into(),
            format!(":{}", ports[0]),
            format!(":{}/3", ports[0]),
            format!("5=unix://:{url}@{}?db=7", sockets[2]),
            format!("4=redis://:{url}@:{}", ports[2]),
            format!("2=:{}/1", ports[1]),
            format!("3=unix://{}?db=2", sockets[1]),
        ];
        let rb = format!("{{{}}}", rb.join(", "));
        Self { servers, rb, rb_defaults: r#"{"host": "127.0.0.1"}"#, ours: ours.join(" ") }
    }

    fn rb(&self, action: &str, router: &str) {
        let shown = run_python_with_rb("sharded", &[action, router, &self.rb, self.rb_defaults]);
        assert_eq!(shown, "200 keys on 6 hosts\n");
    }

    fn coordinator(&self, shard_func: &str) -> Server {
        Server::builder().module_args(["nodes", &self.ours, "shard-func", shard_func]).start()
    }
}

fn with_keys<'a>(words: &[&'a [u8]], keys: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
    words.iter().copied().chain(keys.iter().map(Vec::as_slice)).collect()
}

/// Reads all keys in three ways.
fn check_all(wire: &mut Wire) {
    let keys = keys();
    let values: Vec<String> = (0..keys.len()).map(|index| format!("\"value {index}\"")).collect();
    let all = format!("[{}]", values.join(", "));
    for (key, value) in keys.iter().zip(&values) {
        assert_eq!(wire.reply_to(&[&b"RMR.EXEC"[..], b"GET", key.as_slice()]), *value, "{}", key.escape_ascii());
    }
    assert_eq!(wire.reply_to(&with_keys(&[b"RMR.EXEC", b"MGET"], &keys)), all);
    let count = keys.len().to_string();
    let mut map = with_keys(&[b"RMR.MAP", b"LIST", count.as_bytes()], &keys);
    map.push(b"GET");
    assert_eq!(wire.reply_to(&map), all);
}

#[test]
fn what_rb_has_written_is_read_here() {
    let hosts = Hosts::start();
    for (router, shard_func) in ROUTERS {
        hosts.rb("empty", router);
        hosts.rb("write", router);
        let coordinator = hosts.coordinator(shard_func);
        check_all(&mut coordinator.wire());
        assert_eq!(coordinator.reply("RMR.EXEC DBSIZE"), "200");
        let used = hosts.servers.iter().map(|server| server.reply("INFO keyspace").matches("keys=").count());
        assert_eq!(used.sum::<usize>(), 6, "every host has keys");
    }
}

#[test]
fn what_is_written_here_rb_reads() {
    let hosts = Hosts::start();
    for (router, shard_func) in ROUTERS {
        let coordinator = hosts.coordinator(shard_func);
        let mut wire = coordinator.wire();
        let keys = keys();
        let values: Vec<String> = (0..keys.len()).map(|index| format!("value {index}")).collect();
        let (set, left) = keys.split_at(keys.len() / 2);
        for (key, value) in set.iter().zip(&values) {
            assert_eq!(wire.reply_to(&[&b"RMR.EXEC"[..], b"SET", key.as_slice(), value.as_bytes()]), "+OK");
        }
        let mut mset: Vec<&[u8]> = vec![b"RMR.EXEC", b"NONATOMIC", b"MSET"];
        left.iter().zip(&values[set.len()..]).for_each(|(key, value)| mset.extend([key.as_slice(), value.as_bytes()]));
        assert_eq!(wire.reply_to(&mset), "+OK");
        hosts.rb("read", router);
        check_all(&mut wire);
        assert_eq!(wire.reply("RMR.FANOUT REDUCE COUNT FLUSHDB"), "6");
    }
}

/// The first example of rb's documentation names every server twice, and no database.
#[test]
fn a_server_may_be_two_hosts_as_rb_documents_it() {
    let servers: Vec<Server> = (0..2).map(|_| Server::builder().module(false).start()).collect();
    let ports: Vec<u16> = servers.iter().chain(&servers).map(|server| server.port()).collect();
    let rb: Vec<String> = ports.iter().enumerate().map(|(id, port)| format!(r#""{id}": {{"port": {port}}}"#)).collect();
    let ours: Vec<String> = ports.iter().enumerate().map(|(id, port)| format!("{id}=:{port}")).collect();
    let nodes = format!("*=redis://127.0.0.1 {}", ours.join(" "));
    for (router, shard_func) in ROUTERS {
        let hosts = format!("{{{}}}", rb.join(", "));
        run_python_with_rb("sharded", &["write", router, &hosts, r#"{"host": "127.0.0.1"}"#]);
        let coordinator = Server::builder().module_args(["nodes", &nodes, "shard-func", shard_func]).start();
        check_all(&mut coordinator.wire());
        assert_eq!(coordinator.reply("RMR.FANOUT REDUCE COUNT FLUSHDB"), "4");
    }
}

/// Keys of rb stay where they are when a password changes, if the host keeps the label that it had for rb.
#[test]
fn a_label_keeps_the_keys_of_rb_when_a_password_changes() {
    let servers: Vec<Server> = (0..3).map(|_| Server::builder().module(false).start()).collect();
    let rb: Vec<String> =
        servers.iter().enumerate().map(|(id, server)| format!(r#""{id}": {{"port": {}}}"#, server.port())).collect();
    run_python_with_rb("sharded", &["write", "ketama", &format!("{{{}}}", rb.join(", "))]);
    servers.iter().for_each(|server| server.run::<()>(&["CONFIG", "SET", "requirepass", "new"]));
    let label = |id: usize| {
        let port = servers[id].port();
        format!(
            "<HostInfo db=0 host='localhost' host_id={id} password=None port={port} ssl=False ssl_options=None unix_socket_path=None>"
        )
    };
    let node = |id: usize| format!(":{}?label={}", servers[id].port(), label(id).replace(' ', "%20"));
    let nodes = format!("*=redis://:new@localhost {} {} {}", node(0), node(1), node(2));
    let coordinator = Server::builder().module_args(["nodes", &nodes, "shard-func", "ketama-rb"]).start();
    check_all(&mut coordinator.wire());
}
