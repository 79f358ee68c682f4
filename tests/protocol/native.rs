//! Inner replies are the shard's own, byte for byte, wherever the shard is and whatever the caller speaks.
//!
//! Each command goes to three shards through one of them, so that one place of the reply was served in process and two
//! over sockets. All of them must be what the shard answers to the same command on a connection of its own.

use crate::common::{Cluster, Server, Wire, elements, show};

/// Returns a connection of this protocol.
fn speaking(node: &Server, protocol: &str) -> Wire {
    let mut wire = node.wire();
    wire.call(&["HELLO", protocol]);
    wire
}

/// Sends one command to all shards and directly, in both protocols, and compares the bytes.
fn same_everywhere(cluster: &Cluster, command: &[&str]) {
    for protocol in ["2", "3"] {
        let speaking = |node: usize| speaking(cluster.node(node), protocol);
        let fan_out = [&["RMR.FANOUT", "--"][..], command].concat();
        let reply = speaking(0).call(&fan_out);
        assert!(reply.starts_with(b"*3\r\n"), "RESP{protocol} {command:?}: {}", show(&reply));
        for (node, place) in elements(&reply).into_iter().enumerate() {
            let direct = speaking(node).call(command);
            assert_eq!(
                place.escape_ascii().to_string(),
                direct.escape_ascii().to_string(),
                "RESP{protocol} {command:?}: through rmr, and from node {node} itself"
            );
        }
    }
}

/// Checks that a script returns the same everywhere, in both protocols.
fn same_for_script(cluster: &Cluster, script: &str) {
    same_everywhere(cluster, &["EVAL", script, "0"]);
    same_everywhere(cluster, &["EVAL", &format!("redis.setresp(3); {script}"), "0"]);
}

#[test]
fn plain_types() {
    let cluster = Cluster::start(3);
    for script in [
        "return 42",
        "return -9007199254740993",
        "return 'bulk'",
        "return ''",
        "return '\\r\\n\\0\\255'",
        "return redis.status_reply('FINE')",
        "return {1, 'two', {3, {}}, 'four'}",
        "return {}",
        "return false",
        "return nil",
        "return true",
        "return {false, true, 1}",
    ] {
        same_for_script(&cluster, script);
    }
    for command in [&["PING"][..], &["ECHO", "x"], &["DBSIZE"], &["SCRIPT", "EXISTS", "x", "y"]] {
        same_everywhere(&cluster, command);
    }
}

#[test]
fn types_of_resp3() {
    let cluster = Cluster::start(3);
    for script in [
        "return {double=0.5}",
        "return {double=3}",
        "return {double=-1024.25}",
        "return {double=1/0}",
        "return {double=-1/0}",
        "return {map={a=1}}",
        "return {map={}}",
        "return {set={x=true}}",
        "return {set={}}",
        "return {big_number='123456789012345678901234567890'}",
        "return {big_number='-7'}",
        "return {verbatim_string={format='txt', string='some\\r\\ntext'}}",
        "return {verbatim_string={format='mkd', string=''}}",
        "return {{map={k={{double=0.25}, {set={m=true}}}}}, {big_number='1'}, false, true}",
    ] {
        same_for_script(&cluster, script);
    }
}

#[test]
fn errors_within_replies() {
    let cluster = Cluster::start(3);
    for script in [
        "return {1, redis.error_reply('MYERR of a kind'), 2}",
        "return {redis.error_reply('lower')}",
        "return {{redis.error_reply('MYERR deep')}, 'after'}",
        "return {redis.pcall('GET')}",
    ] {
        same_for_script(&cluster, script);
    }
}

#[test]
fn a_top_level_error_is_kept_word_for_word_behind_the_nodes_name() {
    let cluster = Cluster::start(3);
    for script in ["return redis.error_reply('MYERR with  blanks and \\'quotes\\'')", "return redis.call('NOSUCH')"] {
        for protocol in ["2", "3"] {
            let speaking = |node: usize| speaking(cluster.node(node), protocol);
            let reply = speaking(0).call(&["RMR.FANOUT", "PARTIAL", "EVAL", script, "0"]);
            for (node, place) in elements(&reply).into_iter().enumerate() {
                let direct = show(&speaking(node).call(&["EVAL", script, "0"]));
                let direct = direct.strip_prefix('-').expect("an error");
                let expected = format!("-RMRSHARD {}: {direct}", cluster.node(node).shown_name());
                assert_eq!(show(place), expected, "RESP{protocol}");
            }
        }
    }
}

#[test]
fn a_double_reads_back_the_same() {
    let cluster = Cluster::start(3);
    let read = |frame: &[u8]| -> f64 {
        let text = show(frame);
        text.trim_matches([',', '"']).parse().unwrap_or_else(|_| panic!("no double: {text}"))
    };
    for text in ["0.1", "1e300", "-1e-300", "100000000", "12345678901234567890", "2.2250738585072014e-308", "1e17"] {
        let script = format!("return {{double={text}}}");
        for mut wire in [cluster.node(0).wire(), cluster.node(0).wire3()] {
            let reply = wire.call(&["RMR.FANOUT", "EVAL", &script, "0"]);
            for place in elements(&reply) {
                assert_eq!(read(place), text.parse::<f64>().unwrap(), "{}", show(place));
            }
        }
    }
}

#[test]
fn doubles_look_as_the_server_writes_them() {
    let cluster = Cluster::start(3);
    for text in ["0.1", "1e300", "-1e-300", "100000000", "12345678901234567890", "1e17", "1e-5", "0.0001"] {
        same_for_script(&cluster, &format!("return {{double={text}}}"));
    }
}

#[test]
fn replies_of_commands_have_the_shape_of_the_callers_protocol() {
    let cluster = Cluster::start(3);
    for node in cluster.nodes() {
        node.run::<()>(&["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)"]);
    }
    for command in [
        &["CONFIG", "GET", "maxmemory*"][..],
        &["COMMAND", "INFO", "get"],
        &["COMMAND", "DOCS", "get"],
        &["ACL", "GETUSER", "default"],
        &["FUNCTION", "LIST"],
        &["FUNCTION", "STATS"],
        &["SLOWLOG", "GET", "0"],
        &["LATENCY", "LATEST"],
        &["PUBSUB", "NUMSUB", "a", "b"],
        &["XINFO", "HELP"],
        &["CLUSTER", "COUNTKEYSINSLOT", "1"],
    ] {
        same_everywhere(&cluster, command);
    }
}

/// Sends a command on a key to its shard, which is the coordinator or not, and directly.
fn same_for_key(cluster: &Cluster, shard: usize, key: &str, command: &[&str]) {
    for protocol in ["2", "3"] {
        let speaking = |node: usize| speaking(cluster.node(node), protocol);
        let filled: Vec<&str> = command.iter().map(|&word| if word == "{}" { key } else { word }).collect();
        let direct = speaking(shard).call(&filled);
        let map = [&["RMR.MAP", "LIST", "1", key][..], command].concat();
        for coordinator in 0..cluster.nodes().len() {
            let reply = speaking(coordinator).call(&map);
            let place = reply.strip_prefix(b"*1\r\n").unwrap_or(&reply);
            assert_eq!(
                place.escape_ascii().to_string(),
                direct.escape_ascii().to_string(),
                "RESP{protocol} {command:?} of shard {shard}: through node {coordinator}, and from the shard itself"
            );
        }
    }
}

/// A sorted set, a hash, a stream, a set, a list and a place on earth; the names of their keys, in this order.
fn filled(cluster: &Cluster, shard: usize) -> [String; 6] {
    let keys = ["z", "h", "x", "s", "l", "g"].map(|kind| cluster.key_for(shard, kind));
    let mut wire: Wire = cluster.node(shard).wire();
    for (key, line) in keys.iter().zip([
        "ZADD {} 1.5 a 2 b 0.25 c",
        "HSET {} f 1 g 2",
        "XADD {} 1-1 field value",
        "SADD {} only",
        "RPUSH {} 1 2 3",
        "GEOADD {} 13.5 38.25 here",
    ]) {
        let reply = wire.reply(&line.replace("{}", key));
        assert!(!reply.starts_with('-'), "{reply}");
    }
    keys
}

#[test]
fn replies_that_differ_between_the_protocols_have_the_callers_shape() {
    let cluster = Cluster::start(2);
    for shard in 0..2 {
        let [z, h, x, s, l, g] = filled(&cluster, shard);
        for (key, line) in [
            (&z, "ZRANGE {} 0 -1 WITHSCORES"),
            (&z, "ZSCORE {} c"),
            (&z, "ZMSCORE {} a nobody"),
            (&z, "ZRANDMEMBER {} 5 WITHSCORES"),
            (&z, "ZSCAN {} 0"),
            (&h, "HGETALL {}"),
            (&h, "HGET {} nobody"),
            (&h, "HMGET {} f nobody"),
            (&x, "XRANGE {} - +"),
            (&x, "XREAD COUNT 1 STREAMS {} 0"),
            (&x, "XINFO STREAM {}"),
            (&s, "SMEMBERS {}"),
            (&s, "SISMEMBER {} only"),
            (&l, "LRANGE {} 0 -1"),
            (&l, "LPOS {} 9 COUNT 2"),
            (&g, "GEOPOS {} nowhere"),
            (&g, "GEOSEARCH {} FROMMEMBER here BYRADIUS 5 km ASC WITHDIST"),
            (&g, "OBJECT ENCODING {}"),
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            same_for_key(&cluster, shard, key, &words);
        }
    }
}

/// Some servers print these with more digits than a double has, which is all that may be lost.
#[test]
fn coordinates_read_back_the_same() {
    let cluster = Cluster::start(2);
    let numbers = |frame: &[u8]| -> Vec<f64> {
        let text = show(frame).replace(['[', ']', ',', '"'], " ");
        text.split_whitespace().map(|word| word.parse().unwrap_or_else(|_| panic!("no double: {text}"))).collect()
    };
    for shard in 0..2 {
        let [.., g] = filled(&cluster, shard);
        for protocol in ["2", "3"] {
            let direct = numbers(&speaking(cluster.node(shard), protocol).call(&["GEOPOS", &g, "here"]));
            let map = ["RMR.MAP", "LIST", "1", &g, "GEOPOS", "{}", "here"];
            assert_eq!(numbers(&speaking(cluster.node(0), protocol).call(&map)), direct);
            assert_eq!(direct.len(), 2);
        }
    }
}

#[test]
fn the_null_of_a_missing_list_is_the_shards() {
    let cluster = Cluster::start(2);
    for shard in 0..2 {
        let missing = cluster.key_for(shard, "missing");
        for line in ["GET {}", "LPOP {} 2", "ZRANK {} a", "SRANDMEMBER {}", "HGETALL {}", "GETDEL {}"] {
            let words: Vec<&str> = line.split_whitespace().collect();
            same_for_key(&cluster, shard, &missing, &words);
        }
    }
}
