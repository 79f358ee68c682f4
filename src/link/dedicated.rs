//! A connection that one command has to itself: one that may block its connection would hold up all others.

use std::sync::Arc;

use super::batch::{Batch, Delivery, Failure, Mode};
use super::call::call_all;
use super::own_slots::{QUESTION, SlotsAround, said_in};
use super::pool::Links;
use super::stats::LinkStats;
use crate::command::Command;
use crate::topology::Endpoint;

impl Links {
    /// Connects, sends the first command of a batch, preceded by `ASKING` if so wanted, and waits for its reply for as long as
    /// the caller does. Giving the command up closes the connection, which the server takes for the end of the wait.
    ///
    /// The node is asked for its own slots before the command and behind it, as nobody has asked on this connection.
    pub(crate) async fn call_dedicated(&self, endpoint: Endpoint, batch: &Batch) -> Delivery {
        let Some(command) = batch.picked().next().map(|command| command.command().into_owned()) else {
            return Delivery::default();
        };
        self.call_alone(endpoint, &command, batch).await.unwrap_or_else(Delivery::failed)
    }

    async fn call_alone(&self, endpoint: Endpoint, command: &Command, batch: &Batch) -> Result<Delivery, Failure> {
        let dialler = self.dialler(endpoint, batch.protocol);
        let mut stream = dialler.dial(&LinkStats::default()).await.map_err(Failure::Unreachable)?;
        let prefix = (batch.mode == Mode::Asking).then(|| Command::new("ASKING"));
        let question = batch.asks_own_slots.then(|| Command::new(QUESTION[0]).arg(QUESTION[1]));
        let commands = question.iter().chain(&prefix).chain([command]).chain(&question);
        let mut replies = call_all(&mut *stream, commands, &batch.budget).await?;
        let after = if question.is_some() { replies.pop() } else { None };
        let reply = replies.pop().ok_or_else(|| Failure::Lost("the node did not answer".into()))?;
        let delivery = Delivery::of(vec![reply]);
        let (Some(before), Some(after)) = (replies.first(), &after) else { return Ok(delivery) };
        Ok(match said_in(before).and_then(|before| Ok((before, said_in(after)?))) {
            Ok((before, after)) => {
                let own_slots = Some(SlotsAround::new(Arc::new(before), Arc::new(after)));
                Delivery { own_slots, ..delivery }
            }
            Err(why) => Delivery { failure: Some(Failure::OwnSlotsUnknown(why)), ..delivery },
        })
    }
}
