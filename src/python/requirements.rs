//! The packages that scripts require: found where the interpreter has them, fetched as wheels, installed from wheels.
//!
//! Fetching is the only thing that may need a network, and one shard does it for all. Each shard then installs the wheels
//! into a folder of this set of wheels, which workers of the session get on their path: so two sessions that want different
//! versions of a package are nothing to each other. `worker/rmr_worker/requirements.py` does the work, as the user of workers.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;

use super::child::{ProcessGroup, ended};
use super::host::PythonHost;
use super::interpreter;
use super::output::read_lines;
use super::package_sets::{ListedPackages, PackageFolder, PackageSet, PackageSets};
use super::program::{Program, ProgramShelf};
use super::wheels::{Wheel, digest_of, read_wheel, write_wheel};
use super::worker::lock;
use crate::error::Error;

/// The error in the words of RedisGears.
const NOT_SATISFIED: &str = "Could not satisfy requirements (look at redis log file for more information)";

/// The error in the words of RedisGears.
pub(crate) const NOT_INSTALLED: &str =
    "Failed installing requirements on shard, please check shard logs for more details.";

/// The number of requirements whose state is remembered; when there are more, all are asked about again.
const MOST_SATISFIED: usize = 1_000;

/// Looks after the packages that scripts require.
#[derive(Clone)]
pub(crate) struct Requirements {
    shared: Arc<RequirementTable>,
}

struct RequirementTable {
    host: Arc<dyn PythonHost>,
    program: ProgramShelf,
    /// Interpreters and what they can import: that does not go away.
    satisfied: Mutex<HashSet<(String, String)>>,
    /// The packages that were fetched here or on another shard.
    kept: Mutex<PackageSets>,
    /// Held by whoever installs.
    installing: tokio::sync::Mutex<()>,
    is_stopped: Notify,
}

/// Is what the program says, on one line.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RequirementsReport {
    missing: Option<Vec<String>>,
    wheels: Option<Vec<String>>,
    target: Option<String>,
}

impl Requirements {
    pub(super) fn new(host: Arc<dyn PythonHost>, program: ProgramShelf) -> Self {
        let (satisfied, kept) = (Mutex::default(), Mutex::default());
        let (installing, is_stopped) = (tokio::sync::Mutex::default(), Notify::new());
        Self { shared: Arc::new(RequirementTable { host, program, satisfied, kept, installing, is_stopped }) }
    }

    /// Returns those of some requirements that the interpreter here cannot import.
    ///
    /// # Errors
    /// If there is no interpreter that could say so.
    pub(crate) async fn missing(&self, requirements: &[String]) -> Result<Vec<String>, Error> {
        let interpreter = self.shared.host.interpreter().program;
        let of = |requirement: &str| (interpreter.clone(), requirement.to_owned());
        let unknown: Vec<_> = {
            let satisfied = lock(&self.shared.satisfied);
            requirements.iter().filter(|requirement| !satisfied.contains(&of(requirement))).cloned().collect()
        };
        if unknown.is_empty() {
            return Ok(unknown);
        }
        let program = self.shared.program.get()?;
        let report = self.shared.run(&program, &["action=check".into()], &unknown).await?;
        let Some(missing) = report.missing else { return Err(Error::Refused(NOT_SATISFIED.into())) };
        let found = unknown.iter().filter(|requirement| !missing.contains(requirement));
        let mut satisfied = lock(&self.shared.satisfied);
        if satisfied.len() >= MOST_SATISFIED {
            satisfied.clear();
        }
        satisfied.extend(found.map(|requirement| of(requirement)));
        drop(satisfied);
        Ok(missing)
    }

    /// Fetches the wheels of some requirements and of all that they need, in versions that go together: from a folder of
    /// wheels if one is given and has them, else from the index that pip is set up for. Where those that the interpreter has
    /// are not to be had, the others will do in versions that go with them. The output of pip goes to the log.
    ///
    /// # Errors
    /// If they are not to be had.
    pub(crate) async fn fetch(&self, requirements: &[String], find_links: Option<&str>) -> Result<Vec<Wheel>, Error> {
        let program = self.shared.program.get()?;
        let folder = Scratch::within(&program)?;
        let mut words = vec!["action=fetch".to_owned(), format!("folder={}", folder.path())];
        words.extend(find_links.map(|links| format!("find_links={links}")));
        let report = self.shared.run(&program, &words, requirements).await?;
        let names = report.wheels.ok_or_else(|| Error::Refused(NOT_SATISFIED.into()))?;
        let reading = tokio::task::spawn_blocking(move || {
            names.into_iter().map(|name| read_wheel(&folder.folder, name)).collect::<io::Result<Vec<_>>>()
        });
        let wheels = reading.await.map_err(|error| Error::Internal(error.to_string()))?;
        wheels.map_err(|error| self.shared.refuse(NOT_SATISFIED, &error))
    }

    /// Installs the wheels of some requirements, unless these are installed, and keeps them for sessions that want these;
    /// what cannot be installed is not kept. With `again` they are installed into a new folder whatever there is. Without
    /// wheels it is the interpreter that is to have all. Returns the folder from which the packages can be imported.
    ///
    /// # Errors
    /// If they are no wheels for this interpreter, or it lacks what it was said to have.
    pub(crate) async fn keep(
        &self,
        names: BTreeSet<String>,
        wheels: Vec<Wheel>,
        again: bool,
    ) -> Result<Option<Arc<PackageFolder>>, Error> {
        // Whoever wants the same meanwhile finds it then.
        let _alone = self.shared.installing.lock().await;
        let folder = if wheels.is_empty() {
            let required: Vec<String> = names.iter().cloned().collect();
            if !self.missing(&required).await?.is_empty() {
                return Err(Error::Refused(NOT_INSTALLED.into()));
            }
            None
        } else {
            let installed = self.install(&wheels, again).await;
            if installed.is_err() {
                self.forget_unusable(&names, &wheels);
            }
            Some(installed?)
        };
        let dropped = lock(&self.shared.kept).keep(names, wheels, folder.clone());
        remove(dropped).await;
        Ok(folder)
    }

    /// Keeps wheels that are installed when a session wants them. Wheels that are kept and installed already stay as they are.
    pub(crate) fn keep_for_later(&self, names: BTreeSet<String>, wheels: Vec<Wheel>) {
        let mut kept = lock(&self.shared.kept);
        if wheels.is_empty() || kept.digest(&names) == Some(digest_of(&wheels)) {
            return;
        }
        let dropped = kept.keep(names, wheels, None);
        drop(kept);
        drop(dropped);
    }

    /// Returns the wheels that were fetched for all of some requirements together, or for these and the fewest others, and for
    /// which ones they were.
    pub(crate) fn kept(&self, requirements: &BTreeSet<String>) -> Option<(BTreeSet<String>, Vec<Wheel>)> {
        lock(&self.shared.kept).smallest_with(requirements)
    }

    /// Returns the wheels of each of some requirements, which were fetched one by one; [`None`] if one was not.
    pub(crate) fn kept_apart(&self, requirements: &[String]) -> Option<Vec<Wheel>> {
        let of_one = |name: &String| Some(self.kept(&BTreeSet::from([name.clone()]))?.1);
        let mut wheels = requirements.iter().map(of_one).collect::<Option<Vec<_>>>()?.concat();
        wheels.sort_by(|one, other| one.name.cmp(&other.name));
        wheels.dedup_by(|one, other| one.name == other.name);
        Some(wheels)
    }

    /// Returns what tells apart the wheels that are kept for just these requirements; [`None`] if nothing is.
    pub(crate) fn digest(&self, requirements: &BTreeSet<String>) -> Option<u128> {
        lock(&self.shared.kept).digest(requirements)
    }

    /// Returns what is kept, the sets that were used last at the end.
    pub(crate) fn list(&self) -> Vec<ListedPackages> {
        lock(&self.shared.kept).list()
    }

    /// Returns the folder in which the wheels of some requirements are installed together; none if the interpreter has them
    /// all itself.
    ///
    /// # Errors
    /// If they cannot be installed, or this server knows nothing of them and the interpreter lacks one.
    pub(crate) async fn folder(&self, requirements: &[String]) -> Result<Option<Arc<PackageFolder>>, Error> {
        if requirements.is_empty() {
            return Ok(None);
        }
        let names: BTreeSet<String> = requirements.iter().cloned().collect();
        let found = {
            let mut kept = lock(&self.shared.kept);
            if kept.digest(&names) == Some(digest_of(&[])) { None } else { kept.smallest_with(&names) }
        };
        match found {
            Some((names, wheels)) => self.keep(names, wheels, false).await,
            None if self.missing(requirements).await?.is_empty() => Ok(None),
            None => Err(Error::Refused(NOT_INSTALLED.into())),
        }
    }

    /// Installs wheels, unless these are installed and not to be installed again.
    async fn install(&self, wheels: &[Wheel], again: bool) -> Result<Arc<PackageFolder>, Error> {
        if !again && let Some(folder) = lock(&self.shared.kept).folder_of(wheels) {
            return Ok(folder);
        }
        let program = self.shared.program.get()?;
        let folder = Scratch::within(&program)?;
        let target = Scratch::within(&program)?;
        for wheel in wheels {
            write_wheel(&folder.folder, wheel).map_err(|error| self.shared.refuse(NOT_INSTALLED, &error))?;
        }
        let words =
            ["action=install".to_owned(), format!("folder={}", folder.path()), format!("target={}", target.path())];
        let report = self.shared.run(&program, &words, &[]).await?;
        if report.target.is_none() {
            return Err(Error::Refused(NOT_INSTALLED.into()));
        }
        Ok(PackageFolder::new(target.keep()))
    }

    /// Drops wheels that cannot be installed, as after the interpreter has changed: they are fetched again then.
    fn forget_unusable(&self, names: &BTreeSet<String>, wheels: &[Wheel]) {
        let mut kept = lock(&self.shared.kept);
        let is_kept = kept.digest(names) == Some(digest_of(wheels));
        let dropped = if is_kept { kept.forget(names) } else { Vec::new() };
        drop(kept);
        drop(dropped);
    }

    /// Ends what runs. The folders go with the program's.
    pub(super) fn stop(&self) {
        self.shared.is_stopped.notify_waiters();
    }
}

/// Removes the folders of sets that are kept no more, where that holds up nobody.
async fn remove(dropped: Vec<PackageSet>) {
    // A panic while it is removed has been reported.
    let _ = tokio::task::spawn_blocking(move || drop(dropped)).await;
}

impl RequirementTable {
    /// Runs the program for one action. The program ends when the future is dropped.
    async fn run(
        &self,
        program: &Program,
        words: &[String],
        requirements: &[String],
    ) -> Result<RequirementsReport, Error> {
        let python = self.host.interpreter();
        let fault = |error: io::Error| python.not_started(&error);
        let (answer, written) = io::pipe().map_err(fault)?;
        let (said, printed) = io::pipe().map_err(fault)?;
        let first = python
            .command(program)
            .env_clear()
            .envs(interpreter::for_packages())
            .arg("requirements")
            .args(words)
            .arg(format!("user={}", python.user))
            .arg("--")
            .args(requirements)
            .stdin(Stdio::null())
            .stdout(written)
            .stderr(printed)
            .process_group(0)
            .spawn()
            .map_err(fault)?;
        let mut group = ProcessGroup { first };
        let mut answer = Receiver::from_owned_fd(answer.into()).map_err(fault)?;
        let said = Receiver::from_owned_fd(said.into()).map_err(fault)?;
        let mut text = Vec::new();
        let running = async {
            let logging = read_lines(said, |line| self.host.log("notice", "", line));
            let (read, _) = tokio::join!(answer.read_to_end(&mut text), logging);
            ended(&mut group.first).await;
            read
        };
        tokio::select! {
            read = running => read.map_err(fault)?,
            () = self.is_stopped.notified() => return Err(Error::Refused("the module is being unloaded".into())),
        };
        Ok(serde_json::from_slice(&text).unwrap_or_default())
    }

    fn refuse(&self, text: &str, error: &io::Error) -> Error {
        self.host.log("warning", "", &format!("wheels cannot be moved: {error}"));
        Error::Refused(text.into())
    }
}

/// Is a folder within the program's that is removed again, unless it is kept.
struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    fn within(program: &Program) -> Result<Self, Error> {
        let folder = program.new_folder().map_err(|error| Error::Unusable {
            what: "no folder can be made for the packages that scripts require".into(),
            cause: error.into(),
        })?;
        Ok(Self { folder })
    }

    fn path(&self) -> std::path::Display<'_> {
        self.folder.display()
    }

    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
