//! Which server the tests run on, for the few things that only some servers have.

use super::server::Server;

impl Server {
    /// Major and minor version of Redis, or of the Redis that Valkey says it is compatible with.
    pub fn redis_version(&self) -> (u32, u32) {
        let info: String = self.run(&["INFO", "server"]);
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("a version");
        let mut parts = version.split('.').map(|part| part.parse().expect("a number"));
        (parts.next().expect("a major version"), parts.next().expect("a minor version"))
    }

    /// Whether nodes of a cluster share a secret with which they authenticate: from Redis 8 on.
    pub fn has_internal_secret(&self) -> bool {
        self.redis_version() >= (8, 0)
    }
}
