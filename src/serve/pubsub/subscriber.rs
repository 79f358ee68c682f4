//! The two ends between a hub and a client: messages that wait, and what the client has subscribed to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::topic::{PublishedMessage, TopicKind};
use crate::serve::clients::ClientEntry;
use crate::serve::metrics::Cut;

/// A client to which messages go.
#[derive(Clone)]
pub(in crate::serve) struct Subscriber {
    client: Arc<ClientEntry>,
    messages: mpsc::UnboundedSender<PublishedMessage>,
    waiting: Arc<AtomicUsize>,
    most: usize,
}

impl Subscriber {
    /// Returns the client's number.
    pub(super) fn id(&self) -> u64 {
        self.client.id
    }

    /// Hands a message on. A client that does not read what waits for it is cut off.
    pub(super) fn tell(&self, message: &PublishedMessage) {
        let size = message.size();
        if self.waiting.fetch_add(size, Relaxed) + size > self.most {
            if !self.client.is_killed() {
                log::warn!(
                    "client {} at {} does not read its messages, and is cut off",
                    self.client.id,
                    self.client.address
                );
            }
            return self.client.kill(Cut::TooMuchOutput);
        }
        // A client that is gone is forgotten soon.
        let _ = self.messages.send(message.clone());
    }
}

/// The subscriptions of a client, and the messages that wait for it.
pub(in crate::serve) struct Subscriptions {
    pub(in crate::serve) channels: BTreeSet<Bytes>,
    pub(in crate::serve) patterns: BTreeSet<Bytes>,
    pub(in crate::serve) shard_channels: BTreeSet<Bytes>,
    pub(in crate::serve) subscriber: Subscriber,
    messages: mpsc::UnboundedReceiver<PublishedMessage>,
}

impl Subscriptions {
    /// Makes subscriptions without topics. No more than `most` bytes may wait for the client.
    pub(in crate::serve) fn new(client: Arc<ClientEntry>, most: usize) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        let subscriber = Subscriber { client, messages: sender, waiting: Arc::default(), most };
        let (channels, patterns, shard_channels) = Default::default();
        Self { channels, patterns, shard_channels, subscriber, messages }
    }

    /// Returns what has been subscribed to in this way.
    pub(in crate::serve) fn of_kind(&mut self, kind: TopicKind) -> &mut BTreeSet<Bytes> {
        match kind {
            TopicKind::Channel => &mut self.channels,
            TopicKind::Pattern => &mut self.patterns,
            TopicKind::Shard => &mut self.shard_channels,
        }
    }

    /// Returns how many subscriptions of this kind a client is told to have.
    pub(in crate::serve) fn count(&self, kind: TopicKind) -> usize {
        match kind {
            TopicKind::Shard => self.shard_channels.len(),
            TopicKind::Channel | TopicKind::Pattern => self.channels.len() + self.patterns.len(),
        }
    }

    /// Returns whether there are none.
    pub(in crate::serve) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard_channels.is_empty()
    }

    /// Waits for the next message.
    pub(in crate::serve) async fn next(&mut self) -> PublishedMessage {
        match self.messages.recv().await {
            Some(message) => self.taken(message),
            // This holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Returns the next message if there is one.
    pub(in crate::serve) fn try_next(&mut self) -> Option<PublishedMessage> {
        let message = self.messages.try_recv().ok()?;
        Some(self.taken(message))
    }

    fn taken(&self, message: PublishedMessage) -> PublishedMessage {
        self.subscriber.waiting.fetch_sub(message.size(), Relaxed);
        message
    }
}
