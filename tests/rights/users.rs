//! Users with fewer rights than all, and connections of theirs.

use crate::common::{Server, Wire};

/// The password of every user that the tests make.
pub const PASSWORD: &str = "secret-of-a-test";

/// Makes a user on these nodes; its rules are typed with blanks between them.
pub fn make_user(nodes: &[Server], name: &str, rules: &str) {
    for node in nodes {
        let password = format!(">{PASSWORD}");
        let words = ["ACL", "SETUSER", name, "reset", "on", &password];
        let line: Vec<&str> = words.into_iter().chain(rules.split_whitespace()).collect();
        node.run::<()>(&line);
    }
}

/// Returns a connection of such a user.
pub fn login(node: &Server, name: &str) -> Wire {
    let mut wire = Wire::connect(node.port());
    assert_eq!(wire.reply(&format!("AUTH {name} {PASSWORD}")), "+OK");
    wire
}
