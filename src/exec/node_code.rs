//! Compares the code and users of all nodes, and finds what a node lacks that others have.
//!
//! Functions, scripts and ACL users are no part of a node's slots: a node that joins later has none of them, and a key that
//! moves there finds none. Nothing but a look at all nodes shows that.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::Command;
use crate::engine::{Options, Request, Targets};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::Node;

/// The libraries and users that a node has, and those that it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeCode {
    pub(crate) node: Arc<Node>,
    /// The reason why the node has not said what it has; nothing else is known then.
    unknown: Option<Vec<u8>>,
    /// Libraries of functions, with their code.
    functions: BTreeMap<String, Vec<u8>>,
    /// Users, with their rules.
    users: BTreeMap<String, Vec<u8>>,
    /// The number of scripts that the node keeps. Servers do not say which.
    scripts: i64,
    /// The libraries and users that other nodes have and this one has not.
    lacks: Vec<String>,
    /// The libraries and users that this node has in another form than some other node.
    differs: Vec<String>,
}

impl NodeCode {
    /// Returns what is known, as fields of a map.
    pub(crate) fn fields(&self) -> Vec<(Reply, Reply)> {
        if let Some(error) = &self.unknown {
            return vec![("code".into(), Reply::Error(error.clone().into()))];
        }
        let list = |names: &mut dyn Iterator<Item = &String>| -> Reply {
            names.map(|name| Reply::from(name.as_str())).collect::<Vec<_>>().into()
        };
        vec![
            ("functions".into(), list(&mut self.functions.keys())),
            ("users".into(), list(&mut self.users.keys())),
            ("scripts".into(), self.scripts.into()),
            ("lacks".into(), list(&mut self.lacks.iter())),
            ("differs".into(), list(&mut self.differs.iter())),
        ]
    }
}

/// Asks all nodes. The caller needs the right to what is asked.
pub(crate) async fn node_code(request: &Request) -> Result<Vec<NodeCode>, Error> {
    let ask = async |command: Command| {
        let options = Options::new().partial(true);
        request.fan_out(command.read_only(true)).targets(Targets::All).with_options(options).await
    };
    let functions = ask(Command::new("FUNCTION").arg("LIST").arg("WITHCODE")).await?;
    let users = ask(Command::new("ACL").arg("LIST")).await?;
    let memory = ask(Command::new("INFO").arg("memory")).await?;
    let mut nodes = Vec::new();
    for ((functions, users), memory) in functions.into_iter().zip(users).zip(memory) {
        let node = functions.node;
        let found = functions.result.and_then(|functions| Ok((functions, users.result?, memory.result?)));
        nodes.push(match found {
            Ok((functions, users, memory)) => found_at(node, &functions, &users, &memory),
            Err(error) => NodeCode { unknown: Some(error.to_line()), ..nothing_at(node) },
        });
    }
    compare(&mut nodes);
    Ok(nodes)
}

fn nothing_at(node: Arc<Node>) -> NodeCode {
    let (functions, users) = (BTreeMap::new(), BTreeMap::new());
    NodeCode { node, unknown: None, functions, users, scripts: 0, lacks: Vec::new(), differs: Vec::new() }
}

fn found_at(node: Arc<Node>, functions: &Reply, users: &Reply, memory: &Reply) -> NodeCode {
    let mut found = nothing_at(node);
    let bytes = |reply: Option<&Reply>| reply.and_then(Reply::bytes).unwrap_or_default().to_vec();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for library in functions.elements().unwrap_or_default() {
        found.functions.insert(text(&bytes(library.field("library_name"))), bytes(library.field("library_code")));
    }
    for rules in users.elements().unwrap_or_default().iter().filter_map(Reply::bytes) {
        // As in `user alice on ...`.
        let name = rules.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        found.users.insert(text(name), rules.to_vec());
    }
    let memory = text(&bytes(Some(memory)));
    let scripts = memory.lines().find_map(|line| line.strip_prefix("number_of_cached_scripts:"));
    found.scripts = scripts.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    found
}

/// Picks what a node has of one kind: names, and the form in which it has each.
type FormsOf = fn(&NodeCode) -> &BTreeMap<String, Vec<u8>>;

/// Finds out what each of the nodes lacks that others have, and what is not the same everywhere.
fn compare(nodes: &mut [NodeCode]) {
    let kinds: [(&str, FormsOf); 2] = [("function library", |node| &node.functions), ("user", |node| &node.users)];
    for (kind, of) in kinds {
        let known = || nodes.iter().filter(|node| node.unknown.is_none());
        let mut all: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (name, form) in known().flat_map(of) {
            let forms = all.entry(name.clone()).or_default();
            if !forms.contains(form) {
                forms.push(form.clone());
            }
        }
        for node in nodes.iter_mut().filter(|node| node.unknown.is_none()) {
            for (name, forms) in &all {
                if !of(node).contains_key(name) {
                    node.lacks.push(format!("{kind} {name}"));
                } else if forms.len() > 1 {
                    node.differs.push(format!("{kind} {name}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Address;

    fn node(port: u16, libraries: &[(&str, &str)], users: &[&str]) -> NodeCode {
        let library = |(name, code): &(&str, &str)| {
            Reply::Map(vec![("library_name".into(), (*name).into()), ("library_code".into(), (*code).into())])
        };
        let functions = Reply::Array(libraries.iter().map(library).collect());
        let users = Reply::Array(users.iter().map(|rules| (*rules).into()).collect());
        let memory = "# Memory\r\nnumber_of_cached_scripts:3\r\nx:1\r\n".into();
        found_at(Arc::new(Node::new(Address::new("10.0.0.1", port))), &functions, &users, &memory)
    }

    #[test]
    fn what_others_have_is_lacking_and_what_is_not_alike_differs() {
        let gone = NodeCode { unknown: Some(b"RMRNODE x".to_vec()), ..nothing_at(node(9, &[], &[]).node) };
        let mut nodes = [
            node(1, &[("a", "1"), ("b", "1")], &["user default on", "user u on ~*"]),
            node(2, &[("a", "2")], &["user default on", "user u off"]),
            node(3, &[], &["user default on"]),
            gone,
        ];
        compare(&mut nodes);
        let shown = |node: &NodeCode| (node.lacks.join(", "), node.differs.join(", "), node.scripts);
        assert_eq!(shown(&nodes[0]), (String::new(), "function library a, user u".into(), 3));
        assert_eq!(shown(&nodes[1]), ("function library b".into(), "function library a, user u".into(), 3));
        let all = "function library a, function library b, user u".to_owned();
        assert_eq!(shown(&nodes[2]), (all, String::new(), 3));
        assert_eq!(nodes[3].fields(), [("code".into(), Reply::Error("RMRNODE x".into()))]);
    }
}
