//! Redis Cluster: the topology as one of its nodes describes it.
//!
//! `CLUSTER SHARDS` (Redis 7.0) names primaries, replicas, ports and slots in one reply. Servers without it have `CLUSTER
//! SLOTS`. Where it leaves something out, `CLUSTER NODES` has it.

use std::sync::Arc;
use std::time::Duration;

use super::{Address, BoxFuture, Node, NodeProvider, Role, Shard, SlotRange, Topology};
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;

/// A way to put a question to some node of a cluster: the server that we live in, or any that answers.
pub trait AskCluster: Send + Sync + 'static {
    /// Sends a command to a node; gives its reply, and the host that it was reached by.
    fn ask(&self, command: Command) -> BoxFuture<'_, Result<Answer, Error>>;

    /// The id of the node that this process is, if it is one.
    fn own_id(&self) -> Option<String> {
        None
    }
}

/// What a node answered, and by which host it was reached.
#[derive(Debug)]
pub struct Answer {
    /// The reply; error replies are errors of [`AskCluster::ask`].
    pub reply: Reply,
    /// Stands in for an address that the node leaves out because it does not know its own.
    pub host: String,
}

/// Follows a Redis Cluster.
pub struct RedisCluster {
    ask: Box<dyn AskCluster>,
    refresh_every: Box<dyn Fn() -> Duration + Send + Sync>,
    tls: bool,
}

impl RedisCluster {
    /// A provider that asks this way, and anew after every `refresh_every`.
    pub fn new(ask: impl AskCluster, refresh_every: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { ask: Box::new(ask), refresh_every: Box::new(refresh_every), tls: false }
    }

    /// Whether nodes are reached on their TLS ports. Default: no.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    async fn describe(&self) -> Result<Topology, Error> {
        let ask = |what| self.ask.ask(Command::new("CLUSTER").arg(what).read_only(true));
        let topology = |shards| Topology::with_slots("redis-cluster", shards);
        let described = match ask("SHARDS").await {
            Ok(answer) => topology(parse_shards(&answer, self.tls)?),
            Err(Error::Shard { message, .. }) if message.starts_with(b"ERR") => {
                return Ok(topology(parse_slots(&ask("SLOTS").await?)?));
            }
            Err(error) => return Err(error),
        };
        let knows_itself = self.ask.own_id().is_none_or(|id| described.node(&id).is_some());
        if knows_itself && described.uncovered().is_empty() {
            return Ok(described);
        }
        // Valkey 8.0 may leave the asked node out of CLUSTER SHARDS.
        Ok(topology(parse_nodes(&ask("NODES").await?)?))
    }
}

impl NodeProvider for RedisCluster {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        Box::pin(async {
            let topology = self.describe().await?;
            Ok(match self.ask.own_id() {
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

/// Reads one shard after another. A shard whose primary failed over and that has none now is left out: its slots are
/// then uncovered, which requests say.
fn parse_shards(answer: &Answer, tls: bool) -> Result<Vec<Shard>, Error> {
    let shards = answer.reply.elements().ok_or_else(|| unreadable("list"))?;
    let mut parsed = Vec::with_capacity(shards.len());
    for shard in shards {
        let bounds: Option<Vec<u16>> = shard
            .field("slots")
            .and_then(Reply::elements)
            .ok_or_else(|| unreadable("slots"))?
            .iter()
            .map(|bound| u16::try_from(bound.integer()?).ok())
            .collect();
        let bounds = bounds.ok_or_else(|| unreadable("slot numbers"))?;
        let slots: Vec<SlotRange> = bounds.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();

        let nodes = shard.field("nodes").and_then(Reply::elements).ok_or_else(|| unreadable("nodes"))?;
        let mut primary: Option<(bool, Arc<Node>)> = None;
        let mut replicas = Vec::new();
        for description in nodes {
            let (node, online) = parse_node(description, &answer.host, tls)?;
            match node.role {
                Role::Replica => replicas.push(Arc::new(node)),
                Role::Primary if primary.as_ref().is_none_or(|(is_online, _)| !is_online && online) => {
                    primary = Some((online, Arc::new(node)));
                }
                Role::Primary => {}
            }
        }
        if let Some((_, primary)) = primary {
            parsed.push(Shard { primary, replicas, slots });
        }
    }
    Ok(parsed)
}

fn parse_node(description: &Reply, host: &str, tls: bool) -> Result<(Node, bool), Error> {
    let id = text(description.field("id")).ok_or_else(|| unreadable("node id"))?;
    let wanted = if tls { ["tls-port", "port"] } else { ["port", "tls-port"] };
    let port = wanted
        .iter()
        .find_map(|name| u16::try_from(description.field(name)?.integer()?).ok().filter(|&port| port != 0))
        .ok_or_else(|| unreadable("port"))?;
    let host = text(description.field("ip"))
        .or_else(|| text(description.field("endpoint")))
        .unwrap_or_else(|| host.to_owned());
    let is_replica = text(description.field("role")).is_some_and(|role| role != "master");
    let role = if is_replica { Role::Replica } else { Role::Primary };
    let online = text(description.field("health")).is_none_or(|health| health == "online");
    let hostname = text(description.field("hostname"));
    Ok((Node { id, hostname, role, ..Node::new(Address::new(host, port)) }, online))
}

/// Reads rows of first slot, last slot, primary, replicas; several rows may name one primary.
fn parse_slots(answer: &Answer) -> Result<Vec<Shard>, Error> {
    let mut shards: Vec<Shard> = Vec::new();
    for row in answer.reply.elements().ok_or_else(|| unreadable("list"))? {
        let row = row.elements().ok_or_else(|| unreadable("row"))?;
        let bound = |index: usize| row.get(index).and_then(Reply::integer).and_then(|bound| u16::try_from(bound).ok());
        let (Some(first), Some(last)) = (bound(0), bound(1)) else { return Err(unreadable("slots")) };
        let node = |(index, description): (usize, &Reply)| {
            let parts = description.elements()?;
            let address = Address::new(
                text(parts.first()).unwrap_or_else(|| answer.host.clone()),
                u16::try_from(parts.get(1)?.integer()?).ok()?,
            );
            let id = text(parts.get(2)).unwrap_or_else(|| address.to_string());
            let role = if index == 0 { Role::Primary } else { Role::Replica };
            Some(Arc::new(Node { id, role, ..Node::new(address) }))
        };
        let nodes: Option<Vec<_>> = row[2..].iter().enumerate().map(node).collect();
        let mut nodes = nodes.ok_or_else(|| unreadable("node"))?.into_iter();
        let primary = nodes.next().ok_or_else(|| unreadable("primary"))?;
        match shards.iter_mut().find(|shard| shard.primary.id == primary.id) {
            Some(shard) => shard.slots.push((first, last)),
            None => shards.push(Shard { primary, replicas: nodes.collect(), slots: vec![(first, last)] }),
        }
    }
    Ok(shards)
}

/// Reads lines of `id host:port@bus,hostname flags primary ping pong epoch state slot...`.
fn parse_nodes(answer: &Answer) -> Result<Vec<Shard>, Error> {
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
            shards.push(Shard { primary: Arc::new(node), replicas: Vec::new(), slots });
        }
    }
    for (primary, replica) in replicas {
        if let Some(shard) = shards.iter_mut().find(|shard| shard.primary.id == primary) {
            shard.replicas.push(Arc::new(replica));
        }
    }
    Ok(shards)
}

/// `7` or `0-5460`; `None` for the marks of slots that are on the move, such as `[7->-id]`.
fn parse_range(range: &str) -> Option<SlotRange> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(reply: Reply) -> Answer {
        Answer { reply, host: "127.0.0.1".into() }
    }

    fn node(id: &str, ip: &str, port: i64, role: &str, health: &str) -> Reply {
        Reply::Map(vec![
            ("id".into(), id.into()),
            ("port".into(), port.into()),
            ("tls-port".into(), (port + 1).into()),
            ("ip".into(), ip.into()),
            ("endpoint".into(), ip.into()),
            ("role".into(), role.into()),
            ("health".into(), health.into()),
        ])
    }

    fn shard(slots: &[i64], nodes: Vec<Reply>) -> Reply {
        let slots = slots.iter().map(|&slot| slot.into()).collect::<Vec<Reply>>();
        Reply::Map(vec![("slots".into(), slots.into()), ("nodes".into(), nodes.into())])
    }

    #[test]
    fn shards_are_read_with_their_roles_ports_and_unknown_addresses() {
        let reply = Reply::Array(vec![shard(
            &[0, 100, 200, 200],
            vec![
                node("old", "10.0.0.9", 6379, "master", "fail"),
                node("new", "", 6379, "master", "online"),
                node("copy", "10.0.0.2", 6380, "replica", "online"),
            ],
        )]);
        let shards = parse_shards(&answer(reply.clone()), false).unwrap();
        assert_eq!(shards[0].slots, [(0, 100), (200, 200)]);
        assert_eq!(shards[0].primary.to_string(), "new@127.0.0.1:6379");
        assert_eq!(shards[0].replicas[0].role, Role::Replica);
        assert_eq!(parse_shards(&answer(reply), true).unwrap()[0].primary.address, Address::new("127.0.0.1", 6380));
    }

    #[test]
    fn rows_of_cluster_slots_are_joined_by_primary() {
        let row = |first: i64, last: i64| {
            Reply::Array(vec![
                first.into(),
                last.into(),
                Reply::Array(vec!["10.0.0.1".into(), 6379.into(), "a".into()]),
                Reply::Array(vec!["10.0.0.2".into(), 6379.into(), "b".into()]),
            ])
        };
        let shards = parse_slots(&answer(Reply::Array(vec![row(0, 10), row(20, 30)]))).unwrap();
        assert_eq!(shards.len(), 1);
        assert_eq!(shards[0].slots, [(0, 10), (20, 30)]);
        assert_eq!(shards[0].replicas[0].id, "b");
    }

    #[test]
    fn lines_of_cluster_nodes_are_read() {
        let lines = "\
aa :7001@17001 myself,master - 0 0 1 connected 0-10 12 0-10 [11->-bb]\n\
bb 10.0.0.2:7002@17002,two.example master - 0 1 2 connected 13-16383\n\
cc 10.0.0.3:7003@17003,,shard-id=x slave bb 0 1 2 connected\n\
dd :0@0 slave,noaddr bb 0 1 2 disconnected\n";
        let shards = parse_nodes(&answer(lines.into())).unwrap();
        assert_eq!(shards[0].slots, [(0, 10), (12, 12)]);
        assert_eq!(shards[0].primary.to_string(), "aa@127.0.0.1:7001");
        assert_eq!(shards[1].primary.hostname.as_deref(), Some("two.example"));
        assert_eq!(shards[1].replicas.len(), 1);
        assert_eq!(shards[1].replicas[0].to_string(), "cc@10.0.0.3:7003");
    }

    #[test]
    fn nonsense_is_an_error() {
        for reply in [Reply::Null, Reply::Array(vec![Reply::Null])] {
            assert!(parse_shards(&answer(reply.clone()), false).is_err());
            assert!(parse_slots(&answer(reply)).is_err());
        }
    }
}
