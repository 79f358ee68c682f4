//! [`SessionHome`]: the process in which the registrations of a session live on this node.
//!
//! It is there from the first registration of the session to the last. When it has ended by itself, as by a fault of the
//! script's, the next event begins a new one, in which all registrations of the session come to life again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::error::Error;
use crate::module::flow::rights::ShareRights;
use crate::module::gears::cluster::ClusterView;
use crate::module::gears::flows;
use crate::module::gears::registry::live::LiveRegistration;
use crate::module::gears::registry::registration::Registration;
use crate::module::server::main_thread;
use crate::module::{python, state as module_state};
use crate::python::frame::FrameKind;
use crate::python::marshal::Value;
use crate::python::{Context, ContextGuard, SessionHandle, WorkerError};

/// The homes of all sessions that have registrations, by the sessions' names.
static HOMES: Mutex<Option<HashMap<String, Arc<SessionHome>>>> = Mutex::new(None);

fn homes() -> MutexGuard<'static, Option<HashMap<String, Arc<SessionHome>>>> {
    HOMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Is where the registrations of a session live.
pub(super) struct SessionHome {
    session: String,
    user: String,
    rights: Arc<ShareRights>,
    /// The registrations in the order in which they were made.
    registrations: Mutex<Vec<Arc<LiveRegistration>>>,
    /// Held by the task that begins the process, or has registrations live there.
    staff: tokio::sync::Mutex<Option<HomeStaff>>,
    /// Of the same process, for those who cannot wait: nobody holds it for longer than a look.
    living: Mutex<Option<LivingStaff>>,
}

/// The process, and what keeps the session's numbers known.
struct HomeStaff {
    handle: SessionHandle,
    _contexts: Vec<ContextGuard>,
}

/// The process, and the ids of the registrations that live there.
struct LivingStaff {
    handle: SessionHandle,
    ids: Vec<String>,
}

impl SessionHome {
    /// Finds or makes the home of a registration, and lets it live there.
    pub(super) fn of(live: &Arc<LiveRegistration>) -> Arc<Self> {
        let registration = &live.registration;
        let mut homes = homes();
        let home = homes.get_or_insert_default().entry(registration.session.clone()).or_insert_with(|| {
            Arc::new(Self {
                session: registration.session.clone(),
                user: registration.user.clone(),
                rights: Arc::new(ShareRights::of_user(registration.user.as_bytes().to_vec())),
                registrations: Mutex::default(),
                staff: tokio::sync::Mutex::default(),
                living: Mutex::default(),
            })
        });
        home.registrations().push(live.clone());
        home.clone()
    }

    fn registrations(&self) -> MutexGuard<'_, Vec<Arc<LiveRegistration>>> {
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whose rights the registrations have.
    pub(super) fn rights(&self) -> &Arc<ShareRights> {
        &self.rights
    }

    /// Begins the number of an execution, by which the calls of its events are known.
    pub(super) fn open_context(&self) -> ContextGuard {
        python::contexts().open(Context { session: self.session.clone(), rights: self.rights.clone() })
    }

    /// Returns the process in which the registrations live, and begins it if there is none.
    ///
    /// # Errors
    /// The error says why there is none.
    pub(super) async fn staff(&self) -> Result<SessionHandle, Error> {
        let mut staff = self.staff.lock().await;
        if staff.as_ref().is_none_or(|staff| staff.handle.worker().is_ending()) {
            let begun = self.begin().await?;
            *self.living() = Some(LivingStaff { handle: begun.handle.clone(), ids: Vec::new() });
            *staff = Some(begun);
        }
        let staff = staff.as_ref().ok_or_else(|| Error::Internal("there is no process".into()))?;
        let registrations = self.registrations().clone();
        for live in registrations {
            let id = &live.registration.id;
            if self.living().as_ref().is_some_and(|living| living.ids.contains(id)) {
                continue;
            }
            self.bring_to_life(&staff.handle, &live).await?;
            if let Some(living) = &mut *self.living() {
                living.ids.push(id.clone());
            }
        }
        Ok(staff.handle.clone())
    }

    /// Returns the process if this registration lives there now. Does not wait.
    pub(super) fn staff_now(&self, id: &str) -> Option<SessionHandle> {
        let living = self.living();
        let living = living.as_ref().filter(|living| !living.handle.worker().is_ending())?;
        living.ids.iter().any(|known| known == id).then(|| living.handle.clone())
    }

    fn living(&self) -> MutexGuard<'_, Option<LivingStaff>> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self) -> Result<HomeStaff, Error> {
        let engine = module_state::engine_if_started();
        let engine = engine.ok_or_else(|| Error::Internal("the module is being unloaded".into()))?;
        let topology = engine.request().begin().pinned_topology().await?;
        let view = ClusterView::of(&topology);
        let sessions = module_state::python_sessions()?;
        let handle = sessions.open(&self.session, &self.user, &flows::for_workers(&view)).await?;
        // Coroutines of the script call with the numbers that there were.
        let mut contexts = python::contexts().keep(&self.session);
        contexts.push(self.open_context());
        Ok(HomeStaff { handle, _contexts: contexts })
    }

    /// Gives the process a registration. The registration lives on if its function for that raises an error.
    async fn bring_to_life(&self, handle: &SessionHandle, live: &LiveRegistration) -> Result<(), Error> {
        let Registration { flow, requirements, id, .. } = &*live.registration;
        let context = self.open_context();
        let sessions = module_state::python_sessions()?;
        let folder = sessions.requirements().folder(requirements).await?;
        let blob = Bytes::copy_from_slice(&flow.blob);
        handle.install(context.number(), &flow.key, &blob, folder.as_ref()).await?;
        let head = Value::dict([
            ("session", handle.id().into()),
            ("context", context.number().into()),
            ("key", flow.key.as_str().into()),
        ]);
        match handle.worker().ask(FrameKind::Registered, &head, &[]).await {
            Ok(_) => Ok(()),
            Err(WorkerError::Failed { code, text }) if code == "error" => {
                let line = format!("onRegistered of the registration {id} has raised: {text}");
                main_thread::log(c"warning", &line);
                live.stats.note_error(text);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Waits until the registrations of a session live here, or cannot.
pub(in crate::module::gears) async fn come_to_life(session: &str) {
    let home = homes().as_ref().and_then(|homes| homes.get(session).cloned());
    if let Some(home) = home
        && let Err(error) = home.staff().await
    {
        home.registrations().iter().for_each(|live| live.stats.note_error(error.to_string()));
    }
}

/// Lets a registration live in its session's home no more. With the last one the home goes.
pub(super) fn leave(live: &LiveRegistration) {
    let registration = &live.registration;
    let mut homes = homes();
    let Some(homes) = &mut *homes else { return };
    let Some(home) = homes.get(&registration.session).cloned() else { return };
    let mut registrations = home.registrations();
    registrations.retain(|live| live.registration.id != registration.id);
    if registrations.is_empty() {
        homes.remove(&registration.session);
    }
}

/// Forgets all homes: the module is unloaded.
pub(super) fn close() {
    *homes() = None;
}
