//! The version of the server that the tests run on, for the few things that only some servers have.

use std::process::Command;
use std::sync::LazyLock;

use super::server::{Server, binary};

/// Returns whether nodes of a cluster know the ids of their shards, from Redis 7.2 on. Asked without starting a server.
pub fn knows_shard_ids() -> bool {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let output = Command::new(binary()).arg("--version").output().expect("the server says its version");
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    !VERSION.contains(" v=7.0.")
}

impl Server {
    /// Major and minor version of Redis, or of the Redis that Valkey says it is compatible with.
    pub fn redis_version(&self) -> (u32, u32) {
        let info: String = self.run(&["INFO", "server"]);
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("a version");
        let mut parts = version.split('.').map(|part| part.parse().expect("a number"));
        (parts.next().expect("a major version"), parts.next().expect("a minor version"))
    }

    /// Returns whether nodes of a cluster share a secret with which they authenticate: from Redis 8 on.
    pub fn has_internal_secret(&self) -> bool {
        self.redis_version() >= (8, 0)
    }
}
