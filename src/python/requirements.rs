//! The packages that scripts require: found where the interpreter has them, fetched as wheels, installed from wheels.
//!
//! Fetching is the only thing that may need a network, and one shard does it for all. Each shard then installs the wheels
//! into a folder of this set of wheels, which workers of the session get on their path: so two sessions that want different
//! versions of a package are nothing to each other. `worker/rmr_worker/requirements.py` does the work, as the user of workers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;
use xxhash_rust::xxh3::xxh3_128;

use super::child::{ProcessGroup, ended};
use super::host::PythonHost;
use super::output::read_lines;
use super::program::{Program, ProgramShelf};
use super::worker::lock;
use crate::error::Error;

/// As RedisGears says it.
const NOT_SATISFIED: &str = "Could not satisfy requirements (look at redis log file for more information)";

/// As RedisGears says it.
pub(crate) const NOT_INSTALLED: &str =
    "Failed installing requirements on shard, please check shard logs for more details.";

/// Is a package as a file that can be installed without a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wheel {
    /// The name of the file.
    pub(crate) name: String,
    /// What is in it.
    pub(crate) data: Bytes,
}

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
    /// By names and digests of wheels, the folder in which they are installed.
    installed: tokio::sync::Mutex<HashMap<Vec<(String, u128)>, PathBuf>>,
    /// Wheels by the requirements for which they were fetched together, here or on another shard.
    kept: Mutex<BTreeMap<BTreeSet<String>, Vec<Wheel>>>,
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
        let (satisfied, installed) = (Mutex::default(), tokio::sync::Mutex::default());
        let (kept, is_stopped) = (Mutex::default(), Notify::new());
        Self { shared: Arc::new(RequirementTable { host, program, satisfied, installed, kept, is_stopped }) }
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
        lock(&self.shared.satisfied).extend(found.map(|requirement| of(requirement)));
        Ok(missing)
    }

    /// Fetches the wheels of some requirements and of all that they need, in versions that go together: from a folder of
    /// wheels if one is given and has them, else from the index that pip is set up for. What pip says goes to the log.
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

    /// Keeps the wheels of some requirements, for sessions that want these.
    pub(crate) fn keep(&self, requirements: BTreeSet<String>, wheels: Vec<Wheel>) {
        lock(&self.shared.kept).insert(requirements, wheels);
    }

    /// Returns the wheels that were fetched for all of some requirements together, or for these and the fewest others, and for
    /// which ones they were.
    pub(crate) fn kept(&self, requirements: &BTreeSet<String>) -> Option<(BTreeSet<String>, Vec<Wheel>)> {
        let kept = lock(&self.shared.kept);
        let with_all = kept.iter().filter(|(of, _)| of.is_superset(requirements));
        with_all.min_by_key(|(of, _)| of.len()).map(|(of, wheels)| (of.clone(), wheels.clone()))
    }

    /// Returns the wheels of each of some requirements, which were fetched one by one; [`None`] if one was not.
    pub(crate) fn kept_apart(&self, requirements: &[String]) -> Option<Vec<Wheel>> {
        let of_one = |name: &String| Some(self.kept(&BTreeSet::from([name.clone()]))?.1);
        let mut wheels = requirements.iter().map(of_one).collect::<Option<Vec<_>>>()?.concat();
        wheels.sort_by(|one, other| one.name.cmp(&other.name));
        wheels.dedup_by(|one, other| one.name == other.name);
        Some(wheels)
    }

    /// Returns what tells apart the wheels that are kept for just these requirements; [`None`] if none are.
    pub(crate) fn digest(&self, requirements: &BTreeSet<String>) -> Option<u128> {
        lock(&self.shared.kept).get(requirements).map(|wheels| digest_of(wheels))
    }

    /// Lets go of the wheels of some requirements. Sessions that have them installed keep that.
    pub(crate) fn forget(&self, requirements: &BTreeSet<String>) {
        lock(&self.shared.kept).retain(|of, _| !of.is_superset(requirements));
    }

    /// Returns the folder in which the wheels of some requirements are installed together; none if none are kept, since the
    /// interpreter has them all itself.
    ///
    /// # Errors
    /// If they cannot be installed.
    pub(crate) async fn folder(&self, requirements: &[String]) -> Result<Option<String>, Error> {
        if requirements.is_empty() {
            return Ok(None);
        }
        match self.kept(&requirements.iter().cloned().collect()) {
            Some((_, wheels)) => self.install(&wheels).await.map(Some),
            None => Ok(None),
        }
    }

    /// Installs wheels, unless these are installed; returns the folder from which they can be imported.
    ///
    /// # Errors
    /// If they are no wheels for this interpreter.
    pub(crate) async fn install(&self, wheels: &[Wheel]) -> Result<String, Error> {
        let set = digests(wheels);
        let mut installed = self.shared.installed.lock().await;
        if let Some(folder) = installed.get(&set).filter(|folder| folder.is_dir()) {
            return Ok(folder.display().to_string());
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
        let target = target.keep();
        let path = target.display().to_string();
        installed.insert(set, target);
        Ok(path)
    }

    /// Ends what runs, and forgets the folders, which go with the program's.
    pub(super) fn stop(&self) {
        self.shared.is_stopped.notify_waiters();
        if let Ok(mut installed) = self.shared.installed.try_lock() {
            installed.clear();
        }
    }
}

impl RequirementTable {
    /// Runs the program for one action. Who drops the future ends it.
    async fn run(
        &self,
        program: &Program,
        words: &[String],
        requirements: &[String],
    ) -> Result<RequirementsReport, Error> {
        let interpreter = self.host.interpreter();
        let fault = |error: io::Error| interpreter.not_started(&error);
        let (answer, written) = io::pipe().map_err(fault)?;
        let (said, printed) = io::pipe().map_err(fault)?;
        let first = interpreter
            .command(program)
            .arg("requirements")
            .args(words)
            .arg(format!("user={}", interpreter.user))
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

/// Returns what tells wheels apart from all others.
pub(crate) fn digest_of(wheels: &[Wheel]) -> u128 {
    let each = digests(wheels).into_iter().flat_map(|(name, digest)| [xxh3_128(name.as_bytes()), digest]);
    let bytes: Vec<u8> = each.flat_map(u128::to_le_bytes).collect();
    xxh3_128(&bytes)
}

/// Returns the names and digests of a set of wheels, in order.
fn digests(wheels: &[Wheel]) -> Vec<(String, u128)> {
    let digest = |wheel: &Wheel| (wheel.name.clone(), xxh3_128(&wheel.data));
    let mut set: Vec<_> = wheels.iter().map(digest).collect();
    set.sort();
    set.dedup();
    set
}

/// Reads a wheel from a folder that belongs to the user of workers, who may have put something else in its place.
fn read_wheel(folder: &Path, name: String) -> io::Result<Wheel> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path_of(folder, &name)?)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{name:?} is no file")));
    }
    let mut data = Vec::new();
    file.read_to_end(&mut data)?;
    Ok(Wheel { name, data: data.into() })
}

fn write_wheel(folder: &Path, wheel: &Wheel) -> io::Result<()> {
    let path = path_of(folder, &wheel.name)?;
    let mut file = File::create_new(&path)?;
    io::Write::write_all(&mut file, &wheel.data)?;
    fs::set_permissions(path, Permissions::from_mode(0o644))
}

/// Returns where a wheel is; its name comes from elsewhere, and is to lead nowhere else.
fn path_of(folder: &Path, name: &str) -> io::Result<PathBuf> {
    if name.ends_with(".whl") && !name.contains(['/', '\0']) {
        Ok(folder.join(name))
    } else {
        Err(io::Error::other(format!("{name:?} is not the name of a wheel")))
    }
}
