//! `registerTE`: functions that are called again and again.
//!
//! A timer belongs to its session on this server, and lasts as long as that, or until its key is gone. The runtime waits, the
//! worker runs the function. One that takes longer than its period is called less often, not twice at once.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::call::TimerWanted;
use super::call_socket::CallError;
use super::script_log::log;
use crate::module::state;
use crate::python::frame::FrameKind;
use crate::python::marshal::Value;
use crate::python::{Worker, WorkerError};

/// A hundred years. Longer than that nobody has to wait.
const LONGEST_S: u64 = 100 * 365 * 24 * 3600;

/// Has a function of a worker called again and again. Returns whether that is so.
pub(super) fn add(worker: Weak<Worker>, asked: TimerWanted<'_>) -> Result<bool, CallError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let seconds = u64::try_from(asked.seconds).ok().filter(|&seconds| seconds > 0);
    let seconds = seconds.ok_or_else(|| CallError::of("the time of a time event must be a second at least"))?;
    if asked.key.is_some() {
        return Err(CallError::of(
            "a time event cannot live in a key yet; leave the key out, and it lasts as long as the session",
        ));
    }
    let runtime = state::runtime().map_err(|error| CallError::of(error.to_line()))?;
    let timer = Timer { worker, session: text(asked.session), timer: text(asked.timer) };
    runtime.spawn(timer.run(Duration::from_secs(seconds.min(LONGEST_S))));
    Ok(true)
}

/// A function that is called again and again.
struct Timer {
    worker: Weak<Worker>,
    session: String,
    timer: String,
}

impl Timer {
    async fn run(self, period: Duration) {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(worker) = self.worker.upgrade() else { return };
            let head = Value::Tuple(vec![Value::text(&self.session[..]), Value::text(&self.timer[..])]);
            match worker.ask(FrameKind::Fire, &head, &[]).await {
                Ok(_) => {}
                Err(WorkerError::Failed { code, text }) if code != "unknown" => {
                    log("warning", &self.session, &format!("a time event failed: {text}"));
                }
                Err(_) => return,
            }
        }
    }
}
