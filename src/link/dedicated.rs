//! A connection that nobody shares: the first words on a new one, and a command with one to itself, since one that may
//! block its connection would hold up all others.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::pool::Links;
use super::stream::Stream;
use super::{Budget, Failure, Protocol, Status};
use crate::command::Command;
use crate::reply::Reply;
use crate::resp::{Scanner, decode};
use crate::topology::Endpoint;

impl Links {
    /// Connects, sends the command, preceded by `ASKING` if so wanted, and waits for its reply for as long as the caller
    /// does. Giving the command up closes the connection, which the server takes for the end of the wait.
    pub(crate) async fn alone(
        &self,
        endpoint: Endpoint,
        command: &Command,
        asking: bool,
        protocol: Protocol,
        budget: &Budget,
    ) -> Result<Reply, Failure> {
        let dialler = self.dialler(endpoint, protocol);
        let mut stream = dialler.dial(&Status::default()).await.map_err(Failure::Unreachable)?;
        let prefix = asking.then(|| Command::new("ASKING"));
        let commands = prefix.iter().chain([command]);
        let last = call_all(&mut *stream, commands, budget).await?.pop();
        last.ok_or_else(|| Failure::Lost("the node did not answer".into()))
    }
}

/// Sends commands in one write, and reads a reply to each.
pub(super) async fn call_all(
    stream: &mut dyn Stream,
    commands: impl Iterator<Item = &Command>,
    budget: &Budget,
) -> Result<Vec<Reply>, Failure> {
    fn lost(error: impl std::fmt::Display) -> Failure {
        Failure::Lost(error.to_string())
    }
    let (mut wire, mut expected) = (Vec::new(), 0);
    for command in commands {
        command.write_to(&mut wire);
        expected += 1;
    }
    stream.write_all(&wire).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let (mut input, mut scanner) = (BytesMut::with_capacity(1024), Scanner::default());
    let mut replies = Vec::with_capacity(expected);
    while replies.len() < expected {
        if scanner.scan(&input).map_err(lost)? {
            let bytes = input.split_to(scanner.forget()).freeze();
            replies.push(decode(&bytes, &mut 0).map_err(lost)?);
            scanner.next_reply();
        } else if !budget.has_room(input.len()) {
            return Err(Failure::TooBig);
        } else if stream.read_buf(&mut input).await.map_err(lost)? == 0 {
            return Err(lost("the node closed the connection"));
        }
    }
    Ok(replies)
}
