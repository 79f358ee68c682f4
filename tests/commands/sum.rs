//! `RMR.SUM`: the sum of what the keys hold.

use crate::common::Server;
use crate::deployments::Deployment;

/// Returns a node's answer to the sum of these keys.
fn sum(node: &Server, keys: &[String]) -> String {
    node.reply(&format!("RMR.SUM {}", keys.join(" ")))
}

#[test]
fn integers_add_exactly_from_every_node() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("n", &["1", "20", "-300", "4000", "9007199254740993", "0"]);
        for node in deployment.nodes() {
            assert_eq!(sum(node, &keys), "9007199254744714");
            assert_eq!(sum(node, &keys[1..2]), "20");
        }
    }
}

#[test]
fn missing_keys_and_text_add_nothing() {
    for deployment in Deployment::all() {
        let texts = ["7", "seven", "", "0x10", "nan", "inf", "-inf", "1,5", "3 4", "12abc", "-"];
        let mut keys = deployment.fill("t", &texts);
        keys.extend(deployment.keys("missing", 6));
        assert_eq!(sum(&deployment.nodes()[0], &keys), "7");
        assert_eq!(sum(&deployment.nodes()[0], &keys[11..]), "0");
    }
}

#[test]
fn a_float_among_them_makes_the_sum_a_double() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("f", &["1", "2.25", "3", "-0.5", "1e3", "2.25"]).join(" ");
        let whole = deployment.fill("w", &["1.5", "1", "2.5"]).join(" ");
        for node in deployment.nodes() {
            assert_eq!(node.reply(&format!("RMR.SUM {keys}")), "\"1008\"");
            assert_eq!(node.reply3(&format!("RMR.SUM {keys}")), ",1008");
            assert_eq!(node.reply3(&format!("RMR.SUM {whole}")), ",5", "5.0 is a double still");
        }
        let fraction = deployment.fill("x", &["0.25", "3"]).join(" ");
        assert_eq!(deployment.nodes()[0].reply(&format!("RMR.SUM {fraction}")), "\"3.25\"");
        assert_eq!(deployment.nodes()[0].reply3(&format!("RMR.SUM {fraction}")), ",3.25");
    }
}

#[test]
fn a_sum_that_is_too_large_is_an_error_and_does_not_wrap() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("big", &["9223372036854775807", "1", "-1"]);
        let node = &deployment.nodes()[0];
        let overflow = "-ERR the sum 9223372036854775808 overflows a 64 bit signed integer";
        assert_eq!(sum(node, &keys[..2]), overflow);
        assert_eq!(sum(node, &keys), "9223372036854775807", "what overflows on the way need not at the end");

        let keys = deployment.fill("low", &["-9223372036854775808", "-1"]);
        let overflow = "-ERR the sum -9223372036854775809 overflows a 64 bit signed integer";
        assert_eq!(sum(node, &keys), overflow);
        assert_eq!(sum(node, &keys[..1]), "-9223372036854775808");
    }
}

#[test]
fn doubles_that_overflow_are_an_error() {
    let server = Server::start();
    server.run::<()>(&["MSET", "a", "1.7e308", "b", "1.7e308"]);
    assert_eq!(server.reply("RMR.SUM a b"), "-ERR the sum overflows a double");
}

#[test]
fn a_key_of_another_type_is_its_shards_error() {
    for deployment in Deployment::all() {
        let mut keys = deployment.fill("n", &["1", "2", "3", "4", "5"]);
        let lists = deployment.keys("list", 5);
        for (index, list) in lists.iter().enumerate() {
            let holder = deployment.holder(index);
            holder.run::<()>(&["RPUSH", list, "1"]);
            keys.push(list.clone());
            let wrong = format!(
                "-RMRSHARD {}: WRONGTYPE Operation against a key holding the wrong kind of value (key '{list}')",
                deployment.name_of(holder)
            );
            for node in deployment.nodes() {
                assert_eq!(sum(node, &keys), wrong);
            }
            keys.pop();
        }
    }
}

#[test]
fn no_key_is_the_servers_own_arity_error() {
    for deployment in Deployment::all() {
        for node in deployment.nodes() {
            let error = node.reply("RMR.SUM").to_lowercase();
            assert_eq!(error, "-err wrong number of arguments for 'rmr.sum' command");
        }
    }
}

#[test]
fn the_same_key_twice_counts_twice() {
    for deployment in Deployment::all() {
        let keys = deployment.fill("twice", &["5", "70"]);
        let [five, seventy] = &keys[..] else { panic!("two keys") };
        let line = format!("RMR.SUM {five} {seventy} {five} {five}");
        assert_eq!(deployment.nodes()[0].reply(&line), "85");
    }
}

#[test]
fn keys_with_one_hash_tag_are_one_shards() {
    for deployment in Deployment::all() {
        let tag = &deployment.keys("tag", 2)[1];
        let keys = ["a", "b", "c"].map(|name| format!("{{{tag}}}:{name}"));
        for key in &keys {
            deployment.holder(1).run::<()>(&["SET", key, "11"]);
        }
        assert_eq!(sum(&deployment.nodes()[0], &keys), "33");
    }
}
