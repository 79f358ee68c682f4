//! `COMMAND DOCS`, `COMMAND INFO` and the categories of the ACL.

use crate::common::{Server, elements, show};

/// Name, arity, and flags that must and must not be there.
const COMMANDS: [(&str, &str, &[&str]); 15] = [
    ("rmr.sum", "-2", &["readonly", "blocking"]),
    ("rmr.fanout", "-2", &["blocking"]),
    ("rmr.map", "-4", &["blocking"]),
    ("rmr.job", "-2", &["blocking"]),
    ("rmr.events", "-4", &["readonly", "blocking"]),
    ("rmr.batch", "-5", &["blocking"]),
    ("rmr.exec", "-2", &["blocking"]),
    ("rmr.scan", "-2", &["readonly", "blocking"]),
    ("rmr.explain", "-2", &["readonly"]),
    ("rmr.proxy", "2", &["fast", "noscript"]),
    ("rmr.place", "-2", &["blocking", "noscript"]),
    ("rmr.topology", "-1", &["readonly", "blocking"]),
    ("rmr.ping", "1", &["readonly", "blocking"]),
    ("rmr.refresh", "1", &["readonly", "blocking"]),
    ("rmr.inner", "-1", &["blocking"]),
];

/// Returns the documentation of a command: names and shown values, in order.
fn docs(server: &Server, name: &str) -> Vec<(String, String)> {
    let reply = server.wire3().call(&["COMMAND", "DOCS", name]);
    let shown: Vec<String> = elements(elements(&reply)[1]).into_iter().map(show).collect();
    shown.chunks(2).map(|pair| (pair[0].trim_matches('"').to_owned(), pair[1].clone())).collect()
}

fn doc(server: &Server, name: &str, field: &str) -> String {
    let docs = docs(server, name);
    let found = docs.iter().find(|(known, _)| known == field);
    found.unwrap_or_else(|| panic!("{name} has no {field}: {docs:?}")).1.clone()
}

#[test]
fn every_command_is_documented() {
    let server = Server::start();
    for (name, _, _) in COMMANDS {
        let summary = doc(&server, name, "summary");
        assert!(summary.len() > 20 && summary.ends_with(".\""), "{name}: {summary}");
        assert!(doc(&server, name, "complexity").starts_with("\"O("), "{name}");
        assert_eq!(doc(&server, name, "since"), "\"0.1.0\"", "{name}");
        assert!(doc(&server, name, "group").contains("module"), "{name}");
    }
}

#[test]
fn arguments_are_those_that_are_taken() {
    let server = Server::start();
    let shown = |name| doc(&server, name, "arguments");
    let has = |text: &str, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "no {part} in {text}");
        }
    };
    has(&shown("rmr.sum"), &["\"name\": \"key\"", "+multiple"]);
    let fan_out = shown("rmr.fanout");
    has(&fan_out, &["\"ON\"", "\"PRIMARIES\"", "\"REPLICAS\"", "\"ALL\"", "\"NODE\"", "+multiple_token"]);
    has(&fan_out, &["\"TIMEOUT\"", "\"PARTIAL\"", "\"WITHNODES\"", "\"REDUCE\"", "\"--\"", "+optional"]);
    has(&fan_out, &["\"name\": \"command\"", "\"name\": \"arg\""]);
    let batch = shown("rmr.batch");
    has(&batch, &["\"TIMEOUT\"", "\"NOMERGE\"", "\"--\"", "\"name\": \"routing-key\"", "\"name\": \"numcommands\""]);
    has(&batch, &["\"type\": \"block\"", "\"name\": \"numargs\"", "\"name\": \"command\"", "+multiple"]);
    let map = shown("rmr.map");
    has(&map, &["\"TIMEOUT\"", "\"PARTIAL\"", "\"name\": \"numkeys\"", "\"name\": \"key\"", "\"name\": \"command\""]);
    for reducer in ["LIST", "SUM", "AVG", "MIN", "MAX", "COUNT", "CONCAT", "UNION", "GROUP", "STATS", "DISTINCT"] {
        has(&fan_out, &[&format!("\"{reducer}\"")]);
        has(&map, &[&format!("\"{reducer}\"")]);
    }
    for reducer in ["TOP", "BOTTOM", "TOPGROUPS"] {
        has(&fan_out, &[&format!("\"token\": \"{reducer}\"")]);
        has(&map, &[&format!("\"token\": \"{reducer}\"")]);
    }
    has(&map, &["\"token\": \"PREFIX\"", "\"name\": \"separator\"", "\"name\": \"reducer-of-prefix\""]);
    has(&map, &["\"ASYNC\"", "\"INTO\"", "\"STREAM\"", "\"HASH\"", "\"ON\"", "\"PRIMARIES\""]);
    has(&map, &["\"MATCH\"", "\"name\": \"pattern\"", "\"TYPE\"", "\"LIMIT\"", "\"--\""]);
    assert!(!fan_out.contains("PREFIX"), "nodes have no keys: {fan_out}");
    has(&shown("rmr.job"), &["\"LIST\"", "\"STATUS\"", "\"RESULT\"", "\"BLOCK\"", "\"CANCEL\"", "\"FORGET\""]);
    for name in ["rmr.exec", "rmr.explain"] {
        let exec = shown(name);
        has(&exec, &["\"ON\"", "\"NODE\"", "\"TIMEOUT\"", "\"PARTIAL\"", "\"WITHNODES\"", "\"NONATOMIC\"", "\"--\""]);
        has(&exec, &["\"name\": \"command\"", "\"name\": \"arg\""]);
    }
    has(&shown("rmr.events"), &["\"name\": \"cursor\"", "\"BLOCK\"", "\"COUNT\"", "\"MATCH\"", "\"TYPES\""]);
    has(&shown("rmr.scan"), &["\"name\": \"cursor\"", "\"MATCH\"", "\"COUNT\"", "\"TYPE\""]);
    has(&shown("rmr.topology"), &["\"CODE\"", "+optional"]);
    for name in ["rmr.ping", "rmr.refresh"] {
        assert!(!docs(&server, name).iter().any(|(field, _)| field == "arguments"), "{name} takes none");
    }
}

/// `COMMAND INFO` of one command: its fields, shown.
fn info(server: &Server, name: &str) -> Vec<String> {
    let reply = server.wire3().call(&["COMMAND", "INFO", name]);
    elements(elements(&reply)[0]).into_iter().map(show).collect()
}

#[test]
fn flags_arity_and_tips_are_told() {
    let server = Server::start();
    for (name, arity, flags) in COMMANDS {
        let info = info(&server, name);
        assert_eq!(info[0].to_lowercase(), format!("\"{name}\""));
        assert_eq!(info[1], arity, "{name}");
        for flag in ["module", "readonly", "blocking", "write", "fast", "noscript", "movablekeys"] {
            let wanted = flag == "module" || flags.contains(&flag);
            assert_eq!(info[2].contains(&format!("+{flag}")), wanted, "{name}: {flag} in {}", info[2]);
        }
        assert_eq!(info[3..6], ["0", "0", "0"], "{name} has keys on many shards, so the server must not look for them");
        assert!(info[7].contains("nondeterministic_output"), "{name}: {}", info[7]);
        assert!(!info[7].contains("request_policy"), "{name} may be asked of any shard: {}", info[7]);
    }
    for name in ["rmr.topology", "rmr.refresh"] {
        assert!(info(&server, name)[2].contains("+stale"), "{name} answers on a stale replica too");
    }
}

#[test]
fn acl_categories_are_told_where_modules_can() {
    let server = Server::start();
    if server.redis_version() < (7, 2) {
        return;
    }
    for (name, _, flags) in COMMANDS {
        let categories = &info(&server, name)[6];
        assert_eq!(categories.contains("+@slow"), !flags.contains(&"fast"), "{name}: {categories}");
        for (flag, category) in [("readonly", "+@read"), ("blocking", "+@blocking"), ("fast", "+@fast")] {
            assert_eq!(categories.contains(category), flags.contains(&flag), "{name}: {category} in {categories}");
        }
        assert!(!categories.contains("+@write"), "{name}: {categories}");
        for category in ["+@admin", "+@dangerous"] {
            assert_eq!(categories.contains(category), name == "rmr.inner", "{name}: {categories}");
        }
    }
    let known = server.reply("ACL CAT");
    if known.contains("\"rmr\"") {
        let ours = server.reply("COMMAND LIST FILTERBY ACLCAT rmr").to_lowercase();
        assert!(COMMANDS.iter().all(|(name, _, _)| ours.contains(&format!("\"{name}\""))), "{ours}");
    } else {
        assert!(server.redis_version() < (7, 4), "{known}");
    }
}

#[test]
fn categories_can_be_granted() {
    let server = Server::start();
    let grant = if server.reply("ACL CAT").contains("\"rmr\"") { "+@rmr" } else { "+rmr.sum" };
    server.run::<()>(&["ACL", "SETUSER", "u", "on", ">p", "~*", "+get", grant]);
    assert!(server.reply("ACL DRYRUN u RMR.SUM k").ends_with("OK"));
    assert!(server.reply("ACL DRYRUN u FLUSHALL").contains("permission"));
    let mut wire = server.wire();
    assert_eq!(wire.reply("AUTH u p"), "+OK");
    assert_eq!(wire.reply("RMR.SUM k"), "0");
}

#[test]
fn no_other_command_is_registered() {
    let server = Server::start();
    let names: Vec<String> = server.run(&["COMMAND", "LIST"]);
    let mut ours: Vec<String> =
        names.into_iter().map(|name| name.to_lowercase()).filter(|name| name.starts_with("rmr")).collect();
    ours.sort();
    let mut expected: Vec<&str> = COMMANDS.iter().map(|(name, _, _)| *name).collect();
    expected.sort();
    assert_eq!(ours, expected);
}
