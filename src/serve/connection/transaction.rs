//! `MULTI`, `EXEC`, `DISCARD` and `WATCH`: a transaction is one node's own.
//!
//! Commands are kept here and go to the node in one write with their `MULTI` and `EXEC`, over a connection that the client
//! has to itself. A node that refuses one of them, since a slot has moved, runs none, so that all of it can be sent again.

use std::sync::Arc;

use tokio::time::Instant;

use super::client_connection::ClientConnection;
use super::node_connection::{PAUSE, apart, failed, not_in_time, reply_text, settle};
use super::open_transaction::{OpenTransaction, WatchedBy, WatchedKeys};
use crate::command::{Command, printable};
use crate::describe::special;
use crate::engine::Request;
use crate::error::Error;
use crate::exec::{Overrides, Reach};
use crate::link::Budget;
use crate::peer::{UNLESS_WRITTEN, together};
use crate::reply::Reply;
use crate::resp::{Retry, ServerErrorKind};
use crate::serve::known::{NodeCommand, keys_of};
use crate::topology::Node;

/// The one command about its own connection that is right on any of the user.
const WHOAMI: &str = "acl|whoami";

impl<S> ClientConnection<S> {
    pub(super) fn multi(&mut self) {
        if self.transaction.is_some() {
            return self.push_error(b"ERR MULTI calls can not be nested");
        }
        self.transaction = Some(OpenTransaction::default());
        self.entry.about().queued = Some(0);
        self.push(&Reply::OK);
    }

    pub(super) fn discard(&mut self) {
        match self.end_transaction() {
            Some(_) => {
                self.watched = None;
                self.push(&Reply::OK);
            }
            None => self.push_error(b"ERR DISCARD without MULTI"),
        }
    }

    fn end_transaction(&mut self) -> Option<OpenTransaction> {
        self.entry.about().queued = None;
        self.transaction.take()
    }

    pub(super) fn unwatch(&mut self) {
        // The node takes the keys for unwatched when the connection ends.
        self.watched = None;
        self.push(&Reply::OK);
    }

    /// Keeps a command without keys for `EXEC`.
    pub(super) fn queue_keyless(&mut self, command: Command) {
        if let Some(transaction) = &mut self.transaction {
            transaction.commands.push(command);
            self.entry.about().queued = Some(transaction.commands.len());
            self.push(&Reply::Simple("QUEUED".into()));
        }
    }

    /// Keeps a command for `EXEC`, if the node of the others can run it.
    pub(super) async fn queue(&mut self, command: Command, of_nodes: &NodeCommand) {
        match self.try_queue(command, of_nodes).await {
            Ok(command) => self.queue_keyless(command),
            Err(error) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.fail();
                }
                self.answer(Err(error));
            }
        }
    }

    async fn try_queue(&mut self, mut command: Command, of_nodes: &NodeCommand) -> Result<Command, Error> {
        let description = &of_nodes.description;
        let name = || printable(&description.name.to_ascii_uppercase().replace('|', " ").into_bytes());
        let keys = keys_of(&self.state.engine.request().begin(), &command, description).await?;
        if keys.is_empty() {
            // Of one shard it would be the wrong answer.
            if Reach::of(description, &Overrides::default()) == Reach::AllNodes {
                return Err(Error::Refused(format!(
                    "'{}' is for all nodes, and a transaction is one node's own",
                    name()
                )));
            }
            if description.name != WHOAMI
                && let Some(why) = special::why_not_shared(&command)
            {
                return Err(Error::Refused(format!("'{}' is not served within MULTI: {why}", name())));
            }
            return Ok(command);
        }
        let request = self.user.engine.request().begin();
        let topology = request.pinned_topology().await?;
        let args: Vec<&[u8]> = command.words().collect();
        let known = self.transaction.as_ref().and_then(|transaction| transaction.keyed.as_ref());
        let known = known.or(self.watched.as_ref().map(|watched| &watched.keyed));
        let first = known.and_then(Command::routing_key).unwrap_or(args[keys[0]]);
        let group = request.key_group(&topology, first)?;
        for &at in &keys {
            if request.key_group(&topology, args[at])? != group {
                let what = format!(
                    "'{}' is apart from '{}', and a transaction is one node's own{}",
                    printable(args[at]),
                    printable(first),
                    if topology.requires_same_slot() { ": its keys must share a {hash tag}" } else { "" }
                );
                return Err(apart(&topology, &what));
            }
        }
        command.route_by_argument(keys[0]);
        if let Some(transaction) = &mut self.transaction {
            transaction.keyed.get_or_insert_with(|| command.clone());
        }
        Ok(command)
    }

    pub(super) async fn watch(&mut self, command: &Command) {
        if self.transaction.is_some() {
            return self.push_error(b"ERR WATCH inside MULTI is not allowed");
        }
        let watched = self.try_watch(command).await;
        self.answer(watched);
    }

    async fn try_watch(&mut self, command: &Command) -> Result<Reply, Error> {
        let keys: Vec<usize> = (1..command.word_count()).collect();
        let request = self.request().begin();
        let mut command = command.clone();
        command.route_by_argument(1);
        if request.pinned_topology().await?.has_copies() {
            return self.watch_copies(request, command, &keys).await;
        }
        loop {
            let topology = request.pinned_topology().await?;
            let node = self.node_of_keys(&request, &topology, &command, &keys)?;
            let node = node.ok_or_else(|| Error::no_node(topology.source()))?.clone();
            let mut connection = match self.watched.take() {
                Some(WatchedKeys { by: WatchedBy::Copies(_) | WatchedBy::Nobody, keyed }) => {
                    self.watched = Some(WatchedKeys { by: WatchedBy::Nobody, keyed });
                    return Ok(Reply::OK);
                }
                Some(WatchedKeys { by: WatchedBy::Node(watching), keyed }) => {
                    let key = |command: &Command| command.routing_key().unwrap_or_default().to_vec();
                    let (old, new) = (key(&keyed), key(&command));
                    if request.key_group(&topology, &old)? != request.key_group(&topology, &new)? {
                        let what = format!(
                            "'{}' is apart from '{}', which is watched already; a transaction is one node's own",
                            printable(&new),
                            printable(&old)
                        );
                        self.watched = Some(WatchedKeys { by: WatchedBy::Node(watching), keyed });
                        return Err(apart(&topology, &what));
                    }
                    watching
                }
                None => self.connect(&request, &node).await?,
            };
            let budget = Budget::new(self.state.options.max_reply_bytes);
            let deadline = Instant::now() + request.time_left();
            let reply = connection.session.call(&command, &budget, deadline).await;
            match reply.map_err(|failure| failed(&connection.node, failure))? {
                Reply::Error(words) if Retry::after(&words) != Retry::Never => {
                    pause(&request, &Reply::Error(words)).await?;
                }
                Reply::Error(words) => return Ok(Reply::Error(words)),
                reply => {
                    self.watched = Some(WatchedKeys { by: WatchedBy::Node(connection), keyed: command });
                    return Ok(reply);
                }
            }
        }
    }

    /// Watches keys that have several copies. The proxy that orders their writes tells how they stand, and is asked again by
    /// `EXEC`.
    async fn watch_copies(&mut self, request: Request, command: Command, keys: &[usize]) -> Result<Reply, Error> {
        let topology = request.pinned_topology().await?;
        let args: Vec<&[u8]> = command.words().collect();
        let known = self.watched.as_ref().and_then(|watched| watched.keyed.routing_key());
        let first = known.unwrap_or(args[1]);
        let group = request.key_group(&topology, first)?;
        for &at in keys {
            if request.key_group(&topology, args[at])? != group {
                let [key, first] = [args[at], first].map(printable);
                return Err(apart(
                    &topology,
                    &format!("'{key}' is apart from '{first}', and a transaction is one slot's"),
                ));
            }
        }
        let step = together(std::slice::from_ref(&command)).routed_by(first);
        let mut replies = request.map([step]).await?.into_all()?;
        let told = replies.pop().unwrap_or(Reply::Null);
        let Some(words) = told.elements() else { return Ok(told) };
        let words = words.iter().filter_map(Reply::bytes);
        let unless = words.fold(Command::new(UNLESS_WRITTEN), |unless, word| unless.arg(word));
        match &mut self.watched {
            Some(WatchedKeys { by: WatchedBy::Copies(all), .. }) => all.push(unless),
            Some(watched) => watched.by = WatchedBy::Nobody,
            None => self.watched = Some(WatchedKeys { by: WatchedBy::Copies(vec![unless]), keyed: command }),
        }
        Ok(Reply::OK)
    }

    pub(super) async fn exec(&mut self) {
        let Some(transaction) = self.end_transaction() else {
            return self.push_error(b"ERR EXEC without MULTI");
        };
        let watched = self.watched.take();
        if transaction.has_failed {
            return self.push_error(b"EXECABORT Transaction discarded because of previous errors.");
        }
        let executed = self.try_exec(transaction, watched).await;
        self.answer(executed);
    }

    async fn try_exec(&mut self, transaction: OpenTransaction, watched: Option<WatchedKeys>) -> Result<Reply, Error> {
        let OpenTransaction { mut commands, keyed, .. } = transaction;
        if commands.is_empty() && watched.is_none() {
            return Ok(Reply::Array(Vec::new()));
        }
        commands.insert(0, Command::new("MULTI"));
        commands.push(Command::new("EXEC"));
        let request = self.request().begin();
        let has_copies = request.pinned_topology().await?.has_copies();
        let (watched, keyed_by) = watched.map_or((None, None), |watched| (Some(watched.by), Some(watched.keyed)));
        let keyed = keyed.or(keyed_by);
        let mut watching = match (watched, keyed.as_ref().and_then(Command::routing_key)) {
            (None, Some(key)) if has_copies => {
                return exec_at_copies(request, Vec::new(), commands, key).await;
            }
            (Some(WatchedBy::Copies(unless)), Some(key)) if has_copies => {
                return exec_at_copies(request, unless, commands, key).await;
            }
            (Some(WatchedBy::Node(connection)), _) if !has_copies => Some(connection),
            (None, _) => None,
            // The number of copies has changed meanwhile.
            (Some(_), _) => return Ok(Reply::NullArray),
        };
        let watches = watching.is_some();
        loop {
            let mut connection = match watching.take() {
                Some(connection) => connection,
                None => {
                    let node = self.node_of(&request, keyed.as_ref()).await?;
                    self.connect(&request, &node).await?
                }
            };
            let budget = Budget::new(self.state.options.max_reply_bytes);
            let deadline = Instant::now() + request.time_left();
            let called = connection.session.call_all(&commands, &budget, deadline).await;
            let mut replies = called.map_err(|failure| failed(&connection.node, failure))?;
            let node = connection.node.clone();
            self.idle = Some(connection);
            let executed = replies.pop().unwrap_or(Reply::Null);
            if !matches!(executed, Reply::Error(_)) {
                return Ok(executed);
            }
            let refusals =
                || replies.iter().filter_map(|reply| if let Reply::Error(words) = reply { Some(words) } else { None });
            // Some servers look where keys are when they execute, too.
            let last = if let Reply::Error(words) = &executed { Some(words) } else { None };
            let passing = refusals().chain(last).find(|words| Retry::after(words) != Retry::Never);
            match (passing, refusals().next()) {
                // The slot of a key that is watched has moved: that is a change.
                (Some(words), _) if watches && ServerErrorKind::of(words).is_redirect() => {
                    request.hint_change();
                    return Ok(Reply::NullArray);
                }
                (Some(words), _) if !watches => pause(&request, &Reply::Error(words.clone())).await?,
                (_, Some(words)) => {
                    let (executed, words) = (reply_text(&executed), String::from_utf8_lossy(words));
                    return Ok(Reply::Error(format!("{executed} {node}: {words}").into()));
                }
                (_, None) => return Ok(executed),
            }
        }
    }

    /// Returns the node of a transaction: that of its keys, or any if it has none.
    async fn node_of(&mut self, request: &Request, keyed: Option<&Command>) -> Result<Arc<Node>, Error> {
        let topology = request.pinned_topology().await?;
        match keyed {
            Some(keyed) => request.owner(&topology, keyed).cloned(),
            None => {
                let shard = topology.data_shards().next();
                Ok(shard.ok_or_else(|| Error::no_node(topology.source()))?.primary.clone())
            }
        }
    }
}

/// Has all copies of a slot run a transaction, unless keys were written that the client watches.
async fn exec_at_copies(
    request: Request,
    unless: Vec<Command>,
    commands: Vec<Command>,
    key: &[u8],
) -> Result<Reply, Error> {
    let step = [unless, commands].concat();
    let mut replies = request.map([together(&step).routed_by(key)]).await?.into_all()?;
    Ok(match replies.pop() {
        None | Some(Reply::Null) => Reply::NullArray,
        Some(reply) => reply,
    })
}

/// Waits for the topology to settle after this refusal.
///
/// # Errors
/// If there is no time left for another attempt.
async fn pause(request: &Request, refusal: &Reply) -> Result<(), Error> {
    if request.time_left() <= PAUSE {
        return Err(not_in_time(refusal));
    }
    settle(request).await;
    Ok(())
}
