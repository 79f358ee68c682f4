//! The users that send the requests: some with all rights, some with few.

use crate::common::{Server, Wire};

/// A user, and what it may do.
pub struct User {
    pub name: &'static str,
    /// As `ACL SETUSER` takes them.
    rules: &'static str,
    /// Allows the user to change something.
    pub writes: bool,
    /// Allows the user to read all keys, and so see all names.
    pub sees_all: bool,
}

/// May send what rmr has; what is within is another right.
const RMR: &str = "+rmr.exec +rmr.map +rmr.batch +rmr.fanout +rmr.scan +rmr.sum +rmr.explain +rmr.proxy +rmr.inner";

/// The keys of the place `{a}` are those of users who have keys of their own.
pub const USERS: [User; 7] = [
    User { name: "all", rules: "~* &* +@all", writes: true, sees_all: true },
    User { name: "mine", rules: "~{a}* resetchannels +@all", writes: true, sees_all: false },
    User { name: "reader", rules: "~* -@all +@read", writes: false, sees_all: true },
    User { name: "unscripted", rules: "~* &* +@all -@scripting -@dangerous", writes: true, sees_all: true },
    User { name: "looker", rules: "%R~{a}* +@all -@dangerous", writes: true, sees_all: false },
    User { name: "keyless", rules: "resetkeys resetchannels +@all -@dangerous", writes: true, sees_all: false },
    User { name: "nobody", rules: "~* &* -@all", writes: false, sees_all: true },
];

impl User {
    /// Makes it on these servers.
    pub fn make<'a>(&self, servers: impl IntoIterator<Item = &'a Server>) {
        let words = ["ACL", "SETUSER", self.name, "reset", "on", "nopass"];
        let rules = self.rules.split(' ').chain(RMR.split(' '));
        let line: Vec<&str> = words.into_iter().chain(rules).collect();
        servers.into_iter().for_each(|server| server.run(&line));
    }

    /// Returns a connection of its own.
    pub fn login(&self, node: &Server, is_resp3: bool) -> Wire {
        let mut wire = node.wire();
        let protocol = if is_resp3 { "3" } else { "2" };
        let hello = wire.ask(&["HELLO", protocol, "AUTH", self.name, "x"]);
        assert!(!hello.starts_with('-'), "{}: {hello}", self.name);
        wire
    }
}
