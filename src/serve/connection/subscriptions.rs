//! `SUBSCRIBE` and its kin: what a client hears of without asking.

use bytes::Bytes;

use super::client_connection::ClientConnection;
use crate::command::Command;
use crate::reply::Reply;
use crate::resp::Protocol;
use crate::serve::pubsub::{PublishedMessage, Subscriptions, Topic, TopicKind};

impl<S> ClientConnection<S> {
    /// Subscribes to all that the command names, or to nothing of it.
    pub(super) async fn subscribe(&mut self, kind: TopicKind, command: &Command) {
        let names: Vec<Bytes> = command.args().map(Bytes::copy_from_slice).collect();
        let (entry, most) = (self.entry.clone(), self.state.options.max_output_bytes);
        let subscriptions = self.subscriptions.get_or_insert_with(|| Box::new(Subscriptions::new(entry, most)));
        let subscriber = subscriptions.subscriber.clone();
        let known = subscriptions.of_kind(kind).clone();
        let within = self.user.engine.timeout();
        let new: Vec<&Bytes> = names.iter().filter(|name| !known.contains(*name)).collect();
        let hub = self.user.hub.clone();
        let asked =
            new.iter().map(|name| hub.subscribe(Topic { kind, name: (**name).clone() }, subscriber.clone(), within));
        let confirmed = futures_util::future::join_all(asked).await;
        if let Some(Err(words)) = confirmed.iter().find(|confirmed| confirmed.is_err()) {
            for name in new {
                hub.unsubscribe(Topic { kind, name: name.clone() }, self.entry.id);
            }
            self.forget_if_empty();
            return self.refuse(&words.clone());
        }
        for name in names {
            let subscriptions = self.subscriptions.as_mut();
            let count = subscriptions.map_or(0, |subscriptions| {
                subscriptions.of_kind(kind).insert(name.clone());
                subscriptions.count(kind)
            });
            self.push_event(&[kind.subscribe().into(), Reply::Bulk(name), Reply::Integer(count as i64)]);
        }
        self.tell_about_subscriptions();
    }

    /// Ends the subscriptions that the command names, or all of this kind.
    pub(super) fn unsubscribe(&mut self, kind: TopicKind, command: &Command) {
        let mut names: Vec<Bytes> = command.args().map(Bytes::copy_from_slice).collect();
        if names.is_empty() {
            names =
                self.subscriptions.as_mut().map(|own| own.of_kind(kind).iter().cloned().collect()).unwrap_or_default();
        }
        let word = || Reply::from(kind.unsubscribe());
        if names.is_empty() {
            let count = self.subscriptions.as_ref().map_or(0, |own| own.count(kind));
            self.push_event(&[word(), Reply::Null, Reply::Integer(count as i64)]);
        }
        for name in names {
            let count = self.subscriptions.as_mut().map_or(0, |own| {
                own.of_kind(kind).remove(&name);
                own.count(kind)
            });
            self.user.hub.unsubscribe(Topic { kind, name: name.clone() }, self.entry.id);
            self.push_event(&[word(), Reply::Bulk(name), Reply::Integer(count as i64)]);
        }
        self.tell_about_subscriptions();
        self.forget_if_empty();
    }

    /// Ends all subscriptions.
    pub(super) fn unsubscribe_all(&mut self) {
        let Some(mut own) = self.subscriptions.take() else { return };
        for kind in [TopicKind::Channel, TopicKind::Pattern, TopicKind::Shard] {
            for name in std::mem::take(own.of_kind(kind)) {
                self.user.hub.unsubscribe(Topic { kind, name }, self.entry.id);
            }
        }
        self.tell_about_subscriptions();
    }

    /// Returns whether the client can do little else: it has subscribed, and speaks RESP2.
    pub(super) fn only_listens(&self) -> bool {
        self.subscriptions.is_some() && self.protocol == Protocol::Resp2
    }

    /// Adds a message, and those behind it, to what is written next.
    pub(super) fn push_messages(&mut self, first: &PublishedMessage) {
        /// The most that is taken at once, in bytes.
        const MOST: usize = 256 * 1024;
        self.push_event(&first.words());
        while self.replies.len() < MOST
            && let Some(message) = self.subscriptions.as_mut().and_then(|own| own.try_next())
        {
            self.push_event(&message.words());
        }
    }

    /// Adds what is no reply, and comes whether replies are wanted or not.
    fn push_event(&mut self, words: &[Reply]) {
        let kind = if self.protocol == Protocol::Resp3 { b'>' } else { b'*' };
        self.replies.push_header(kind, words.len());
        words.iter().for_each(|word| self.replies.push(word, self.protocol));
    }

    fn forget_if_empty(&mut self) {
        self.subscriptions.take_if(|own| own.is_empty());
    }

    fn tell_about_subscriptions(&self) {
        let counts = self.subscriptions.as_ref();
        let counts = counts.map_or((0, 0, 0), |own| (own.channels.len(), own.patterns.len(), own.shard_channels.len()));
        let mut about = self.entry.about();
        (about.channels, about.patterns, about.shard_channels) = counts;
    }
}
