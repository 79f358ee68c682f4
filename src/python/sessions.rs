//! The sessions of this server: each has a worker of its own as long as somebody needs it.
//!
//! Functions of one script share globals, so all that runs of a session on this shard runs in one worker. When nobody
//! needs the session any more the worker forgets it; if it is as good as new then, the next session of the same user gets
//! it, else it ends.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, timeout, timeout_at};

use super::channel::{WorkerAnswer, WorkerError};
use super::frame::FrameKind;
use super::host::PythonHost;
use super::marshal::Value;
use super::package_sets::PackageFolder;
use super::program::ProgramShelf;
use super::requirements::Requirements;
use super::start::{Living, start_worker};
use super::template::Template;
use super::warm::{WarmWorker, WarmWorkers};
use super::worker::{Worker, WorkerSettings};
use crate::error::Error;

/// More processes than this are a fault of whoever makes sessions.
const MOST_WORKERS: usize = 512;

/// The time that a worker may take to forget a session.
const TO_FORGET: Duration = Duration::from_secs(5);

/// The number of workers of one user that may be forgetting their sessions before one of them is waited for, and the
/// time of that wait: executions in a row take turns between two workers, however fast they follow each other.
const IN_TURNS: usize = 2;
const TO_BE_WARM: Duration = Duration::from_millis(200);

/// Knows the sessions of this server, and starts what they need.
pub(crate) struct Sessions {
    shared: Arc<SessionTable>,
}

struct SessionTable {
    host: Arc<dyn PythonHost>,
    program: ProgramShelf,
    requirements: Requirements,
    template: tokio::sync::Mutex<Option<Arc<Template>>>,
    living: Living,
    state: Mutex<TableState>,
    /// A worker has forgotten its session.
    returned: Notify,
}

#[derive(Default)]
struct TableState {
    open: HashMap<String, Weak<OpenSession>>,
    warm: WarmWorkers,
    /// Workers that are forgetting a session, and the users whose they are.
    returning: Vec<(String, Arc<Worker>)>,
}

/// Says who a session is, for lists.
pub(crate) struct SessionSummary {
    /// Its id.
    pub(crate) id: String,
    /// The ACL user whose it is.
    pub(crate) user: String,
    /// Its worker.
    pub(crate) worker: Arc<Worker>,
}

/// Is a session that somebody needs.
struct OpenSession {
    id: String,
    user: String,
    home: Arc<SessionTable>,
    runtime: Handle,
    staff: OnceCell<Staff>,
    /// The flows that its worker has.
    flows: tokio::sync::Mutex<HashSet<String>>,
    /// The folders that its worker imports from.
    packages: Mutex<Vec<Arc<PackageFolder>>>,
}

/// Is the worker of a session, and its past.
struct Staff {
    worker: Arc<Worker>,
    /// The number of sessions that it had before.
    sessions: u32,
    first_size: Option<u64>,
}

/// Keeps a session open. When the last one is dropped its worker forgets the session.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    session: Arc<OpenSession>,
    worker: Arc<Worker>,
}

impl Sessions {
    /// Makes the sessions of a server. No process is started before one is needed.
    pub(crate) fn new(host: Arc<dyn PythonHost>) -> Self {
        let program = ProgramShelf::default();
        let requirements = Requirements::new(host.clone(), program.clone());
        let (template, living) = (tokio::sync::Mutex::default(), Living::new());
        Self {
            shared: Arc::new(SessionTable {
                host,
                program,
                requirements,
                template,
                living,
                state: Mutex::default(),
                returned: Notify::new(),
            }),
        }
    }

    /// Opens a session by its id, or finds it; within the runtime.
    ///
    /// `user` is the ACL user whose code it is. A session whose worker has ended gets a new one, which knows nothing yet.
    pub(crate) async fn open(&self, id: &str, user: &str, settings: &WorkerSettings) -> Result<SessionHandle, Error> {
        let session = self.shared.find_or_add(id, user);
        let staff = session.staff.get_or_try_init(|| self.shared.staff(user, settings)).await?;
        staff.worker.belongs_to(id);
        let worker = staff.worker.clone();
        worker.settle(settings).await?;
        Ok(SessionHandle { session, worker })
    }

    /// Returns the version of the interpreter as far as functions that travel depend on it, such as `3.11`.
    /// Starts it if need be.
    pub(crate) async fn python_version(&self) -> Result<Arc<str>, Error> {
        Ok(self.shared.template().await?.python())
    }

    /// Returns what looks after the packages that scripts require.
    pub(crate) fn requirements(&self) -> &Requirements {
        &self.shared.requirements
    }

    /// Returns a session that is open and has a worker, to keep it open.
    pub(crate) fn find(&self, id: &str) -> Option<SessionHandle> {
        let session = self.shared.state().open.get(id)?.upgrade()?;
        let worker = session.staff.get()?.worker.clone();
        Some(SessionHandle { session, worker })
    }

    /// Returns the sessions that have a worker.
    pub(crate) fn list(&self) -> Vec<SessionSummary> {
        let open: Vec<_> = self.shared.state().open.values().filter_map(Weak::upgrade).collect();
        let summary = |session: Arc<OpenSession>| {
            let worker = session.staff.get()?.worker.clone();
            Some(SessionSummary { id: session.id.clone(), user: session.user.clone(), worker })
        };
        open.into_iter().filter_map(summary).collect()
    }

    /// Returns all workers, also those that have no session just now.
    pub(crate) fn workers(&self) -> Vec<Arc<Worker>> {
        let mut workers: Vec<_> = self.list().into_iter().map(|session| session.worker).collect();
        let state = self.shared.state();
        workers.extend(state.warm.workers().cloned());
        // One may have returned already, and have a session again.
        workers.extend(state.returning.iter().map(|(_, worker)| worker.clone()));
        drop(state);
        workers.sort_by_key(|worker| worker.number());
        workers.dedup_by_key(|worker| worker.number());
        workers
    }

    /// Tells all workers at once whether errors have a traceback, and whether functions are profiled.
    pub(crate) async fn change_settings(&self, with_traceback: bool, is_profiling: bool) {
        for worker in self.workers() {
            // One that does not answer has ended, or is told with its next session.
            let _ = worker.change_settings(with_traceback, is_profiling).await;
        }
    }

    /// Ends all processes, and waits until they have ended. Sessions can be opened again afterwards.
    pub(crate) async fn stop(&self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        self.shared.requirements.stop();
        let mut template = self.shared.template.lock().await;
        for worker in self.workers() {
            worker.kill("the Python process was ended since the module is being unloaded");
        }
        drop(self.shared.state().warm.clear());
        let _ = timeout(PATIENCE, self.shared.living.ended()).await;
        if let Some(template) = template.take() {
            template.stop().await;
        }
        self.shared.program.clear();
        let _ = timeout(PATIENCE, self.shared.living.ended()).await;
    }
}

impl SessionTable {
    fn find_or_add(self: &Arc<Self>, id: &str, user: &str) -> Arc<OpenSession> {
        let mut state = self.state();
        if let Some(session) = state.open.get(id).and_then(Weak::upgrade).filter(|session| !session.has_died()) {
            return session;
        }
        let session = Arc::new(OpenSession {
            id: id.to_owned(),
            user: user.to_owned(),
            home: self.clone(),
            runtime: Handle::current(),
            staff: OnceCell::new(),
            flows: tokio::sync::Mutex::default(),
            packages: Mutex::default(),
        });
        state.open.insert(id.to_owned(), Arc::downgrade(&session));
        session
    }

    /// Finds a worker for a session of a user, or starts one.
    async fn staff(&self, user: &str, settings: &WorkerSettings) -> Result<Staff, Error> {
        let template = self.template().await?;
        let warm = self.warm(user).await;
        if let Some(warm) = warm.filter(|warm| warm.worker.comes_from(&template)) {
            return Ok(Staff { worker: warm.worker, sessions: warm.sessions, first_size: Some(warm.first_size) });
        }
        let living = self.living.count();
        if living >= MOST_WORKERS {
            return Err(Error::Refused(format!("{living} Python processes run on this server, it starts no more")));
        }
        let worker = start_worker(template, &self.host, settings, &self.living).await?;
        Ok(Staff { worker, sessions: 0, first_size: None })
    }

    /// Takes a warm worker of a user. Where several are forgetting their sessions just now one of them is waited for.
    async fn warm(&self, user: &str) -> Option<WarmWorker> {
        let until = Instant::now() + TO_BE_WARM;
        loop {
            let mut returned = std::pin::pin!(self.returned.notified());
            returned.as_mut().enable();
            {
                let mut state = self.state();
                let warm = state.warm.take(user);
                if warm.is_some() || state.returning.iter().filter(|(of, _)| of == user).count() < IN_TURNS {
                    return warm;
                }
            }
            if timeout_at(until, returned).await.is_err() {
                return None;
            }
        }
    }

    /// Returns the template, after starting it if need be.
    async fn template(&self) -> Result<Arc<Template>, Error> {
        let mut current = self.template.lock().await;
        let interpreter = self.host.interpreter();
        if let Some(template) = current.as_ref().filter(|template| template.serves(&interpreter)) {
            return Ok(template.clone());
        }
        let program = self.program.get()?;
        let host = self.host.clone();
        let template = Template::start(program, interpreter, move |line| host.log("notice", "", line)).await?;
        Ok(current.insert(template).clone())
    }

    fn state(&self) -> MutexGuard<'_, TableState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back the worker of a session, which is among those that return.
    async fn take_back(&self, id: &str, user: String, staff: Staff) {
        let number = staff.worker.number();
        self.forget(id, &user, staff).await;
        let mut state = self.state();
        let place = state.returning.iter().position(|(_, worker)| worker.number() == number);
        let returned = place.map(|place| state.returning.swap_remove(place));
        drop(state);
        drop(returned);
        self.returned.notify_waiters();
    }

    /// Lets a worker forget a session, and keeps it if it is as good as new.
    async fn forget(&self, id: &str, user: &str, staff: Staff) {
        let Staff { worker, sessions, first_size } = staff;
        if worker.is_ending() || !worker.is_idle() {
            return;
        }
        let head = Value::Tuple(vec![id.into()]);
        let Some(size) = timeout(TO_FORGET, worker.ask(FrameKind::Forget, &head, &[])).await.ok().and_then(reusable)
        else {
            return;
        };
        worker.belongs_to("");
        let first_size = first_size.unwrap_or(size);
        let warm = WarmWorker { worker, user: user.to_owned(), sessions: sessions + 1, first_size };
        let worn_out = self.state().warm.put(warm, size);
        drop(worn_out);
    }
}

/// Returns the size of a worker that has forgotten a session, if it can be used again.
fn reusable(answer: Result<WorkerAnswer, WorkerError>) -> Option<u64> {
    match answer {
        Ok(answer) => {
            let is_reusable = answer.head.get("reusable").and_then(Value::as_bool) == Some(true);
            answer.head.get("rss").and_then(Value::as_count).filter(|_| is_reusable)
        }
        // Nothing was ever run of the session.
        Err(WorkerError::Failed { code, .. }) if code == "unknown" => Some(0),
        Err(_) => None,
    }
}

impl OpenSession {
    fn has_died(&self) -> bool {
        self.staff.get().is_some_and(|staff| staff.worker.is_ending())
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let staff = self.staff.take();
        let mut state = self.home.state();
        // Another one may have taken its place, since its worker had died.
        if state.open.get(&self.id).is_some_and(|other| other.strong_count() == 0) {
            state.open.remove(&self.id);
        }
        state.returning.extend(staff.iter().map(|staff| (self.user.clone(), staff.worker.clone())));
        drop(state);
        if let Some(staff) = staff {
            let (home, id, user) = (self.home.clone(), std::mem::take(&mut self.id), std::mem::take(&mut self.user));
            let packages = std::mem::take(self.packages.get_mut().unwrap_or_else(PoisonError::into_inner));
            self.runtime.spawn(async move {
                home.take_back(&id, user, staff).await;
                if !packages.is_empty() {
                    // A folder that was replaced goes with its last session.
                    let _ = tokio::task::spawn_blocking(move || drop(packages)).await;
                }
            });
        }
    }
}

impl SessionHandle {
    /// Returns the session's worker.
    pub(crate) fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// Returns the session's id.
    pub(crate) fn id(&self) -> &str {
        &self.session.id
    }

    /// Returns the ACL user whose the session is.
    pub(crate) fn user(&self) -> &str {
        &self.session.user
    }

    /// Tells whether the worker has a flow.
    pub(crate) async fn has(&self, key: &str) -> bool {
        self.session.flows.lock().await.contains(key)
    }

    /// Gives the worker a flow that was made on another shard, unless it has it, and lets it import from the folder in which
    /// the session's packages are.
    pub(crate) async fn install(
        &self,
        context: u64,
        key: &str,
        blob: &Bytes,
        folder: Option<&Arc<PackageFolder>>,
    ) -> Result<(), WorkerError> {
        let mut flows = self.session.flows.lock().await;
        if flows.contains(key) {
            return Ok(());
        }
        let path = folder.map(|folder| ("path", self.import_from(folder)));
        let head = [("session", self.id().into()), ("context", context.into()), ("key", key.into())];
        let head = Value::dict(head.into_iter().chain(path));
        self.worker.ask(FrameKind::Install, &head, std::slice::from_ref(blob)).await?;
        flows.insert(key.to_owned());
        Ok(())
    }

    /// Returns where the worker is to look for packages. The folder stays as long as the session does.
    pub(crate) fn import_from(&self, folder: &Arc<PackageFolder>) -> Value {
        self.session.packages.lock().unwrap_or_else(PoisonError::into_inner).push(folder.clone());
        Value::List(vec![Value::text(folder.path().display().to_string())])
    }

    /// Notes that the worker has a flow, since it has made it itself.
    pub(crate) async fn has_made(&self, key: &str) {
        self.session.flows.lock().await.insert(key.to_owned());
    }

    /// Notes that the worker has a flow no more: it was closed as one that will not run again.
    pub(crate) async fn has_forgotten(&self, key: &str) {
        self.session.flows.lock().await.remove(key);
    }
}
