//! Commands that wait for keys, where keys have several copies: each attempt is a step at all copies, in the order of all writes,
//! and between two of them is waited. The first to come is served first, among the clients of this proxy.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout_at};

use super::alone::FOR_EVER;
use super::client_connection::ClientConnection;
use crate::command::Command;
use crate::engine::Engine;
use crate::error::Error;
use crate::reply::Reply;
use crate::resp::Protocol;
use crate::serve::unblocked::Unblocked;

/// The pause between two attempts, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ClientConnection<S> {
    /// Waits until a command that blocks has something to take. `None` if the client leaves meanwhile.
    ///
    /// # Errors
    /// The error of an attempt.
    pub(super) async fn wait_for_keys(&mut self, wanted: &Unblocked) -> Option<Result<Reply, Error>> {
        let place = self.state.queues.join(&wanted.queues);
        log::debug!("client {} waits for keys", self.entry.id);
        let until = Instant::now() + wanted.limit.unwrap_or(FOR_EVER);
        let (engine, protocol) = (self.user.engine.clone(), self.protocol);
        let attempts = async {
            let mut pause = FIRST_PAUSE;
            let mut is_new = true;
            loop {
                // A list of several keys is tried where nobody else waits who came before.
                let mut keys: Vec<Vec<u8>> =
                    wanted.queues.iter().filter(|queue| place.is_first(queue)).cloned().collect();
                if wanted.needs_all() && !keys.is_empty() {
                    keys.clone_from(&wanted.keys);
                }
                if !keys.is_empty() && (is_new || wanted.needs_all() || there_is(&engine, &keys).await) {
                    match attempt(&engine, protocol, wanted, &keys).await {
                        // A key of another kind that has come meanwhile is not what is waited for.
                        Err(error) if !is_new && error.to_string().contains("WRONGTYPE") => {}
                        Err(error) => return Err(error),
                        Ok(reply) => {
                            if let Some(answer) = wanted.answer(reply) {
                                return Ok(answer);
                            }
                        }
                    }
                    is_new = false;
                }
                if Instant::now() >= until {
                    return Ok(Reply::NullArray);
                }
                let next = async {
                    match keys.is_empty() {
                        true => place.moved_up().await,
                        false => sleep(pause).await,
                    }
                };
                let _ = timeout_at(until, next).await;
                pause = if keys.is_empty() { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            }
        };
        self.while_present(attempts).await
    }
}

/// Takes what is there.
async fn attempt(engine: &Engine, protocol: Protocol, wanted: &Unblocked, keys: &[Vec<u8>]) -> Result<Reply, Error> {
    let (mut command, key) = wanted.attempt(keys);
    command.route_by_argument(key);
    let mut replies = engine.request().protocol(protocol).begin().map([command]).await?.into_all()?;
    Ok(replies.pop().unwrap_or(Reply::Null))
}

/// Looks whether there is anything at these keys, so that nothing is written while there is not.
async fn there_is(engine: &Engine, keys: &[Vec<u8>]) -> bool {
    let mut command = keys.iter().fold(Command::new("EXISTS"), |command, key| command.arg(&key[..])).read_only(true);
    command.route_by_argument(1);
    match engine.request().begin().map([command]).await.map(|replies| replies.into_all()) {
        Ok(Ok(replies)) => replies.first().and_then(Reply::integer) != Some(0),
        // The attempt says what is wrong.
        _ => true,
    }
}
