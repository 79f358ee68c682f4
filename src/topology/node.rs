//! [`Node`]: one server, and the names by which it is known.

use std::fmt;
use std::sync::Arc;

use super::address::Address;
use super::host::{Endpoint, Host};

/// Says what a node is to its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Takes the writes.
    Primary,
    /// Follows a primary.
    Replica,
}

impl Role {
    /// Returns `primary` or `replica`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

/// Describes one server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its id in the cluster; its address where nodes have no ids.
    pub id: String,
    /// Says where the node listens.
    pub address: Address,
    /// Other names that the cluster may call it by in a redirect.
    pub hostname: Option<String>,
    /// Says what the node is to its shard.
    pub role: Role,
    /// The entry that it has in a list of hosts, which says more of how it is reached. None where there is no such list.
    pub host: Option<Arc<Host>>,
}

impl Node {
    /// Makes a primary that is known by its address alone.
    pub fn new(address: Address) -> Self {
        Self { id: address.to_string(), address, hostname: None, role: Role::Primary, host: None }
    }

    /// Makes the primary that an entry of a list of hosts means.
    pub fn of_host(host: Host) -> Self {
        Self { id: host.to_string(), host: Some(Arc::new(host.clone())), ..Self::new(host.address()) }
    }

    /// Names the node as replies do: by its address, and by its database where that is another one than 0.
    pub fn name(&self) -> String {
        self.host.as_ref().map_or_else(|| self.address.to_string(), ToString::to_string)
    }

    /// Returns what functions that hash nodes take the node for: the label that a list of hosts gives it, else its id.
    pub fn label(&self) -> &str {
        self.host.as_ref().and_then(|host| host.own_label()).unwrap_or(&self.id)
    }

    /// Returns the database that a list of hosts says is meant.
    pub fn database(&self) -> Option<u32> {
        self.host.as_ref().and_then(|host| host.database())
    }

    /// Says how the node is reached.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.host.as_ref().map_or_else(|| self.address.clone().into(), |host| host.endpoint())
    }

    /// Tells whether a user's or a redirect's name means this node: its id, its address, or its host name and port; in a list
    /// of hosts its host id.
    pub fn is_called(&self, name: &str) -> bool {
        let host_id = self.host.as_ref().and_then(|host| host.host_id());
        self.id == name
            || self.name() == name
            || host_id.is_some_and(|id| id.to_string() == name)
            || self
                .hostname
                .as_ref()
                .zip(self.address.port())
                .is_some_and(|(host, port)| Address::new(host, port).to_string() == name)
    }
}

/// Writes the node as errors name it: the first eight letters of its id, and its address.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        if self.id == name {
            return f.write_str(&name);
        }
        let short = self.id.get(..8).unwrap_or(&self.id);
        write!(f, "{short}@{name}")
    }
}
