//! [`Rights`]: what the user of a client may write. Writes go to the copies over the proxy's own connections, so whether the user
//! may send them is asked of a node first.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::node_links::NodeLinks;
use super::shared::Shared;
use crate::command::Command;
use crate::link::{Batch, Budget, Failure, Protocol, Session};
use crate::peer::{UNLESS_WRITTEN, each_of};
use crate::reply::Reply;
use crate::topology::Node;

/// For how long a user who may do everything is taken for one.
const TRUSTED_FOR: Duration = Duration::from_millis(500);

/// The time that a node has to say what a user may do.
const LIMIT: Duration = Duration::from_secs(2);

/// The rights of a user to write.
#[derive(Default)]
pub(super) struct Rights {
    name: OnceCell<String>,
    /// Until when the user is known to have all rights.
    all_until: std::sync::Mutex<Option<Instant>>,
    session: Mutex<Option<Session>>,
}

impl Rights {
    /// Returns for each command of a batch the refusal of a node, if the user may not send it.
    ///
    /// # Errors
    /// If no node can be asked.
    pub(super) async fn refusals(&self, links: &NodeLinks, batch: &Batch) -> Refusals {
        let count = batch.picks.len();
        let is_known = *self.all_until.lock().unwrap_or_else(PoisonError::into_inner);
        if is_known.is_some_and(|until| Instant::now() < until) {
            return Ok(vec![None; count]);
        }
        let name = self.name.get_or_try_init(|| whoami(links)).await.map_err(not_sent)?;
        let mut session = self.session.lock().await;
        if let Some(open) = session.take()
            && let Ok((open, refusals)) = self.ask(open, name, batch).await
        {
            *session = Some(open);
            return refusals;
        }
        // The node that was asked last may be gone.
        let open = connect(links.shared()).await.map_err(not_sent)?;
        let (open, refusals) = self.ask(open, name, batch).await.map_err(not_sent)?;
        *session = Some(open);
        refusals
    }

    /// Asks a node, and gives the connection back. The inner error is what the node says of the question.
    async fn ask(&self, mut open: Session, name: &str, batch: &Batch) -> Result<(Session, Refusals), Failure> {
        let about = call(&mut open, vec![Command::new("ACL").arg("GETUSER").arg(name)]).await?.pop();
        if let Some(Reply::Error(words)) = about {
            let words = String::from_utf8_lossy(&words).into_owned();
            let why = format!("what the user {name} may write cannot be asked with the proxy's own login: {words}");
            return Ok((open, Err(Failure::Unreachable(why))));
        }
        if about.as_ref().is_some_and(may_do_everything) {
            *self.all_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + TRUSTED_FOR);
            return Ok((open, Ok(vec![None; batch.picks.len()])));
        }
        let mut refusals = Vec::with_capacity(batch.picks.len());
        for command in batch.picked() {
            let parts = each_of(command);
            // They have been asked about when the client began to watch them.
            let parts = parts.iter().filter(|part| part.name() != UNLESS_WRITTEN.as_bytes());
            let question = || Command::new("ACL").arg("DRYRUN").arg(name);
            let questions = parts.map(|part| part.words().fold(question(), |question, word| question.arg(word)));
            let answers = call(&mut open, questions.collect()).await?;
            refusals.push(answers.into_iter().find_map(refusal));
        }
        Ok((open, Ok(refusals)))
    }
}

/// For each command the refusal of a node, if the user may not send it.
type Refusals = Result<Vec<Option<Reply>>, Failure>;

/// Says of a failure to ask that nothing of what was asked about was sent.
fn not_sent(failure: Failure) -> Failure {
    match failure {
        Failure::Lost(why) => Failure::Unreachable(why),
        other => other,
    }
}

/// Returns what a node says of a command that a user may not send.
fn refusal(answer: Reply) -> Option<Reply> {
    match answer {
        Reply::Error(words) => Some(Reply::Error(words)),
        answer if answer.bytes() == Some(b"OK") => None,
        answer => {
            let why = String::from_utf8_lossy(answer.bytes().unwrap_or_default()).into_owned();
            Some(Reply::Error(format!("NOPERM {why}").into()))
        }
    }
}

/// Returns whether a user may send every command, with every key and every channel.
fn may_do_everything(about: &Reply) -> bool {
    let is = |name: &str, all: &str| {
        about.field(name).is_some_and(|value| match value.elements() {
            Some(parts) => parts.iter().any(|part| part.bytes() == Some(all.as_bytes())),
            None => value.bytes() == Some(all.as_bytes()),
        })
    };
    is("commands", "+@all") && is("keys", "~*") && is("channels", "&*")
}

/// Asks a node who the user of these links is.
async fn whoami(links: &NodeLinks) -> Result<String, Failure> {
    let mut failure = Failure::Unreachable("the configuration node has said nothing yet".into());
    let Some(table) = links.shared().tables.current() else { return Err(failure) };
    for node in &table.nodes {
        let Some(link) = links.get(&node.address) else { continue };
        let command = Command::new("ACL").arg("WHOAMI").read_only(true);
        let batch = Batch::new(Arc::new(vec![command].into()), vec![0], Arc::new(Budget::new(1 << 20)));
        let delivery = link.send(batch).await;
        match (delivery.replies.first(), delivery.failure) {
            (Some(Reply::Error(words)), _) => {
                let words = String::from_utf8_lossy(words).into_owned();
                failure = Failure::Unreachable(format!("who writes cannot be asked: {words}"));
            }
            (Some(name), _) => {
                return Ok(String::from_utf8_lossy(name.bytes().unwrap_or_default()).into_owned());
            }
            (None, Some(why)) => failure = why,
            (None, None) => {}
        }
    }
    Err(failure)
}

/// Connects to a node as the proxy itself.
async fn connect(shared: &Shared) -> Result<Session, Failure> {
    let mut failure = Failure::Unreachable("no node is known".into());
    for node in shared.tables.current().iter().flat_map(|table| &table.nodes) {
        let endpoint = Node::new(node.address.clone()).endpoint();
        match shared.own_links.open_session(endpoint, Protocol::Resp3).await {
            Ok(session) => return Ok(session),
            Err(why) => failure = why,
        }
    }
    Err(failure)
}

async fn call(session: &mut Session, commands: Vec<Command>) -> Result<Vec<Reply>, Failure> {
    session.call_all(&commands, &Budget::new(16 << 20), Instant::now() + LIMIT).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(commands: &str, keys: &str, channels: &str) -> Reply {
        let field = |name: &str, value: &str| (Reply::from(name), Reply::from(value));
        Reply::Map(vec![field("commands", commands), field("keys", keys), field("channels", channels)])
    }

    #[test]
    fn only_who_may_do_everything_is_not_asked_about() {
        assert!(may_do_everything(&user("+@all", "~*", "&*")));
        assert!(!may_do_everything(&user("+@all -flushall", "~*", "&*")));
        assert!(!may_do_everything(&user("+@all", "~a:*", "&*")) && !may_do_everything(&user("+@all", "~*", "")));
        assert!(refusal(Reply::OK).is_none());
        let why = refusal("User bob has no permissions to run the 'set' command".into()).unwrap();
        assert_eq!(why, Reply::Error("NOPERM User bob has no permissions to run the 'set' command".into()));
    }
}
