//! The topics to which clients can subscribe, and the messages that come of them.

use bytes::Bytes;

use crate::reply::Reply;

/// Says how something is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::serve) enum TopicKind {
    /// A channel: `SUBSCRIBE`.
    Channel,
    /// The channels that fit a pattern: `PSUBSCRIBE`.
    Pattern,
    /// A channel of a slot: `SSUBSCRIBE`.
    Shard,
}

impl TopicKind {
    /// Returns the command that subscribes.
    pub(in crate::serve) fn subscribe(self) -> &'static str {
        match self {
            Self::Channel => "subscribe",
            Self::Pattern => "psubscribe",
            Self::Shard => "ssubscribe",
        }
    }

    /// Returns the command that ends it.
    pub(in crate::serve) fn unsubscribe(self) -> &'static str {
        match self {
            Self::Channel => "unsubscribe",
            Self::Pattern => "punsubscribe",
            Self::Shard => "sunsubscribe",
        }
    }
}

/// Something that clients have subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::serve) struct Topic {
    pub(in crate::serve) kind: TopicKind,
    /// The channel or the pattern.
    pub(in crate::serve) name: Bytes,
}

/// A message for those who have subscribed to its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) struct PublishedMessage {
    pub(in crate::serve) topic: Topic,
    pub(in crate::serve) channel: Bytes,
    pub(in crate::serve) payload: Bytes,
}

impl PublishedMessage {
    /// Returns its words as clients get them.
    pub(in crate::serve) fn words(&self) -> Vec<Reply> {
        let text = |bytes: &Bytes| Reply::Bulk(bytes.clone());
        let (channel, payload) = (text(&self.channel), text(&self.payload));
        match self.topic.kind {
            TopicKind::Channel => vec!["message".into(), channel, payload],
            TopicKind::Shard => vec!["smessage".into(), channel, payload],
            TopicKind::Pattern => vec!["pmessage".into(), text(&self.topic.name), channel, payload],
        }
    }

    /// Returns about how many bytes it takes.
    pub(in crate::serve) fn size(&self) -> usize {
        /// The number of bytes around the texts.
        const AROUND: usize = 48;
        AROUND + self.topic.name.len() + self.channel.len() + self.payload.len()
    }
}

/// A message of a node on a connection that has subscribed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NodeSaid {
    Message(PublishedMessage),
    Subscribed(Topic),
    Unsubscribed(Topic),
    /// The node has refused the command that is not answered yet.
    Refused(Bytes),
    Other,
}

impl NodeSaid {
    pub(super) fn of(reply: Reply) -> Self {
        let words = match reply {
            Reply::Error(words) => return Self::Refused(words),
            reply => reply.into_elements().unwrap_or_default(),
        };
        let mut words = words.into_iter().map(|word| word.into_bytes().unwrap_or_default());
        let mut next = || words.next().unwrap_or_default();
        let kind = next();
        let topic = |kind, name| Topic { kind, name };
        match &*kind {
            b"message" | b"smessage" => {
                let kind = if kind[0] == b's' { TopicKind::Shard } else { TopicKind::Channel };
                let channel = next();
                Self::Message(PublishedMessage { topic: topic(kind, channel.clone()), channel, payload: next() })
            }
            b"pmessage" => {
                let topic = topic(TopicKind::Pattern, next());
                Self::Message(PublishedMessage { topic, channel: next(), payload: next() })
            }
            b"subscribe" => Self::Subscribed(topic(TopicKind::Channel, next())),
            b"psubscribe" => Self::Subscribed(topic(TopicKind::Pattern, next())),
            b"ssubscribe" => Self::Subscribed(topic(TopicKind::Shard, next())),
            b"unsubscribe" => Self::Unsubscribed(topic(TopicKind::Channel, next())),
            b"punsubscribe" => Self::Unsubscribed(topic(TopicKind::Pattern, next())),
            b"sunsubscribe" => Self::Unsubscribed(topic(TopicKind::Shard, next())),
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_say_is_understood() {
        let said = |words: &[&str]| NodeSaid::of(Reply::Array(words.iter().map(|word| Reply::from(*word)).collect()));
        let topic = |kind, name: &'static str| Topic { kind, name: name.into() };
        let channel = topic(TopicKind::Channel, "c");
        let message = PublishedMessage { topic: channel.clone(), channel: "c".into(), payload: "hello".into() };
        assert_eq!(message.words().len(), 3);
        assert_eq!(said(&["message", "c", "hello"]), NodeSaid::Message(message));
        let by_pattern =
            PublishedMessage { topic: topic(TopicKind::Pattern, "c*"), channel: "c".into(), payload: "hello".into() };
        assert_eq!(by_pattern.words()[1], Reply::from("c*"));
        assert_eq!(said(&["pmessage", "c*", "c", "hello"]), NodeSaid::Message(by_pattern));
        assert_eq!(said(&["subscribe", "c", "1"]), NodeSaid::Subscribed(channel));
        assert_eq!(said(&["sunsubscribe", "c", "0"]), NodeSaid::Unsubscribed(topic(TopicKind::Shard, "c")));
        assert_eq!(NodeSaid::of(Reply::Error("NOPERM no".into())), NodeSaid::Refused("NOPERM no".into()));
        assert_eq!(said(&["pong", ""]), NodeSaid::Other);
    }
}
