//! [`PlainKeyspace`]: keys of other servers, read and commanded by plain commands from the node that runs the flow.
//!
//! It serves what no leaf can: servers without the module, slots that move while they are read, and keys that have gone to
//! another node. In a cluster slots are read as wholes, wherever they are, and commands go to the owner of their key. Elsewhere
//! the keys of one server are read by `SCAN`, and commanded on that server.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::keyspace::{CommandsDone, KeySource, KeysWanted, Keyspace, Reducing};
use super::plain_names::NamedKeys;
use super::plain_scan::ScannedKeys;
use super::plain_slots::SlotKeys;
use super::planned::Planned;
use super::requests::FlowRequests;
use crate::command::{CommandSet, PerKey};
use crate::engine::{Options, Request, ShardReply};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{BoxFuture, Node};

/// The keys of a cluster, or of one server of several.
pub(super) struct PlainKeyspace {
    requests: FlowRequests,
    /// The server; [`None`] in a cluster, where each key is wherever its slot is.
    node: Option<Arc<Node>>,
    /// Keys of slots that have been shown, by their hashes.
    shown: BTreeMap<u16, HashSet<u128>>,
    /// The first failure of a key that says more than a server's error.
    failed: Mutex<Option<Error>>,
}

impl PlainKeyspace {
    /// Makes the keyspace of a share: that of its node where there are no slots, otherwise that of the cluster.
    pub(super) fn of(requests: &FlowRequests, planned: &Planned) -> Arc<Self> {
        let node = planned.node.clone().filter(|_| planned.slots.is_none());
        let shown = if node.is_none() { planned.shown.clone() } else { BTreeMap::new() };
        Arc::new(Self { requests: requests.clone(), node, shown, failed: Mutex::default() })
    }

    /// Takes the first failure of a key that is no server's error.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends commands, each of which has a reply or a failure of its own.
    async fn send(&self, request: &Request, commands: PerKey) -> Result<Vec<Result<Reply, Error>>, Error> {
        let replies = match &self.node {
            None => request.map_keys(commands).partial(true).await?,
            Some(node) => {
                let commands = CommandSet::from(commands).into_each();
                let commands = commands.into_iter().map(|command| (command, Some(node.clone()))).collect();
                request.addressed(commands, None, &Options::new().partial(true)).await?
            }
        };
        Ok(replies.into_iter().map(|ShardReply { result, .. }| result).collect())
    }

    /// Sends those of the commands that the caller may send. The others are refused, each by itself.
    async fn send_permitted(&self, request: &Request, commands: &PerKey) -> Result<Vec<Result<Reply, Error>>, Error> {
        let (mut permitted, mut refusals) = (Vec::new(), Vec::new());
        for place in 0..commands.len() {
            match request.check(commands.command(place)).await {
                Ok(()) => permitted.push(commands.command(place)),
                Err(error) => refusals.push((place, error)),
            }
        }
        let to = permitted.into_iter().map(|command| (command, self.node.clone())).collect();
        let replies = request.addressed(to, None, &Options::new().partial(true)).await?;
        let mut results: Vec<_> = replies.into_iter().map(|ShardReply { result, .. }| result).collect();
        // In ascending order, so that each is put where it was.
        refusals.into_iter().for_each(|(place, error)| results.insert(place, Err(error)));
        Ok(results)
    }

    /// Returns a failure as the reply of its command.
    fn as_reply(&self, error: Error) -> Reply {
        match error {
            Error::Shard { message, .. } => Reply::Error(message.into_bytes()),
            other => {
                let line = other.to_line();
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(other);
                Reply::Error(line.into())
            }
        }
    }
}

impl Keyspace for PlainKeyspace {
    fn read(&self, wanted: KeysWanted) -> Box<dyn KeySource> {
        if let Some(named) = NamedKeys::of(&self.requests, self.node.as_ref(), &wanted) {
            return Box::new(named);
        }
        match &self.node {
            None => Box::new(SlotKeys::new(self.requests.clone(), wanted, self.shown.clone())),
            Some(node) => Box::new(ScannedKeys::new(self.requests.clone(), wanted, node.clone())),
        }
    }

    fn run(&self, commands: PerKey, _reducing: Option<Reducing>) -> BoxFuture<'_, Result<CommandsDone, Error>> {
        Box::pin(async move {
            let request = self.requests.begin();
            let results = match self.send(&request, commands.clone()).await {
                // Nothing was sent.
                Err(Error::NoPermission(_)) => self.send_permitted(&request, &commands).await?,
                results => results?,
            };
            let reply = |result: Result<Reply, Error>| Some(result.unwrap_or_else(|error| self.as_reply(error)));
            Ok(CommandsDone::Replies(results.into_iter().map(reply).collect()))
        })
    }

    fn reaches_all(&self) -> bool {
        true
    }
}
