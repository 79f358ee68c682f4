//! `CLIENT`: what a client says of itself, and asks about the others.
//!
//! The clients are those of the proxy, and the rights those that the user has at the nodes: before others are shown or killed
//! a node is asked for the same, about a client that does not exist.

use std::sync::Arc;

use super::client_connection::{ClientConnection, ReplyMode};
use super::greeting::{BAD_NAME, is_name};
use crate::command::{Command, printable};
use crate::error::Error;
use crate::reply::Reply;
use crate::serve::clients::ClientEntry;
use crate::serve::metrics::Cut;

impl<S> ClientConnection<S> {
    pub(super) async fn client(&mut self, command: &Command) {
        let args: Vec<&[u8]> = command.args().collect();
        let subcommand = args[0].to_ascii_uppercase();
        match (subcommand.as_slice(), &args[1..]) {
            (b"ID", []) => self.push(&Reply::Integer(self.entry.id as i64)),
            (b"GETNAME", []) => {
                let name = self.entry.about().name.clone();
                self.push(&if name.is_empty() { Reply::Null } else { name.as_str().into() });
            }
            (b"SETNAME", [name]) => match is_name(name) {
                true => {
                    self.entry.about().name = String::from_utf8_lossy(name).into_owned();
                    self.push(&Reply::OK);
                }
                false => self.refuse(BAD_NAME),
            },
            (b"SETINFO", [attribute, value]) => self.set_info(attribute, value),
            (b"INFO", []) => self.push(&Reply::from(self.entry.line())),
            (b"REPLY", [mode]) => self.reply_mode(mode),
            (b"NO-EVICT" | b"NO-TOUCH", [mode]) => match mode.eq_ignore_ascii_case(b"ON") || mode.eq_ignore_ascii_case(b"OFF") {
                true => self.push(&Reply::OK),
                false => self.refuse("ERR syntax error"),
            },
            (b"GETREDIR", []) => self.push(&Reply::Integer(-1)),
            (b"LIST", filters) => self.list_clients(filters).await,
            (b"KILL", filters) => self.kill_clients(filters).await,
            (b"TRACKING" | b"CACHING" | b"TRACKINGINFO", _) => self.refuse(
                "ERR CLIENT TRACKING is not served by rmr-proxy: nodes would tell of changes to links that many clients share",
            ),
            (b"PAUSE" | b"UNPAUSE" | b"UNBLOCK", _) => {
                let name = printable(&subcommand);
                self.refuse(&format!("ERR CLIENT {name} is about the clients of one node; send it to the node"));
            }
            (b"ID" | b"GETNAME" | b"SETNAME" | b"SETINFO" | b"INFO" | b"REPLY" | b"NO-EVICT" | b"NO-TOUCH" | b"GETREDIR", _) => {
                let name = printable(&subcommand.to_ascii_lowercase());
                self.refuse(&format!("ERR wrong number of arguments for 'client|{name}' command"));
            }
            _ => {
                let name = printable(args[0]);
                self.refuse(&format!("ERR unknown subcommand '{name}'. Try CLIENT HELP."));
            }
        }
    }

    fn set_info(&mut self, attribute: &[u8], value: &[u8]) {
        let value_text = String::from_utf8_lossy(value).into_owned();
        if !is_name(value) {
            let attribute = printable(attribute);
            return self.refuse(&format!("ERR {attribute} cannot contain spaces, newlines or special characters."));
        }
        match attribute.to_ascii_uppercase().as_slice() {
            b"LIB-NAME" => self.entry.about().library = value_text,
            b"LIB-VER" => self.entry.about().library_version = value_text,
            _ => return self.refuse(&format!("ERR Unrecognized option '{}'", printable(attribute))),
        }
        self.push(&Reply::OK);
    }

    fn reply_mode(&mut self, mode: &[u8]) {
        match mode.to_ascii_uppercase().as_slice() {
            b"ON" => {
                self.reply_mode = ReplyMode::On;
                self.push(&Reply::OK);
            }
            b"OFF" => self.reply_mode = ReplyMode::Off,
            b"SKIP" if self.reply_mode == ReplyMode::On => self.reply_mode = ReplyMode::SkipNext,
            b"SKIP" => {}
            _ => self.refuse("ERR syntax error"),
        }
    }

    async fn list_clients(&mut self, filters: &[&[u8]]) {
        let Some(wanted) = Filters::parse_list(filters) else { return self.refuse("ERR syntax error") };
        // Nobody has this id.
        let question = Command::new("CLIENT").arg("LIST").arg("ID").arg(i64::MAX);
        let answer = self.may_ask(question).await.map(|()| {
            let lines: String = self
                .state
                .clients
                .all()
                .iter()
                .filter(|client| wanted.fit(client))
                .map(|client| client.line())
                .collect();
            Reply::from(lines)
        });
        self.answer(answer);
    }

    async fn kill_clients(&mut self, filters: &[&[u8]]) {
        let (wanted, is_old_form) = match filters {
            [address] => (Some(Filters { address: Some(text(address)), ..Filters::default() }), true),
            _ => (Filters::parse(filters), false),
        };
        let Some(wanted) = wanted else { return self.refuse("ERR syntax error") };
        let question = Command::new("CLIENT").arg("KILL").arg("ID").arg(i64::MAX);
        if let Err(error) = self.may_ask(question).await {
            return self.answer(Err(error));
        }
        let mut killed = 0;
        for client in self.state.clients.all() {
            let is_own = client.id == self.entry.id;
            if wanted.fit(&client) && !(is_own && wanted.skips_own && !is_old_form) {
                client.kill(Cut::Killed);
                killed += 1;
            }
        }
        match (is_old_form, killed) {
            (true, 0) => self.refuse("ERR No such client"),
            (true, _) => self.push(&Reply::OK),
            (false, killed) => self.push(&Reply::Integer(killed)),
        }
    }

    /// Asks a node whether the user may send such a command.
    async fn may_ask(&mut self, question: Command) -> Result<(), Error> {
        let request = self.user.engine.request().begin();
        let answer = request.ask_any(vec![question.read_only(true)]).await?.pop();
        answer.unwrap_or(Ok(Reply::Null)).map(drop)
    }
}

/// The filters that say which clients are meant. Nothing said means all.
#[derive(Debug, Default)]
struct Filters {
    ids: Option<Vec<u64>>,
    address: Option<String>,
    local_address: Option<String>,
    user: Option<String>,
    kind: Option<String>,
    skips_own: bool,
}

impl Filters {
    /// Reads the filters of `CLIENT LIST`.
    fn parse_list(args: &[&[u8]]) -> Option<Self> {
        match args {
            [] => Some(Self::default()),
            [option, kind] if option.eq_ignore_ascii_case(b"TYPE") => Self::default().with_kind(kind),
            [option, ids @ ..] if option.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
                let ids: Option<Vec<u64>> = ids.iter().map(|id| text(id).parse().ok()).collect();
                Some(Self { ids: Some(ids?), ..Self::default() })
            }
            _ => None,
        }
    }

    /// Reads the filters of `CLIENT KILL`.
    fn parse(args: &[&[u8]]) -> Option<Self> {
        let mut filters = Self { skips_own: true, ..Self::default() };
        if args.is_empty() || !args.len().is_multiple_of(2) {
            return None;
        }
        for pair in args.chunks_exact(2) {
            let value = text(pair[1]);
            match pair[0].to_ascii_uppercase().as_slice() {
                b"ID" => filters.ids = Some(vec![value.parse().ok()?]),
                b"ADDR" => filters.address = Some(value),
                b"LADDR" => filters.local_address = Some(value),
                b"USER" => filters.user = Some(value),
                b"TYPE" => filters = filters.with_kind(pair[1])?,
                b"SKIPME" => {
                    filters.skips_own = match value.to_ascii_lowercase().as_str() {
                        "yes" => true,
                        "no" => false,
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
        Some(filters)
    }

    fn with_kind(self, kind: &[u8]) -> Option<Self> {
        let kind = text(kind).to_ascii_lowercase();
        let is_known = ["normal", "master", "replica", "slave", "pubsub"].contains(&kind.as_str());
        is_known.then_some(Self { kind: Some(kind), ..self })
    }

    fn fit(&self, client: &Arc<ClientEntry>) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && self.address.as_ref().is_none_or(|address| *address == client.address)
            && self.local_address.as_ref().is_none_or(|address| *address == client.local_address)
            && self.user.as_ref().is_none_or(|user| *user == client.about().user)
            && self.kind.as_ref().is_none_or(|kind| kind == client.kind())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
