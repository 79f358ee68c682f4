//! Finds the nodes from which the messages of a topic come.
//!
//! Nodes of a cluster tell each other what is published, so that one of them is enough; what they tell of their own keys
//! they tell nobody else, so that all have to be asked. Plain servers know nothing of each other: a channel is published at
//! the server that its name belongs to, and a pattern is asked of all.

use std::sync::Arc;

use super::topic::{Topic, TopicKind};
use crate::command::Command;
use crate::engine::Request;
use crate::topology::{Node, Topology};

/// The beginnings of the channels in which a node reports events of its keys.
const OF_KEYS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// Tells whether messages of a channel are told by the node alone whose keys they are about.
pub(super) fn is_about_keys(channel: &[u8]) -> bool {
    OF_KEYS.iter().any(|start| channel.starts_with(start))
}

/// Tells whether such messages may come of a topic.
fn may_be_about_keys(topic: &Topic) -> bool {
    if topic.kind != TopicKind::Pattern {
        return topic.kind == TopicKind::Channel && is_about_keys(&topic.name);
    }
    let fixed = topic.name.iter().take_while(|byte| !matches!(byte, b'*' | b'?' | b'[' | b'\\')).count();
    let fixed = &topic.name[..fixed];
    let is_whole = fixed.len() == topic.name.len();
    OF_KEYS.iter().any(|start| fixed.starts_with(start) || (start.starts_with(fixed) && !is_whole))
}

/// Returns the nodes at which a topic is to be subscribed to. `home` picks the one that is enough where one is.
pub(super) fn nodes_of<'t>(
    request: &Request,
    topology: &'t Topology,
    topic: &Topic,
    home: impl FnOnce() -> Option<&'t Arc<Node>>,
) -> Vec<&'t Arc<Node>> {
    let all = || topology.data_shards().map(|shard| &shard.primary).collect();
    let of_name = || {
        let routed = Command::new("SSUBSCRIBE").key(&topic.name);
        request.owner(topology, &routed).into_iter().collect()
    };
    match (topology.has_slots(), topic.kind) {
        (_, TopicKind::Shard) => of_name(),
        (true, _) if may_be_about_keys(topic) => all(),
        (true, _) => home().into_iter().collect(),
        (false, TopicKind::Channel) if is_about_keys(&topic.name) => all(),
        (false, TopicKind::Channel) => of_name(),
        (false, TopicKind::Pattern) => all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_may_fit_news_of_keys_are_known() {
        let may = |kind, name: &'static str| may_be_about_keys(&Topic { kind, name: name.into() });
        for name in
            ["*", "_*", "__key*__:*", "__keyspace@0__:user:*", "__keyevent@0__:expired", "__keyevent@?__:del", "?x"]
        {
            assert!(may(TopicKind::Pattern, name), "{name}");
        }
        for name in ["news*", "__", "__keys*x", "__keyspac", "a__keyspace@0__:*"] {
            let expected = name == "__keys*x";
            assert_eq!(may(TopicKind::Pattern, name), expected, "{name}");
        }
        assert!(may(TopicKind::Channel, "__keyspace@0__:k") && !may(TopicKind::Channel, "news"));
        assert!(!may(TopicKind::Shard, "__keyspace@0__:k"));
    }
}
