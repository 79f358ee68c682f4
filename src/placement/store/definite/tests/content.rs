//! Reads all data of a server, in a form that does not depend on the order in which it happens to keep it.

use std::collections::BTreeMap;

use super::servers::Node;
use crate::command::Command;
use crate::reply::Reply;

/// Fields of `XINFO` that no command can make equal, or that say how entries are stored.
const OWN: [&str; 4] = ["seen-time", "active-time", "radix-tree-keys", "radix-tree-nodes"];

/// Returns the reply as text; sets and maps in the order of their elements.
pub(super) fn text(reply: &Reply) -> String {
    let joined = |mut parts: Vec<String>, is_ordered: bool| {
        if !is_ordered {
            parts.sort_unstable();
        }
        format!("[{}]", parts.join(" "))
    };
    match reply {
        Reply::Array(elements) => joined(elements.iter().map(text).collect(), true),
        Reply::Set(elements) => joined(elements.iter().map(text).collect(), false),
        Reply::Map(pairs) => {
            let is_content = |name: &Reply| !OWN.iter().any(|own| name.bytes() == Some(own.as_bytes()));
            let pairs = pairs.iter().filter(|(name, _)| is_content(name));
            joined(pairs.map(|(name, value)| format!("{}={}", text(name), text(value))).collect(), false)
        }
        Reply::Simple(bytes) | Reply::Bulk(bytes) | Reply::Error(bytes) => bytes.escape_ascii().to_string(),
        other => other.to_string(),
    }
}

/// Returns each key of the server with its type, its value, and when it expires.
pub(super) fn content(node: &mut Node) -> BTreeMap<String, String> {
    let keys = node.run("KEYS *");
    let mut content = BTreeMap::new();
    for key in keys.elements().expect("names") {
        let key = key.bytes().expect("a name");
        let mut ask = |words: &[&str]| {
            let command = words[1..].iter().fold(Command::new(words[0]).arg(key), Command::arg);
            text(&node.call(&command))
        };
        let kind = ask(&["TYPE"]);
        let value = match &*kind {
            "string" => ask(&["GET"]),
            "list" => ask(&["LRANGE", "0", "-1"]),
            "set" => ask(&["SMEMBERS"]),
            "zset" => ask(&["ZRANGE", "0", "-1", "WITHSCORES"]),
            "hash" => ask(&["HGETALL"]) + &fields_expire(node, key),
            "stream" => ask(&["XRANGE", "-", "+"]) + &full(node, key),
            _ => ask(&["DUMP"]),
        };
        let expires = text(&node.call(&Command::new("PEXPIRETIME").arg(key)));
        content.insert(key.escape_ascii().to_string(), format!("{kind} {value} {expires}"));
    }
    content
}

fn full(node: &mut Node, key: &[u8]) -> String {
    text(&node.call(&Command::new("XINFO").arg("STREAM").arg(key).arg("FULL").arg("COUNT").arg(0)))
}

/// Returns when the fields of a hash expire, where the server knows of that.
fn fields_expire(node: &mut Node, key: &[u8]) -> String {
    let fields = node.call(&Command::new("HKEYS").arg(key));
    let mut fields: Vec<&[u8]> = fields.elements().expect("fields").iter().filter_map(Reply::bytes).collect();
    fields.sort_unstable();
    let ask = Command::new("HPEXPIRETIME").arg(key).arg("FIELDS").arg(fields.len());
    match node.call(&fields.iter().fold(ask, Command::arg)) {
        Reply::Error(_) => String::new(),
        times => text(&times),
    }
}
