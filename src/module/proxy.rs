//! Proxy mode: plain commands of plain clients are answered for the whole cluster, as by `RMR.EXEC`.
//!
//! A filter sees each command before the server does. Where the node cannot answer as a single server would, the words
//! `RMR.EXEC --` are put in front; everything else goes on as it is, and costs a look. Off, there is no filter.
//!
//! Commands are never rewritten that expect a node to speak for itself: the links of this module, or a request would
//! go round in circles; replication; scripts and calls of modules, which cannot wait; transactions; clients that know of
//! clusters. A client is known by its id. Ids that the server knows no connection of belong to scripts and modules, and
//! a connection without a user is the server's own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::catalog;
use super::config::{self, Placement, ProxyMode};
use super::server::call;
use super::server::context::{Ctx, is_subscribed};
use super::server::filter::{self, Filter, FilteredCommand};
use super::server::main_thread;
use crate::command::{Command, printable};
use crate::describe::Catalogue;
use crate::describe::special::{self, InProxyMode, Special};
use crate::error::Error;
use crate::exec::Reach;
use crate::link::CLIENT_NAME;

/// The number of commands that have been rewritten.
pub(super) static REWRITTEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The state of the mode while it is not off. On the main thread only.
    static PROXY: RefCell<Option<ActiveMode>> = const { RefCell::new(None) };
}

struct ActiveMode {
    mode: ProxyMode,
    placement: Placement,
    filter: Filter,
    clients: HashMap<u64, ConnectionState>,
    known: Catalogue<Arc<KnownCommand>>,
}

/// The state that is kept for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct ConnectionState {
    /// The wish that the client has sent by `RMR.PROXY`.
    opt: Option<bool>,
    /// The connection belongs to some user, and is none of our links; not known before it was looked at.
    is_plain: Option<bool>,
    /// The client has sent `MULTI`. The server is asked whether that still holds.
    may_be_in_multi: bool,
}

/// Says what is to be done about all commands of a name.
#[derive(Debug)]
struct KnownCommand {
    kind: CommandRule,
    may_have_several_keys: bool,
    /// The name, as calls want it.
    name: CString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommandRule {
    Reaches(Reach),
    /// Each subcommand has a reach of its own.
    Container,
    /// Reaches its keys, unless an option makes it block.
    MayBlock(&'static Special),
    /// Matters to this mode in another way, and is this node's, but for most of `CONFIG`.
    Special(InProxyMode),
}

/// Refuses a mode that this server cannot be in.
pub(super) fn check(mode: ProxyMode) -> Result<(), String> {
    if mode == ProxyMode::Off {
        return Ok(());
    }
    if let Some(missing) = filter::missing() {
        return Err(format!(
            "rmr.proxy-mode takes Redis 7.2 or Valkey. This server does not tell modules whose command they see (it has \
             no {missing}), so replication, scripts and links between nodes could not be told from clients. RMR.EXEC \
             works here"
        ));
    }
    // A link of ours is known by the name that it gives itself with this command.
    let hello = main_thread::with_detached(|ctx| catalog::description(ctx, (&Command::new("HELLO")).into())).flatten();
    if hello.is_none() {
        return Err("rmr.proxy-mode takes a server with the command HELLO, which is renamed here: links between nodes could not be \
                    told from clients".into());
    }
    Ok(())
}

/// Enters a mode that [`check`] allows, or leaves all.
///
/// # Errors
/// If the server refuses the filter.
pub(super) fn enter(mode: ProxyMode) -> Result<(), String> {
    main_thread::with_detached(|ctx| enter_with(ctx, mode)).unwrap_or(Ok(()))
}

fn enter_with(ctx: Ctx<'_>, mode: ProxyMode) -> Result<(), String> {
    if mode == ProxyMode::Off {
        leave(ctx);
        return Ok(());
    }
    let placement = config::placement(ctx.flags().is_cluster());
    PROXY.with_borrow_mut(|proxy| {
        if let Some(proxy) = proxy {
            proxy.mode = mode;
            proxy.placement = placement;
            proxy.known.forget();
            return Ok(());
        }
        let filter = Filter::register(ctx, see, forget_client).ok_or("the server refuses a command filter")?;
        let (clients, known) = (HashMap::new(), Catalogue::default());
        *proxy = Some(ActiveMode { mode, placement, filter, clients, known });
        Ok(())
    })
}

/// Ends the mode, and forgets what clients have said.
pub(super) fn leave(ctx: Ctx<'_>) {
    if let Some(proxy) = PROXY.take() {
        proxy.filter.remove(ctx);
    }
}

/// Changes what is kept, if the mode is not off.
fn edit(change: impl FnOnce(&mut ActiveMode)) {
    PROXY.with_borrow_mut(|proxy| {
        if let Some(proxy) = proxy {
            change(proxy);
        }
    });
}

/// Forgets the known commands, which may be wrong now.
pub(super) fn forget_commands() {
    edit(|proxy| proxy.known.forget());
}

fn forget_client(id: u64) {
    edit(|proxy| {
        proxy.clients.remove(&id);
    });
}

/// Notes the wish of the client of this context.
///
/// # Errors
/// If it cannot have it, with the reason.
pub(super) fn opt(ctx: Ctx<'_>, wants: bool) -> Result<(), Error> {
    let refuse = |why: &str| Err(Error::Refused(why.into()));
    let id = ctx.client_id();
    PROXY.with_borrow_mut(|proxy| match (proxy, filter::look(ctx, id)) {
        (None, _) if wants => refuse("rmr.proxy-mode is off on this node; opt-in or on allows RMR.PROXY ON"),
        // There is nothing to opt out of.
        (None, _) => Ok(()),
        (_, Some(seen)) if wants && seen.is_tracking => refuse(
            "this connection uses CLIENT TRACKING, which knows only the keys of this node; RMR.PROXY ON excludes it",
        ),
        (Some(proxy), Some(seen)) if seen.is_user => {
            let client = proxy.clients.entry(id).or_default();
            *client = ConnectionState { opt: Some(wants), may_be_in_multi: true, ..*client };
            Ok(())
        }
        _ => refuse("RMR.PROXY is for the connections of clients"),
    })
}

/// Looks at a command, and has it run by `RMR.EXEC` if need be.
fn see(filtered: &mut FilteredCommand<'_>) {
    main_thread::with_detached(|ctx| see_with(ctx, filtered));
}

/// Tells whether a command is a call of the script that this client runs, and none of its own. Valkey 9 shows such calls
/// under the client's id, and has no room in them for words that are put in front: its memory would be damaged.
fn is_call_of_script(ctx: Ctx<'_>, id: u64) -> bool {
    thread_local! {
        /// The client that has sent the last command outside of scripts: while a script runs, the client that runs it.
        static SENDER: Cell<u64> = const { Cell::new(0) };
    }
    if ctx.flags().is_script() {
        return SENDER.get() == id;
    }
    SENDER.set(id);
    false
}

fn see_with(ctx: Ctx<'_>, filtered: &mut FilteredCommand<'_>) {
    let id = filtered.client();
    let Some((mut client, mode, placement)) = client(ctx, id) else { return };
    if is_call_of_script(ctx, id) {
        return;
    }
    let Some(known) = known(ctx, filtered.word(0)) else { return };
    if known.kind == CommandRule::Special(InProxyMode::Reset) {
        return forget_client(id);
    }
    let before = client;
    client.observe(known.kind, filtered);
    if client != before {
        keep(id, client);
    }
    if !client.is_served(mode) {
        return;
    }
    let reach = reach(ctx, &known, filtered);
    if reach == Reach::ThisNode {
        return;
    }
    if is_in_multi(id, client) {
        let may_be_elsewhere = reach == Reach::ItsKeys && placement == Placement::Server && !ctx.flags().is_busy();
        if may_be_elsewhere && has_one_slot(ctx, &known, filtered) && !filtered.is_for_this_node(ctx, &known.name) {
            filtered.put_in_front(&[ELSEWHERE]);
        }
        return;
    }
    let is_ours = match (ctx.flags().is_busy(), reach, placement) {
        // Commands that end a script which runs for too long have to get through. Keys are refused, wherever they are.
        (true, reach, _) => reach == Reach::AllNodes,
        (false, Reach::ItsKeys, Placement::Server) => {
            has_one_slot(ctx, &known, filtered) && filtered.is_for_this_node(ctx, &known.name)
        }
        _ => false,
    };
    if is_ours {
        return;
    }
    if is_subscribed(id) && speaks_resp2(ctx, id) {
        // The server refuses nearly all commands then, and is to name this one. A key it would look for first, and say MOVED.
        if reach == Reach::ItsKeys {
            let name = printable(filtered.word(0));
            filtered.put_in_front(&[format!("{name} (after SUBSCRIBE in RESP2; RESP3 allows it)").as_bytes()]);
        }
        return;
    }
    filtered.put_in_front(&[b"RMR.EXEC", b"--"]);
    REWRITTEN.fetch_add(1, Relaxed);
}

/// The text for a client whose transaction has a key of another node. A redirect would make a cluster's client of it.
/// The server refuses a command of this name before the transaction begins, shows the name, and aborts the transaction.
const ELSEWHERE: &[u8] = b"a transaction is one node's own, and what follows is for keys of another node";

/// Tells whether the client speaks RESP2, in which a client that has subscribed can do little else.
fn speaks_resp2(ctx: Ctx<'_>, id: u64) -> bool {
    let seen = call::run(ctx, &Command::new("CLIENT").arg("LIST").arg("ID").arg(id));
    seen.bytes().is_some_and(|line| line.split(|&byte| byte == b' ').any(|field| field.trim_ascii() == b"resp=2"))
}

/// Tells whether all keys are in one slot. Of several the server has words of its own, and must not be asked by a call.
fn has_one_slot(ctx: Ctx<'_>, known: &KnownCommand, filtered: &FilteredCommand<'_>) -> bool {
    if !known.may_have_several_keys {
        return true;
    }
    let words: Vec<&[u8]> = (0..filtered.len()).map(|at| filtered.word(at)).collect();
    Command::from_args(&words).is_none_or(|command| !catalog::crosses_slots(ctx, (&command).into()))
}

/// Returns the client of this id, if its commands may be of interest, and the mode and the placement that hold for all.
fn client(ctx: Ctx<'_>, id: u64) -> Option<(ConnectionState, ProxyMode, Placement)> {
    let (kept, mode, placement) = PROXY.with_borrow(|proxy| {
        let proxy = proxy.as_ref().filter(|proxy| proxy.placement != Placement::Alone)?;
        Some((proxy.clients.get(&id).copied(), proxy.mode, proxy.placement))
    })?;
    let is_looked_at = kept.is_some_and(|client| client.is_plain.is_some());
    if is_looked_at || (mode == ProxyMode::OptIn) {
        return Some((kept?, mode, placement));
    }
    let seen = filter::look(ctx, id)?;
    let is_plain = seen.is_user && !seen.is_tracking && !filter::is_named(ctx, id, CLIENT_NAME);
    let kept = kept.unwrap_or_default();
    let may_be_in_multi = kept.may_be_in_multi || seen.is_in_multi;
    let client = ConnectionState { is_plain: Some(is_plain), may_be_in_multi, ..kept };
    keep(id, client);
    Some((client, mode, placement))
}

fn keep(id: u64, client: ConnectionState) {
    edit(|proxy| {
        proxy.clients.insert(id, client);
    });
}

impl ConnectionState {
    /// Learns from what the client says.
    fn observe(&mut self, kind: CommandRule, command: &FilteredCommand<'_>) {
        let CommandRule::Special(role) = kind else { return };
        let role = match role {
            InProxyMode::Client | InProxyMode::Cluster => {
                let subcommand = special::special_subcommand(command.word(0), command.word(1));
                subcommand.and_then(|special| special.in_proxy_mode).unwrap_or(role)
            }
            role => role,
        };
        match role {
            InProxyMode::BeginsTransaction => self.may_be_in_multi = true,
            InProxyMode::KnowsClusters | InProxyMode::TracksKeys => self.opt = Some(false),
            // One that has said `RMR.PROXY ON` may be curious.
            InProxyMode::AsksForSlots => self.opt = self.opt.or(Some(false)),
            InProxyMode::Identity => self.is_plain = None,
            InProxyMode::Client | InProxyMode::Cluster | InProxyMode::Config | InProxyMode::Reset => {}
        }
    }

    fn is_served(self, mode: ProxyMode) -> bool {
        match mode {
            ProxyMode::Off => false,
            ProxyMode::OptIn => self.opt == Some(true),
            ProxyMode::On => self.opt.unwrap_or(self.is_plain == Some(true)),
        }
    }
}

/// Tells whether the client's commands are kept for `EXEC`.
fn is_in_multi(id: u64, client: ConnectionState) -> bool {
    let is_in_multi = client.may_be_in_multi && filter::is_in_multi(id);
    if client.may_be_in_multi && !is_in_multi {
        keep(id, ConnectionState { may_be_in_multi: false, ..client });
    }
    is_in_multi
}

/// Says what is to be done about commands of this name; `None` if the server knows none.
fn known(ctx: Ctx<'_>, name: &[u8]) -> Option<Arc<KnownCommand>> {
    let kept = PROXY.with_borrow(|proxy| proxy.as_ref()?.known.get(name));
    if kept.is_some() {
        return kept;
    }
    let kind = if ctx.flags().is_busy() { None } else { kind(ctx, name) }?;
    let description = catalog::description(ctx, (&Command::new(name)).into());
    let may_have_several_keys = description.is_some_and(|description| description.may_have_several_keys());
    let known = Arc::new(KnownCommand { kind, may_have_several_keys, name: CString::new(name).ok()? });
    edit(|proxy| proxy.known.keep(name, known.clone()));
    Some(known)
}

fn kind(ctx: Ctx<'_>, name: &[u8]) -> Option<CommandRule> {
    let special = special::special(name).filter(|special| special.is_whole_command());
    if let Some(role) = special.and_then(|special| special.in_proxy_mode) {
        return Some(CommandRule::Special(role));
    }
    let description = catalog::description(ctx, (&Command::new(name.to_ascii_lowercase())).into())?;
    let special = description.special();
    Some(match special.filter(|special| special.blocks_by_option()) {
        _ if !description.subcommands.is_empty() => CommandRule::Container,
        Some(special) => CommandRule::MayBlock(special),
        None => CommandRule::Reaches(Reach::of(&description, &config::overrides())),
    })
}

/// Says how far a command of this name reaches.
fn reach(ctx: Ctx<'_>, known: &KnownCommand, command: &FilteredCommand<'_>) -> Reach {
    match known.kind {
        CommandRule::Reaches(reach) => reach,
        CommandRule::Special(InProxyMode::Config)
            if command.word(2).get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"rmr.")) =>
        {
            Reach::ThisNode
        }
        CommandRule::Container | CommandRule::Special(InProxyMode::Config) if !ctx.flags().is_busy() => {
            let whole = Command::new(command.word(0)).arg(command.word(1));
            let description = catalog::description(ctx, (&whole).into());
            description.map_or(Reach::ThisNode, |description| Reach::of(&description, &config::overrides()))
        }
        CommandRule::MayBlock(special) => {
            let args = (1..command.len()).map(|at| command.word(at));
            if special.has_blocking_option(args) { Reach::ThisNode } else { Reach::ItsKeys }
        }
        _ => Reach::ThisNode,
    }
}
