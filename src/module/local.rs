//! The coordinator's own share of the work: commands that run in process, without a socket.
//!
//! What fits runs at once, within the command that asked for it. The rest is cut into slices of at most a millisecond,
//! between which the server takes its other clients.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::api::Ctx;
use super::call::Caller;
use super::main_thread;
use super::share::Share;
use crate::command::Command;
use crate::command::{CommandRef, CommandSet};
use crate::error::Error;
use crate::link::{self, Batch, Delivery, Link, LinkState, Protocol, Status};
use crate::reply::Reply;
use crate::resp::decode;
use crate::topology::{Answer, AskCluster, BoxFuture};

/// The link to the node that we live in.
pub(super) struct LocalLink {
    status: Arc<Status>,
}

impl Default for LocalLink {
    fn default() -> Self {
        let status = Arc::new(Status::default());
        status.set_state(LinkState::Local);
        Self { status }
    }
}

impl Link for LocalLink {
    fn send(&self, batch: Batch) -> BoxFuture<'static, Delivery> {
        /// A share of more commands than this takes longer than waking the runtime.
        const SHORT: usize = 8;
        let mut share = Share::new(batch);
        if let Some(ctx) = main_thread::current() {
            if share.batch().picks.len() > SHORT {
                // What is for other nodes travels meanwhile.
                link::uncork();
            }
            let in_turn = needs_own_turn(share.batch());
            if in_turn && ctx.flags().deny_blocking() {
                let refusal = Bytes::from_static(b"ERR CLIENT KILL is not possible in MULTI, scripts and nested calls");
                let replies = share.batch().picks.iter().map(|_| Reply::Error(refusal.clone())).collect();
                return Box::pin(std::future::ready(Delivery { replies, ..Delivery::default() }));
            }
            if in_turn {
                return Box::pin(share.work_off());
            }
            // A caller that cannot wait gets all of it now, as from any command of the server's own.
            let until =
                if ctx.flags().deny_blocking() { None } else { Some(Instant::now() + main_thread::LONGEST_TURN) };
            share.run(ctx, until);
            if share.is_done() {
                return Box::pin(std::future::ready(share.deliver()));
            }
        }
        Box::pin(share.work_off())
    }

    fn reduces(&self) -> bool {
        true
    }

    fn status(&self) -> &Status {
        &self.status
    }
}

/// Whether a command must not run within another: the server would free the client whose command is running.
fn needs_own_turn(batch: &Batch) -> bool {
    let is_client = |name: &[u8]| name.eq_ignore_ascii_case(b"CLIENT");
    let kills = |command: CommandRef<'_>| command.args().nth(1).is_some_and(|word| word.eq_ignore_ascii_case(b"KILL"));
    match &*batch.commands {
        CommandSet::PerKey(per_key) if !is_client(per_key.name()) => false,
        _ => batch.picked().any(|command| is_client(command.name()) && kills(command)),
    }
}

/// Runs one command in process and reads its reply. On the main thread.
pub(super) fn call(ctx: Ctx, command: &Command) -> Reply {
    let called = Caller::new(ctx, Protocol::Resp3).call(command.args());
    let failed = |error| Reply::Error(Bytes::from(format!("ERR {error}")));
    decode(&Bytes::copy_from_slice(called.wire()), &mut 0).unwrap_or_else(failed)
}

/// One setting of the server; empty if it has none of this name. On the main thread.
pub(super) fn config_get(ctx: Ctx, name: &str) -> Vec<u8> {
    let reply = call(ctx, &Command::new("CONFIG").arg("GET").arg(name));
    reply.field(name).and_then(Reply::bytes).unwrap_or_default().to_vec()
}

/// Asks the server that we live in about its cluster.
pub(super) struct InServer;

impl AskCluster for InServer {
    fn ask(&self, command: Command) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            // Which ports nodes name depends on the connection of the client that the server serves now, so there must be
            // none; where the caller cannot wait nothing leaves this server, and ports do not matter.
            let described = match main_thread::current().filter(|ctx| ctx.flags().deny_blocking()) {
                Some(ctx) => call(ctx, &command),
                None => main_thread::in_turn(move |turn| call(turn.ctx, &command)).await?,
            };
            match described {
                Reply::Error(message) => Err(Error::Shard { node: "this node".into(), message, key: None }),
                reply => Ok(Answer { reply, host: "127.0.0.1".into() }),
            }
        })
    }

    fn own_id(&self) -> Option<String> {
        main_thread::detached()?.cluster_id()
    }
}
