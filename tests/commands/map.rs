//! `RMR.MAP`: one command a key, each on its key's shard.

use crate::common::{Cluster, Server};
use crate::deployments::Deployment;

#[test]
fn the_key_follows_the_commands_name() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("text", &["hello", "world", "again"]).join(" ");
        for node in deployment.nodes() {
            assert_eq!(node.reply(&format!("RMR.MAP LIST 3 {keys} GET")), "[\"hello\", \"world\", \"again\"]");
            assert_eq!(node.reply(&format!("RMR.MAP list 3 {keys} GETRANGE 1 3")), "[\"ell\", \"orl\", \"gai\"]");
        }
    }
}

#[test]
fn braces_stand_for_the_key_wherever_they_are() {
    for deployment in Deployment::all() {
        let keys = deployment.keys("cart", 3);
        for (index, key) in keys.iter().enumerate() {
            let price = (100 + index).to_string();
            deployment.holder(index).run::<()>(&["HSET", key, "price", &price, "name", "thing"]);
        }
        let keys = keys.join(" ");
        for node in deployment.nodes() {
            assert_eq!(node.reply(&format!("RMR.MAP SUM 3 {keys} HGET {{}} price")), "303");
            assert_eq!(node.reply(&format!("RMR.MAP LIST 3 {keys} OBJECT ENCODING {{}}")).matches('"').count(), 6);
        }
    }
}

#[test]
fn braces_may_stand_more_than_once_and_only_whole() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("m", &["one", "two"]);
        let node = &deployment.nodes()[0];
        let reply = node.reply(&format!("RMR.MAP LIST 2 {} MGET {{}} {{}}", keys.join(" ")));
        assert_eq!(reply, "[[\"one\", \"one\"], [\"two\", \"two\"]]");
        let reply = node.reply(&format!("RMR.MAP LIST 1 {} SET {{}} a{{}}b", keys[0]));
        assert_eq!(reply, "[+OK]");
        assert_eq!(deployment.holder(0).reply(&format!("GET {}", keys[0])), "\"a{}b\"");
    }
}

#[test]
fn writes_reach_every_shard() {
    for deployment in Deployment::all() {
        let keys = deployment.keys("counter", 10);
        let line = format!("RMR.MAP SUM 10 {} INCRBY {{}} 3", keys.join(" "));
        for (round, node) in (1..).zip(deployment.nodes()) {
            assert_eq!(node.reply(&line), (30 * round).to_string());
        }
        let each = (3 * deployment.nodes().len()).to_string();
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(deployment.holder(index).run::<String>(&["GET", key]), each);
        }
    }
}

#[test]
fn the_same_key_is_sent_as_often_as_it_is_named() {
    for deployment in Deployment::all() {
        let key = &deployment.keys("again", 2)[1];
        let reply = deployment.nodes()[0].reply(&format!("RMR.MAP LIST 3 {key} {key} {key} INCR"));
        assert_eq!(reply, "[1, 2, 3]");
    }
}

#[test]
fn replies_stand_in_the_order_of_the_keys() {
    for deployment in Deployment::all() {
        let values: Vec<String> = (0..50).map(|value| value.to_string()).collect();
        let texts: Vec<&str> = values.iter().map(String::as_str).collect();
        let mut keys = deployment.fill("order", &texts);
        keys.reverse();
        let expected: Vec<String> = values.iter().rev().map(|value| format!("\"{value}\"")).collect();
        let line = format!("RMR.MAP LIST 50 {} GET", keys.join(" "));
        for node in deployment.nodes() {
            assert_eq!(node.reply(&line), format!("[{}]", expected.join(", ")));
        }
    }
}

#[test]
fn a_shards_error_is_the_whole_requests_and_names_node_and_key() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("n", &["1", "x", "3"]);
        let error = format!(
            "-RMRSHARD {}: ERR value is not an integer or out of range (key '{}')",
            deployment.name_of(deployment.holder(1)),
            keys[1]
        );
        for node in deployment.nodes() {
            assert_eq!(node.reply(&format!("RMR.MAP LIST 3 {} INCR", keys.join(" "))), error);
        }
    }
}

#[test]
fn arguments_that_are_keys_of_other_shards_are_the_shards_error() {
    let cluster = Cluster::start(3);
    let [here, there] = [0, 1].map(|shard| cluster.key_for(shard, "k"));
    cluster.set(&here, "v");
    for node in cluster.nodes() {
        let error = node.reply(&format!("RMR.MAP LIST 1 {here} COPY {{}} {there}"));
        let crossed = ": CROSSSLOT Keys in request don't hash to the same slot";
        assert!(error.starts_with("-RMRSHARD ") && error.contains(crossed), "{error}");
        assert!(error.ends_with(&format!("(key '{here}')")), "{error}");
    }
}

#[test]
fn wrong_arguments_say_what_is_missing() {
    const REDUCERS: &str = "give one of LIST, SUM, AVG, MIN, MAX, COUNT, CONCAT, UNION, TOP n, BOTTOM n, GROUP, TOPGROUPS n, \
                            STATS, DISTINCT, PREFIX separator reducer";
    const COUNT: &str = "give how many keys follow, 1 or more, or MATCH pattern";
    const SHORT: &str = "arguments follow; give the keys, then a command";
    let server = Server::start();
    let mut wire = server.wire();
    for (line, error) in [
        ("MEDIAN 1 k GET", format!("the reducer is 'MEDIAN'; {REDUCERS}")),
        ("TOP x 1 k GET", "TOP is 'x'; give how many are wanted, from 1 to 1000000".into()),
        ("PREFIX : TOPGROUPS 0 1 k GET", "TOPGROUPS is '0'; give how many are wanted, from 1 to 1000000".into()),
        (
            "PREFIX : PREFIX : SUM 1 k GET",
            format!("the reducer of PREFIX is 'PREFIX'; {}", REDUCERS.replace(", PREFIX separator reducer", "")),
        ),
        ("SUM 1 k", format!("numkeys is '1', but 1 {SHORT}")),
        ("SUM x k GET", format!("numkeys is 'x'; {COUNT}")),
        ("SUM 0 k GET", format!("numkeys is '0'; {COUNT}")),
        ("SUM -1 k GET", format!("numkeys is '-1'; {COUNT}")),
        ("SUM 1.5 k GET", format!("numkeys is '1.5'; {COUNT}")),
        ("SUM 2 k GET", format!("numkeys is '2', but 2 {SHORT}")),
        ("SUM 3 k GET", format!("numkeys is '3', but 2 {SHORT}")),
        ("SUM 18446744073709551615 k GET", format!("numkeys is '18446744073709551615', but 2 {SHORT}")),
        ("TIMEOUT 0 SUM 1 k GET", "TIMEOUT is '0'; give milliseconds from 1 to 3600000".into()),
        ("PARTIAL PARTIAL SUM 2 a", format!("numkeys is '2', but 1 {SHORT}")),
        ("PARTIAL TIMEOUT 5 SUM", format!("numkeys has no value; {COUNT}")),
    ] {
        assert_eq!(wire.reply(&format!("RMR.MAP {line}")), format!("-ERR {error}"), "{line}");
    }
    for line in ["RMR.MAP", "RMR.MAP SUM 1"] {
        let arity = wire.reply(line).to_lowercase();
        assert_eq!(arity, "-err wrong number of arguments for 'rmr.map' command", "{line}");
    }
    assert_eq!(wire.reply("PING"), "+PONG");
}

#[test]
fn an_unknown_command_is_the_shards_error() {
    for deployment in Deployment::all() {
        let keys = deployment.keys("k", 3).join(" ");
        let error = deployment.nodes()[0].reply(&format!("RMR.MAP LIST 3 {keys} NOSUCH a"));
        assert!(error.contains(": ERR unknown command 'NOSUCH'"), "{error}");
    }
}

#[test]
fn options_stand_before_the_reducer() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("n", &["1", "2"]).join(" ");
        let node = &deployment.nodes()[0];
        assert_eq!(node.reply(&format!("RMR.MAP TIMEOUT 9000 SUM 2 {keys} GET")), "3");
        assert_eq!(node.reply3(&format!("RMR.MAP partial timeout 9000 SUM 2 {keys} GET")), "[3, {}]");
        assert_eq!(node.reply(&format!("RMR.MAP PARTIAL LIST 2 {keys} GET")), "[\"1\", \"2\"]");
    }
}
