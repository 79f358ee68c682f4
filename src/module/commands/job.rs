//! `RMR.JOB`: executions of all nodes, how far they are, what came of them, and the word that ends them.

use super::options;
use super::spec::{Arg, ArgKind, Call, Spec};
use crate::error::Error;
use crate::flow::execution::ExecutionStatus;
use crate::module::flow::jobs::{self, JobsAnswer, JobsAsked};
use crate::module::inquiry::AskingUser;
use crate::module::request::running::Work;
use crate::reply::Reply;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.JOB",
    summary: c"Shows the executions of all nodes, how far each is and what came of it; cancels and forgets them.",
    complexity: c"O(N) where N is the number of nodes for LIST, O(1) for the others besides the size of a result",
    arity: -2,
    flags: c"blocking",
    acl_categories: "slow blocking",
    args: &[Arg::one_of(
        c"question",
        &[
            Arg::word(c"list", c"LIST"),
            Arg::new(c"status-id", ArgKind::String).after(c"STATUS"),
            Arg::block(
                c"result",
                &[
                    Arg::new(c"result-id", ArgKind::String),
                    Arg::new(c"block-ms", ArgKind::Integer).after(c"BLOCK").optional(),
                ],
            )
            .after(c"RESULT"),
            Arg::new(c"cancel-id", ArgKind::String).after(c"CANCEL"),
            Arg::new(c"forget-id", ArgKind::String).after(c"FORGET"),
        ],
    )],
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let asked = options::job(&call.args)?;
    let id = match &asked {
        JobsAsked::List => String::new(),
        JobsAsked::Status(id) | JobsAsked::Result { id, .. } | JobsAsked::Cancel(id) | JobsAsked::Forget(id) => {
            id.clone()
        }
    };
    let (requests, user) = (call.request()?, AskingUser::of(call.ctx));
    Ok(Box::pin(async move { Ok(shown(jobs::ask(asked, requests, user).await?, &id)) }))
}

/// Returns what the client is told.
fn shown(answer: JobsAnswer, id: &str) -> Reply {
    let error = |text: String| Reply::Error(text.into());
    match answer {
        JobsAnswer::List { jobs, missing } => {
            let jobs = jobs.iter().map(status);
            let missing = missing
                .into_iter()
                .map(|(node, why)| Reply::Map(vec![("node".into(), node.into()), ("missing".into(), why.into())]));
            Reply::Array(jobs.chain(missing).collect())
        }
        JobsAnswer::Status(job) => status(&job),
        JobsAnswer::Ended(reply) => reply,
        JobsAnswer::Done => Reply::OK,
        JobsAnswer::Running => error(format!("NOTREADY {id} still runs; RESULT {id} BLOCK ms waits for its end")),
        JobsAnswer::StillRuns => {
            error(format!("NOTREADY {id} still runs; CANCEL ends it, and then it can be forgotten"))
        }
        JobsAnswer::Unknown => error(format!(
            "NOJOB there is no execution {} that you may see: it may be forgotten, or its node has been restarted",
            id.escape_debug()
        )),
    }
}

fn status(job: &ExecutionStatus) -> Reply {
    let integer = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let stage = |&(records_in, records_out): &(u64, u64)| {
        Reply::Map(vec![("in".into(), integer(records_in)), ("out".into(), integer(records_out))])
    };
    Reply::Map(vec![
        ("id".into(), job.id.as_str().into()),
        ("state".into(), job.state.as_str().into()),
        ("user".into(), job.user.as_str().into()),
        ("command".into(), job.command.as_str().into()),
        ("started".into(), integer(job.started_ms)),
        ("elapsed-ms".into(), integer(job.elapsed_ms)),
        ("percent".into(), job.percent.map_or(Reply::Null, |percent| Reply::Double((percent * 10.0).round() / 10.0))),
        ("keys".into(), integer(job.keys)),
        ("slots".into(), integer(job.slots)),
        ("slots-left".into(), integer(job.slots_left)),
        ("eta-ms".into(), job.eta_ms.map_or(Reply::Null, integer)),
        ("stages".into(), job.stages.iter().map(stage).collect::<Vec<Reply>>().into()),
        ("error".into(), job.error.as_deref().map_or(Reply::Null, Reply::from)),
    ])
}
