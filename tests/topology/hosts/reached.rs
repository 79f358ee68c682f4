//! Tests the ways to reach hosts: databases, Unix sockets, passwords; and what of that is shown.

use std::time::Duration;

use crate::common::{Server, eventually};

fn plain() -> Server {
    Server::builder().module(false).config("unixsocket", "redis.sock").start()
}

fn socket(server: &Server) -> String {
    server.dir().join("redis.sock").display().to_string()
}

fn coordinator(nodes: &str) -> Server {
    Server::builder().module_args(["nodes", nodes]).start()
}

/// Returns the number of keys that each database of a server has, 0 to 15.
fn sizes(server: &Server) -> Vec<usize> {
    let mut wire = server.wire();
    let mut size = |database: usize| {
        assert_eq!(wire.reply(&format!("SELECT {database}")), "+OK");
        wire.reply("DBSIZE").parse::<usize>().unwrap()
    };
    (0..16).map(&mut size).collect()
}

fn fill(coordinator: &Server, count: usize) {
    let mut wire = coordinator.wire();
    for number in 0..count {
        assert_eq!(wire.reply(&format!("RMR.EXEC SET key:{number} {number}")), "+OK");
    }
}

fn sum(coordinator: &Server, count: usize) -> String {
    let keys: Vec<String> = (0..count).map(|number| format!("key:{number}")).collect();
    coordinator.reply(&format!("RMR.SUM {}", keys.join(" ")))
}

#[test]
fn databases_of_one_server_are_hosts() {
    let server = plain();
    let address = server.address();
    let coordinator = coordinator(&format!("*=redis://{address} /0 /5 /15 unix://{}?db=2", socket(&server)));
    fill(&coordinator, 80);
    assert_eq!(sum(&coordinator, 80), "3160");
    let used = sizes(&server);
    assert!([0, 2, 5, 15].iter().all(|&database| used[database] > 5), "{used:?}");
    assert_eq!(used.iter().sum::<usize>(), 80);
    assert_eq!(coordinator.reply("RMR.EXEC DBSIZE"), "80");
    let each = format!("[{}, {}, {}, {}]", used[0], used[5], used[15], used[2]);
    assert_eq!(coordinator.reply("RMR.FANOUT DBSIZE"), each, "in the order of the host ids");
    let named = coordinator.reply3("RMR.FANOUT WITHNODES DBSIZE");
    let unix = format!("\"unix:{}?db=2\"", socket(&server));
    for name in [format!("{{\"{address}\""), format!("\"{address}/5\""), format!("\"{address}/15\""), unix] {
        assert!(named.contains(&format!("{name}: ")), "{named}");
    }
    assert_eq!(
        coordinator.reply(&format!("RMR.FANOUT NODE 2 NODE {address}/5 DBSIZE")),
        format!("[{}, {}]", used[15], used[5])
    );
    let mut keys: Vec<String> = Vec::new();
    let (mut cursor, mut wire) = ("0".to_owned(), coordinator.connection());
    loop {
        let (next, found): (String, Vec<String>) =
            redis::cmd("RMR.SCAN").arg(&cursor).arg("COUNT").arg(7).query(&mut wire).unwrap();
        keys.extend(found);
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 80);
}

#[test]
fn more_than_64_hosts_are_no_more_work_than_one() {
    let servers: Vec<Server> = (0..5).map(|_| plain()).collect();
    let nodes: Vec<String> = servers
        .iter()
        .flat_map(|server| (0..16).map(move |database| format!("redis://{}/{database}", server.address())))
        .collect();
    let coordinator = coordinator(&nodes.join(" "));
    fill(&coordinator, 400);
    assert_eq!(sum(&coordinator, 400), "79800");
    assert_eq!(coordinator.reply("RMR.EXEC DBSIZE"), "400");
    assert_eq!(coordinator.rmr_figure("nodes"), 80);
    assert_eq!(coordinator.reply("RMR.FANOUT REDUCE COUNT PING"), "80");
    let used: usize = servers.iter().map(|server| sizes(server).iter().filter(|&&size| size > 0).count()).sum();
    assert!(used > 70, "{used} of 80 databases hold keys");
}

#[test]
fn databases_of_the_coordinator_itself_are_served_in_process() {
    let other = plain();
    let dir = other.dir().join("own.sock").display().to_string();
    let own = Server::builder().config("unixsocket", &dir).start();
    let nodes = format!(
        "redis://{0}/3 redis://{1}/3 unix://{dir}?db=4 redis://localhost:{2}/0",
        own.address(),
        other.address(),
        own.port()
    );
    own.run::<()>(&["CONFIG", "SET", "rmr.nodes", &nodes]);
    fill(&own, 80);
    assert_eq!(sum(&own, 80), "3160");
    let (here, there) = (sizes(&own), sizes(&other));
    assert!(here[0] > 5 && here[3] > 5 && here[4] > 5 && there[3] > 5, "{here:?} {there:?}");
    assert_eq!(here.iter().chain(&there).sum::<usize>(), 80);
    assert_eq!(own.reply("RMR.FANOUT DBSIZE"), format!("[{}, {}, {}, {}]", here[3], there[3], here[4], here[0]));
    assert_eq!(own.reply("RMR.EXEC DBSIZE"), "80");
    assert!(!own.reply("CLIENT LIST").contains("name=rmr"), "a link to itself");
    let shown = own.reply3("RMR.TOPOLOGY");
    assert_eq!(shown.matches("\"link\": \"local\"").count(), 3, "{shown}");
    assert!(shown.contains(&format!("\"host-id\": 2, \"address\": \"unix:{dir}?db=4\"")), "{shown}");
    // Each in its own database, and the client stays in its own.
    let mut wire = own.wire();
    for line in ["MULTI", "RMR.FANOUT NODE 0 SET k three", "RMR.FANOUT NODE 2 SET k four", "GET k", "EXEC"] {
        wire.reply(line);
    }
    assert_eq!(wire.reply("GET k"), "nil");
    assert_eq!(wire.reply("RMR.FANOUT NODE 0 NODE 1 NODE 2 NODE 3 GET k"), "[\"three\", nil, \"four\", nil]");
    assert_eq!(wire.reply("SELECT 4"), "+OK");
    assert_eq!(wire.reply("GET k"), "\"four\"");
}

/// More commands than run at once, for each of two databases of the coordinator.
#[test]
fn a_long_share_stays_in_its_database() {
    let own = Server::start();
    let nodes = format!("redis://{0}/1 redis://{0}/2", own.address());
    own.run::<()>(&["CONFIG", "SET", "rmr.nodes", &nodes]);
    let keys: Vec<String> = (0..20_000).map(|number| format!("k:{number}")).collect();
    let mut map = vec!["RMR.MAP", "COUNT", "20000"];
    map.extend(keys.iter().map(String::as_str));
    map.extend(["SET", "{}", "1"]);
    assert_eq!(own.wire().reply_to(&map), "20000");
    let used = sizes(&own);
    assert!(used[0] == 0 && used[1] > 9000 && used[2] > 9000 && used[1] + used[2] == 20_000, "{used:?}");
}

#[test]
fn a_database_that_is_not_there_is_an_error() {
    let other = plain();
    let own = Server::start();
    let nodes = format!("redis://{}/99 redis://{}/99", other.address(), own.address());
    own.run::<()>(&["CONFIG", "SET", "rmr.nodes", &nodes]);
    let remote = own.reply("RMR.FANOUT NODE 0 SET k v");
    assert!(
        remote.starts_with(&format!("-RMRNODE {}/99: database 99: ERR DB index is out of range", other.address())),
        "{remote}"
    );
    let local = own.reply("RMR.FANOUT NODE 1 SET k v");
    assert_eq!(local, format!("-RMRSHARD {}/99: ERR DB index is out of range", own.address()));
    assert_eq!(sizes(&own).iter().chain(&sizes(&other)).sum::<usize>(), 0);
}

#[test]
fn a_selected_database_is_refused_where_the_list_names_them() {
    let other = plain();
    let own = Server::start();
    let nodes = format!("redis://{}/1 redis://{}/2", own.address(), other.address());
    own.run::<()>(&["CONFIG", "SET", "rmr.nodes", &nodes]);
    let mut wire = own.wire();
    assert_eq!(wire.reply("SELECT 1"), "+OK");
    for line in ["RMR.FANOUT NODE 0 SET k v", "RMR.FANOUT SET k v", "RMR.EXEC DBSIZE"] {
        let error = wire.reply(line);
        assert!(error.starts_with("-ERR ") && error.contains("database 1 is selected"), "{line}: {error}");
    }
    assert_eq!(sizes(&own).iter().chain(&sizes(&other)).sum::<usize>(), 0);
}

#[test]
fn each_host_may_have_its_own_user_and_password() {
    let servers: Vec<Server> = (0..3).map(|_| plain()).collect();
    servers[0].run::<()>(&["CONFIG", "SET", "requirepass", "p@ss word"]);
    servers[1].run::<()>(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all"]);
    let [first, second, third] = [0, 1, 2].map(|index| servers[index].address());
    let nodes = format!("redis://:p%40ss%20word@{first} redis://app:secret@{second} {third}");
    let coordinator = coordinator(&nodes);
    assert_eq!(coordinator.reply("RMR.FANOUT ACL WHOAMI"), "[\"default\", \"app\", \"default\"]");
    fill(&coordinator, 30);
    assert_eq!(sum(&coordinator, 30), "435");
    let wrong = format!("redis://:wrong@{first} {third}");
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &wrong]);
    let error = coordinator.reply("RMR.PING");
    assert!(error.starts_with(&format!("-RMRNODE {first}: WRONGPASS ")), "{error}");
}

#[test]
fn a_changed_password_is_used_by_new_connections() {
    let server = plain();
    let coordinator = Server::builder()
        .module_args(["nodes", &format!("redis://:old@{}", server.address()), "shard-func", "ketama"])
        .start();
    server.run::<()>(&["CONFIG", "SET", "requirepass", "old"]);
    assert_eq!(coordinator.reply("RMR.EXEC SET k v"), "+OK");
    let mut admin = server.wire();
    assert_eq!(admin.reply("AUTH old"), "+OK");
    assert_eq!(admin.reply("CONFIG SET requirepass new"), "+OK");
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &format!("redis://:new@{}", server.address())]);
    assert_eq!(coordinator.reply("RMR.EXEC GET k"), "\"v\"");
    eventually(Duration::from_secs(10), "the old connection is closed", || {
        admin.reply("CLIENT LIST").matches("name=rmr").count() == 1
    });
}

#[test]
fn secrets_are_shown_to_nobody_but_config_get() {
    let server = plain();
    server.run::<()>(&["CONFIG", "SET", "requirepass", "hush"]);
    let coordinator = Server::builder().config("loglevel", "debug").start();
    let nodes = format!("redis://app:hush@127.0.0.1:1 redis://:hush@{}/1?label=hush", server.address());
    assert_eq!(coordinator.wire().reply_to(&["CONFIG", "SET", "rmr.nodes", &nodes]), "+OK");
    for line in [
        "RMR.TOPOLOGY",
        "RMR.PING",
        "RMR.FANOUT PARTIAL WITHNODES PING",
        "RMR.FANOUT NODE nobody PING",
        "RMR.EXPLAIN DBSIZE",
        "CONFIG SET rmr.nodes redis://:hush@a:x",
        "CONFIG SET rmr.nodes redis://:hush/1@a:1",
        "INFO everything",
        "INFO rmr",
    ] {
        let shown = coordinator.reply(line);
        assert!(!shown.contains("hush"), "{line}: {shown}");
    }
    assert!(!coordinator.log().contains("hush"));
    let kept: Vec<String> = coordinator.run(&["CONFIG", "GET", "rmr.nodes"]);
    assert_eq!(kept[1], nodes, "as for masterauth, whoever may read settings may read this one");
}

#[test]
fn bad_lists_are_refused_with_the_reason() {
    let server = Server::start();
    for (nodes, reason) in [
        ("1=a:1 2=b:1", "expected a host with the id 0, but no such host was found"),
        ("0=a:1 0=b:1", "the host id 0 stands twice in the list"),
        ("a:1 redis://a:1/0", "the node a:1 stands twice in the list"),
        ("redis://a/x", "'redis://a/x' has no database that is a number"),
        ("redis://a:0", "'redis://a:0' is no address; give host:port"),
        ("http://a", "'http://a' begins with no scheme that is known"),
        ("*=redis://a", "the list of nodes is empty"),
    ] {
        let reply = server.wire().reply_to(&["CONFIG", "SET", "rmr.nodes", nodes]);
        assert!(reply.contains(reason), "'{nodes}': {reply}");
    }
    let both = server.wire().reply_to(&["CONFIG", "SET", "rmr.nodes", "*=rediss://a unix:///b"]);
    assert_eq!(both, "+OK", "a socket does not inherit TLS");
}

#[test]
fn one_host_that_is_down_fails_what_needs_it_and_nothing_else() {
    let servers: Vec<Server> = (0..3).map(|_| plain()).collect();
    let nodes: Vec<String> =
        servers.iter().map(|server| format!("redis://{0}/1 redis://{0}/2", server.address())).collect();
    let coordinator = Server::builder().module_args(["nodes", &nodes.join(" "), "shard-func", "ketama"]).start();
    fill(&coordinator, 60);
    let down = servers[1].address();
    servers[1].kill();
    let mut lost = 0;
    for number in 0..60 {
        let reply = coordinator.reply(&format!("RMR.EXEC GET key:{number}"));
        if reply != format!("\"{number}\"") {
            assert!(reply.starts_with(&format!("-RMRNODE {down}/")), "{reply}");
            lost += 1;
        }
    }
    assert!((5..40).contains(&lost), "{lost} of 60");
    let partial = coordinator.reply3("RMR.FANOUT PARTIAL WITHNODES PING");
    assert_eq!((partial.matches("+PONG").count(), partial.matches("-RMRNODE").count()), (4, 2), "{partial}");
}
