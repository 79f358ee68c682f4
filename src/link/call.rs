//! Commands and their replies over a stream that nobody shares: the handshake of a new connection, and a command with a
//! connection to itself.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::batch::Failure;
use super::budget::Budget;
use super::stream::Stream;
use crate::command::Command;
use crate::reply::Reply;
use crate::resp::{Scanner, decode};

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
