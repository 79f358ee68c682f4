//! The first words on a new connection: who we are, which protocol we speak, and which database we mean.

use super::batch::Failure;
use super::budget::Budget;
use super::call;
use super::stream::Stream;
use crate::command::Command;
use crate::peer;
use crate::reply::Reply;
use crate::resp::{Protocol, ServerErrorKind};
use crate::topology::{BoxFuture, Login};

/// A user and its password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The ACL user; the default user is `default`.
    pub user: String,
    /// Its password.
    pub password: Vec<u8>,
    /// Tells whether the connection goes on without these credentials when the node refuses them, with the rights that
    /// everybody has.
    pub is_offer: bool,
}

impl Credentials {
    /// Makes the credentials of a user that a node must accept.
    pub fn new(user: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        Self { user: user.into(), password: password.into(), is_offer: false }
    }

    /// Makes the credentials of the secret that nodes of a cluster share, from Redis 8.0 on. Older nodes of the same
    /// cluster refuse it.
    pub fn internal(secret: impl Into<Vec<u8>>) -> Self {
        Self { is_offer: true, ..Self::new("internal connection", secret) }
    }

    /// Makes the credentials that a list of hosts gives.
    pub(super) fn of(login: &Login) -> Self {
        Self::new(login.user.as_deref().unwrap_or("default"), login.password.clone())
    }
}

/// Never shows the password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Says with what to authenticate. Asked anew for each connection, so that a changed password needs no restart.
pub trait CredentialSource: Send + Sync + 'static {
    /// Returns the credentials to try, best first. Without any there is no authentication.
    fn credentials(&self) -> BoxFuture<'_, Vec<Credentials>>;
}

/// Always the same credentials.
impl CredentialSource for Credentials {
    fn credentials(&self) -> BoxFuture<'_, Vec<Credentials>> {
        Box::pin(std::future::ready(vec![self.clone()]))
    }
}

/// The name that our connections carry in `CLIENT LIST`.
pub(crate) const CLIENT_NAME: &str = "rmr";

/// The commands that are sent on each new connection once it is authenticated.
pub(super) struct Greeting<'a> {
    pub(super) protocol: Protocol,
    pub(super) database: u32,
    pub(super) inner_command: Option<&'a str>,
}

/// Authenticates, chooses the protocol and the database, and asks whether the node knows our inner command, in our version:
/// asked without a request, it says its own. A server that knows no `HELLO` is spoken to in RESP2.
pub(super) async fn greet(
    stream: &mut dyn Stream,
    candidates: &[Credentials],
    greeting: &Greeting<'_>,
) -> Result<bool, String> {
    authenticate(stream, candidates).await?;
    let version = match greeting.protocol {
        Protocol::Resp2 => "2",
        Protocol::Resp3 => "3",
    };
    let hello = Command::new("HELLO").arg(version).arg("SETNAME").arg(CLIENT_NAME);
    let select = (greeting.database != 0).then(|| Command::new("SELECT").arg(u64::from(greeting.database)));
    let selects = select.is_some();
    let commands: Vec<Command> =
        [Some(hello), select, greeting.inner_command.map(Command::new)].into_iter().flatten().collect();
    let mut replies = say_all(stream, &commands).await?.into_iter();
    match replies.next() {
        Some(Reply::Error(message)) if ServerErrorKind::of(&message) == ServerErrorKind::NoAuth => {
            return Err(
                "NOAUTH the node asks for a password, and none is set for links (rmr.password, masterauth)".into()
            );
        }
        Some(Reply::Error(message)) if ServerErrorKind::of(&message) != ServerErrorKind::UnknownCommand => {
            return Err(String::from_utf8_lossy(&message).into_owned());
        }
        _ => {}
    }
    if selects && let Some(Reply::Error(message)) = replies.next() {
        return Err(format!("database {}: {}", greeting.database, String::from_utf8_lossy(&message)));
    }
    Ok(replies.next().and_then(|version| version.integer()) == Some(i64::from(peer::VERSION)))
}

async fn authenticate(stream: &mut dyn Stream, candidates: &[Credentials]) -> Result<(), String> {
    let mut refusal = None;
    for credentials in candidates {
        match log_in(stream, credentials).await? {
            Reply::Error(_) if credentials.is_offer => {}
            Reply::Error(message) => refusal = Some(without_secrets(&message)),
            _ => return Ok(()),
        }
    }
    match refusal {
        Some(message) => Err(message),
        None => Ok(()),
    }
}

/// Returns what a refusal says. A node that has no `AUTH` repeats its arguments, and what is returned is logged.
fn without_secrets(refusal: &[u8]) -> String {
    match ServerErrorKind::of(refusal) {
        ServerErrorKind::UnknownCommand => "ERR the node knows no AUTH".into(),
        _ => String::from_utf8_lossy(refusal).into_owned(),
    }
}

async fn log_in(stream: &mut dyn Stream, credentials: &Credentials) -> Result<Reply, String> {
    let Credentials { user, password, .. } = credentials;
    match say(stream, &Command::new("AUTH").arg(user).arg(password)).await? {
        // Before Redis 6 there are no users, and one password.
        Reply::Error(message) if user == "default" && ServerErrorKind::of(&message) == ServerErrorKind::WrongArity => {
            say(stream, &Command::new("AUTH").arg(password)).await
        }
        reply => Ok(reply),
    }
}

async fn say(stream: &mut dyn Stream, command: &Command) -> Result<Reply, String> {
    let mut replies = say_all(stream, std::slice::from_ref(command)).await?;
    replies.pop().ok_or_else(|| "the node did not answer".into())
}

/// Sends commands in one write, and reads a reply to each.
async fn say_all(stream: &mut dyn Stream, commands: &[Command]) -> Result<Vec<Reply>, String> {
    /// The most bytes that a reply of the handshake may have. `HELLO` names the server's modules, with their arguments.
    const LONGEST: usize = 1 << 20;
    call::call_all(stream, commands.iter(), &Budget::new(LONGEST)).await.map_err(|failure| match failure {
        Failure::Lost(cause) => cause,
        _ => format!("the node answers the first words with more than {LONGEST} bytes"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_auth_does_not_have_the_password_logged() {
        let refusal = b"ERR unknown command 'AUTH', with args beginning with: 'user' 'secret' ";
        assert_eq!(without_secrets(refusal), "ERR the node knows no AUTH");
        let refusal = "WRONGPASS invalid username-password pair or user is disabled.";
        assert_eq!(without_secrets(refusal.as_bytes()), refusal);
    }
}
