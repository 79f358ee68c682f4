//! The first words on a new connection: who we are, which protocol we speak, and which database we mean.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Protocol;
use super::connection::Stream;
use super::resp::{Scanner, decode};
use crate::command::Command;
use crate::reply::Reply;
use crate::topology::{BoxFuture, Login};

/// A user and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; the default user is `default`.
    pub user: String,
    /// Its password.
    pub password: Vec<u8>,
    /// Whether a node that refuses them is then spoken to without, as what it lets everybody be.
    pub is_offer: bool,
}

impl Credentials {
    /// A user that a node must accept.
    pub fn new(user: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        Self { user: user.into(), password: password.into(), is_offer: false }
    }

    /// The secret that nodes of a cluster share, from Redis 8.0. Older nodes of the same cluster refuse it.
    pub fn internal(secret: impl Into<Vec<u8>>) -> Self {
        Self { is_offer: true, ..Self::new("internal connection", secret) }
    }

    /// What a list of hosts says.
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
    /// The credentials to try, best first. None: no authentication.
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

/// Authenticates, chooses the protocol, and selects the database. A server that knows no `HELLO` is spoken to in RESP2.
pub(super) async fn greet(
    stream: &mut dyn Stream,
    candidates: &[Credentials],
    protocol: Protocol,
    database: u32,
) -> Result<(), String> {
    let mut refusal = None;
    for credentials in candidates {
        match log_in(stream, credentials).await? {
            Reply::Error(_) if credentials.is_offer => {}
            Reply::Error(message) => refusal = Some(message),
            _ => {
                refusal = None;
                break;
            }
        }
    }
    if let Some(message) = refusal {
        return Err(String::from_utf8_lossy(&message).into_owned());
    }
    let version = match protocol {
        Protocol::Resp2 => "2",
        Protocol::Resp3 => "3",
    };
    match call(stream, &Command::new("HELLO").arg(version).arg("SETNAME").arg(CLIENT_NAME)).await? {
        Reply::Error(message) if message.starts_with(b"NOAUTH") => {
            Err("NOAUTH the node asks for a password, and none is set for links (rmr.password, masterauth)".into())
        }
        Reply::Error(message) if !message.starts_with(b"ERR unknown command") => {
            Err(String::from_utf8_lossy(&message).into_owned())
        }
        _ => select(stream, database).await,
    }
}

async fn log_in(stream: &mut dyn Stream, credentials: &Credentials) -> Result<Reply, String> {
    let Credentials { user, password, .. } = credentials;
    match call(stream, &Command::new("AUTH").arg(user).arg(password)).await? {
        // Before Redis 6 there are no users, and one password.
        Reply::Error(message) if user == "default" && message.starts_with(b"ERR wrong number of arguments") => {
            call(stream, &Command::new("AUTH").arg(password)).await
        }
        reply => Ok(reply),
    }
}

async fn select(stream: &mut dyn Stream, database: u32) -> Result<(), String> {
    if database == 0 {
        return Ok(());
    }
    match call(stream, &Command::new("SELECT").arg(u64::from(database))).await? {
        Reply::Error(message) => Err(format!("database {database}: {}", String::from_utf8_lossy(&message))),
        _ => Ok(()),
    }
}

async fn call(stream: &mut dyn Stream, command: &Command) -> Result<Reply, String> {
    let mut wire = Vec::new();
    command.write_to(&mut wire);
    stream.write_all(&wire).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    let mut input = BytesMut::with_capacity(1024);
    let mut scanner = Scanner::default();
    while !scanner.scan(&input).map_err(|error| error.to_string())? {
        if stream.read_buf(&mut input).await.map_err(|error| error.to_string())? == 0 {
            return Err("the node closed the connection".into());
        }
    }
    decode(&input.freeze(), &mut 0).map_err(|error| error.to_string())
}
