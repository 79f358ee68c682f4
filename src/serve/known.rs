//! Tells what the proxy does itself about a command, or which way the command takes to the nodes.

use std::sync::Arc;

use super::metrics::CommandCounts;
use crate::command::{Command, CommandFlags, CommandSet};
use crate::describe::special::Special;
use crate::describe::{Catalogue, Description, getkeys};
use crate::engine::{Gate, Request};
use crate::error::Error;
use crate::exec::{Overrides, Reach};
use crate::peer::FORWARD;
use crate::reply::Reply;
use crate::topology::BoxFuture;

/// A command that is about the connection between a client and the proxy, and is answered there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnCommand {
    Auth,
    Client,
    Cluster,
    Discard,
    Echo,
    Exec,
    Forward,
    Hello,
    Info,
    Monitor,
    Multi,
    Ping,
    Place,
    Psubscribe,
    Punsubscribe,
    Quit,
    Reads,
    Replication,
    Reset,
    Select,
    Ssubscribe,
    Subscribe,
    Sunsubscribe,
    Unsubscribe,
    Unwatch,
    Wait,
    Watch,
}

impl OwnCommand {
    /// Tells whether a client may send it that has subscribed and speaks RESP2.
    pub(super) fn is_for_listeners(self) -> bool {
        use OwnCommand::{
            Ping, Psubscribe, Punsubscribe, Quit, Reset, Ssubscribe, Subscribe, Sunsubscribe, Unsubscribe,
        };
        matches!(
            self,
            Ping | Psubscribe | Punsubscribe | Quit | Reset | Ssubscribe | Subscribe | Sunsubscribe | Unsubscribe
        )
    }

    /// Tells whether a client may send it that has not said who it is. `RMR.PLACE` looks at that itself: it is served before
    /// there are nodes that could know.
    pub(super) fn is_for_anybody(self) -> bool {
        matches!(self, Self::Auth | Self::Forward | Self::Hello | Self::Place | Self::Quit | Self::Reset)
    }
}

#[rustfmt::skip]
const OWN: [(&[u8], OwnCommand, i64); 33] = [
    (b"AUTH", OwnCommand::Auth, -2),
    (b"ASKING", OwnCommand::Cluster, 1),
    (b"CLIENT", OwnCommand::Client, -2),
    (b"CLUSTER", OwnCommand::Cluster, -2),
    (b"DISCARD", OwnCommand::Discard, 1),
    (b"ECHO", OwnCommand::Echo, 2),
    (b"EXEC", OwnCommand::Exec, 1),
    (b"HELLO", OwnCommand::Hello, -1),
    (b"INFO", OwnCommand::Info, -1),
    (b"MONITOR", OwnCommand::Monitor, 1),
    (b"MULTI", OwnCommand::Multi, 1),
    (b"PING", OwnCommand::Ping, -1),
    (b"PSUBSCRIBE", OwnCommand::Psubscribe, -2),
    (b"PSYNC", OwnCommand::Replication, -3),
    (b"PUNSUBSCRIBE", OwnCommand::Punsubscribe, -1),
    (b"QUIT", OwnCommand::Quit, -1),
    (b"READONLY", OwnCommand::Cluster, 1),
    (b"READWRITE", OwnCommand::Cluster, 1),
    (b"REPLCONF", OwnCommand::Replication, -1),
    (b"RESET", OwnCommand::Reset, 1),
    (FORWARD.as_bytes(), OwnCommand::Forward, 2),
    (b"RMR.PLACE", OwnCommand::Place, -2),
    (b"RMR.READS", OwnCommand::Reads, -1),
    (b"SELECT", OwnCommand::Select, 2),
    (b"SSUBSCRIBE", OwnCommand::Ssubscribe, -2),
    (b"SUBSCRIBE", OwnCommand::Subscribe, -2),
    (b"SUNSUBSCRIBE", OwnCommand::Sunsubscribe, -1),
    (b"SYNC", OwnCommand::Replication, 1),
    (b"UNSUBSCRIBE", OwnCommand::Unsubscribe, -1),
    (b"UNWATCH", OwnCommand::Unwatch, 1),
    (b"WAIT", OwnCommand::Wait, 3),
    (b"WAITAOF", OwnCommand::Wait, 4),
    (b"WATCH", OwnCommand::Watch, -2),
];

/// Says which way a command takes to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandWay {
    /// To the node of the one key that stands here; many such commands go in one write.
    OneKey(usize),
    /// To the nodes that `RMR.EXEC` would send it to.
    ClusterWide,
    /// The subcommand says it.
    Container,
    /// Over a connection that this client has to itself, for as long as it takes.
    Alone,
    /// As `RMR.EXEC` sends it if it has the option to block, else by its keys.
    MayBlock(&'static Special),
}

/// The facts about a command.
#[derive(Debug, Clone)]
pub(super) enum ServedCommand {
    Own(OwnCommand, i64),
    OfNodes(Arc<NodeCommand>),
}

/// A command of the nodes.
#[derive(Debug)]
pub(super) struct NodeCommand {
    pub(super) description: Arc<Description>,
    pub(super) way: CommandWay,
    pub(super) only_reads: bool,
    pub(super) runs_code: bool,
    pub(super) counts: Arc<CommandCounts>,
}

impl From<Arc<Description>> for ServedCommand {
    fn from(description: Arc<Description>) -> Self {
        Self::OfNodes(Arc::new(NodeCommand::of(description)))
    }
}

impl NodeCommand {
    pub(super) fn of(description: Arc<Description>) -> Self {
        let special = description.special();
        let by_option = special.filter(|special| special.blocks_by_option());
        let answers_for_all = ["rmr.", "rg."].iter().any(|start| description.name.starts_with(start));
        let way = if !description.subcommands.is_empty() {
            CommandWay::Container
        } else if description.blocks_always() || answers_for_all {
            CommandWay::Alone
        } else if let Some(special) = by_option {
            CommandWay::MayBlock(special)
        } else {
            let is_by_keys = Reach::of(&description, &Overrides::default()) == Reach::ItsKeys;
            description.only_key_at().filter(|_| is_by_keys).map_or(CommandWay::ClusterWide, CommandWay::OneKey)
        };
        let (only_reads, runs_code) = (description.has_flag("readonly"), description.may_run_code());
        Self { description, way, only_reads, runs_code, counts: Arc::default() }
    }
}

/// The facts about all commands.
pub(super) struct KnownCommands {
    known: Catalogue<ServedCommand>,
    /// Tells whether there is a store to be placed; else the command is the nodes'.
    has_store: bool,
    /// Counts how often the proxy's own commands were sent, in their order.
    own: [Arc<CommandCounts>; OWN.len()],
}

impl KnownCommands {
    /// Makes a table that knows nothing yet about the nodes' commands.
    pub(super) fn new(has_store: bool) -> Self {
        Self { known: Catalogue::default(), has_store, own: std::array::from_fn(|_| Arc::default()) }
    }

    /// Returns what is known of a command without asking anybody.
    pub(super) fn get(&self, name: &[u8]) -> Option<ServedCommand> {
        self.known.get(name).or_else(|| {
            let own = OWN.iter().find(|(own, ..)| own.eq_ignore_ascii_case(name))?;
            if matches!(own.1, OwnCommand::Place | OwnCommand::Reads) && !self.has_store {
                return None;
            }
            let known = ServedCommand::Own(own.1, own.2);
            self.known.keep(name, known.clone());
            Some(known)
        })
    }

    /// Returns where a command is counted.
    pub(super) fn counts<'a>(&'a self, known: &'a ServedCommand, name: &[u8]) -> &'a Arc<CommandCounts> {
        match known {
            ServedCommand::OfNodes(of_nodes) => &of_nodes.counts,
            ServedCommand::Own(..) => {
                &self.own[OWN.iter().position(|(own, ..)| own.eq_ignore_ascii_case(name)).unwrap_or_default()]
            }
        }
    }

    /// Shows how often each command was sent; one that was typed in different letters more than once.
    pub(super) fn each_count(&self, mut visit: impl FnMut(&str, &CommandCounts)) {
        for ((name, ..), counts) in OWN.iter().zip(&self.own) {
            visit(&String::from_utf8_lossy(name).to_ascii_lowercase(), counts);
        }
        self.known.each(|known| {
            if let ServedCommand::OfNodes(of_nodes) = known {
                visit(&of_nodes.description.name, &of_nodes.counts);
            }
        });
    }

    /// Asks the nodes for a command. `None` if they know none of this name.
    ///
    /// # Errors
    /// If no node has answered.
    pub(super) async fn ask(&self, request: &Request, name: &[u8]) -> Result<Option<ServedCommand>, Error> {
        Ok(self.known.learn(request, &[name]).await?.pop().flatten())
    }
}

/// Marks the commands of a request as their description says: what only reads may be sent again. The nodes say whether the
/// user may send them.
pub(super) struct MarkByDescription(pub(super) Arc<Description>);

impl Gate for MarkByDescription {
    fn admit(&self, mut commands: CommandSet) -> BoxFuture<'_, Result<CommandSet, Error>> {
        let is_read_only = self.0.has_flag("readonly");
        let runs_code = self.0.may_run_code();
        let flags = CommandFlags { is_read_only, runs_code, names_keys: false, is_about_all_keys: true };
        let marked = commands.mark(|_| Ok::<_, Error>(flags));
        Box::pin(std::future::ready(marked.map(|()| commands)))
    }
}

/// Returns where the keys of a command stand. Where the server's descriptions do not say it, the nodes are asked.
///
/// # Errors
/// If no node has answered.
pub(super) async fn keys_of(
    request: &Request,
    command: &Command,
    description: &Description,
) -> Result<Vec<usize>, Error> {
    let args: Vec<&[u8]> = command.words().collect();
    if let Some(keys) = description.keys_by_specs(&args) {
        return Ok(keys);
    }
    let keys = match request.ask_any(vec![getkeys(command)]).await?.pop() {
        Some(Ok(keys)) => keys,
        // It has none, or its arguments are wrong, which the node that it is sent to says.
        _ => return Ok(Vec::new()),
    };
    let keys: Vec<&[u8]> = keys.elements().unwrap_or_default().iter().filter_map(Reply::bytes).collect();
    let mut places: Vec<usize> = Vec::with_capacity(keys.len());
    for key in keys {
        let from = places.last().map_or(1, |last| last + 1);
        let at = (from..args.len()).chain(1..args.len()).find(|&at| args[at] == key);
        places.extend(at);
    }
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_commands_are_known_in_any_letters() {
        let known = KnownCommands::new(false);
        for name in [&b"ping"[..], b"PING", b"PiNg", b"ping"] {
            assert!(matches!(known.get(name), Some(ServedCommand::Own(OwnCommand::Ping, -1))));
        }
        assert!(known.get(b"get").is_none() && known.get(b"").is_none());
        assert!(known.get(b"rmr.place").is_none() && KnownCommands::new(true).get(b"rmr.place").is_some());
    }
}
