//! A fixed list of plain servers that know nothing of each other.

use super::{Address, BoxFuture, NodeProvider, Topology};
use crate::error::Error;

/// Plain servers, in the order given: the order decides which keys they hold.
#[derive(Debug, Clone)]
pub struct StaticList {
    addresses: Vec<Address>,
    local: Option<Address>,
}

impl StaticList {
    /// The servers at these addresses. An empty list and an address that stands twice are refused.
    pub fn new(addresses: Vec<Address>) -> Result<Self, Error> {
        if addresses.is_empty() {
            return Err(Error::Invalid("the list of nodes is empty; give host:port, one or more".into()));
        }
        for (index, address) in addresses.iter().enumerate() {
            if addresses[..index].contains(address) {
                return Err(Error::Invalid(format!("the node {address} stands twice in the list")));
            }
        }
        Ok(Self { addresses, local: None })
    }

    /// Reads `host:port host:port ...`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::new(text.split_whitespace().map(Address::parse).collect::<Result<_, _>>()?)
    }

    /// Says which of the servers this process is, by any of the addresses under which it can be reached.
    #[must_use]
    pub fn with_local(mut self, own_addresses: &[Address]) -> Self {
        self.local = self.addresses.iter().find(|address| own_addresses.contains(address)).cloned();
        self
    }
}

impl NodeProvider for StaticList {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        let topology = Topology::of_nodes("static", self.addresses.iter().cloned());
        let topology = match &self.local {
            Some(local) => topology.with_local(&local.to_string()),
            None => topology,
        };
        Box::pin(std::future::ready(Ok(topology)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_list_is_refused_with_the_reason() {
        let error = |text| StaticList::parse(text).unwrap_err().to_string();
        assert_eq!(error(" "), "ERR the list of nodes is empty; give host:port, one or more");
        assert_eq!(error("a:1 b:2 a:1"), "ERR the node a:1 stands twice in the list");
        assert_eq!(error("a:1 b"), "ERR 'b' is no address; give host:port");
    }
}
