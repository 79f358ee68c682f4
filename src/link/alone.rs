//! A command with a connection to itself: one that may block its connection would hold up all others that share it.
//!
//! Giving the command up closes the connection, which the server takes for the end of the wait.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::pool::Links;
use super::resp::{Scanner, decode};
use super::{Budget, Failure, Protocol, Status};
use crate::command::Command;
use crate::reply::Reply;
use crate::topology::Endpoint;

impl Links {
    /// Connects, sends the command, preceded by `ASKING` if so wanted, and waits for its reply for as long as the caller
    /// does.
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
        let lost = |error: &dyn std::fmt::Display| Failure::Lost(error.to_string());
        let mut wire = Vec::new();
        if asking {
            Command::new("ASKING").write_to(&mut wire);
        }
        command.write_to(&mut wire);
        stream.write_all(&wire).await.map_err(|error| lost(&error))?;
        let mut received = BytesMut::new();
        let (mut scanner, mut to_skip) = (Scanner::default(), usize::from(asking));
        loop {
            while scanner.scan(&received).map_err(|error| lost(&error))? {
                let whole = received.split_to(scanner.position()).freeze();
                if to_skip == 0 {
                    return decode(&whole, &mut 0).map_err(|error| lost(&error));
                }
                to_skip -= 1;
                scanner = Scanner::default();
            }
            if !budget.has_room(received.len()) {
                return Err(Failure::TooBig);
            }
            if stream.read_buf(&mut received).await.map_err(|error| lost(&error))? == 0 {
                return Err(Failure::Lost("the node closed the connection".into()));
            }
        }
    }
}
