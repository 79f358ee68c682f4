//! [`DataNode`]: a conversation with one node.

use std::time::Duration;

use tokio::time::Instant;

use crate::command::Command;
use crate::error::Error;
use crate::link::{Budget, Failure, Links, Protocol, Session};
use crate::reply::Reply;
use crate::topology::Address;

/// The time that a node has to answer. One that is busy is not taken for dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes that the replies to one request may have: as many as an element of a value can have, and then some.
const MOST_BYTES: usize = 1 << 30;

/// A conversation with one node over a connection of its own. When a request fails it is over.
pub(in crate::placement::store) struct DataNode {
    name: String,
    session: Session,
    /// The server has TTLs for fields of hashes.
    pub(super) has_field_ttls: bool,
}

impl DataNode {
    /// Connects to the node at this address, `ip:port`.
    ///
    /// # Errors
    /// [`Error::Node`] if it cannot be reached.
    pub(in crate::placement::store) async fn connect(links: &Links, address: &str) -> Result<Self, Error> {
        let endpoint = Address::parse(address)?.into();
        let opened = links.open_session(endpoint, Protocol::Resp2).await;
        let session = opened.map_err(|failure| failed(address, failure))?;
        let mut node = Self { name: address.to_owned(), session, has_field_ttls: false };
        let known = node.call(Command::new("COMMAND").arg("INFO").arg("HPEXPIRETIME")).await?;
        node.has_field_ttls = known.elements().and_then(<[_]>::first).is_some_and(|info| !info.is_null());
        Ok(node)
    }

    /// Asks for the id of its process.
    ///
    /// # Errors
    /// Those of the node.
    pub(in crate::placement::store) async fn run_id(&mut self) -> Result<String, Error> {
        let info = self.call(Command::new("INFO").arg("server")).await?;
        let info = String::from_utf8_lossy(info.bytes().unwrap_or_default()).into_owned();
        let line = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        line.map(|id| id.trim().to_owned()).ok_or_else(|| self.odd("does not tell the id of its process"))
    }

    /// Returns the connection itself, to log in as somebody else.
    pub(in crate::placement::store) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Sends commands in one write, and returns the reply to each, be it an error.
    pub(super) async fn ask(&mut self, commands: &[Command]) -> Result<Vec<Reply>, Error> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let asked = self.session.call_all(commands, &Budget::new(MOST_BYTES), Instant::now() + PATIENCE).await;
        asked.map_err(|failure| failed(&self.name, failure))
    }

    /// Sends commands in one write, and returns the reply to each. One that is an error ends it.
    pub(super) async fn call_all(&mut self, commands: &[Command]) -> Result<Vec<Reply>, Error> {
        let replies = self.ask(commands).await?;
        match replies.iter().find_map(|reply| self.refusal(reply)) {
            Some(refused) => Err(refused),
            None => Ok(replies),
        }
    }

    /// Sends a command, and returns its reply, unless that is an error.
    pub(in crate::placement::store) async fn call(&mut self, command: Command) -> Result<Reply, Error> {
        let replies = self.call_all(&[command]).await?;
        replies.into_iter().next().ok_or_else(|| self.odd("has not answered"))
    }

    /// Runs commands as one transaction, and returns the reply to each, be it an error.
    pub(super) async fn transaction(&mut self, commands: Vec<Command>) -> Result<Vec<Reply>, Error> {
        let count = commands.len();
        let mut all = vec![Command::new("MULTI")];
        all.extend(commands);
        all.push(Command::new("EXEC"));
        let replies = self.call_all(&all).await?.pop().and_then(Reply::into_elements).unwrap_or_default();
        if replies.len() == count { Ok(replies) } else { Err(self.odd("has not run a transaction")) }
    }

    /// Returns the error that a reply is, if it is one.
    pub(super) fn refusal(&self, reply: &Reply) -> Option<Error> {
        let Reply::Error(message) = reply else { return None };
        Some(Error::Shard { node: self.name.clone(), message: message.clone().into(), key: None })
    }

    /// Returns the error that a node has answered in a way that was not expected.
    pub(in crate::placement::store) fn odd(&self, why: &str) -> Error {
        Error::BadReply { node: self.name.clone(), why: why.to_owned() }
    }
}

fn failed(name: &str, failure: Failure) -> Error {
    let (cause, outcome_unknown) = match failure {
        Failure::Unreachable(cause) => (cause, false),
        Failure::Lost(cause) => (cause, true),
        other => (format!("{other:?}"), true),
    };
    Error::Node { node: name.to_owned(), cause, outcome_unknown }
}
