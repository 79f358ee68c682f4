//! `registerTE`: functions that are called again and again.
//!
//! A timer keeps its session on this server, as nothing stops it but the end of the process, unless it lives in a key
//! ([`making`]). The runtime waits, the worker
//! runs the function. One that takes longer than its period is called less often, not twice at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::call::TimerWanted;
use super::call_socket::{CallError, NoValue};
use super::contexts::contexts;
use super::script_log::log;
use crate::error::Error;
use crate::module::flow::rights::ShareRights;
use crate::module::gears::timers::kept::KeptTimer;
use crate::module::gears::timers::making::{self, NotKept};
use crate::module::server::context::Ctx;
use crate::module::state;
use crate::python::frame::FrameKind;
use crate::python::marshal::Value;
use crate::python::{ContextGuard, SessionHandle, Worker, WorkerError};

/// A hundred years. Longer than that nobody has to wait.
const LONGEST_S: u64 = 100 * 365 * 24 * 3600;

/// Has a function of a worker called again and again. Returns whether that is so.
pub(super) fn add(
    ctx: Ctx<'_>,
    worker: &Weak<Worker>,
    rights: &ShareRights,
    asked: TimerWanted<'_>,
) -> Result<bool, NoValue> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let seconds = u64::try_from(asked.seconds).ok().filter(|&seconds| seconds > 0);
    let seconds = seconds.ok_or_else(|| CallError::of("the time of a time event must be a second at least"))?;
    let refused = |error: Error| CallError::of(error.to_line());
    let runtime = state::runtime().map_err(refused)?;
    let session = text(asked.session);
    let kept = state::python_sessions().map_err(refused)?.find(&session);
    let is_of_worker = |kept: &SessionHandle| std::ptr::eq(Arc::as_ptr(kept.worker()), worker.as_ptr());
    let session = kept.filter(is_of_worker).ok_or_else(|| CallError::of("the session of this code has ended"))?;
    if let Some(key) = asked.key {
        let wanted = KeptTimer::of(&session, text(asked.timer), seconds.min(LONGEST_S), asked.blob);
        return match making::keep(ctx, key, wanted, rights) {
            Ok(is_new) => Ok(is_new),
            Err(NotKept::NotNow) => Err(NoValue::NotNow),
            Err(NotKept::Refused(error)) => Err(refused(error).into()),
        };
    }
    let contexts = contexts().keep(session.id());
    let timer = Timer { session, _contexts: contexts, timer: text(asked.timer) };
    runtime.spawn(timer.run(Duration::from_secs(seconds.min(LONGEST_S))));
    Ok(true)
}

/// A function that is called again and again.
struct Timer {
    session: SessionHandle,
    /// The contexts of those on whose behalf the session's code runs.
    _contexts: Vec<ContextGuard>,
    timer: String,
}

impl Timer {
    async fn run(self, period: Duration) {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let session = self.session.id();
            let head = Value::Tuple(vec![session.into(), self.timer.as_str().into()]);
            match self.session.worker().ask(FrameKind::Fire, &head, &[]).await {
                Ok(_) => {}
                Err(WorkerError::Failed { code, text }) if code != "unknown" => {
                    log("warning", session, &format!("a time event failed: {text}"));
                }
                Err(_) => return,
            }
        }
    }
}
