//! Tests the answers to a map over a pattern, wherever the keys are.

use crate::servers::Servers;

/// Returns the elements of a list as it is shown, in order of their bytes: keys come in any.
fn sorted(list: &str) -> Vec<&str> {
    let mut elements: Vec<&str> = list.trim_matches(&['[', ']', '{', '}'][..]).split(", ").collect();
    elements.sort_unstable();
    elements
}

/// 20 users, 5 carts and a list.
fn fill(servers: &Servers) {
    for number in 0..20 {
        servers.set(&format!("SET user:{number} {}", number % 4));
    }
    for number in 0..5 {
        servers.set(&format!("HSET cart:{number} price {number}0"));
    }
    servers.set("RPUSH queue a b");
}

#[test]
fn keys_that_match_are_counted_and_listed() {
    for servers in Servers::all() {
        let kind = servers.kind;
        fill(&servers);
        servers.with_and_without_pushdown(|| {
            for node in servers.asked() {
                assert_eq!(node.reply("RMR.MAP COUNT MATCH user:*"), "20", "{kind}");
                assert_eq!(node.reply("RMR.MAP COUNT MATCH *"), "26", "{kind}");
                assert_eq!(node.reply("RMR.MAP COUNT MATCH nothing:*"), "0", "{kind}");
                assert_eq!(node.reply("RMR.MAP COUNT MATCH * TYPE hash"), "5", "{kind}");
                assert_eq!(node.reply("RMR.MAP COUNT MATCH * TYPE LIST"), "1", "{kind}");
                assert_eq!(node.reply("RMR.MAP COUNT MATCH * TYPE string LIMIT 7"), "7", "{kind}");
                let names = node.reply("RMR.MAP LIST MATCH cart:*");
                let expected: Vec<String> = (0..5).map(|number| format!("\"cart:{number}\"")).collect();
                assert_eq!(sorted(&names), expected, "{kind}");
                let some = node.reply("RMR.MAP LIST MATCH user:* LIMIT 3");
                assert_eq!(sorted(&some).len(), 3, "{kind}: {some}");
                let prefixes = node.reply3("RMR.MAP PREFIX : COUNT MATCH *");
                assert_eq!(prefixes, "{\"cart\": 5, \"queue\": 1, \"user\": 20}", "{kind}");
            }
        });
    }
}

#[test]
fn a_command_is_run_for_each_key_and_its_replies_are_reduced() {
    for servers in Servers::all() {
        let kind = servers.kind;
        fill(&servers);
        servers.with_and_without_pushdown(|| {
            for node in servers.asked() {
                assert_eq!(node.reply("RMR.MAP SUM MATCH user:* GET"), "30", "{kind}");
                assert_eq!(node.reply("RMR.MAP SUM MATCH cart:* HGET {} price"), "100", "{kind}");
                assert_eq!(node.reply3("RMR.MAP TOP 1 MATCH cart:* HGET {} price"), "[[\"cart:4\", 40]]", "{kind}");
                assert_eq!(node.reply3("RMR.MAP GROUP MATCH user:* GET"), "{\"0\": 5, \"1\": 5, \"2\": 5, \"3\": 5}");
                let types = node.reply3("RMR.MAP GROUP MATCH * -- TYPE");
                assert_eq!(types, "{\"hash\": 5, \"list\": 1, \"string\": 20}", "{kind}");
                let replies = node.reply3("RMR.MAP LIST MATCH cart:* HGET {} price");
                let expected: Vec<String> = (0..5).map(|number| format!("\"cart:{number}\": \"{number}0\"")).collect();
                assert_eq!(sorted(&replies), expected, "{kind}");
                assert!(replies.starts_with('{'), "{kind}: {replies}");
                let in_resp2 = node.reply("RMR.MAP LIST MATCH queue LRANGE {} 0 -1");
                assert_eq!(in_resp2, "[\"queue\", [\"a\", \"b\"]]", "{kind}");
                let sizes = node.reply("RMR.MAP SUM MATCH * MEMORY USAGE {}");
                assert!(sizes.parse::<u64>().is_ok_and(|sum| sum > 26 * 16), "{kind}: {sizes}");
            }
        });
    }
}

#[test]
fn a_command_that_writes_is_run_once_for_each_key() {
    for servers in Servers::all() {
        let kind = servers.kind;
        fill(&servers);
        let node = &servers.asked()[0];
        assert_eq!(node.reply("RMR.MAP SUM MATCH user:* INCR"), "50", "{kind}");
        assert_eq!(node.reply("RMR.MAP SUM MATCH user:* GET"), "50", "{kind}");
        assert_eq!(node.reply("RMR.MAP SUM MATCH user:* EXPIRE {} 1000 NX"), "20", "{kind}");
        assert_eq!(node.reply("RMR.MAP SUM MATCH user:* EXPIRE {} 1000 NX"), "0", "{kind}");
        assert_eq!(node.reply("RMR.MAP SUM MATCH user:* LIMIT 8 UNLINK"), "8", "{kind}");
        assert_eq!(node.reply("RMR.MAP SUM MATCH user:* UNLINK"), "12", "{kind}");
        assert_eq!(node.reply("RMR.MAP COUNT MATCH *"), "6", "{kind}");
    }
}

#[test]
fn the_first_failure_stops_it_and_partial_counts_failures_by_kind() {
    for servers in Servers::all() {
        let kind = servers.kind;
        fill(&servers);
        for node in servers.asked() {
            let error = node.reply("RMR.MAP SUM MATCH * GET");
            let says = ["WRONGTYPE Operation against a key", "(key '", " keys were done"];
            assert!(error.starts_with('-') && says.iter().all(|part| error.contains(part)), "{kind}: {error}");
            let partial = node.reply3("RMR.MAP PARTIAL SUM MATCH * GET");
            assert!(partial.starts_with("[30, {\"WRONGTYPE\": {\"count\": 6, \"keys\": ["), "{kind}: {partial}");
            assert!(
                partial.contains("\"queue\"") && partial.contains("\"example\": \"WRONGTYPE Operation"),
                "{partial}"
            );
            assert_eq!(node.reply3("RMR.MAP PARTIAL SUM MATCH user:* GET"), "[30, {}]", "{kind}");
        }
    }
}

#[test]
fn keys_that_have_expired_are_no_keys() {
    for servers in Servers::all() {
        fill(&servers);
        for holder in servers.holders() {
            holder.run::<()>(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        }
        servers.asked()[0].reply("RMR.MAP SUM MATCH user:* LIMIT 5 PEXPIRE {} 1");
        for node in servers.asked() {
            crate::common::eventually(std::time::Duration::from_secs(5), "the keys expire", || {
                node.reply("RMR.MAP COUNT MATCH user:*") == "15"
            });
            assert_eq!(sorted(&node.reply("RMR.MAP LIST MATCH user:*")).len(), 15, "{}", servers.kind);
        }
    }
}
