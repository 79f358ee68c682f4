//! A client from its first word to its last.
//!
//! All that a client has sent by now is taken as one batch: commands of one key that stand behind each other go to their nodes in one
//! write each and keep their order, all others wait for those before them. The next batch is taken when this one is
//! answered, so that a client never has more in memory than it reads.

mod alone;
mod blocking;
mod client_command;
mod client_connection;
mod cluster_wide;
mod code;
mod greeting;
mod node_connection;
mod open_transaction;
mod own;
mod peer;
mod place;
mod reads;
mod subscriptions;
mod to_node;
mod transaction;
mod wait;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::known::{CommandWay, NodeCommand, OwnCommand, ServedCommand};
use super::metrics::Cut;
use super::refusal::NOAUTH;
use super::state::ProxyState;
use crate::command::{Command, printable};
use crate::describe::fits_arity;
use crate::engine::Options;
use client_connection::{ClientConnection, Over};

/// The most commands that are taken at once.
const MOST_AT_ONCE: usize = 512;

/// Serves a client until it goes.
pub(super) async fn serve(
    state: Arc<ProxyState>,
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    address: String,
    local_address: String,
) {
    let most = state.options.max_clients;
    let Some(present) = state.clients.enter(address, local_address, most) else {
        let _ = stream.write_all(b"-ERR max number of clients reached\r\n").await;
        return;
    };
    ClientConnection::new(state, stream, &present).run().await;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ClientConnection<S> {
    async fn run(mut self) {
        self.talk().await;
        self.unsubscribe_all();
    }

    /// Takes and answers what the client says until it goes.
    async fn talk(&mut self) {
        let are_open = self.state.users.are_open().await;
        self.trust(matches!(are_open, Ok(true)));
        if are_open.is_err() {
            // Clients of whom it is not known yet whether they are strangers are not treated as strangers.
            self.requests.trust(true);
        }
        loop {
            let (commands, bad) = self.batch();
            if commands.is_empty() && bad.is_none() {
                match self.wait().await {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(Over) => return,
                }
            }
            self.entry.is_active();
            self.state.count(commands.len());
            self.batch_began = Instant::now();
            if let Some(last) = commands.last() {
                self.entry.about().show_command(last.name());
            }
            let mut over = self.run_all(commands).await.is_break();
            if let Some(bad) = bad.filter(|_| !over) {
                self.entry.is_cut(Cut::BadRequest);
                self.replies.push_error(bad.as_bytes());
                over = true;
            }
            if self.write().await.is_err() || over {
                return;
            }
            self.state.counters.total.record(self.batch_began.elapsed());
        }
    }

    /// Takes the commands that have come.
    fn batch(&mut self) -> (Vec<Command>, Option<String>) {
        let mut commands = Vec::new();
        while commands.len() < MOST_AT_ONCE {
            match self.requests.next() {
                Ok(Some(command)) => commands.push(command),
                Ok(None) => break,
                Err(bad) => return (commands, Some(bad.to_string())),
            }
        }
        (commands, None)
    }

    /// Waits for more of the client.
    async fn wait(&mut self) -> ControlFlow<Over> {
        if !self.requests.is_in_the_middle() {
            self.requests.shrink();
            self.replies.shrink();
        }
        let mut drain = self.state.drain.subscribe();
        if *drain.borrow() {
            return self.last_words().await;
        }
        let is_subscribed = self.subscriptions.is_some();
        let idle = async {
            match self.state.options.idle_timeout.filter(|_| !is_subscribed) {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let message = async {
            match &mut self.subscriptions {
                Some(own) => own.next().await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            message = message => message,
            read = self.stream.read_buf(self.requests.buffer()) => return match read {
                Ok(0) | Err(_) => ControlFlow::Break(Over),
                Ok(bytes) => {
                    self.requests.has_read(bytes);
                    self.state.counters.received(bytes);
                    ControlFlow::Continue(())
                }
            },
            () = self.entry.killed() => return ControlFlow::Break(Over),
            _ = drain.wait_for(|&is_draining| is_draining) => return ControlFlow::Continue(()),
            () = idle => {
                self.entry.is_cut(Cut::Idle);
                return ControlFlow::Break(Over);
            }
        };
        self.push_messages(&message);
        match self.write().await {
            Ok(()) => ControlFlow::Continue(()),
            Err(Over) => ControlFlow::Break(Over),
        }
    }

    /// Takes what the client has sent before it hears that the connection ends.
    async fn last_words(&mut self) -> ControlFlow<Over> {
        /// The time for which bytes may be on their way.
        const ON_ITS_WAY: Duration = Duration::from_millis(20);
        match tokio::time::timeout(ON_ITS_WAY, self.stream.read_buf(self.requests.buffer())).await {
            Ok(Ok(bytes)) if bytes > 0 => {
                self.state.counters.received(bytes);
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(Over),
        }
    }

    /// Runs commands in their order.
    async fn run_all(&mut self, commands: Vec<Command>) -> ControlFlow<Over> {
        let mut together: Vec<Command> = Vec::new();
        let mut last: Option<(Vec<u8>, Option<ServedCommand>)> = None;
        for mut command in commands {
            if last.as_ref().is_none_or(|(name, _)| name != command.name()) {
                last = Some((command.name().to_vec(), self.state.known.get(command.name())));
            }
            let known = last.as_ref().and_then(|(_, known)| known.as_ref());
            if self.takes_together()
                && let Some(ServedCommand::OfNodes(of_nodes)) = known
                && let CommandWay::OneKey(at) = of_nodes.way
                && of_nodes.description.takes(command.word_count())
                && at < command.word_count()
            {
                route(&mut command, of_nodes, at);
                self.counted.join(&of_nodes.counts);
                together.push(command);
                continue;
            }
            let known = known.cloned();
            self.send_together(&mut together).await;
            self.run_one(command, known).await?;
            // The command may have changed what is known of commands.
            last = None;
        }
        self.send_together(&mut together).await;
        ControlFlow::Continue(())
    }

    /// Returns whether commands may go to the nodes as they come.
    fn takes_together(&self) -> bool {
        self.is_known && self.transaction.is_none() && !self.only_listens()
    }

    /// Sends commands of one key each, in one write for each node.
    async fn send_together(&mut self, commands: &mut Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        let count = commands.len();
        let mut together = self.counted.take_together();
        self.state.counters.queue.record(self.batch_began.elapsed());
        let request = self.request().begin();
        let sent = request.map(commands.drain(..)).with_options(Options::keeping_failures(false)).await;
        match sent {
            Ok(replies) => replies.into_iter().for_each(|entry| {
                self.counted.next_of(&mut together);
                self.answer(entry.result);
            }),
            Err(error) => (0..count).for_each(|_| {
                self.counted.next_of(&mut together);
                self.answer(Err(error.clone()));
            }),
        }
    }

    /// Runs a command that goes with no others.
    async fn run_one(&mut self, command: Command, known: Option<ServedCommand>) -> ControlFlow<Over> {
        self.entry.about().show_command(command.name());
        match &known {
            Some(known) => self.counted.begin(self.state.known.counts(known, command.name())),
            None => self.counted.begin_unknown(&self.state.counters.unknown),
        }
        let own = if let Some(ServedCommand::Own(own, _)) = known { Some(own) } else { None };
        if self.only_listens() && !own.is_some_and(OwnCommand::is_for_listeners) {
            let name = printable(&command.name().to_ascii_lowercase());
            self.refuse(&format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
                 context"
            ));
            return ControlFlow::Continue(());
        }
        if let Some(ServedCommand::Own(own, arity)) = known {
            if !fits_arity(arity, command.word_count()) {
                self.refuse(&wrong_arity(command.name()));
                return ControlFlow::Continue(());
            }
            if own.is_for_anybody() || self.is_let_in().await {
                return Box::pin(self.run_own(own, command)).await;
            }
            return ControlFlow::Continue(());
        }
        if !self.is_let_in().await {
            return ControlFlow::Continue(());
        }
        match Box::pin(self.describe(&command, known)).await {
            Ok(of_nodes) => Box::pin(self.run_at_nodes(command, of_nodes)).await,
            Err(refusal) => {
                self.refuse(&refusal);
                ControlFlow::Continue(())
            }
        }
    }

    /// Returns what is known of a command, if it may be called so.
    ///
    /// # Errors
    /// The words of Redis, which fail a transaction too.
    async fn describe(&mut self, command: &Command, known: Option<ServedCommand>) -> Result<Arc<NodeCommand>, String> {
        let known = match known {
            Some(known) => Some(known),
            None => {
                let request = self.state.engine.request().begin();
                let asked = self.state.known.ask(&request, command.name()).await;
                let asked = asked.map_err(|error| String::from_utf8_lossy(&error.to_line()).into_owned())?;
                if let Some(known) = &asked {
                    self.counted.begin(self.state.known.counts(known, command.name()));
                }
                asked
            }
        };
        let Some(ServedCommand::OfNodes(of_nodes)) = known else { return Err(unknown_command(command)) };
        let of_nodes = match of_nodes.way {
            CommandWay::Container if command.word_count() > 1 => {
                let called = of_nodes.description.clone().of_call(command.args());
                let called = NodeCommand::of(called.ok_or_else(|| unknown_subcommand(command))?);
                Arc::new(NodeCommand { counts: of_nodes.counts.clone(), ..called })
            }
            _ => of_nodes,
        };
        match of_nodes.description.takes(command.word_count()) {
            true => Ok(of_nodes),
            false => Err(wrong_arity(of_nodes.description.name.as_bytes())),
        }
    }

    /// Runs a command of the nodes, on the way that it takes; or keeps it for `EXEC`.
    async fn run_at_nodes(&mut self, mut command: Command, of_nodes: Arc<NodeCommand>) -> ControlFlow<Over> {
        if self.transaction.is_some() {
            self.queue(command, &of_nodes).await;
            return ControlFlow::Continue(());
        }
        match of_nodes.way {
            CommandWay::OneKey(at) if at < command.word_count() => {
                route(&mut command, &of_nodes, at);
                self.send_together(&mut vec![command]).await;
                ControlFlow::Continue(())
            }
            CommandWay::Alone => self.run_alone(command, &of_nodes).await,
            CommandWay::MayBlock(special) if special.has_blocking_option(command.args()) => {
                self.run_alone(command, &of_nodes).await
            }
            _ => {
                self.run_cluster_wide(command, of_nodes.description.clone()).await;
                ControlFlow::Continue(())
            }
        }
    }

    /// Returns whether the nodes serve the client; it is told that they do not.
    async fn is_let_in(&mut self) -> bool {
        if self.is_known {
            return true;
        }
        match self.state.users.are_open().await {
            Ok(true) => self.trust(true),
            Ok(false) => self.refuse(NOAUTH),
            Err(error) => self.answer(Err(error)),
        }
        self.is_known
    }

    /// Writes what there is to be said. A client that does not read is not waited for.
    pub(super) async fn write(&mut self) -> Result<(), Over> {
        if self.replies.is_empty() {
            return Ok(());
        }
        let (length, began) = (self.replies.len(), Instant::now());
        self.entry.output.store(length, std::sync::atomic::Ordering::Relaxed);
        let limit = self.state.options.write_timeout;
        let written = tokio::time::timeout(limit, self.replies.write_to(&mut self.stream)).await;
        self.entry.output.store(0, std::sync::atomic::Ordering::Relaxed);
        match written {
            Ok(Ok(())) => {
                self.state.counters.sent(length, began.elapsed());
                if self.entry.is_killed() { Err(Over) } else { Ok(()) }
            }
            Ok(Err(_)) => Err(Over),
            Err(_) => {
                self.entry.is_cut(Cut::SlowReader);
                log::warn!(
                    "client {} at {} does not read its replies, and is cut off",
                    self.entry.id,
                    self.entry.address
                );
                Err(Over)
            }
        }
    }
}

/// Marks a command with what is known of it, and the key that it goes by.
fn route(command: &mut Command, of_nodes: &NodeCommand, key_at: usize) {
    command.route_by_argument(key_at);
    command.set_read_only(of_nodes.only_reads);
    command.set_runs_code(of_nodes.runs_code);
}

fn wrong_arity(name: &[u8]) -> String {
    format!("ERR wrong number of arguments for '{}' command", printable(&name.to_ascii_lowercase()))
}

fn unknown_subcommand(command: &Command) -> String {
    let name = printable(&command.name().to_ascii_uppercase());
    let subcommand = printable(command.args().next().unwrap_or_default());
    format!("ERR unknown subcommand '{subcommand}'. Try {name} HELP.")
}

/// Returns what Redis says to a command that it does not know.
fn unknown_command(command: &Command) -> String {
    /// The number of bytes of the arguments that are shown, as in Redis.
    const MOST_SHOWN: usize = 128;
    let shown = |word: &[u8]| String::from_utf8_lossy(&word[..word.len().min(MOST_SHOWN)]).into_owned();
    let mut args = String::new();
    for arg in command.args() {
        if args.len() >= MOST_SHOWN {
            break;
        }
        let room = MOST_SHOWN - args.len();
        args.push_str(&format!("'{}' ", String::from_utf8_lossy(&arg[..arg.len().min(room)])));
    }
    format!("ERR unknown command '{}', with args beginning with: {args}", shown(command.name()))
}
