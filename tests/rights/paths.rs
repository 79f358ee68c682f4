//! Tests that an act which a caller may not do is refused on every way that leads to it, and that nothing has run anywhere then.

use crate::common::{Cluster, Server, Wire};
use crate::users::{login, make_user};

/// May read and write below `app:`, and call all that leads there.
const RULES: &str = "~app:* +rmr.sum +rmr.map +rmr.fanout +get +mget +set +multi +exec +eval +fcall";

/// Three shards with a key on each that the user may touch and one that it may not.
struct Fixture {
    cluster: Cluster,
    mine: Vec<String>,
    others: Vec<String>,
}

impl Fixture {
    fn new() -> Self {
        let cluster = Cluster::start(3);
        let keys = |prefix: &str| -> Vec<String> { (0..3).map(|shard| cluster.key_for(shard, prefix)).collect() };
        let (mine, others) = (keys("app:n"), keys("secret"));
        for key in mine.iter().chain(&others) {
            cluster.set(key, "1");
        }
        make_user(cluster.nodes(), "alice", RULES);
        let library =
            "#!lua name=lib\nredis.register_function('call', function(k, a) return redis.pcall(unpack(a)) end)";
        for node in cluster.nodes() {
            node.run::<()>(&["FUNCTION", "LOAD", library]);
            node.run::<()>(&["CONFIG", "RESETSTAT"]);
        }
        Self { cluster, mine, others }
    }

    /// Requests that must be refused: by key, here or there, alone or among others; and by command.
    fn refused(&self) -> Vec<String> {
        let (mine, here, there) = (&self.mine, &self.others[0], &self.others[1]);
        let all = mine.join(" ");
        let mut lines = Vec::new();
        for key in [here, there] {
            lines.extend([
                format!("RMR.SUM {key}"),
                format!("RMR.SUM {all} {key}"),
                format!("RMR.SUM {key} {all}"),
                format!("RMR.MAP LIST 1 {key} GET"),
                format!("RMR.MAP PARTIAL LIST 2 {} {key} GET", mine[0]),
                format!("RMR.MAP LIST 1 {} MGET {{}} {key}", mine[0]),
                format!("RMR.MAP LIST 4 {all} {key} SET {{}} 2"),
                format!("RMR.FANOUT GET {key}"),
                format!("RMR.FANOUT PARTIAL SET {key} 2"),
            ]);
        }
        lines.extend([
            format!("RMR.MAP LIST 3 {all} DEL"),
            format!("RMR.MAP PARTIAL COUNT 3 {all} GETDEL"),
            "RMR.FANOUT FLUSHALL".into(),
            "RMR.FANOUT PARTIAL FLUSHALL".into(),
            "RMR.FANOUT ON ALL DBSIZE".into(),
            "RMR.FANOUT REDUCE SUM DBSIZE".into(),
            format!("RMR.FANOUT NODE {} DBSIZE", self.cluster.node(1).address()),
            "RMR.FANOUT CONFIG SET maxmemory 1".into(),
            "RMR.FANOUT ACL SETUSER alice allkeys".into(),
        ]);
        lines
    }

    /// Checks that nothing of what was refused has run on any node.
    fn is_untouched(&self) {
        for node in self.cluster.nodes() {
            for command in ["get", "mget", "set", "del", "getdel", "flushall", "dbsize", "config|set", "acl|setuser"] {
                assert_eq!(node.calls_of(command), 0, "{command} at {}", node.address());
            }
        }
        for (shard, key) in self.mine.iter().zip(&self.others).enumerate().flat_map(|(i, (a, b))| [(i, a), (i, b)]) {
            assert_eq!(self.cluster.node(shard).run::<String>(&["GET", key]), "1");
        }
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn a_direct_call_is_refused() {
    let fixture = Fixture::new();
    let mut wire = login(fixture.cluster.node(0), "alice");
    for line in fixture.refused() {
        let reply = wire.reply(&line);
        assert!(reply.starts_with("-NOPERM user alice may not run '"), "{line}: {reply}");
    }
    fixture.is_untouched();
}

#[test]
fn a_call_in_multi_is_refused() {
    let fixture = Fixture::new();
    let mut wire = login(fixture.cluster.node(0), "alice");
    for line in fixture.refused() {
        assert_eq!(wire.reply("MULTI"), "+OK");
        assert_eq!(wire.reply(&line), "+QUEUED", "{line}");
        let reply = wire.reply("EXEC");
        assert!(reply.starts_with("[-NOPERM user alice may not run '"), "{line}: {reply}");
    }
    fixture.is_untouched();
}

#[test]
fn a_call_in_a_script_is_refused() {
    let fixture = Fixture::new();
    let mut wire = login(fixture.cluster.node(0), "alice");
    for line in fixture.refused() {
        let script = "return redis.pcall(unpack(ARGV))";
        let reply = wire.reply_to(&[&["EVAL", script, "0"][..], &words(&line)].concat());
        assert!(reply.starts_with("-NOPERM user alice may not run '"), "{line}: {reply}");
    }
    fixture.is_untouched();
}

#[test]
fn a_call_in_a_function_is_refused() {
    let fixture = Fixture::new();
    let mut wire = login(fixture.cluster.node(0), "alice");
    for line in fixture.refused() {
        let reply = wire.reply_to(&[&["FCALL", "call", "0"][..], &words(&line)].concat());
        assert!(reply.starts_with("-NOPERM user alice may not run '"), "{line}: {reply}");
    }
    fixture.is_untouched();
}

#[test]
fn what_is_allowed_works() {
    let fixture = Fixture::new();
    let all = fixture.mine.join(" ");
    for node in fixture.cluster.nodes() {
        let mut wire = login(node, "alice");
        assert_eq!(wire.reply(&format!("RMR.SUM {all}")), "3");
        assert_eq!(wire.reply(&format!("RMR.MAP LIST 3 {all} SET {{}} 1")), "[+OK, +OK, +OK]");
        assert!(wire.reply(&format!("RMR.FANOUT PARTIAL GET {}", fixture.mine[0])).contains("\"1\""));
    }
}

/// Returns the entries of `ACL LOG`, as text.
fn acl_log(node: &Server) -> String {
    let mut wire: Wire = node.wire3();
    wire.reply("ACL LOG")
}

#[test]
fn a_refusal_is_in_the_acl_log_of_the_node_that_was_asked() {
    let fixture = Fixture::new();
    let [asked, other, _] = fixture.cluster.nodes() else { panic!("three nodes") };
    let mut wire = login(asked, "alice");
    wire.reply(&format!("RMR.SUM {}", fixture.others[1]));
    let log = acl_log(asked);
    assert!(log.contains("\"username\": \"alice\"") && log.contains("\"context\": \"module\""), "{log}");
    assert!(
        log.contains("\"object\": \"GET\"") || log.contains(&format!("\"object\": \"{}\"", fixture.others[1])),
        "{log}"
    );
    assert_eq!(acl_log(other), "[]", "the request never left");

    asked.run::<()>(&["ACL", "LOG", "RESET"]);
    wire.reply("RMR.FANOUT FLUSHALL");
    let log = acl_log(asked);
    assert!(log.contains("\"reason\": \"command\"") && log.contains("\"object\": \"FLUSHALL\""), "{log}");
}
