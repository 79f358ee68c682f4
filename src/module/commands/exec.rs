//! `RMR.EXEC`: any Redis command, as on a single server.

use super::options::{self, Inner};
use super::{Arg, Call, Spec};
use crate::command::{Command, printable};
use crate::engine::Engine;
use crate::error::Error;
use crate::exec::{self, DescribedCommand, ExecOptions};
use crate::module::request::running::Work;
use crate::module::server::call as in_process;
use crate::module::server::user::key_positions;
use crate::module::{catalog, config};
use crate::reply::Reply;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.EXEC",
    summary: c"Runs any Redis command cluster-wide: routed, split, sent and merged by what the server says about it.",
    complexity: c"O(N) where N is the number of nodes or keys it is for, besides what the command itself takes",
    arity: -2,
    flags: c"blocking",
    acl_categories: "slow blocking",
    args: ARGS,
    run,
};

pub(super) const ARGS: &[Arg] = &[
    super::ON,
    super::NODE,
    super::KEY,
    super::TIMEOUT,
    super::PARTIAL,
    super::WITHNODES,
    Arg::word(c"nonatomic", c"NONATOMIC").optional(),
    super::END_OF_OPTIONS,
    super::COMMAND,
    super::ARGS,
];

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let inner = options::exec(&call.args)?;
    let engine = call.engine_for_handing_on()?;
    Ok(match request(call, &inner) {
        Ok(request) => Box::pin(exec::exec(timed(engine, &inner), request, how(inner))),
        Err(refusal) => Box::pin(refusal.answer(engine)),
    })
}

/// A command that is not carried out, because of what this server knows of it.
pub(super) struct Refusal {
    /// In the server's own words.
    words: Reply,
    /// The name of a command that it does not know at all.
    unknown: Option<String>,
}

impl Refusal {
    /// On a cluster the words of this server are those of all. Plain servers may know commands that this one does not,
    /// but not where their keys stand.
    pub(super) async fn answer(self, engine: Engine) -> Result<Reply, Error> {
        let is_list = async || engine.pinned_topology().await.is_ok_and(|topology| !topology.has_slots());
        match self.unknown {
            Some(name) if is_list().await => Err(Error::Unroutable(format!(
                "'{name}' is a command that this server does not know, so it cannot say where the keys stand; \
                 RMR.FANOUT sends it with NODE or KEY"
            ))),
            _ => Ok(self.words),
        }
    }
}

/// The engine, with one deadline for all that the command takes.
pub(super) fn timed(engine: Engine, inner: &Inner<'_>) -> Engine {
    engine.with_timeout(inner.timeout.unwrap_or_else(|| engine.timeout()))
}

pub(super) fn how(inner: Inner<'_>) -> ExecOptions {
    ExecOptions {
        targets: inner.targets,
        partial: inner.partial,
        with_nodes: inner.with_nodes,
        nonatomic: inner.nonatomic,
        is_read: false,
        overrides: config::overrides(),
    }
}

/// The inner command with what the server says of it. What it does not know, or knows to be incomplete, it refuses in
/// its own words.
pub(super) fn request(call: &Call<'_>, inner: &Inner<'_>) -> Result<DescribedCommand, Refusal> {
    let args = inner.args;
    let mut command = args[1..].iter().fold(Command::new(args[0]), Command::arg);
    let description = catalog::description(call.ctx, &command).filter(|known| known.takes(args.len()));
    let Some(description) = description else {
        let is_known = catalog::description(call.ctx, &Command::new(args[0])).is_some();
        let unknown = (!is_known).then(|| printable(args[0]));
        return Err(Refusal { words: in_process::run(call.ctx, &command), unknown });
    };
    let argv = &call.argv[call.argv.len() - args.len()..];
    // SAFETY: the arguments of the call that is being served.
    let mut keys = unsafe { key_positions(call.ctx, argv) };
    keys.sort_unstable();
    keys.dedup();
    keys.extend(description.channel.filter(|&at| keys.is_empty() && at < args.len()));
    if let Some(&first) = keys.first() {
        command.route_by_argument(first);
    }
    Ok(DescribedCommand { command, description, keys })
}
