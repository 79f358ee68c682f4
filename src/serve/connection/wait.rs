//! `WAIT`: how many replicas of each shard have what the client has written.
//!
//! Links are shared, so that no node knows which writes are the client's. Those that were answered are in the replication
//! offsets of the primaries by now, and replicas tell once a second how far they are: when enough of them are as far, on all
//! shards, they have the writes.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::client_connection::{ClientConnection, Over};
use crate::command::Command;
use crate::engine::{Engine, Targets};
use crate::error::Error;
use crate::reply::Reply;

/// The pause between two questions to the nodes.
const PAUSE: Duration = Duration::from_millis(50);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ClientConnection<S> {
    pub(super) async fn wait_for_replicas(&mut self, command: &Command) -> ControlFlow<Over> {
        let mut numbers =
            command.args().map(|number| std::str::from_utf8(number).ok().and_then(|number| number.parse::<i64>().ok()));
        let (Some(Some(replicas)), Some(Some(timeout))) = (numbers.next(), numbers.next()) else {
            self.refuse("ERR value is not an integer or out of range");
            return ControlFlow::Continue(());
        };
        if timeout < 0 {
            self.refuse("ERR timeout is negative");
            return ControlFlow::Continue(());
        }
        let until = (timeout > 0).then(|| Instant::now() + Duration::from_millis(timeout as u64));
        let engine = self.user.engine.clone();
        match self.while_present(replicas_with_all(engine, replicas, until)).await {
            None => ControlFlow::Break(Over),
            Some(result) => {
                self.answer(result.map(Reply::Integer));
                ControlFlow::Continue(())
            }
        }
    }
}

/// Waits until so many replicas of each shard have what the primaries have now. Returns how many do, on the shard with the
/// fewest.
async fn replicas_with_all(engine: Engine, enough: i64, until: Option<Instant>) -> Result<i64, Error> {
    let began = states(&engine).await?;
    loop {
        let now = states(&engine).await?;
        let of_shard = |(primary, state): (&String, &ReplicationState)| {
            // A primary that is new has what its replicas had, which may lack the client's writes.
            let wanted = began.get(primary).map(|began| began.offset)?;
            Some(state.replicas.iter().filter(|&&offset| offset >= wanted).count() as i64)
        };
        let fewest = now.iter().map(|shard| of_shard(shard).unwrap_or(0)).min().unwrap_or(0);
        if fewest >= enough || until.is_some_and(|until| Instant::now() >= until) {
            return Ok(fewest);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The offset of a primary's replication, and those of its replicas as far as it knows.
#[derive(Debug, Default, PartialEq, Eq)]
struct ReplicationState {
    offset: u64,
    replicas: Vec<u64>,
}

/// Asks all primaries. The address of each leads to its state.
async fn states(engine: &Engine) -> Result<HashMap<String, ReplicationState>, Error> {
    let question = Command::new("INFO").arg("replication").read_only(true);
    let replies = engine.request().fan_out(question).targets(Targets::Primaries).await?;
    let states = replies.iter().map(|entry| {
        let info = entry.result.clone()?;
        Ok((entry.node.id.clone(), ReplicationState::of(&String::from_utf8_lossy(info.bytes().unwrap_or_default()))))
    });
    states.collect()
}

impl ReplicationState {
    /// Reads `INFO replication`.
    fn of(info: &str) -> Self {
        let mut state = Self::default();
        for (name, value) in info.lines().filter_map(|line| line.trim_end().split_once(':')) {
            if name == "master_repl_offset" {
                state.offset = value.parse().unwrap_or(0);
            } else if name.strip_prefix("slave").is_some_and(|number| number.parse::<u32>().is_ok()) {
                let mut fields = value.split(',').filter_map(|field| field.split_once('='));
                let is_online = fields.clone().any(|field| field == ("state", "online"));
                let offset =
                    fields.find(|(name, _)| *name == "offset").and_then(|(_, offset)| offset.parse::<u64>().ok());
                state.replicas.extend(offset.filter(|_| is_online));
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_read_that_are_online() {
        let info = "role:master\r\nconnected_slaves:2\r\n\
                    slave0:ip=127.0.0.1,port=1,state=online,offset=70,lag=0\r\n\
                    slave1:ip=127.0.0.1,port=2,state=wait_bgsave,offset=90,lag=0\r\n\
                    slave_read_only:1\r\nmaster_repl_offset:84\r\n";
        assert_eq!(ReplicationState::of(info), ReplicationState { offset: 84, replicas: vec![70] });
    }
}
