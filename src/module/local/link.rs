//! The coordinator's own share of the work: commands that run in process, without a socket.
//!
//! A batch that fits runs at once, within the command that asked for it. The rest is cut into slices of at most a millisecond,
//! between which the server takes its other clients.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::client_kill::is_client_kill;
use super::guards::refusal_of_writes;
use super::share::LocalShare;
use crate::command::CommandSet;
use crate::link::{self, Batch, Delivery, Link, LinkState, LinkStats};
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::reply::Reply;
use crate::topology::BoxFuture;

/// The link to the node that we live in.
pub(crate) struct LocalLink {
    stats: Arc<LinkStats>,
}

impl Default for LocalLink {
    fn default() -> Self {
        let stats = Arc::new(LinkStats::default());
        stats.set_state(LinkState::Local);
        Self { stats }
    }
}

impl Link for LocalLink {
    fn send(&self, batch: Batch) -> BoxFuture<'static, Delivery> {
        let mut share = LocalShare::new(batch);
        match main_thread::with_current(|ctx| begin(ctx, &mut share)) {
            Some(Some(refusal)) => Box::pin(std::future::ready(refusal)),
            Some(None) if share.is_done() => share.deliver(),
            _ => Box::pin(share.work_off()),
        }
    }

    fn refusal(&self, batch: Batch) -> BoxFuture<'static, Option<Bytes>> {
        Box::pin(async move {
            // A server that runs no jobs any more says so when it gets the share.
            main_thread::run(move |ctx| refusal_of_writes(ctx, &batch)).await.ok().flatten()
        })
    }

    fn reduces(&self) -> bool {
        true
    }

    fn stats(&self) -> &LinkStats {
        &self.stats
    }
}

/// Runs what fits into the command that the main thread serves now. Returns why nothing of the share may run at all.
fn begin(ctx: Ctx<'_>, share: &mut LocalShare) -> Option<Delivery> {
    /// A share of more commands than this takes longer than waking the runtime.
    const SHORT: usize = 8;
    if share.batch().picks.len() > SHORT {
        // Requests for other nodes travel meanwhile.
        link::uncork();
    }
    let cannot_wait = ctx.why_not_wait().is_some();
    if needs_own_turn(share.batch()) {
        return cannot_wait.then(|| {
            let refusal = Bytes::from_static(b"ERR CLIENT KILL is not possible in MULTI, scripts and nested calls");
            let replies = share.batch().picks.iter().map(|_| Reply::Error(refusal.clone())).collect();
            Delivery { replies, ..Delivery::default() }
        });
    }
    // A caller that cannot wait gets all of it now, as from any command of the server's own.
    share.run(ctx, (!cannot_wait).then(|| Instant::now() + main_thread::LONGEST_TURN));
    None
}

/// Tells whether a command must not run within another.
fn needs_own_turn(batch: &Batch) -> bool {
    match &*batch.commands {
        CommandSet::PerKey(per_key) if !per_key.name().eq_ignore_ascii_case(b"CLIENT") => false,
        _ => batch.picked().any(is_client_kill),
    }
}
