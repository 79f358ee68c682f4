//! The examples as their readers would use them: three modules by other authors, and a program without a module.

use std::process::Command;
use std::time::Duration;

use crate::common::{Cluster, Server, error_text, eventually, example_bin, example_path, slot_of};
use redis::RedisResult;

/// A cluster whose nodes have this example as their only module.
fn cluster_with(example: &str, replicas: usize) -> Cluster {
    let path = example_path(example);
    let builder = Cluster::builder().module(false).replicas(replicas);
    builder.arg("--loadmodule").arg(path.to_str().expect("a path in UTF-8")).start()
}

fn load(node: &Server, example: &str) {
    let path = example_path(example);
    node.run::<()>(&["MODULE", "LOAD", path.to_str().expect("a path in UTF-8")]);
}

fn error_of<T: redis::FromRedisValue + std::fmt::Debug>(result: RedisResult<T>) -> String {
    error_text(&result.expect_err("an error"))
}

mod sum {
    use super::*;

    /// Three keys, one on each shard, with the numbers 1, 2 and 3.
    fn one_key_a_shard(cluster: &Cluster) -> Vec<String> {
        let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "n")).collect();
        cluster.fill(3, |index| (&keys[index], (index + 1).to_string()));
        keys
    }

    fn sum_of(node: &Server, command: &str, keys: &[String]) -> RedisResult<i64> {
        let args: Vec<&str> = [command].into_iter().chain(keys.iter().map(String::as_str)).collect();
        node.try_run(&args)
    }

    #[test]
    fn it_adds_over_all_shards_from_any_node() {
        let cluster = cluster_with("sum", 0);
        let keys = one_key_a_shard(&cluster);
        for node in cluster.nodes() {
            assert_eq!(sum_of(node, "SUMX.SUM", &keys).unwrap(), 6);
        }
        let text = cluster.key_for(1, "text");
        cluster.set(&text, "no number");
        let some = [keys[0].clone(), text, "missing".into(), keys[0].clone()];
        assert_eq!(sum_of(cluster.node(2), "SUMX.SUM", &some).unwrap(), 2);
    }

    #[test]
    fn its_errors_are_those_of_the_shards_and_of_the_engine() {
        let cluster = cluster_with("sum", 0);
        let keys = one_key_a_shard(&cluster);
        let node = cluster.node(0);
        assert!(error_of(node.try_run::<i64>(&["SUMX.SUM"])).contains("wrong number of arguments"));

        let list = cluster.key_for(1, "list");
        cluster.node(1).run::<()>(&["RPUSH", &list, "x"]);
        let wrong_type = error_of(sum_of(node, "SUMX.SUM", std::slice::from_ref(&list)));
        assert!(wrong_type.starts_with("RMRSHARD") && wrong_type.contains("WRONGTYPE"), "{wrong_type}");
        assert!(wrong_type.contains(&list), "{wrong_type}");

        let mut transaction = redis::pipe();
        transaction.atomic().cmd("SUMX.SUM").arg(&keys);
        let in_multi = error_of(transaction.query::<Vec<i64>>(&mut node.connection()));
        assert!(in_multi.contains("in MULTI"), "{in_multi}");
    }

    #[test]
    fn it_lives_beside_librmr_and_either_may_go_and_come_back() {
        let cluster = Cluster::builder().unloadable().start();
        let keys = one_key_a_shard(&cluster);
        let node = cluster.node(0);
        let both = |expected: i64| {
            assert_eq!(sum_of(node, "RMR.SUM", &keys).unwrap(), expected);
            assert_eq!(sum_of(node, "SUMX.SUM", &keys).unwrap(), expected);
        };
        load(node, "sum");
        both(6);

        unload(node, "rmr");
        assert_eq!(sum_of(node, "SUMX.SUM", &keys).unwrap(), 6);
        assert!(error_of(sum_of(node, "RMR.SUM", &keys)).contains("unknown command"));
        node.load_unloadable(&[]);
        both(6);

        unload(node, "sumx");
        assert_eq!(sum_of(node, "RMR.SUM", &keys).unwrap(), 6);
        load(node, "sum");
        cluster.set(&keys[1], "40");
        both(44);
    }

    /// The server would look at the commands that are gone.
    #[test]
    fn connections_whose_last_command_was_its_own_go_with_it_and_no_others() {
        let cluster = Cluster::start(3);
        let (node, key) = (cluster.node(0), cluster.key_for(0, "n"));
        let file = example_path("sum");
        let same_file = file.with_file_name(".").join(file.file_name().expect("its name"));
        let mut stays = node.wire();
        for path in [&file, &file, &same_file, &same_file, &file] {
            node.run::<()>(&["MODULE", "LOAD", path.to_str().expect("a path in UTF-8")]);
            let mut gone = node.wire();
            assert_eq!(gone.ask(&["SUMX.SUM", &key]), ":0");
            assert_eq!(stays.ask(&["RMR.SUM", &key]), ":0");
            unload(node, "sumx");
            assert!(gone.try_call(&["PING"]).is_err());
            assert!(stays.ask(&["CLIENT", "LIST"]).contains("cmd=client|list"));
        }
    }

    /// Unloads a module. A request is answered a moment before it counts as done, so an unload right after one may be refused.
    fn unload(node: &Server, name: &str) {
        eventually(Duration::from_secs(5), "the module is unloaded", || {
            node.try_run::<()>(&["MODULE", "UNLOAD", name]).is_ok()
        });
    }
}

mod top {
    use super::*;

    /// Thirty keys that hold 0 to 29.
    fn filled() -> (Cluster, Vec<String>) {
        let cluster = cluster_with("top", 0);
        let keys: Vec<String> = (0..30).map(|number| format!("n:{number}")).collect();
        cluster.fill(30, |index| (&keys[index], index.to_string()));
        (cluster, keys)
    }

    fn ten_of(node: &Server, keys: &[String]) -> RedisResult<Vec<(String, i64)>> {
        let args: Vec<&str> = ["TOP.TEN"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        node.try_run(&args)
    }

    #[test]
    fn each_shard_finds_its_own_and_the_coordinator_the_best_of_them() {
        let (cluster, keys) = filled();
        let best: Vec<(String, i64)> = (20..30).rev().map(|number| (format!("n:{number}"), number)).collect();
        for node in cluster.nodes() {
            assert_eq!(ten_of(node, &keys).unwrap(), best);
        }
        for node in cluster.nodes() {
            assert!(node.calls_of("top.inner") > 0, "a node sent every value");
        }
        assert_eq!(ten_of(cluster.node(1), &["none".into(), "n:7".into(), "n:7".into()]).unwrap().len(), 2);
    }

    #[test]
    fn nodes_without_the_module_send_values() {
        let (cluster, keys) = filled();
        let with = ten_of(cluster.node(0), &keys).unwrap();
        let unload = || cluster.node(1).try_run::<()>(&["MODULE", "UNLOAD", "top"]).is_ok();
        eventually(Duration::from_secs(10), "the module is unloaded", unload);
        assert_eq!(ten_of(cluster.node(0), &keys).unwrap(), with);
    }

    #[test]
    fn what_it_cannot_take_is_an_error_on_both_ways() {
        let (cluster, keys) = filled();
        let text = cluster.key_for(1, "text");
        cluster.set(&text, "no number");
        let keys = [&keys[..], &[text]].concat();
        let error = error_of(ten_of(cluster.node(0), &keys));
        assert!(error.starts_with("RMRMIXED TOP-TEN cannot take a string ('no number') from "), "{error}");
        let unload = || cluster.node(1).try_run::<()>(&["MODULE", "UNLOAD", "top"]).is_ok();
        eventually(Duration::from_secs(10), "the module is unloaded", unload);
        assert_eq!(error_of(ten_of(cluster.node(0), &keys)), error);
    }
}

mod flow {
    use super::*;

    /// Sixty users in three countries, one of whom says nothing of it, and what is no JSON.
    fn filled() -> Cluster {
        let cluster = cluster_with("flow", 0);
        let countries = ["DE", "FR", "IT"];
        cluster.fill(60, |number| {
            let country = countries[number % 6 / 2];
            (format!("user:{number}"), format!(r#"{{"id": {number}, "country": "{country}", "is_new": true}}"#))
        });
        cluster.set("user:nobody", r#"{"id": 61}"#);
        cluster.set("user:text", "no JSON");
        cluster.set("other:1", r#"{"country": "AT"}"#);
        let list = cluster.key_for(1, "user:list");
        cluster.node(1).run::<()>(&["RPUSH", &list, "x"]);
        cluster
    }

    fn countries_of(node: &Server) -> String {
        node.reply3("JSON.COUNT user:* country")
    }

    const COUNTRIES: &str = r#"{"DE": 20, "FR": 20, "IT": 20}"#;

    #[test]
    fn each_shard_takes_the_step_and_sends_counts() {
        let cluster = filled();
        for node in cluster.nodes() {
            assert_eq!(countries_of(node), COUNTRIES);
            assert_eq!(node.reply3("JSON.COUNT * is_new"), r#"{"true": 60}"#);
            assert_eq!(node.reply3("JSON.COUNT user:* nothing"), "{}");
            assert!(node.reply3("JSON.COUNT user:*").contains("wrong number of arguments"));
        }
        for node in cluster.nodes() {
            assert!(node.calls_of("json.inner") > 0, "a node was read by plain commands");
            // In process, and not by anybody's commands.
            assert_eq!(node.figure("commandstats", "cmdstat_scan"), 0);
        }
    }

    #[test]
    fn values_move_to_the_shards_that_own_their_counters() {
        let cluster = filled();
        for (times, node) in (1..).zip(cluster.nodes()) {
            assert_eq!(node.reply3("JSON.TALLY user:* country from:"), "60");
            for country in ["DE", "FR", "IT"] {
                let key = format!("from:{country}");
                let owner = cluster.node(cluster.owner_of(slot_of(&key)));
                assert_eq!(owner.run::<u64>(&["GET", &key]), 20 * times);
            }
        }
        for node in &cluster.nodes()[1..] {
            let unload = || node.try_run::<()>(&["MODULE", "UNLOAD", "json"]).is_ok();
            eventually(Duration::from_secs(10), "the module is unloaded", unload);
        }
        assert_eq!(cluster.node(0).reply3("JSON.TALLY user:* country from:"), "60");
        let key = "from:IT";
        assert_eq!(cluster.node(cluster.owner_of(slot_of(key))).run::<u64>(&["GET", key]), 80);
    }

    #[test]
    fn nodes_without_the_module_are_read_by_plain_commands() {
        let cluster = filled();
        assert_eq!(countries_of(cluster.node(0)), COUNTRIES);
        for node in &cluster.nodes()[1..] {
            let unload = || node.try_run::<()>(&["MODULE", "UNLOAD", "json"]).is_ok();
            eventually(Duration::from_secs(10), "the module is unloaded", unload);
            assert_eq!(countries_of(cluster.node(0)), COUNTRIES);
        }
    }

    #[test]
    fn the_callers_rights_hold() {
        let cluster = filled();
        for node in cluster.nodes() {
            node.run::<()>(&["ACL", "SETUSER", "part", "on", ">p", "~user:1*", "+@all", "-@dangerous"]);
        }
        let mut wire = cluster.node(0).wire3();
        wire.reply("AUTH part p");
        // Keys that may not be read are not there.
        assert_eq!(wire.reply("JSON.COUNT user:* country"), r#"{"DE": 5, "FR": 2, "IT": 4}"#);
        let mut wire = cluster.node(0).wire3();
        wire.reply("MULTI");
        wire.reply("JSON.COUNT user:* country");
        let in_multi = wire.reply("EXEC");
        assert!(in_multi.contains("a flow has to wait"), "{in_multi}");
    }
}

mod search {
    use super::*;

    /// Key, score, and the field `text`.
    type Hit = (String, i64, String);

    /// Returns the hits of a query, in RESP3.
    fn query(node: &Server, count: usize, words: &str) -> Vec<Hit> {
        let mut query = redis::cmd("SEARCH.QUERY");
        query.arg(count).arg(words.split(' ').collect::<Vec<_>>());
        let rows: Vec<(String, i64, std::collections::HashMap<String, String>)> =
            query.query(&mut node.connection3()).unwrap_or_else(|error| panic!("{}", error_text(&error)));
        rows.into_iter().map(|(key, score, fields)| (key, score, fields["text"].clone())).collect()
    }

    fn keys_found(node: &Server, words: &str) -> Vec<String> {
        query(node, 100, words).into_iter().map(|(key, ..)| key).collect()
    }

    /// Writes a document where it belongs.
    fn write(cluster: &Cluster, key: &str, text: &str) {
        cluster.node(cluster.owner_of(slot_of(key))).run::<()>(&["HSET", key, "text", text]);
    }

    /// A document on each shard.
    fn documents(cluster: &Cluster) -> [String; 3] {
        let keys = [0, 1, 2].map(|shard| cluster.key_for(shard, "doc"));
        let texts = ["The sea, the wind.", "Wind, wind and more WIND", "a calm sea; no breeze"];
        keys.iter().zip(texts).for_each(|(key, text)| write(cluster, key, text));
        keys
    }

    #[test]
    fn the_best_of_all_shards_come_first_with_their_fields() {
        let cluster = cluster_with("search", 0);
        let [both, windy, calm] = documents(&cluster);
        for node in cluster.nodes() {
            let hits = query(node, 2, "sea wind");
            assert_eq!(hits[0], (windy.clone(), 3, "Wind, wind and more WIND".into()));
            assert_eq!(hits[1], (both.clone(), 2, "The sea, the wind.".into()));
            assert_eq!(hits.len(), 2);
            assert_eq!(keys_found(node, "calm unheard"), [calm.as_str()]);
            assert_eq!(keys_found(node, "unheard"), [""; 0]);
        }
    }

    #[test]
    fn the_index_follows_the_documents() {
        let cluster = cluster_with("search", 0);
        let [both, windy, calm] = documents(&cluster);
        let node = cluster.node(0);

        write(&cluster, &windy, "hardly any air moves");
        assert_eq!(keys_found(node, "wind"), [both.as_str()]);
        assert_eq!(keys_found(node, "air"), [windy.as_str()]);

        cluster.node(0).run::<()>(&["DEL", &both]);
        assert_eq!(keys_found(node, "wind sea"), [calm.as_str()]);

        cluster.node(2).run::<()>(&["PEXPIRE", &calm, "1"]);
        eventually(Duration::from_secs(5), "the document expires", || keys_found(node, "sea").is_empty());

        cluster.node(1).run::<()>(&["FLUSHALL"]);
        assert_eq!(keys_found(node, "air"), [""; 0]);
        write(&cluster, &windy, "air again");
        assert_eq!(keys_found(node, "air"), [windy]);
    }

    #[test]
    fn a_document_is_found_once_while_its_slot_moves_and_after() {
        let cluster = cluster_with("search", 0);
        let [both, windy, _] = documents(&cluster);
        let slot = slot_of(&both);
        cluster.begin_move(slot, 0, 2);
        assert_eq!(keys_found(cluster.node(1), "wind"), [windy.as_str(), both.as_str()]);
        cluster.migrate_keys(slot, 0, 2);
        assert_eq!(keys_found(cluster.node(1), "wind"), [windy.as_str(), both.as_str()]);
        cluster.finish_move(slot, 0, 2);
        for node in cluster.nodes() {
            assert_eq!(keys_found(node, "wind"), [windy.as_str(), both.as_str()]);
        }
    }

    #[test]
    fn a_promoted_replica_has_the_index() {
        let cluster = cluster_with("search", 1);
        let [both, windy, _] = documents(&cluster);
        cluster.failover(cluster.replicas_of(0).start);
        eventually(Duration::from_secs(5), "the query finds the new primary's document", || {
            keys_found(cluster.node(1), "wind") == [windy.as_str(), both.as_str()]
        });
    }

    #[test]
    fn what_is_there_when_the_module_comes_is_indexed() {
        let server = Server::builder().module(false).start();
        server.run::<()>(&["HSET", "doc:1", "text", "early"]);
        server.run::<()>(&["HSET", "other:1", "text", "early"]);
        server.run::<()>(&["SET", "doc:2", "early"]);
        load(&server, "search");
        assert_eq!(keys_found(&server, "early"), ["doc:1"]);

        // As after a restart: the keys are emptied, then loaded from the file.
        server.run::<()>(&["SAVE"]);
        server.run::<()>(&["DEBUG", "RELOAD"]);
        assert_eq!(keys_found(&server, "early"), ["doc:1"]);
    }

    #[test]
    fn bad_queries_are_refused_and_binary_ones_taken() {
        let server = Server::builder().module(false).start();
        load(&server, "search");
        assert!(error_of(server.try_run::<()>(&["SEARCH.QUERY", "3"])).contains("wrong number of arguments"));
        for count in ["0", "-1", "1001", "many"] {
            let refusal = error_of(server.try_run::<()>(&["SEARCH.QUERY", count, "word"]));
            assert_eq!(refusal, "ERR count is a number from 1 to 1000");
        }
        let mut connection = server.connection();
        let mut write = redis::cmd("HSET");
        write.arg(b"doc:\xff\r\n").arg("text").arg(b"caf\xc3\x89 \xff\0 tail");
        write.exec(&mut connection).unwrap();
        let found: Vec<(Vec<u8>, i64, Vec<Vec<u8>>)> =
            redis::cmd("SEARCH.QUERY").arg(1).arg("caf\u{e9}").query(&mut connection).unwrap();
        assert_eq!(found[0].0, b"doc:\xff\r\n");
        assert_eq!(found[0].2[1], b"caf\xc3\x89 \xff\0 tail");
    }
}

mod client {
    use super::*;

    #[test]
    fn a_program_maps_and_reduces_over_plain_servers() {
        let servers: Vec<Server> = (0..3).map(|_| Server::builder().module(false).start()).collect();
        let output = Command::new(example_bin("client")).args(servers.iter().map(Server::address)).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let [a, b, c] = [0, 1, 2].map(|index: usize| servers[index].address());
        let expected = format!(
            "in stock: 30\n{a} holds 2 keys\n{b} holds 2 keys\n{c} holds 1 keys\n\
             in stock of what was scarce, after ordering: 26\n"
        );
        assert_eq!(printed, expected);
        assert_eq!(servers[0].run::<i64>(&["GET", "bananas"]), 12);
        assert_eq!(servers[1].run::<i64>(&["GET", "melons"]), 12);
        assert_eq!(servers[2].run::<i64>(&["GET", "zucchini"]), 14);
    }

    #[test]
    fn it_says_what_is_wrong() {
        let fails = |args: &[&str]| {
            let output = Command::new(example_bin("client")).args(args).output().unwrap();
            assert!(!output.status.success());
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        assert!(fails(&[]).contains("usage: client host:port"));
        assert!(fails(&["nowhere"]).contains("give host:port"));
        let nobody = format!("127.0.0.1:{}", crate::common::free_port());
        let unreachable = fails(&[&nobody]);
        assert!(unreachable.starts_with(&format!("{nobody}: ")), "{unreachable}");
    }
}
