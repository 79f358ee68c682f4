//! Tests what a server does for its operator while the module is loaded, since the module has told it what it can stand: loads
//! that end in the middle, and replicas that serve their old data while they load the new. That slots move with all their keys is
//! in `tests/slots/`.

use std::time::Duration;

use crate::common::{Server, eventually};

/// The longest that each step may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The number of keys at first, each as long as the next figure says, so that a load is still under way when no more comes.
const COUNT: usize = 1500;
const LENGTH: usize = 16 * 1024;

/// The number of keys that are written while the replica does not listen.
const MISSED: usize = 10;

/// A replica that loads its primary's data behind the old data of its own, and takes its time.
struct Scene {
    primary: Server,
    replica: Server,
}

impl Scene {
    fn new() -> Self {
        let primary = Server::builder()
            .config("repl-diskless-sync", "yes")
            .config("repl-diskless-sync-delay", "0")
            .config("repl-backlog-size", "16kb")
            // Long values are to be long on the way, too.
            .config("rdbcompression", "no")
            .start();
        primary.run::<()>(&["DEBUG", "POPULATE", &COUNT.to_string(), "long", &LENGTH.to_string()]);
        primary.run::<()>(&["MSET", "a", "1", "b", "2"]);
        let port = primary.port().to_string();
        let replica = Server::builder()
            .config("repl-diskless-load", "swapdb")
            // Commands are served each time that so many bytes have been loaded.
            .config("loading-process-events-interval-bytes", "1024")
            .arg("--replicaof")
            .arg("127.0.0.1")
            .arg(port)
            .start();
        let scene = Self { primary, replica };
        scene.await_sync();
        assert_eq!(scene.replica.reply("RMR.FANOUT DBSIZE"), format!("[{}]", COUNT + 2));

        scene.replica.run::<()>(&["CONFIG", "SET", "key-load-delay", "5000"]);
        // The link breaks, and the replica misses more than the primary keeps: all in one moment.
        let mut wire = scene.primary.wire();
        let long = "x".repeat(LENGTH);
        wire.reply("MULTI");
        wire.reply("CLIENT KILL TYPE replica");
        (0..MISSED).for_each(|number| {
            wire.reply(&format!("SET missed:{number} {long}"));
        });
        wire.reply("SET a 5");
        wire.reply("EXEC");
        eventually(LIMIT, "the replica loads behind its old data", || scene.is_loading());
        scene
    }

    fn await_sync(&self) {
        eventually(LIMIT, "the replica is in sync", || {
            let replication: String = self.replica.run(&["INFO", "replication"]);
            replication.contains("master_link_status:up")
        });
    }

    fn is_loading(&self) -> bool {
        self.replica.figure("persistence", "async_loading") == 1
    }

    /// Lets the rest be loaded at once.
    fn hurry(&self) {
        self.replica.run::<()>(&["CONFIG", "SET", "key-load-delay", "0"]);
        eventually(LIMIT, "the load has ended", || !self.is_loading());
    }
}

#[test]
fn the_server_knows_what_the_module_can_stand() {
    let server = Server::start();
    let modules: String = server.run(&["INFO", "modules"]);
    let line = modules.lines().find(|line| line.starts_with("module:name=rmr,")).expect("the module");
    assert!(line.contains("handle-io-errors"), "{line}");
    assert!(line.contains("handle-repl-async-load"), "{line}");
    let is_valkey = server.run::<String>(&["INFO", "server"]).contains("valkey_version:");
    assert_eq!(line.contains("handle-atomic-slot-migration"), is_valkey, "{line}");
}

#[test]
fn a_replica_answers_from_its_old_data_while_it_loads_the_new() {
    let scene = Scene::new();
    let replica = &scene.replica;
    assert_eq!(replica.reply("RMR.SUM a b"), "3");
    assert_eq!(replica.reply("RMR.FANOUT DBSIZE"), format!("[{}]", COUNT + 2));
    assert_eq!(replica.reply("RMR.FANOUT REDUCE SUM DBSIZE"), (COUNT + 2).to_string());
    assert_eq!(replica.reply("RMR.EXEC MGET a b missed:0"), "[\"1\", \"2\", nil]");
    assert_eq!(replica.reply("RMR.EXEC RANDOMKEY").matches("missed").count(), 0);
    assert!(replica.reply("RMR.SCAN 0").starts_with("[\""));
    assert_eq!(replica.reply("RMR.PING"), "+OK");
    // Longer than what is done in one turn.
    let many: Vec<String> = (0..COUNT).map(|number| format!("long:{number}")).collect();
    let line = [vec!["RMR.MAP".into(), "SUM".into(), COUNT.to_string()], many, vec!["STRLEN".into()]].concat();
    assert_eq!(replica.wire().reply_to(&line), (COUNT * LENGTH).to_string());
    let refusal = replica.reply("RMR.MAP LIST 1 a SET {} 9");
    assert!(refusal.contains("READONLY"), "{refusal}");
    assert!(scene.is_loading(), "the load was over before all was asked");

    // Replies of other nodes cannot be waited for, since nobody is let go before the load has ended.
    let (own, other) = (replica.address(), scene.primary.address());
    replica.run::<()>(&["CONFIG", "SET", "rmr.nodes", &format!("{own} {other}")]);
    assert_eq!(
        replica.reply("RMR.FANOUT DBSIZE"),
        format!(
            "-ERR while this node loads the data of its primary only what it can serve itself is possible; this one needs {other}"
        )
    );
    assert_eq!(replica.reply(&format!("RMR.FANOUT NODE {own} DBSIZE")), format!("[{}]", COUNT + 2));
    assert!(scene.is_loading(), "the load was over before all was asked");

    scene.hurry();
    scene.await_sync();
    let whole = COUNT + 2 + MISSED;
    assert_eq!(replica.reply("RMR.FANOUT DBSIZE"), format!("[{whole}, {whole}]"));
    replica.run::<()>(&["CONFIG", "SET", "rmr.nodes", ""]);
    assert_eq!(replica.reply("RMR.SUM a b"), "7");
}

#[test]
fn a_load_that_ends_in_the_middle_harms_nobody() {
    let scene = Scene::new();
    scene.primary.kill();
    scene.hurry();
    let replica = &scene.replica;
    assert_eq!(replica.reply("RMR.FANOUT DBSIZE"), format!("[{}]", COUNT + 2), "{}", replica.log());
    assert_eq!(replica.reply("RMR.SUM a b"), "3");
}

#[test]
fn the_data_is_reloaded_under_it() {
    let server = Server::start();
    server.run::<()>(&["MSET", "a", "1", "b", "2"]);
    assert_eq!(server.reply("RMR.SUM a b"), "3");
    server.run::<()>(&["DEBUG", "RELOAD"]);
    assert_eq!(server.reply("RMR.SUM a b"), "3");
    assert_eq!(server.reply("RMR.EXEC DBSIZE"), "2");
}
