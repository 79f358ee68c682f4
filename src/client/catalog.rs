//! Finds the keys of a command by what the servers themselves say: `COMMAND INFO`, and `COMMAND GETKEYS` where that does not tell
//! it. Each name is asked for once and kept.

use std::sync::Arc;

use super::routed_command::RoutedCommand;
use crate::command::{Command, printable};
use crate::describe::{Catalogue, Description, getkeys};
use crate::engine::Request;
use crate::error::Error;
use crate::reply::Reply;
use crate::resp::ServerErrorKind;

/// The known facts about commands. Shared by all clones of a client.
#[derive(Default)]
pub(super) struct Catalog {
    known: Catalogue<Routing>,
}

/// The description of a command, and the facts in it that each call asks for.
#[derive(Clone)]
struct Routing {
    description: Arc<Description>,
    only_reads: bool,
    may_block: bool,
    runs_code: bool,
    only_key_at: Option<usize>,
}

impl From<Arc<Description>> for Routing {
    fn from(description: Arc<Description>) -> Self {
        Self {
            only_reads: description.has_flag("readonly"),
            may_block: description.has_flag("blocking"),
            runs_code: description.is_about_scripts(),
            only_key_at: description.only_key_at(),
            description,
        }
    }
}

impl Routing {
    /// Returns the facts about the subcommand, where there are subcommands.
    fn of_subcommand(&self, command: &Command) -> Option<Self> {
        if self.description.subcommands.is_empty() {
            return None;
        }
        let subcommand = command.words().nth(1).and_then(|name| self.description.subcommand(name).cloned());
        subcommand.map(Self::from)
    }
}

/// The answer that the arguments of a command alone give.
enum Found {
    /// The command may go; says whether it may keep its connection waiting.
    Ready {
        may_block: bool,
    },
    /// The server alone can tell.
    AskServer,
    Refused(Error),
}

/// The findings about commands as they were made ready to go.
#[derive(Default)]
pub(super) struct Routed {
    /// The commands that cannot go, with the reasons.
    pub(super) refused: Vec<(usize, Error)>,
    /// Tells whether one of the others may keep its connection waiting.
    pub(super) may_block: bool,
}

impl Catalog {
    /// Makes commands ready to go: those that are to go to their own key's host are routed by it, or refused with the
    /// reason; all that only read are marked as such.
    pub(super) async fn route(&self, request: &Request, items: &mut [RoutedCommand]) -> Routed {
        let mut ignorance = None;
        let mut last: Option<(Vec<u8>, Option<Routing>)> = None;
        let mut routed = Routed::default();
        let mut open = Vec::new();
        for place in 0..items.len() {
            // A map has few names; most often it is the one before.
            let name = items[place].command.name();
            if last.as_ref().is_none_or(|(last, _)| last != name) {
                let name = name.to_vec();
                let mut known = self.known.get(&name);
                if known.is_none() && ignorance.is_none() {
                    // Once for all names.
                    ignorance = Some(self.learn(request, &items[place..]).await.err());
                    known = self.known.get(&name);
                }
                last = Some((name, known));
            }
            let item = &mut items[place];
            let known = last.as_ref().and_then(|(_, known)| known.as_ref());
            match (known, &ignorance) {
                (None, _) if !item.is_by_own_key => {}
                (None, Some(Some(error))) => routed.refused.push((place, error.clone())),
                (known, _) => match look(known, item) {
                    Found::Ready { may_block } => routed.may_block |= may_block,
                    Found::Refused(error) => routed.refused.push((place, error)),
                    Found::AskServer => open.push(place),
                },
            }
        }
        if open.is_empty() {
            return routed;
        }
        let questions = open.iter().map(|&place| getkeys(&items[place].command)).collect();
        let answers = match request.ask_any(questions).await {
            Ok(answers) => answers,
            Err(error) => open.iter().map(|_| Err(error.clone())).collect(),
        };
        for (place, answer) in open.into_iter().zip(answers) {
            if let Err(error) = route_by_answer(&mut items[place].command, answer) {
                routed.refused.push((place, error));
            }
        }
        routed
    }

    /// Asks for what is not known yet of these commands.
    async fn learn(&self, request: &Request, items: &[RoutedCommand]) -> Result<(), Error> {
        let missing = self.known.missing(items.iter().map(|item| item.command.name()));
        if !missing.is_empty() {
            self.known.learn(request, &missing).await?;
        }
        Ok(())
    }
}

fn look(known: Option<&Routing>, item: &mut RoutedCommand) -> Found {
    let command = &mut item.command;
    let Some(known) = known else {
        let name = printable(command.name());
        return Found::Refused(Error::Unroutable(format!(
            "the servers do not know '{name}', so nobody can say which key it is for"
        )));
    };
    let of_subcommand = known.of_subcommand(command);
    let Routing { description, only_reads, may_block, runs_code, only_key_at } =
        of_subcommand.as_ref().unwrap_or(known);
    let ready = Found::Ready { may_block: *may_block };
    command.set_read_only(command.is_read_only() || *only_reads);
    command.set_runs_code(description.may_run_code());
    if command.is_routed_apart() || !item.is_by_own_key {
        return ready;
    }
    if let Some(at) = only_key_at {
        if *at >= command.word_count() {
            return Found::Refused(no_key(command));
        }
        command.route_by_argument(*at);
        item.has_one_key = !runs_code;
        return ready;
    }
    let args: Vec<&[u8]> = command.words().collect();
    let Some(keys) = description.keys_by_specs(&args) else { return Found::AskServer };
    let Some(&first) = keys.first() else { return Found::Refused(no_key(command)) };
    if keys.iter().any(|&at| args[at] != args[first]) {
        return Found::Refused(several_keys(command, keys.len()));
    }
    command.route_by_argument(first);
    item.has_one_key = !runs_code;
    ready
}

fn route_by_answer(command: &mut Command, answer: Result<Reply, Error>) -> Result<(), Error> {
    let keys = match answer {
        Ok(keys) => keys,
        Err(Error::Shard { message, .. }) if message.kind() != ServerErrorKind::NoKeyArguments => {
            let (name, words) = (printable(command.name()), printable(message.as_bytes()));
            return Err(Error::Unroutable(format!("the server finds no key in this '{name}': {words}")));
        }
        Err(Error::Shard { .. }) => return Err(no_key(command)),
        Err(error) => return Err(error),
    };
    let keys: Vec<&[u8]> = keys.elements().unwrap_or_default().iter().filter_map(Reply::bytes).collect();
    let Some(&first) = keys.first() else { return Err(no_key(command)) };
    if keys.iter().any(|key| *key != first) {
        return Err(several_keys(command, keys.len()));
    }
    let at = command.args().position(|arg| arg == first);
    match at {
        Some(at) => command.route_by_argument(at + 1),
        None => command.route_by(first),
    }
    Ok(())
}

fn no_key(command: &Command) -> Error {
    let name = printable(command.name());
    Error::Unroutable(format!("'{name}' has no key here that says which host it is for; consider a fan-out instead"))
}

fn several_keys(command: &Command, keys: usize) -> Error {
    let name = printable(command.name());
    Error::Unroutable(format!(
        "'{name}' has {keys} keys, each of which may be on another host; send a command for each"
    ))
}
