//! The inner command: another node that runs this module asks for its share of a request to be reduced here.
//!
//! Without arguments it says its version. With a request ([`crate::peer`] knows its form and its kinds) it does what that
//! asks for: a share of a request is run in process, in slices as all that is long, and answered with what the replies come
//! to, and one that nobody waits for any more is given up. The user of the connection may do here what it may do without, and no more: each command is
//! checked as any other of its own would be.
//!
//! A module has an inner command of its own name, since its reducers are its own code.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::acl::CallersRights;
use super::commands::spec::{self, Arg, ArgKind, Call, Spec};
use super::flow::{jobs, leaves};
use super::local::link::LocalLink;
use super::request::running::Work;
use super::secrets;
use super::server::context::Ctx;
use super::state;
use super::{events, gears};
use crate::engine::{Gate, check_fit};
use crate::error::Error;
use crate::link::{Batch, Budget, Delivery, Failure, Link};
use crate::peer::{self, Envelope, Kind, Outcome, ReduceRequest, Reduction};
use crate::reply::Reply;

const SPEC: Spec = Spec {
    name: c"RMR.INNER",
    summary: c"For the nodes themselves: runs one node's share of a request, and reduces it.",
    complexity: c"O(N) where N is the number of commands in the request",
    arity: -1,
    flags: c"blocking",
    acl_categories: "admin dangerous slow blocking",
    args: &[Arg::new(c"request", ArgKind::String).optional()],
    run,
};

/// Registers the inner command under this name. In a cluster whose nodes share a secret, only they know it.
pub(super) fn register(ctx: Ctx<'_>, name: &str) -> Result<(), String> {
    let name = CString::new(name).map_err(|_| "the name of the inner command has a zero byte".to_owned())?;
    let flags: &CStr = if ctx.internal_secret().is_some() { c"blocking internal" } else { SPEC.flags };
    spec::register(ctx, &Spec { flags, ..SPEC }, &name, |ctx, argv| spec::serve(run, ctx, argv))
}

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let at_once = |reply| -> Work { Box::pin(std::future::ready(Ok(reply))) };
    match call.args[..] {
        [] => Ok(at_once(Reply::Integer(i64::from(peer::VERSION)))),
        [request] => Ok(serve(call, request).unwrap_or_else(at_once)),
        _ => Err(Error::Invalid("give no argument, or one request".into())),
    }
}

fn declined(why: impl Into<String>) -> Reply {
    Outcome::<()>::Declined(why.into()).to_reply()
}

/// Begins what a request asks for. The error is the reply to one of which nothing is done.
fn serve(call: &Call<'_>, request: &[u8]) -> Result<Work, Reply> {
    let envelope = Envelope::decode(request).map_err(|malformed| {
        call.ctx.redact(1);
        malformed.to_reply()
    })?;
    if let Some(why) = call.ctx.why_not_wait() {
        return Err(declined(why));
    }
    match &envelope.kind {
        Kind::Reduce(request) => share(call, &envelope, request).map_err(declined),
        Kind::GiveUp => {
            let is_share = running().remove(&envelope.id).is_some_and(|given_up| given_up.send(()).is_ok());
            let is_known = is_share || leaves::give_up(envelope.id);
            Err(Outcome::Done(Bytes::copy_from_slice(&[u8::from(is_known)])).into_reply())
        }
        Kind::RunFlow(message) => {
            call.ctx.redact(1);
            leaves::begin(call.ctx, envelope.id, message).map_err(Outcome::<Bytes>::into_reply)
        }
        Kind::NextReport(message) => {
            leaves::next(call.ctx, envelope.id, message, envelope.time_left()).map_err(Outcome::<Bytes>::into_reply)
        }
        Kind::Jobs(message) => jobs::answer(call.ctx, message).map_err(Outcome::<Bytes>::into_reply),
        Kind::Events(message) => events::answer(call.ctx, message).map_err(Outcome::<Bytes>::into_reply),
        Kind::Gears(message) => gears::answer(call.ctx, message).map_err(Outcome::<Bytes>::into_reply),
        Kind::TakeRecords(message) => {
            call.ctx.redact(1);
            leaves::take_records(message).map_err(Outcome::<Bytes>::into_reply)
        }
    }
}

/// Begins to reduce a share. The error says why nothing of it is done.
fn share(call: &Call<'_>, envelope: &Envelope<'_>, request: &ReduceRequest<'_>) -> Result<Work, String> {
    let commands = request.commands();
    if secrets::may_be_in(&commands) {
        call.ctx.redact(1);
    }
    let combine = state::reducer(request.reducer, &request.arguments).ok_or_else(|| {
        let given = if request.arguments.is_empty() {
            String::new()
        } else {
            format!(" of '{}'", request.arguments.escape_ascii())
        };
        format!("this node has no reducer '{}'{given}", request.reducer.escape_debug())
    })?;
    check_fit(&commands).map_err(|unfit| unfit.to_string())?;
    let time_left = envelope.time_left();
    let budget = Arc::new(Budget::new(envelope.reply_bytes()));
    let (id, protocol) = (envelope.id, envelope.protocol());
    let reduction = Reduction { combine, places: request.places(), time_left };
    let rights = CallersRights::of(call.ctx);
    let database = call.ctx.selected_database();
    Ok(Box::pin(async move {
        let commands = match rights.admit(commands).await {
            // Their results would say as much of keys that the user may not read as their names.
            Ok(commands) if commands.any_names_keys() => return Ok(declined("it names keys that are hidden")),
            Ok(commands) => Arc::new(commands),
            Err(error) => return Ok(declined(String::from_utf8_lossy(&error.to_line()))),
        };
        let picks = (0..commands.len() as u32).collect();
        // The coordinator asks for slots itself, behind its request.
        let batch = Batch { protocol, database, reduction: Some(reduction), ..Batch::new(commands, picks, budget) };
        Ok(answer(work_off(id, batch, time_left).await))
    }))
}

/// Runs a share until it is done, or until nobody waits for it any more: what has not run by then never does.
async fn work_off(id: u64, batch: Batch, time_left: Duration) -> Delivery {
    static LINK: LazyLock<LocalLink> = LazyLock::new(LocalLink::default);
    let mut sent = LINK.send(batch);
    if let Some(delivery) = (&mut sent).now_or_never() {
        return delivery;
    }
    let (_running, given_up) = RunningShare::begin(id);
    tokio::select! {
        biased;
        delivery = sent => delivery,
        _ = given_up => Delivery::failed(Failure::Lost("the request was given up".into())),
        () = tokio::time::sleep(time_left) => Delivery::failed(Failure::Lost("the request ran out of time".into())),
    }
}

fn answer(delivery: Delivery) -> Reply {
    let outcome = match delivery {
        Delivery { partial: Some(share), .. } => Outcome::Done(share),
        Delivery { failure: Some(Failure::TooBig), .. } => Outcome::TooBig,
        Delivery { failure: Some(Failure::Lost(why) | Failure::Unreachable(why)), .. } => Outcome::Failed(why),
        _ => Outcome::Failed("nothing was reduced".into()),
    };
    outcome.into_share_reply()
}

/// Requests that are not done, with how to end them. From any thread.
static RUNNING: LazyLock<Mutex<HashMap<u64, oneshot::Sender<()>>>> = LazyLock::new(Mutex::default);

fn running() -> MutexGuard<'static, HashMap<u64, oneshot::Sender<()>>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of commands of other nodes under way, for `INFO`, which takes no lock.
pub(super) static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// A request that can be given up while this lives.
struct RunningShare(u64);

impl RunningShare {
    fn begin(id: u64) -> (Self, oneshot::Receiver<()>) {
        let (give_up, given_up) = oneshot::channel();
        running().insert(id, give_up);
        UNDER_WAY.fetch_add(1, Relaxed);
        (Self(id), given_up)
    }
}

impl Drop for RunningShare {
    fn drop(&mut self) {
        running().remove(&self.0);
        UNDER_WAY.fetch_sub(1, Relaxed);
    }
}
