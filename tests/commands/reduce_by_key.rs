//! The reducers that rank, group and sum up: `TOP`, `BOTTOM`, `GROUP`, `TOPGROUPS`, `STATS`, `DISTINCT`, `PREFIX`.

use std::time::Duration;

use crate::common::{Cluster, Wire};
use crate::deployments::Deployment;

/// `RMR.MAP` with this reducer over these keys.
fn map(reducer: &str, keys: &[String], command: &str) -> String {
    format!("RMR.MAP {reducer} {} {} {command}", keys.len(), keys.join(" "))
}

/// With nodes that reduce their own share, and without.
fn with_and_without_pushdown(deployment: &Deployment, test: impl Fn()) {
    for word in ["off", "on"] {
        for node in deployment.nodes() {
            node.run::<()>(&["CONFIG", "SET", "rmr.pushdown", word]);
        }
        test();
    }
}

#[test]
fn keys_are_ranked_by_their_numbers_and_those_of_one_number_by_their_bytes() {
    for deployment in Deployment::all() {
        let mut keys = deployment.fill("n", &["5", "7.5", "-2", "7.5", "9007199254740993", "x"]);
        let text = keys.pop().expect("a key that holds text");
        keys.extend(deployment.keys("missing", 2));
        let mut equal = [&keys[1], &keys[3]];
        equal.sort();
        let [a, b] = equal;
        let (first, low, five) = (&keys[4], &keys[2], &keys[0]);
        with_and_without_pushdown(&deployment, || {
            for node in deployment.nodes() {
                let reply = |reducer: &str| node.reply3(&map(reducer, &keys, "GET"));
                let first = format!("[\"{first}\", 9007199254740993]");
                assert_eq!(reply("TOP 1"), format!("[{first}]"));
                assert_eq!(reply("top 3"), format!("[{first}, [\"{a}\", ,7.5], [\"{b}\", ,7.5]]"));
                let least = format!("[\"{low}\", -2], [\"{five}\", 5], [\"{a}\", ,7.5]");
                assert_eq!(reply("BOTTOM 3"), format!("[{least}]"));
                assert_eq!(reply("BOTTOM 1000000"), format!("[{least}, [\"{b}\", ,7.5], {first}]"));
                let in_resp2 = node.reply(&map("TOP 2", &keys, "GET"));
                assert_eq!(in_resp2, format!("[{first}, [\"{a}\", \"7.5\"]]"));
                let partial = node.reply3(&map("PARTIAL BOTTOM 1", &keys, "GET"));
                assert_eq!(partial, format!("[[[\"{low}\", -2]], {{}}]"));
            }
            let error = deployment.nodes()[0].reply(&map("TOP 3", &[keys[0].clone(), text.clone()], "GET"));
            assert!(error.starts_with("-RMRMIXED TOP cannot take a string ('x') from "), "{error}");
        });
    }
}

#[test]
fn the_key_is_that_of_the_command_wherever_it_stands() {
    for deployment in Deployment::all() {
        let keys = deployment.keys("cart", 4);
        for (index, key) in keys.iter().enumerate() {
            deployment.holder(index).run::<()>(&["HSET", key, "price", &(10 * index).to_string(), "kind", "a"]);
        }
        with_and_without_pushdown(&deployment, || {
            for node in deployment.nodes() {
                let best = format!("[[\"{}\", 30], [\"{}\", 20]]", keys[3], keys[2]);
                assert_eq!(node.reply3(&map("TOP 2", &keys, "HGET {} price")), best);
                // Whole commands, not one for many keys.
                assert_eq!(node.reply3(&map("TOP 4", &keys, "EXISTS {} {}")).matches(", 2]").count(), 4);
                assert_eq!(node.reply3(&map("TOP 4", &keys, "MEMORY USAGE {}")).matches("cart:").count(), 4);
            }
        });
    }
}

#[test]
fn replies_are_grouped_and_the_most_frequent_come_first() {
    for deployment in Deployment::all() {
        let mut keys = deployment.fill("user", &["de", "at", "de", "ch", "at", "de", "2"]);
        keys.extend(deployment.keys("missing", 2));
        with_and_without_pushdown(&deployment, || {
            for node in deployment.nodes() {
                let reply = |reducer: &str| node.reply3(&map(reducer, &keys, "GET"));
                assert_eq!(reply("GROUP"), "{\"2\": 1, \"at\": 2, \"ch\": 1, \"de\": 3}");
                assert_eq!(reply("TOPGROUPS 2"), "[[\"de\", 3], [\"at\", 2]]");
                assert_eq!(reply("TOPGROUPS 9"), "[[\"de\", 3], [\"at\", 2], [\"2\", 1], [\"ch\", 1]]");
                let types = node.reply3(&map("GROUP", &keys, "TYPE"));
                assert_eq!(types, "{\"none\": 2, \"string\": 7}", "a status is a string");
                assert_eq!(node.reply3(&map("GROUP", &keys, "STRLEN")), "{0: 2, 1: 1, 2: 6}");
                let error = node.reply3(&map("GROUP", &keys, "MGET"));
                assert!(error.starts_with("-RMRMIXED GROUP cannot take an array (TOPGROUPS can) from "), "{error}");
                assert_eq!(node.reply3(&map("TOPGROUPS 1", &keys, "MGET")), "[[[\"de\"], 3]]");
                assert_eq!(node.reply(&map("GROUP", &keys, "GET")), "[\"2\", 1, \"at\", 2, \"ch\", 1, \"de\", 3]");
            }
        });
    }
}

#[test]
fn numbers_are_summed_up() {
    for deployment in Deployment::all() {
        let mut keys = deployment.fill("n", &["2", "4", "9", "4", "5.0", "7", "5", "4"]);
        keys.extend(deployment.keys("missing", 3));
        with_and_without_pushdown(&deployment, || {
            for node in deployment.nodes() {
                let expected = "{\"count\": 8, \"sum\": ,40, \"min\": 2, \"max\": 9, \"mean\": ,5, \
                                \"stddev\": ,2, \"p50\": 4, \"p90\": 9, \"p99\": 9, \
                                \"method\": \"exact\", \"error\": ,0}";
                assert_eq!(node.reply3(&map("STATS", &keys, "GET")), expected);
            }
        });
        let none = deployment.nodes()[0].reply3(&map("STATS", &deployment.keys("missing", 3), "GET"));
        let nothing = "\"min\": nil, \"max\": nil, \"mean\": nil, \"stddev\": nil, \"p50\": nil";
        assert!(none.starts_with(&format!("{{\"count\": 0, \"sum\": 0, {nothing}")), "{none}");
    }
}

#[test]
fn different_replies_are_counted() {
    for deployment in Deployment::all() {
        let mut keys = deployment.fill("u", &["a", "b", "a", "c", "b", "1"]);
        keys.extend(deployment.keys("missing", 1));
        with_and_without_pushdown(&deployment, || {
            for node in deployment.nodes() {
                let reply = node.reply3(&map("DISTINCT", &keys, "GET"));
                assert_eq!(reply, "{\"distinct\": 4, \"method\": \"exact\", \"error\": ,0}");
            }
        });
    }
}

#[test]
fn keys_of_one_prefix_are_reduced_by_themselves() {
    for deployment in Deployment::all() {
        let mut keys = deployment.fill("user", &["5", "6", "7"]);
        keys.extend(deployment.fill("cart:item", &["1", "2"]));
        let text = deployment.fill("text", &["x"]).remove(0);
        with_and_without_pushdown(&deployment, || {
            for node in deployment.nodes() {
                let reply = |reducer: &str| node.reply3(&map(reducer, &keys, "GET"));
                assert_eq!(reply("PREFIX : SUM"), "{\"cart\": 3, \"user\": 18}");
                let [one, two] = [&keys[3], &keys[4]];
                let own = format!("{{\"{one}\": 1, \"{two}\": 2, \"use\": 7}}");
                let reversed = format!("{{\"{two}\": 2, \"{one}\": 1, \"use\": 7}}");
                assert_eq!(reply("prefix r: Max"), if one < two { own } else { reversed }, "a key without is its own");
                assert_eq!(reply("PREFIX : LIST"), "{\"cart\": [\"1\", \"2\"], \"user\": [\"5\", \"6\", \"7\"]}");
                let best = format!("{{\"cart\": [[\"{two}\", 2]], \"user\": [[\"{}\", 7]]}}", keys[2]);
                assert_eq!(reply("PREFIX : TOP 1"), best);
                assert_eq!(reply("PREFIX nowhere COUNT").matches(": 1").count(), 5);
                let grouped = node.reply3(&map("PREFIX : GROUP", &keys, "TYPE"));
                assert_eq!(grouped, "{\"cart\": {\"string\": 2}, \"user\": {\"string\": 3}}");
                let distinct = reply("PREFIX : DISTINCT");
                assert_eq!(distinct.matches("\"method\": \"exact\"").count(), 2, "{distinct}");
            }
            let error = deployment.nodes()[0].reply(&map("PREFIX : SUM", &[keys[0].clone(), text.clone()], "GET"));
            let expected = "-RMRMIXED PREFIX cannot take a string ('x') (for SUM) from ";
            assert!(error.starts_with(expected), "{error}");
        });
    }
}

#[test]
fn a_fan_out_ranks_and_groups_nodes() {
    for deployment in Deployment::all() {
        let count = 2 * deployment.nodes().len() - 1;
        deployment.fill("k", &vec!["v"; count]);
        let last = deployment.nodes().last().expect("a node").address();
        with_and_without_pushdown(&deployment, || {
            for node in deployment.nodes() {
                let reply = |rest: &str| node.reply3(&format!("RMR.FANOUT REDUCE {rest}"));
                assert_eq!(reply("BOTTOM 1 DBSIZE"), format!("[[\"{last}\", 1]]"));
                assert_eq!(reply("TOP 9 DBSIZE").matches("127.0.0.1:").count(), deployment.nodes().len());
                let grouped = match count {
                    1 => "{1: 1}".to_owned(),
                    _ => format!("{{1: 1, 2: {}}}", deployment.nodes().len() - 1),
                };
                assert_eq!(reply("GROUP DBSIZE"), grouped);
                let alike = reply("TOPGROUPS 1 CONFIG GET maxmemory-policy");
                assert!(alike.ends_with(&format!("\"noeviction\"}}, {}]]", deployment.nodes().len())), "{alike}");
                assert!(reply("STATS DBSIZE").contains(&format!("\"sum\": {count}")));
                assert!(reply("DISTINCT DBSIZE").contains("\"method\": \"exact\""));
                let error =
                    "-ERR PREFIX goes by keys, and a fan-out has none; give another reducer, or RMR.MAP with keys";
                assert_eq!(reply("PREFIX : SUM DBSIZE"), error);
            }
        });
    }
}

#[test]
fn a_fan_out_does_not_count_what_replies_list() {
    for deployment in Deployment::all() {
        deployment.fill("k", &["v", "v"]);
        let shards = deployment.nodes().len();
        with_and_without_pushdown(&deployment, || {
            for node in deployment.nodes() {
                let reply = |rest: &str| node.reply3(&format!("RMR.FANOUT REDUCE COUNT {rest}"));
                let instead = "REDUCE SUM DBSIZE is the number of all keys";
                let keys = "counts replies, of which each node gives one, and not the keys that";
                let all =
                    format!("; RMR.MAP COUNT MATCH counts keys, REDUCE CONCAT gives those of all nodes, {instead}");
                assert_eq!(reply("KEYS k:*"), format!("-ERR REDUCE COUNT {keys} KEYS lists{all}"));
                assert_eq!(reply("cluster getkeysinslot 1 1"), format!("-ERR REDUCE COUNT {keys} CLUSTER lists{all}"));
                let scan = format!("; RMR.MAP COUNT MATCH counts keys, RMR.SCAN gives those of all shards, {instead}");
                assert_eq!(reply("scan 0"), format!("-ERR REDUCE COUNT {keys} SCAN lists{scan}"));
                let in_part = node.reply("RMR.FANOUT PARTIAL REDUCE count KEYS k:*");
                assert_eq!(in_part, format!("-ERR REDUCE COUNT {keys} KEYS lists{all}"));
                let listed = reply("ACL USERS");
                let expected = "-RMRMIXED COUNT cannot take an array (it counts replies, not what is in them; CONCAT joins \
                                that, SUM adds numbers up) from ";
                assert!(listed.starts_with(expected), "{listed}");
                assert!(reply("CONFIG GET maxmemory*").starts_with("-RMRMIXED COUNT cannot take a map (it counts"));
                assert_eq!(reply("PING"), shards.to_string());
                assert_eq!(reply("EVAL return(nil) 0"), "0");
                assert_eq!(reply("EVAL return('x') 0"), shards.to_string());
            }
        });
        assert_eq!(deployment.nodes()[0].reply("RMR.FANOUT REDUCE SUM DBSIZE"), "2");
    }
}

#[test]
fn what_would_take_too_much_memory_is_an_error_and_the_servers_go_on() {
    // Much work for the nodes, while which none may be taken for dead.
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(60)).start();
    let keys: Vec<String> = (0..35).map(|index| format!("long:{index}")).collect();
    cluster.fill(keys.len(), |index| (keys[index].clone(), format!("{index:0>60000}").repeat(34)));
    let deployment = Deployment::Cluster(cluster);
    with_and_without_pushdown(&deployment, || {
        // As long as the requests themselves may take.
        let mut wire = Wire::connect_with_timeout(deployment.nodes()[1].port(), Duration::from_secs(60));
        for reducer in ["GROUP", "TOPGROUPS 1"] {
            let name = reducer.trim_end_matches(" 1");
            let error = format!(
                "-RMRTOOBIG {name} would have to keep more than 67108864 bytes; give it fewer or shorter keys and values"
            );
            assert_eq!(wire.reply(&map(&format!("TIMEOUT 60000 {reducer}"), &keys, "GET")), error);
        }
        assert!(wire.reply(&map("TIMEOUT 60000 DISTINCT", &keys, "GET")).starts_with("[\"distinct\", 35, "));
        assert_eq!(wire.reply(&map("TOP 1", &keys[..9], "STRLEN")).matches("2040000").count(), 1);
    });
    assert!(deployment.nodes().iter().all(|node| node.reply("PING") == "+PONG"));
}

#[test]
fn so_many_keys_that_the_answer_is_an_estimate_that_says_so() {
    let values: Vec<String> = (0..12_000).map(|value| (3 * value).to_string()).collect();
    let keys: Vec<String> = (0..values.len()).map(|index| format!("n:{index}")).collect();
    let cluster = Cluster::start(3);
    cluster.fill(keys.len(), |index| (keys[index].clone(), values[index].clone()));
    let line = map("STATS", &keys, "GET");
    cluster.node(0).run::<()>(&["CONFIG", "SET", "rmr.pushdown", "on"]);
    let [pushing, plain] = [0, 1].map(|node| cluster.node(node).reply3(&line));
    assert_eq!(pushing, plain);
    let exact = "{\"count\": 12000, \"sum\": 215982000, \"min\": 0, \"max\": 35997, \"mean\": ,17998.5, ";
    assert!(plain.starts_with(exact), "{plain}");
    assert!(plain.ends_with("\"method\": \"buckets\", \"error\": ,0.00390625}"), "{plain}");
    let field = |name: &str| {
        let (_, rest) = plain.split_once(&format!("\"{name}\": ,")).expect("a double");
        rest.split(',').next().and_then(|number| number.parse::<f64>().ok()).expect("a number")
    };
    for (name, expected) in [("p50", 5999.0 * 3.0), ("p90", 10799.0 * 3.0), ("p99", 11879.0 * 3.0)] {
        assert!((field(name) - expected).abs() <= expected / 256.0, "{name} is {}, not {expected}", field(name));
    }
}
