//! The subscriptions of all clients, and the nodes at which they are held.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::key_events::{self, KeyEventsReader};
use super::sources::{is_about_keys, nodes_of};
use super::subscriber::Subscriber;
use super::topic::{NodeSaid, PublishedMessage, Topic};
use super::upstream::{Heard, Upstream};
use crate::command::Command;
use crate::engine::Engine;
use crate::resp::ServerErrorKind;
use crate::serve::refusal::is_refusal;
use crate::topology::Node;

/// The time between two looks of the hub whether topics are subscribed to where they should be, while something is
/// amiss.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The time between two looks while nothing is amiss.
const LOOK: Duration = Duration::from_secs(1);

/// The time for which a node that was lost is not connected to again.
const SPARED: Duration = Duration::from_millis(500);

/// The pub/sub of a user. It ends with its last handle.
#[derive(Clone)]
pub(in crate::serve) struct Hub {
    asked: mpsc::UnboundedSender<HubRequest>,
}

/// A request of a client.
enum HubRequest {
    Subscribe { topic: Topic, subscriber: Subscriber, done: oneshot::Sender<Result<(), String>> },
    Unsubscribe { topic: Topic, client: u64 },
}

impl Hub {
    /// Opens no connection before somebody subscribes. Must be called within a tokio runtime.
    pub(in crate::serve) fn new(engine: Engine) -> Self {
        let (asked, wishes) = mpsc::unbounded_channel();
        tokio::spawn(Switchboard::new(engine).run(wishes));
        Self { asked }
    }

    /// Subscribes a client to a topic, and returns when the nodes have confirmed it.
    ///
    /// # Errors
    /// The words of the node that refuses it, or that it took too long.
    pub(in crate::serve) async fn subscribe(
        &self,
        topic: Topic,
        subscriber: Subscriber,
        within: Duration,
    ) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        let client = subscriber.id();
        let _ = self.asked.send(HubRequest::Subscribe { topic: topic.clone(), subscriber, done });
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(answer)) => answer,
            _ => {
                self.unsubscribe(topic, client);
                let within = within.as_millis();
                Err(format!("RMRTIMEOUT {within} ms: the nodes have not confirmed the subscription"))
            }
        }
    }

    /// Ends the subscription of a client.
    pub(in crate::serve) fn unsubscribe(&self, topic: Topic, client: u64) {
        let _ = self.asked.send(HubRequest::Unsubscribe { topic, client });
    }
}

/// The state of a topic.
#[derive(Default)]
struct TopicState {
    subscribers: HashMap<u64, Subscriber>,
    /// The tasks that wait for the nodes to confirm it.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    /// The connections over which it is subscribed to, and whether the node has confirmed that.
    at: HashMap<u64, bool>,
    /// The reader that reads it in place of these, if that is possible.
    key_events: Option<KeyEventsReader>,
    is_ready: bool,
}

/// A connection to a node, by its number.
struct NodeLine {
    node: Arc<Node>,
    upstream: Upstream,
    topics: HashSet<Topic>,
}

/// The one who holds it all, and hears everybody.
struct Switchboard {
    engine: Engine,
    topics: HashMap<Topic, TopicState>,
    lines: HashMap<u64, NodeLine>,
    last_number: u64,
    /// The line that is enough where one is.
    home: Option<u64>,
    /// Nodes that were lost a moment ago.
    spared: HashMap<String, Instant>,
    tell: mpsc::UnboundedSender<(u64, Heard)>,
    heard: mpsc::UnboundedReceiver<(u64, Heard)>,
    /// The channel by which the reader of keys' events reports to the hub.
    tell_events: mpsc::UnboundedSender<key_events::Told>,
    events: mpsc::UnboundedReceiver<key_events::Told>,
    is_amiss: bool,
}

impl Switchboard {
    fn new(engine: Engine) -> Self {
        let (tell, heard) = mpsc::unbounded_channel();
        let (tell_events, events) = mpsc::unbounded_channel();
        Self {
            engine,
            topics: HashMap::new(),
            lines: HashMap::new(),
            last_number: 0,
            home: None,
            spared: HashMap::new(),
            tell,
            heard,
            tell_events,
            events,
            is_amiss: false,
        }
    }

    async fn run(mut self, mut wishes: mpsc::UnboundedReceiver<HubRequest>) {
        loop {
            let look = if self.is_amiss { LOOK_AGAIN } else { LOOK };
            tokio::select! {
                wish = wishes.recv() => match wish {
                    None => return,
                    Some(HubRequest::Subscribe { topic, subscriber, done }) => self.subscribe(topic, subscriber, done).await,
                    Some(HubRequest::Unsubscribe { topic, client }) => self.unsubscribe(&topic, client),
                },
                Some((number, heard)) = self.heard.recv() => match heard {
                    Heard::Said(said) => self.hear(number, said),
                    Heard::Lost(why) => self.lose(number, &why),
                },
                Some(told) = self.events.recv() => self.hear_of_keys(told),
                () = tokio::time::sleep(look), if !self.topics.is_empty() => self.look().await,
            }
        }
    }

    async fn subscribe(&mut self, topic: Topic, subscriber: Subscriber, done: oneshot::Sender<Result<(), String>>) {
        let state = self.topics.entry(topic.clone()).or_default();
        state.subscribers.insert(subscriber.id(), subscriber);
        if state.is_ready {
            let _ = done.send(Ok(()));
            return;
        }
        state.waiting.push(done);
        if state.at.is_empty() && state.key_events.is_none() {
            match KeyEventsReader::of(&topic, &self.engine, &self.tell_events) {
                Some(reader) => state.key_events = Some(reader),
                None => self.place(&topic).await,
            }
        }
    }

    fn unsubscribe(&mut self, topic: &Topic, client: u64) {
        if let Some(state) = self.topics.get_mut(topic) {
            state.subscribers.remove(&client);
            if state.subscribers.is_empty() {
                self.forget(topic);
            }
        }
    }

    /// Ends a topic that nobody has subscribed to any more.
    fn forget(&mut self, topic: &Topic) {
        let Some(state) = self.topics.remove(topic) else { return };
        for number in state.at.into_keys() {
            self.leave(number, topic);
        }
        self.hang_up();
    }

    /// Unsubscribes from a topic at a node.
    fn leave(&mut self, number: u64, topic: &Topic) {
        if let Some(line) = self.lines.get_mut(&number)
            && line.topics.remove(topic)
        {
            line.upstream.send(Command::new(topic.kind.unsubscribe()).arg(&topic.name[..]));
        }
    }

    /// Closes the lines over which nothing is subscribed to.
    fn hang_up(&mut self) {
        self.lines.retain(|_, line| !line.topics.is_empty());
        self.home = self.home.filter(|home| self.lines.contains_key(home));
    }

    /// Subscribes to a topic where it should be, and nowhere else.
    async fn place(&mut self, topic: &Topic) {
        let request = self.engine.request().begin();
        let Ok(topology) = request.pinned_topology().await else {
            self.is_amiss = true;
            return;
        };
        self.spared.retain(|_, until| *until > Instant::now());
        let home = self.home.and_then(|home| self.lines.get(&home)).map(|line| line.node.id.clone());
        let (spared, mut data) = (&self.spared, topology.data_shards().map(|shard| &shard.primary));
        let all: Vec<&Arc<Node>> = data.by_ref().collect();
        let pick = || {
            let current = all.iter().find(|node| Some(&node.id) == home.as_ref());
            let sound = || all.iter().find(|node| !spared.contains_key(&node.id));
            current.or_else(sound).or(all.first()).copied()
        };
        let wanted: Vec<Arc<Node>> = nodes_of(&request, &topology, topic, pick).into_iter().cloned().collect();
        self.is_amiss |= wanted.is_empty();
        let Some(state) = self.topics.get(topic) else { return };
        let here: Vec<u64> = state.at.keys().copied().collect();
        let is_wanted =
            |line: &NodeLine| wanted.iter().any(|node| node.id == line.node.id && node.address == line.node.address);
        for number in here {
            if !self.lines.get(&number).is_some_and(is_wanted) {
                self.topics.entry(topic.clone()).or_default().at.remove(&number);
                self.leave(number, topic);
            }
        }
        for node in wanted {
            if self.spared.contains_key(&node.id) {
                self.is_amiss = true;
                continue;
            }
            let number = self.line_to(&node);
            if topology.has_slots() && self.home.is_none() {
                self.home = Some(number);
            }
            let Some(line) = self.lines.get_mut(&number) else { continue };
            if line.topics.insert(topic.clone()) {
                line.upstream.send(Command::new(topic.kind.subscribe()).arg(&topic.name[..]));
                self.topics.entry(topic.clone()).or_default().at.insert(number, false);
            }
        }
        self.hang_up();
    }

    /// Returns the number of the line to a node; opens one if there is none.
    fn line_to(&mut self, node: &Arc<Node>) -> u64 {
        let is_it = |line: &NodeLine| line.node.id == node.id && line.node.address == node.address;
        if let Some((&number, _)) = self.lines.iter().find(|(_, line)| is_it(line)) {
            return number;
        }
        self.last_number += 1;
        let number = self.last_number;
        let upstream = Upstream::open(&self.engine, node.clone(), number, self.tell.clone());
        self.lines.insert(number, NodeLine { node: node.clone(), upstream, topics: HashSet::new() });
        number
    }

    fn hear(&mut self, number: u64, said: NodeSaid) {
        match said {
            NodeSaid::Message(message) => {
                let is_twice = self.engine.topology().is_some_and(|topology| topology.has_slots())
                    && message.topic.kind != super::TopicKind::Shard
                    && !is_about_keys(&message.channel)
                    && self.home != Some(number);
                if !is_twice {
                    self.tell_all(&message);
                }
            }
            NodeSaid::Subscribed(topic) => {
                if let Some(state) = self.topics.get_mut(&topic)
                    && let Some(is_confirmed) = state.at.get_mut(&number)
                {
                    *is_confirmed = true;
                    if state.at.values().all(|&is_confirmed| is_confirmed) {
                        state.is_ready = true;
                        state.waiting.drain(..).for_each(|done| drop(done.send(Ok(()))));
                    }
                }
            }
            // The node has given the slot away, unless it was asked to.
            NodeSaid::Unsubscribed(topic) => {
                if let Some(line) = self.lines.get_mut(&number)
                    && line.topics.remove(&topic)
                {
                    self.topics.entry(topic).or_default().at.remove(&number);
                    self.engine.hint_change();
                    self.is_amiss = true;
                }
            }
            NodeSaid::Refused(words) => self.refused(number, &words),
            NodeSaid::Other => {}
        }
    }

    /// Takes a refusal: it is about the topics that this node has not confirmed.
    fn refused(&mut self, number: u64, words: &[u8]) {
        let open: Vec<Topic> = self
            .topics
            .iter()
            .filter(|(_, state)| state.at.get(&number) == Some(&false))
            .map(|(topic, _)| topic.clone())
            .collect();
        let is_about_slots = ServerErrorKind::of(words).is_redirect();
        for topic in open {
            if let Some(line) = self.lines.get_mut(&number) {
                line.topics.remove(&topic);
            }
            let Some(state) = self.topics.get_mut(&topic) else { continue };
            state.at.remove(&number);
            if is_about_slots {
                self.engine.hint_change();
                self.is_amiss = true;
                continue;
            }
            let words = String::from_utf8_lossy(words).into_owned();
            state.waiting.drain(..).for_each(|done| drop(done.send(Err(words.clone()))));
            if !state.is_ready {
                self.forget(&topic);
            }
        }
    }

    /// Takes a line for lost. Its topics are subscribed to elsewhere, or there again.
    fn lose(&mut self, number: u64, why: &str) {
        let Some(line) = self.lines.remove(&number) else { return };
        log::info!("the connection for subscriptions is lost: {why}");
        self.spared.insert(line.node.id.clone(), Instant::now() + SPARED);
        for topic in line.topics {
            if let Some(state) = self.topics.get_mut(&topic) {
                state.at.remove(&number);
                if is_refusal(why.split_once(": ").map_or("", |(_, why)| why)) {
                    let why = why.to_owned();
                    state.waiting.drain(..).for_each(|done| drop(done.send(Err(format!("NOAUTH {why}")))));
                }
            }
        }
        self.home = self.home.filter(|&home| home != number);
        self.engine.hint_change();
        self.is_amiss = true;
    }

    fn hear_of_keys(&mut self, told: key_events::Told) {
        match told {
            key_events::Told::Ready(topic) => {
                if let Some(state) = self.topics.get_mut(&topic) {
                    state.is_ready = true;
                    state.waiting.drain(..).for_each(|done| drop(done.send(Ok(()))));
                }
            }
            key_events::Told::Message(message) => self.tell_all(&message),
            key_events::Told::Refused(topic, words) => {
                if let Some(state) = self.topics.get_mut(&topic) {
                    state.waiting.drain(..).for_each(|done| drop(done.send(Err(words.clone()))));
                    self.forget(&topic);
                }
            }
            // Nodes without rmr tell of their keys themselves, if they are set to.
            key_events::Told::Unavailable(topic) => {
                if let Some(state) = self.topics.get_mut(&topic) {
                    state.key_events = None;
                    self.is_amiss = true;
                }
            }
        }
    }

    fn tell_all(&self, message: &PublishedMessage) {
        if let Some(state) = self.topics.get(&message.topic) {
            state.subscribers.values().for_each(|subscriber| subscriber.tell(message));
        }
    }

    /// Looks whether all topics are subscribed to where they should be.
    async fn look(&mut self) {
        self.is_amiss = false;
        let topics: Vec<Topic> = self
            .topics
            .iter()
            .filter(|(_, state)| state.key_events.is_none())
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in topics {
            self.place(&topic).await;
        }
    }
}
