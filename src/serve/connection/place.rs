//! `RMR.PLACE`: who may say it, and what the store says.
//!
//! Nodes of a store know no such command, so they are asked whether the user may say what it is like in a Redis Cluster:
//! `CLUSTER SLOTS` to look at something, `CLUSTER SETSLOT` to change it. They have no cluster, and do nothing but look at the
//! rights. Before there are nodes the configuration node is asked whether it lets everybody in.

use super::client_connection::ClientConnection;
use crate::command::Command;
use crate::error::Error;

#[cfg(not(feature = "placement"))]
impl<S> ClientConnection<S> {
    pub(super) async fn place(&mut self, _: &Command) {
        self.answer(Err(no_store()));
    }
}

#[cfg(feature = "placement")]
impl<S> ClientConnection<S> {
    pub(super) async fn place(&mut self, command: &Command) {
        let words: Vec<&[u8]> = command.args().collect();
        let answer = match self.may_place(&words).await {
            Ok(()) => match self.state.options.store.clone() {
                Some(store) => store.place(&words).await,
                None => Err(no_store()),
            },
            Err(refusal) => Err(refusal),
        };
        self.answer(answer);
    }

    /// Has it looked at whether the client may say this.
    async fn may_place(&mut self, words: &[&[u8]]) -> Result<(), Error> {
        if !self.is_known {
            match self.state.users.are_open().await {
                Ok(true) => self.trust(true),
                Ok(false) => return Err(not_logged_in()),
                // There are no nodes yet.
                Err(Error::Topology(_)) => {
                    let store = self.state.options.store.clone().ok_or_else(no_store)?;
                    return if store.is_open().await? { Ok(()) } else { Err(not_logged_in()) };
                }
                Err(error) => return Err(error),
            }
        }
        let question = if crate::placement::changes(words) {
            Command::new("CLUSTER").arg("SETSLOT").arg(0).arg("STABLE")
        } else {
            Command::new("CLUSTER").arg("SLOTS")
        };
        let request = self.user.engine.request().begin();
        match request.ask_any(vec![question.read_only(true)]).await?.pop() {
            Some(Err(Error::Shard { message, .. })) if is_no_cluster(message.as_bytes()) => Ok(()),
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "placement")]
fn not_logged_in() -> Error {
    Error::Shard {
        node: String::new(),
        message: crate::resp::ServerError::new(crate::serve::refusal::NOAUTH),
        key: None,
    }
}

fn no_store() -> Error {
    Error::Refused("the nodes are those of no store".into())
}

/// Tells whether a server has said that it is in no cluster, which it says to those only who may ask.
#[cfg(feature = "placement")]
fn is_no_cluster(message: &[u8]) -> bool {
    message == b"ERR This instance has cluster support disabled"
}
