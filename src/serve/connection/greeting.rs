//! Logs clients in and agrees with them on a protocol: `AUTH`, `HELLO`, `RESET`.

use std::sync::Arc;

use super::client_connection::{ClientConnection, ReplyMode};
use crate::command::Command;
use crate::error::Error;
use crate::link::ReadFrom;
use crate::reply::Reply;
use crate::resp::Protocol;

/// The outcome of a login; inside, the error text for a client that is not let in.
type LetIn = Result<Result<(), String>, Error>;

impl<S> ClientConnection<S> {
    pub(super) async fn auth(&mut self, command: &Command) {
        let args: Vec<&[u8]> = command.args().collect();
        let let_in = match args[..] {
            // A server whose default user has no password tells that one was not needed.
            [_] if matches!(self.state.users.are_open().await, Ok(true)) => Ok(Err(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?"
                    .into(),
            )),
            [password] => self.log_in(b"default", password).await,
            [user, password] => self.log_in(user, password).await,
            _ => Ok(Err("ERR syntax error".into())),
        };
        match let_in {
            Ok(Ok(())) => self.push(&Reply::OK),
            Ok(Err(words)) => self.push_error(words.as_bytes()),
            Err(error) => self.answer(Err(error)),
        }
    }

    /// Makes the client this user, if a node says that the password is right.
    async fn log_in(&mut self, user: &[u8], password: &[u8]) -> LetIn {
        let wrong = || "WRONGPASS invalid username-password pair or user is disabled.".to_owned();
        let Ok(name) = std::str::from_utf8(user) else { return Ok(Err(wrong())) };
        let user = match self.state.users.log_in(name, password).await? {
            Ok(user) => user,
            Err(words) => return Ok(Err(words)),
        };
        self.entry.about().user.clone_from(&user.name);
        if !Arc::ptr_eq(&self.user, &user) {
            // They were made with the rights of another.
            self.unsubscribe_all();
        }
        self.user = user;
        // It was opened as another user.
        self.idle = None;
        self.trust(true);
        Ok(Ok(()))
    }

    pub(super) async fn hello(&mut self, command: &Command) {
        match self.try_hello(command).await {
            Ok(Ok(())) => {
                let proto = match self.protocol {
                    Protocol::Resp2 => 2,
                    Protocol::Resp3 => 3,
                };
                let version = self.state.version().await;
                let fields: Vec<(Reply, Reply)> = vec![
                    ("server".into(), "redis".into()),
                    ("version".into(), version.into()),
                    ("proto".into(), Reply::Integer(proto)),
                    ("id".into(), Reply::Integer(self.entry.id as i64)),
                    ("mode".into(), "standalone".into()),
                    ("role".into(), "master".into()),
                    ("modules".into(), Reply::Array(Vec::new())),
                ];
                self.push(&Reply::Map(fields));
            }
            Ok(Err(words)) => self.push_error(words.as_bytes()),
            Err(error) => self.answer(Err(error)),
        }
    }

    async fn try_hello(&mut self, command: &Command) -> LetIn {
        let args: Vec<&[u8]> = command.args().collect();
        let refused = |words: String| Ok(Err(words));
        let protocol = match args.first().copied() {
            None => self.protocol,
            Some(b"2") => Protocol::Resp2,
            Some(b"3") => Protocol::Resp3,
            Some(other) if other.iter().all(u8::is_ascii_digit) => {
                return refused("NOPROTO unsupported protocol version".into());
            }
            Some(_) => return refused("ERR Protocol version is not an integer or out of range".into()),
        };
        let (mut login, mut name, mut rest) = (None, None, args.get(1..).unwrap_or_default());
        while let Some((option, values)) = rest.split_first() {
            rest = match (option.to_ascii_uppercase().as_slice(), values) {
                (b"AUTH", [user, password, after @ ..]) => {
                    login = Some((*user, *password));
                    after
                }
                (b"SETNAME", [given, after @ ..]) => {
                    if !is_name(given) {
                        return refused(BAD_NAME.into());
                    }
                    name = Some(String::from_utf8_lossy(given).into_owned());
                    after
                }
                _ => {
                    let option = crate::command::printable(option);
                    return refused(format!("ERR Syntax error in HELLO option '{option}'"));
                }
            };
        }
        if let Some((user, password)) = login {
            if let Err(words) = self.log_in(user, password).await? {
                return refused(words);
            }
        } else if !self.is_known {
            match self.state.users.are_open().await? {
                true => self.trust(true),
                false => {
                    return refused(
                        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                         AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                         version at the same time"
                            .into(),
                    );
                }
            }
        }
        if self.protocol != protocol {
            self.protocol = protocol;
            // Its next replies are to come in the other protocol.
            self.idle = None;
        }
        let mut about = self.entry.about();
        about.protocol = protocol;
        name.into_iter().for_each(|name| about.name = name);
        Ok(Ok(()))
    }

    /// Makes a new client of this one.
    pub(super) async fn reset(&mut self) {
        self.unsubscribe_all();
        self.transaction = None;
        self.watched = None;
        self.idle = None;
        self.reply_mode = ReplyMode::On;
        self.protocol = Protocol::Resp2;
        self.reads = ReadFrom::default();
        self.user = self.state.users.anonymous().clone();
        let is_open = matches!(self.state.users.are_open().await, Ok(true));
        self.trust(is_open);
        {
            let mut about = self.entry.about();
            about.name = String::new();
            about.user.clone_from(&self.user.name);
            about.protocol = self.protocol;
            about.queued = None;
        }
        self.push(&Reply::Simple("RESET".into()));
    }
}

pub(super) const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// Tells whether a client may have this name, as in Redis.
pub(super) fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
