//! The reducers, which `RMR.MAP` and `RMR.FANOUT` share.

use crate::common::Server;
use crate::deployments::Deployment;

/// `RMR.MAP` with this reducer over these keys.
fn map(reducer: &str, keys: &[String], command: &str) -> String {
    format!("RMR.MAP {reducer} {} {} {command}", keys.len(), keys.join(" "))
}

#[test]
fn numbers_are_reduced() {
    for deployment in Deployment::all() {
        let mut keys = deployment.fill("n", &["5", "7", "-2"]);
        keys.extend(deployment.keys("missing", 1));
        for node in deployment.nodes() {
            let reply = |reducer: &str| node.reply3(&map(reducer, &keys, "GET"));
            assert_eq!(reply("LIST"), "[\"5\", \"7\", \"-2\", nil]");
            assert_eq!(reply("SUM"), "10");
            assert_eq!(reply("AVG"), ",3.3333333333333335");
            assert_eq!(reply("MIN"), "-2");
            assert_eq!(reply("MAX"), "7");
            assert_eq!(reply("COUNT"), "3");
            assert_eq!(node.reply(&map("AVG", &keys, "GET")), "\"3.3333333333333335\"");
        }
    }
}

#[test]
fn a_mean_of_numbers_whose_sum_is_no_double_is_right_by_map_fanout_and_pushdown() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("n", &["1e308"; 10]);
        let shards = deployment.nodes().len();
        for word in ["off", "on"] {
            for node in deployment.nodes() {
                node.run::<()>(&["CONFIG", "SET", "rmr.pushdown", word]);
            }
            for node in deployment.nodes() {
                assert_eq!(node.reply(&map("AVG", &keys, "GET")), "\"1e308\"", "pushdown {word}");
                let script = ["RMR.FANOUT", "REDUCE", "AVG", "EVAL", "return '-1e308'", "0"];
                assert_eq!(node.wire().reply_to(&script), "\"-1e308\"", "{shards} shards, pushdown {word}");
            }
        }
    }
}

#[test]
fn doubles_and_integers_mix() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("n", &["5", "7.5", "-0.25", "7"]);
        let reply = |reducer: &str| deployment.nodes()[0].reply3(&map(reducer, &keys, "GET"));
        assert_eq!(reply("SUM"), ",19.25");
        assert_eq!(reply("AVG"), ",4.8125");
        assert_eq!(reply("MIN"), ",-0.25");
        assert_eq!(reply("MAX"), ",7.5");
        let reply = deployment.nodes()[0].reply3(&map("MAX", &keys[..1], "GET"));
        assert_eq!(reply, "5", "an integer stays one");
    }
}

#[test]
fn replies_that_are_integers_or_doubles_are_numbers_too() {
    for deployment in Deployment::all() {
        let keys = deployment.keys("set", 3);
        for (index, key) in keys.iter().enumerate() {
            let score = (index * 2).to_string();
            deployment.holder(index).run::<()>(&["ZADD", key, &format!("{score}.5"), "m", "100", "n"]);
        }
        let node = &deployment.nodes()[0];
        assert_eq!(node.reply3(&map("SUM", &keys, "ZCARD")), "6");
        assert_eq!(node.reply3(&map("SUM", &keys, "ZSCORE {} m")), ",7.5");
        assert_eq!(node.reply3(&map("MAX", &keys, "ZSCORE {} m")), ",4.5");
        assert_eq!(node.reply3(&map("MIN", &keys, "ZSCORE {} missing")), "nil");
    }
}

#[test]
fn nothing_has_no_mean_and_no_best_but_a_sum() {
    for deployment in Deployment::all() {
        let keys = deployment.keys("missing", 4);
        let reply = |reducer: &str| deployment.nodes()[0].reply(&map(reducer, &keys, "GET"));
        assert_eq!(reply("SUM"), "0");
        assert_eq!(reply("COUNT"), "0");
        assert_eq!(reply("AVG"), "nil");
        assert_eq!(reply("MIN"), "nil");
        assert_eq!(reply("MAX"), "nil");
        assert_eq!(reply("CONCAT"), "[]");
        assert_eq!(reply("UNION"), "[]");
    }
}

#[test]
fn elements_are_joined_and_united() {
    for deployment in Deployment::all() {
        let lists = deployment.keys("list", 3);
        let sets = deployment.keys("set", 3);
        for (index, (list, set)) in lists.iter().zip(&sets).enumerate() {
            let holder = deployment.holder(index);
            holder.run::<()>(&["RPUSH", list, "x", &index.to_string()]);
            holder.run::<()>(&["SADD", set, "y"]);
        }
        for node in deployment.nodes() {
            let joined = node.reply3(&map("CONCAT", &lists, "LRANGE {} 0 -1"));
            assert_eq!(joined, "[\"x\", \"0\", \"x\", \"1\", \"x\", \"2\"]");
            let united = node.reply3(&map("UNION", &lists, "LRANGE {} 0 -1"));
            assert_eq!(united, "~[\"x\", \"0\", \"1\", \"2\"]");
            assert_eq!(node.reply3(&map("CONCAT", &sets, "SMEMBERS")), "[\"y\", \"y\", \"y\"]");
            assert_eq!(node.reply3(&map("UNION", &sets, "SMEMBERS")), "~[\"y\"]");
            assert_eq!(node.reply(&map("UNION", &sets, "SMEMBERS")), "[\"y\"]", "RESP2 has no sets");
        }
    }
}

#[test]
fn a_fan_out_is_reduced_the_same_way() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("k", &["v", "v", "v", "v", "v"]);
        let shards = deployment.nodes().len();
        for node in deployment.nodes() {
            let reply = |rest: &str| node.reply3(&format!("RMR.FANOUT REDUCE {rest}"));
            assert_eq!(reply("sum DBSIZE"), "5");
            assert_eq!(reply("COUNT DBSIZE"), shards.to_string());
            assert_eq!(reply("Avg DBSIZE"), format!(",{}", 5.0 / shards as f64));
            assert_eq!(reply("MAX DBSIZE"), 5usize.div_ceil(shards).to_string());
            assert_eq!(reply("MIN DBSIZE"), (5 / shards).to_string());
            assert_eq!(reply("LIST PING"), format!("[{}]", vec!["+PONG"; shards].join(", ")));
            assert_eq!(reply("UNION TIME").matches('"').count() % 2, 0);
            let all = reply("CONCAT KEYS *");
            assert!(keys.iter().all(|key| all.matches(&format!("\"{key}\"")).count() == 1), "{all}");
            assert_eq!(all.matches('"').count(), 2 * keys.len(), "{all}");
        }
    }
}

#[test]
fn what_a_reducer_cannot_take_names_node_and_type() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("n", &["1", "abc", "3"]);
        let second = deployment.name_of(deployment.holder(1));
        let node = &deployment.nodes()[0];
        for reducer in ["SUM", "AVG", "MIN", "MAX"] {
            let error = format!("-RMRMIXED {reducer} cannot take a string ('abc') from {second}");
            assert_eq!(node.reply(&map(reducer, &keys, "GET")), error);
        }
        let first = deployment.name_of(node);
        for reducer in ["CONCAT", "UNION"] {
            let error = format!("-RMRMIXED {reducer} cannot take an integer from {first}");
            assert_eq!(node.reply(&map(reducer, &keys, "STRLEN")), error);
        }
        let error = format!("-RMRMIXED SUM cannot take a string ('PONG') from {first}");
        assert_eq!(node.reply("RMR.FANOUT REDUCE SUM PING"), error);
        let error = format!("-RMRMIXED MAX cannot take an array from {first}");
        assert_eq!(node.reply("RMR.FANOUT REDUCE MAX TIME"), error);
        let error = format!("-RMRMIXED SUM cannot take a map from {first}");
        assert_eq!(node.reply3("RMR.FANOUT REDUCE SUM CONFIG GET port"), error);
        assert_eq!(node.reply(&map("COUNT", &keys, "GET")), "3", "anything can be counted");
    }
}

#[test]
fn a_mixed_reply_that_is_long_or_binary_is_not_shown_whole() {
    let server = Server::start();
    server.run::<()>(&["SET", "long", &"x".repeat(1000)]);
    let error = server.reply("RMR.MAP SUM 1 long GET");
    assert_eq!(error, format!("-RMRMIXED SUM cannot take a string from {}", server.address()));
    let mut wire = server.wire();
    assert_eq!(wire.reply_to(&[&b"SET"[..], b"odd", b"\r\n\0\xff"]), "+OK");
    let error = format!("-RMRMIXED SUM cannot take a string ('\\r\\n\\x00\\xff') from {}", server.address());
    assert_eq!(wire.reply("RMR.MAP SUM 1 odd GET"), error);
}

#[test]
fn a_sum_of_replies_does_not_wrap() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("big", &["9223372036854775807", "9223372036854775807"]);
        let error = "-ERR the sum 18446744073709551614 overflows a 64 bit signed integer";
        assert_eq!(deployment.nodes()[0].reply(&map("SUM", &keys, "GET")), error);
        let mean = deployment.nodes()[0].reply3(&map("AVG", &keys, "GET"));
        assert_eq!(mean.trim_start_matches(',').parse(), Ok(i64::MAX as f64), "{mean}");
    }
}
