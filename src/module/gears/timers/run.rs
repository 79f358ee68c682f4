//! Calls the functions of timers that live in keys, each as long as its value is there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::due::is_due_here;
use super::kept::KeptTimer;
use super::table::{self, BegunTimer};
use super::value::TYPE;
use crate::error::Error;
use crate::module::flow::rights::ShareRights;
use crate::module::gears::cluster::ClusterView;
use crate::module::gears::flows;
use crate::module::server::context::Ctx;
use crate::module::server::data_type::KeyHolds;
use crate::module::server::keyspace_events::{EventSubscription, WithMisses};
use crate::module::server::main_thread;
use crate::module::{python, state as module_state};
use crate::python::frame::FrameKind;
use crate::python::marshal::Value;
use crate::python::{Context, ContextGuard, SessionHandle, WorkerError};

thread_local! {
    /// The server tells when keys are given other names. On the main thread.
    static SUBSCRIPTION: EventSubscription = const { EventSubscription::new() };
}

/// Has all timers waited for that are not, once the server is done with what it does now, also with loading.
pub(super) fn begin_soon() {
    main_thread::post(|turn| {
        SUBSCRIPTION.with(|subscription| subscription.ensure(turn.ctx, WithMisses::No, happened));
        match module_state::runtime() {
            Ok(runtime) => {
                table::begin().into_iter().for_each(|begun| drop(runtime.spawn(WaitingTimer::of(begun).run())))
            }
            Err(error) => log::warn!("time events in keys are not called: {error}"),
        }
    });
}

/// Forgets everything, as when the module is loaded.
pub(super) fn reset() {
    SUBSCRIPTION.with(EventSubscription::reset);
}

/// Hears that a key has another name now.
fn happened(ctx: Ctx<'_>, name: &[u8], key: &[u8]) {
    if matches!(name, b"rename_to" | b"move_to")
        && let KeyHolds::Value(id) = TYPE.find(ctx, key, |value| value.id())
    {
        table::moved(id, key);
    }
}

/// A timer that is waited for.
struct WaitingTimer {
    begun: BegunTimer,
    staff: Option<TimerStaff>,
}

/// The process that has the function.
struct TimerStaff {
    session: SessionHandle,
    /// The contexts of those on whose behalf the function runs.
    _context: Vec<ContextGuard>,
}

impl WaitingTimer {
    fn of(begun: BegunTimer) -> Self {
        let mut waiting = Self { begun, staff: None };
        if waiting.begun.is_in_process {
            // Not if the process has ended by now.
            waiting.staff = waiting.staff_that_made_it();
        }
        waiting
    }

    fn staff_that_made_it(&self) -> Option<TimerStaff> {
        let session = module_state::python_sessions().ok()?.find(&self.begun.timer.session)?;
        let context = python::contexts().keep(session.id());
        Some(TimerStaff { session, _context: context })
    }

    async fn run(mut self) {
        let period = Duration::from_secs(self.begun.timer.period_s.max(1));
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = self.begun.ended.changed() => break,
                _ = ticks.tick() => {}
            }
            let id = self.begun.id;
            match main_thread::in_turn(move |turn| is_due_here(turn.ctx, id)).await {
                Ok(true) => {}
                Ok(false) => {
                    // Another node calls it, or nobody.
                    self.leave().await;
                    continue;
                }
                Err(_) => continue,
            }
            if let Err(why) = self.fire().await {
                let session = &self.begun.timer.session;
                python::log("warning", session, &format!("a time event that lives in a key failed: {why}"));
            }
        }
        self.leave().await;
    }

    /// Calls the function once.
    async fn fire(&mut self) -> Result<(), String> {
        if self.staff.as_ref().is_none_or(|staff| staff.session.worker().is_ending()) {
            self.staff = Some(TimerStaff::begin(&self.begun.timer).await.map_err(|error| error.to_string())?);
        }
        let Some(staff) = &self.staff else { return Ok(()) };
        match staff.session.worker().ask(FrameKind::Fire, &self.head(&staff.session), &[]).await {
            Ok(_) => Ok(()),
            Err(WorkerError::Failed { code, text }) => {
                if code == "unknown" {
                    self.staff = None;
                }
                Err(text)
            }
            Err(WorkerError::Gone(why)) => {
                self.staff = None;
                Err(why)
            }
        }
    }

    /// Has the process forget the function.
    async fn leave(&mut self) {
        if let Some(staff) = self.staff.take() {
            // One that does not answer has ended.
            let _ = staff.session.worker().ask(FrameKind::DropTimer, &self.head(&staff.session), &[]).await;
        }
    }

    fn head(&self, session: &SessionHandle) -> Value {
        Value::Tuple(vec![session.id().into(), self.begun.timer.timer.as_str().into()])
    }
}

impl TimerStaff {
    /// Finds or starts the session's process, and gives it the function.
    async fn begin(timer: &KeptTimer) -> Result<Self, Error> {
        let sessions = module_state::python_sessions()?;
        let requests = main_thread::in_turn(|_| module_state::engine().map(|engine| engine.request())).await??;
        let topology = requests.begin().pinned_topology().await?;
        let view = ClusterView::of(&topology);
        if let Some(packages) = &timer.packages {
            packages.clone().keep_for_later();
        }
        let folder = sessions.requirements().folder(&timer.requirements).await?;
        let session = sessions.open(&timer.session, &timer.user, &flows::for_workers(&view)).await?;
        let rights = Arc::new(ShareRights::of_user(timer.user.as_bytes().to_vec()));
        let context = python::contexts().open(Context { session: timer.session.clone(), rights });
        let path = folder.map(|folder| ("path", session.import_from(&folder)));
        let head = [
            ("session", session.id().into()),
            ("context", context.number().into()),
            ("timer", timer.timer.as_str().into()),
        ];
        let head = Value::dict(head.into_iter().chain(path));
        let blob = Bytes::copy_from_slice(&timer.blob);
        session.worker().ask(FrameKind::Install, &head, &[blob]).await?;
        // The session calls with the number of whoever has begun it.
        let mut contexts = python::contexts().keep(session.id());
        contexts.push(context);
        Ok(Self { session, _context: contexts })
    }
}
