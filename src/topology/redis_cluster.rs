//! Redis Cluster: the topology as one of its nodes describes it.
//!
//! `CLUSTER NODES` is what every version of Redis and Valkey has, and the only description that can be had at any time.
//! While a primary and its replica change places a node may hold each of them for the replica of the other; in Redis
//! 8.2.3 `CLUSTER SHARDS` then looks for the primary of the two for ever, and with it the whole server. For a second after
//! that it lists both as primaries, without saying which of them the slots are with.

use std::collections::HashMap;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use super::slots::parse_range;
use super::{Address, BoxFuture, Node, NodeProvider, Role, Shard, SlotRange, Topology};
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;

/// A way to put a question to some node of a cluster: the server that we live in, or any that answers.
pub trait AskCluster: Send + Sync + 'static {
    /// Sends a command to a node; gives its reply, and the host that it was reached by.
    fn ask(&self, command: Command) -> BoxFuture<'_, Result<ClusterAnswer, Error>>;
}

/// Holds what a node answered, and the host by which it was reached.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClusterAnswer {
    /// The reply; error replies are errors of [`AskCluster::ask`].
    pub reply: Reply,
    /// Stands in for an address that the node leaves out because it does not know its own.
    pub host: String,
    /// The id of the node that this process is, if it is one; as of the reply, since a node may be given another.
    pub own_id: Option<String>,
}

impl ClusterAnswer {
    /// Makes an answer of a reply and the host that stands in where the node leaves out its own.
    pub fn new(reply: Reply, host: impl Into<String>) -> Self {
        Self { reply, host: host.into(), own_id: None }
    }
}

/// Follows a Redis Cluster.
pub struct RedisCluster {
    ask: Box<dyn AskCluster>,
    refresh_every: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl RedisCluster {
    /// Makes a provider that asks this way, and again after every `refresh_every`. Nodes are reached on the ports that
    /// they announce to the asker: those for TLS over a connection with TLS.
    pub fn new(ask: impl AskCluster, refresh_every: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { ask: Box::new(ask), refresh_every: Box::new(refresh_every) }
    }
}

impl NodeProvider for RedisCluster {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        Box::pin(async {
            let answer = self.ask.ask(Command::new("CLUSTER").arg("NODES").read_only(true)).await?;
            let topology = Topology::with_slots("redis-cluster", parse_nodes(&answer)?);
            Ok(match answer.own_id {
                Some(id) => topology.with_local(&id),
                None => topology,
            })
        })
    }

    fn refresh_every(&self) -> Option<Duration> {
        Some((self.refresh_every)())
    }
}

fn unreadable(what: &str) -> Error {
    Error::Topology(format!("the cluster's description of its shards has no readable {what}"))
}

fn text(reply: Option<&Reply>) -> Option<String> {
    let text = std::str::from_utf8(reply?.bytes()?).ok()?;
    (!text.is_empty() && text != "?").then(|| text.to_owned())
}

/// Reads lines of `id host:port@bus,hostname flags primary ping pong epoch state slot...`. A primary that has failed and
/// has no slots has been replaced, and is left out.
fn parse_nodes(answer: &ClusterAnswer) -> Result<Vec<Shard>, Error> {
    let lines = text(Some(&answer.reply)).ok_or_else(|| unreadable("list"))?;
    let mut shards: Vec<Shard> = Vec::new();
    let mut replicas: Vec<(String, Node)> = Vec::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [id, address, flags, primary, _, _, _, _, slots @ ..] = &*fields else { return Err(unreadable("line")) };
        let flags: Vec<&str> = flags.split(',').collect();
        if flags.contains(&"noaddr") || flags.contains(&"handshake") {
            continue;
        }
        let (address, hostname) = address.split_once(',').unwrap_or((address, ""));
        let (host, port) = address
            .split('@')
            .next()
            .and_then(|address| address.rsplit_once(':'))
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .ok_or_else(|| unreadable("address"))?;
        let host = if host.is_empty() { &answer.host } else { host };
        let hostname = hostname.split(',').next().filter(|name| !name.is_empty()).map(str::to_owned);
        let role = if flags.contains(&"slave") { Role::Replica } else { Role::Primary };
        let node = Node { id: (*id).to_owned(), hostname, role, ..Node::new(Address::new(host, port)) };
        if role == Role::Replica {
            replicas.push(((*primary).to_owned(), node));
        } else {
            let mut slots: Vec<SlotRange> = slots.iter().filter_map(|range| parse_range(range)).collect();
            slots.sort_unstable();
            slots.dedup();
            if slots.is_empty() && flags.contains(&"fail") {
                continue;
            }
            shards.push(Shard { primary: Arc::new(node), replicas: Vec::new(), slots });
        }
    }
    let follows: HashMap<String, String> =
        replicas.iter().map(|(primary, replica)| (replica.id.clone(), primary.clone())).collect();
    for (primary, replica) in replicas {
        // A replica of a node that has just become a replica itself is on its way to that one's primary.
        let chain = successors(Some(&primary), |id| follows.get(*id)).take(follows.len() + 1);
        let root = chain.last().unwrap_or(&primary);
        if let Some(shard) = shards.iter_mut().find(|shard| shard.primary.id == *root) {
            shard.replicas.push(Arc::new(replica));
        }
    }
    // The lines come in no order.
    shards.iter_mut().for_each(|shard| shard.replicas.sort_by(|a, b| a.address.cmp(&b.address)));
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(reply: Reply) -> ClusterAnswer {
        ClusterAnswer::new(reply, "127.0.0.1")
    }

    #[test]
    fn lines_are_read() {
        let lines = "\
aa :7001@17001 myself,master - 0 0 1 connected 0-10 12 0-10 [11->-bb]\n\
bb 10.0.0.2:7002@17002,two.example master - 0 1 2 connected 13-16383\n\
cc 10.0.0.3:7003@17003,,shard-id=x slave ee 0 1 2 connected\n\
dd :0@0 slave,noaddr bb 0 1 2 disconnected\n\
ee 10.0.0.5:7005@17005 slave bb 0 1 2 connected\n\
ff 10.0.0.6:7006@17006 slave gg 0 1 2 connected\n\
gg 10.0.0.7:7007@17007 slave ff 0 1 2 connected\n";
        let shards = parse_nodes(&answer(lines.into())).unwrap();
        assert_eq!(shards[0].slots, [(0, 10), (12, 12)]);
        assert_eq!(shards[0].primary.to_string(), "aa@127.0.0.1:7001");
        assert_eq!(shards[1].primary.hostname.as_deref(), Some("two.example"));
        assert_eq!(shards.len(), 2, "two that follow each other belong nowhere");
        assert_eq!(shards[1].replicas.len(), 2);
        assert_eq!(shards[1].replicas[0].to_string(), "cc@10.0.0.3:7003", "by way of another replica");
    }

    #[test]
    fn a_primary_that_was_replaced_is_left_out() {
        let lines = "\
aa 10.0.0.1:7001@17001 master,fail - 0 0 1 disconnected\n\
bb 10.0.0.2:7002@17002 master - 0 0 2 connected 0-16383\n\
cc 10.0.0.3:7003@17003 master - 0 0 3 connected\n";
        let shards = parse_nodes(&answer(lines.into())).unwrap();
        let ids: Vec<&str> = shards.iter().map(|shard| &*shard.primary.id).collect();
        assert_eq!(ids, ["bb", "cc"]);
        let failed = lines.replace("disconnected", "disconnected 7");
        assert_eq!(parse_nodes(&answer((&*failed).into())).unwrap()[0].slots, [(7, 7)], "nobody has taken over yet");
    }

    #[test]
    fn nonsense_is_an_error() {
        for reply in [Reply::Null, "".into(), "aa 10.0.0.1:7001@17001 master".into(), "a b c d e f g h".into()] {
            assert!(parse_nodes(&answer(reply.clone())).is_err(), "{reply:?}");
        }
    }
}
