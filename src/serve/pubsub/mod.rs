//! Pub/sub: what clients subscribe to is subscribed to once at the nodes, as the user that the clients are.
//!
//! A [`Hub`] of each user holds who has subscribed to what, and keeps the connections to nodes that this takes. A node that
//! is lost is replaced by another, or by who has taken its place; what was published meanwhile is gone, as it is for a
//! client that has lost its server. Events of keys come from [`key_events`] where all nodes have rmr.

mod hub;
mod key_events;
mod sources;
mod subscriber;
mod topic;
mod upstream;

pub(super) use hub::Hub;
pub(super) use subscriber::Subscriptions;
pub(super) use topic::{PublishedMessage, Topic, TopicKind};
