//! Events of keys for those who have subscribed to `__keyspace@0__:...` or `__keyevent@0__:...`, read by `RMR.EVENTS`.
//!
//! Where all nodes have rmr, its cursor leads through failovers and moving slots, and no node needs
//! `notify-keyspace-events`. Where some events may be missing, the event `lost` is told, with the id of the node in the place
//! of the key. Nodes without rmr are subscribed to as they are.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::topic::{PublishedMessage, Topic, TopicKind};
use crate::command::Command;
use crate::engine::{Engine, glob};
use crate::link::{Budget, Session};
use crate::reply::Reply;

/// The time that one question waits for events, in milliseconds.
const BLOCK_MS: u64 = 1000;

/// The time beyond that which the answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// The most that an answer may take, in bytes.
const LONGEST: usize = 64 << 20;

/// A report of a reader.
pub(super) enum Told {
    /// Every event from now on will be told.
    Ready(Topic),
    Message(PublishedMessage),
    /// The user may not read events, in the words of the node.
    Refused(Topic, String),
    /// Some node does not have rmr.
    Unavailable(Topic),
}

/// A reader of events, until it is dropped.
pub(super) struct KeyEventsReader {
    task: JoinHandle<()>,
}

impl Drop for KeyEventsReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeyEventsReader {
    /// Starts to read what a topic is about; `None` if it is not about the keys of database 0 alone.
    pub(super) fn of(topic: &Topic, engine: &Engine, tell: &mpsc::UnboundedSender<Told>) -> Option<Self> {
        let wanted = WantedEvents::of(topic)?;
        let (topic, engine, tell) = (topic.clone(), engine.clone(), tell.clone());
        Some(Self { task: tokio::spawn(async move { EventsTask { topic, wanted, engine, tell }.run().await }) })
    }
}

/// Says which events a topic is about.
#[derive(Debug, PartialEq, Eq)]
enum WantedEvents {
    /// Events of keys that fit a pattern; the channel names the key.
    OfKeys(Bytes),
    /// Events of a kind that fits a pattern; the channel names the kind.
    OfKind(Bytes),
}

const KEYSPACE: &[u8] = b"__keyspace@0__:";
const KEYEVENT: &[u8] = b"__keyevent@0__:";

impl WantedEvents {
    fn of(topic: &Topic) -> Option<Self> {
        let rest = |start: &[u8]| {
            let rest = topic.name.strip_prefix(start)?;
            Some(match topic.kind {
                TopicKind::Channel => escaped(rest),
                _ => topic.name.slice_ref(rest),
            })
        };
        if topic.kind == TopicKind::Shard {
            return None;
        }
        rest(KEYSPACE).map(Self::OfKeys).or_else(|| rest(KEYEVENT).map(Self::OfKind))
    }

    /// Returns the question for what has happened since a cursor.
    fn question(&self, cursor: &[u8]) -> Command {
        let question = Command::new("RMR.EVENTS").arg(cursor).arg("BLOCK").arg(BLOCK_MS);
        match self {
            Self::OfKeys(pattern) => question.arg("MATCH").arg(&pattern[..]),
            Self::OfKind(kind) if !is_pattern(kind) => question.arg("MATCH").arg("*").arg("TYPES").arg(unescaped(kind)),
            Self::OfKind(_) => question.arg("MATCH").arg("*"),
        }
    }

    /// Returns the channel and the payload of an event; `None` if it is not wanted.
    fn message(&self, event: &[u8], key: &[u8]) -> Option<(Bytes, Bytes)> {
        let joined = |start: &[u8], rest: &[u8]| Bytes::from([start, rest].concat());
        match self {
            Self::OfKeys(_) => Some((joined(KEYSPACE, key), Bytes::copy_from_slice(event))),
            Self::OfKind(kind) if event == b"lost" || glob::matches(kind, event) => {
                Some((joined(KEYEVENT, event), Bytes::copy_from_slice(key)))
            }
            Self::OfKind(_) => None,
        }
    }
}

/// Returns a pattern that fits this text alone.
fn escaped(text: &[u8]) -> Bytes {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^' | b'-');
    text.iter().flat_map(|byte| special(byte).then_some(b'\\').into_iter().chain([*byte])).collect::<Vec<u8>>().into()
}

fn unescaped(pattern: &[u8]) -> Vec<u8> {
    let mut bytes = pattern.iter().copied();
    std::iter::from_fn(|| match bytes.next()? {
        b'\\' => bytes.next(),
        byte => Some(byte),
    })
    .collect()
}

fn is_pattern(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

struct EventsTask {
    topic: Topic,
    wanted: WantedEvents,
    engine: Engine,
    tell: mpsc::UnboundedSender<Told>,
}

impl EventsTask {
    /// Reads until it is dropped, or it turns out that it cannot.
    async fn run(self) {
        let mut cursor: Bytes = "$".into();
        let mut session = None;
        loop {
            let answer = match self.ask(&mut session, &cursor).await {
                Some(answer) => answer,
                None => {
                    session = None;
                    self.engine.hint_change();
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let is_first = &cursor[..] == b"$";
            if let Reply::Error(words) = answer {
                let words = String::from_utf8_lossy(&words).into_owned();
                match is_first {
                    true if words.starts_with("NOPERM") => {
                        let _ = self.tell.send(Told::Refused(self.topic.clone(), words));
                        return;
                    }
                    true => {
                        let _ = self.tell.send(Told::Unavailable(self.topic.clone()));
                        return;
                    }
                    // A node is down, for one; the cursor goes on where it stood.
                    false => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                }
            }
            let mut parts = answer.into_elements().unwrap_or_default().into_iter();
            let Some(next) = parts.next().and_then(Reply::into_bytes) else {
                let _ = self.tell.send(Told::Unavailable(self.topic.clone()));
                return;
            };
            cursor = next;
            if is_first && self.tell.send(Told::Ready(self.topic.clone())).is_err() {
                return;
            }
            let events = parts.next().and_then(Reply::into_elements).unwrap_or_default();
            for event in events {
                let event = event.into_elements().unwrap_or_default();
                let (Some(name), Some(key)) =
                    (event.first().and_then(Reply::bytes), event.get(1).and_then(Reply::bytes))
                else {
                    continue;
                };
                if let Some((channel, payload)) = self.wanted.message(name, key) {
                    let message = PublishedMessage { topic: self.topic.clone(), channel, payload };
                    if self.tell.send(Told::Message(message)).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Asks a node, over the connection of the last question if that is still there. `None` if none answers.
    async fn ask(&self, session: &mut Option<Session>, cursor: &Bytes) -> Option<Reply> {
        if session.is_none() {
            *session = self.connect().await;
        }
        let deadline = Instant::now() + Duration::from_millis(BLOCK_MS) + PATIENCE;
        session.as_mut()?.call(&self.wanted.question(cursor), &Budget::new(LONGEST), deadline).await.ok()
    }

    /// Connects to the first node that can be reached.
    async fn connect(&self) -> Option<Session> {
        let request = self.engine.request().begin();
        for shard in request.pinned_topology().await.ok()?.data_shards() {
            if let Ok(session) = request.session(&shard.primary).await {
                return Some(session);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(kind: TopicKind, name: &'static str) -> Option<WantedEvents> {
        WantedEvents::of(&Topic { kind, name: name.into() })
    }

    #[test]
    fn topics_about_keys_are_questions() {
        let question = |kind, name| wanted(kind, name).unwrap().question(b"$").to_string();
        let begin = "RMR.EVENTS $ BLOCK 1000 MATCH";
        assert_eq!(question(TopicKind::Pattern, "__keyspace@0__:user:*"), format!("{begin} user:*"));
        assert_eq!(question(TopicKind::Channel, "__keyspace@0__:a*"), format!("{begin} a\\\\*"));
        assert_eq!(question(TopicKind::Channel, "__keyevent@0__:del"), format!("{begin} * TYPES del"));
        assert_eq!(question(TopicKind::Pattern, "__keyevent@0__:*"), format!("{begin} *"));
        for (kind, name) in [
            (TopicKind::Pattern, "__key*__:*"),
            (TopicKind::Channel, "__keyspace@1__:a"),
            (TopicKind::Shard, "__keyspace@0__:a"),
        ] {
            assert_eq!(wanted(kind, name), None);
        }
    }

    #[test]
    fn events_become_messages() {
        let of_keys = wanted(TopicKind::Pattern, "__keyspace@0__:*").unwrap();
        assert_eq!(of_keys.message(b"set", b"k"), Some(("__keyspace@0__:k".into(), "set".into())));
        let of_kind = wanted(TopicKind::Pattern, "__keyevent@0__:exp*").unwrap();
        assert_eq!(of_kind.message(b"expired", b"k"), Some(("__keyevent@0__:expired".into(), "k".into())));
        assert_eq!(of_kind.message(b"set", b"k"), None);
        assert_eq!(of_kind.message(b"lost", b"id"), Some(("__keyevent@0__:lost".into(), "id".into())));
    }
}
