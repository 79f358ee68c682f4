//! `RMR.EXEC`: any Redis command, as on a single server.

use futures_util::FutureExt;

use super::options::{self, Inner};
use super::spec::{self, Arg, Call, Spec};
use crate::command::{Command, printable};
use crate::engine::{self, RequestBuilder};
use crate::error::Error;
use crate::exec::{self, DescribedCommand, ExecOptions, Undescribed};
use crate::module::catalog::{self, InProcess};
use crate::module::config;
use crate::module::request::running::Work;
use crate::module::server::call as in_process;
use crate::module::server::user::key_positions;
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

pub(super) const ARGS: &[Arg] = &spec::to_nodes(Arg::word(c"nonatomic", c"NONATOMIC").optional());

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let inner = options::exec(&call.args)?;
    let prepared = call.request_for_handing_on()?;
    Ok(match request(call, &inner) {
        Ok(request) => Box::pin(exec::exec(begun(prepared, &inner), request, how(inner))),
        Err(refusal) => Box::pin(refusal.answer(prepared.begin())),
    })
}

/// A command that is not carried out, because of what this server knows of it.
pub(super) struct Refusal {
    /// The refusal in the server's own words.
    words: Reply,
    /// The name of a command that it does not know at all.
    unknown: Option<String>,
}

impl Refusal {
    /// Answers the client. On a cluster the words of this server are those of all. Plain servers may know commands that
    /// this one does not, but not where their keys stand.
    pub(super) async fn answer(self, engine: engine::Request) -> Result<Reply, Error> {
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

/// Begins the request, with one deadline for all that the command takes.
pub(super) fn begun(prepared: RequestBuilder, inner: &Inner<'_>) -> engine::Request {
    inner.timeout.into_iter().fold(prepared, RequestBuilder::timeout).begin()
}

pub(super) fn how(inner: Inner<'_>) -> ExecOptions {
    ExecOptions {
        targets: inner.targets,
        partial: inner.partial,
        inconsistent: inner.inconsistent,
        with_nodes: inner.with_nodes,
        nonatomic: inner.nonatomic,
        way_to_split: None,
        is_read: false,
        overrides: config::overrides(),
    }
}

/// Returns the inner command with what the server says of it. The server refuses a command that it does not know, or knows
/// to be incomplete, in its own words.
pub(super) fn request(call: &Call<'_>, inner: &Inner<'_>) -> Result<DescribedCommand, Refusal> {
    let find_keys = || key_positions(call.ctx, inner.args);
    let source = InProcess(call.ctx);
    let described = DescribedCommand::of(inner.args, catalog::known(), &source, find_keys).now_or_never();
    let refused = |command: &Command, unknown| Refusal { words: in_process::run(call.ctx, command), unknown };
    match described {
        Some(Ok(request)) => Ok(request),
        Some(Err(Undescribed::BadArguments(command))) => Err(refused(&command, None)),
        Some(Err(Undescribed::Unknown(command))) => Err(refused(&command, Some(printable(inner.args[0])))),
        Some(Err(Undescribed::NoAnswer(error))) => {
            Err(Refusal { words: Reply::Error(error.to_line().into()), unknown: None })
        }
        // In process nothing is waited for.
        None => {
            Err(Refusal { words: Reply::Error("ERR the server has not described the command".into()), unknown: None })
        }
    }
}
