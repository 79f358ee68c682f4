//! The program that Python processes run: its files are in the library, and are laid out in a folder for python3.
//!
//! So a server that was given nothing but `librmr.so` can run functions. The folder is in the system's place for
//! temporary files, readable to all, writable to the server's user alone, and is removed with the value; where the server
//! ends before that, by the process that runs from it, and if that was killed, too, by the next server. A lock keeps it from
//! others who clean up there.

use std::fs::{self, DirBuilder, File, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, process};

use crate::error::Error;

const MAIN: &str = "__main__.py";
const PACKAGE: &str = "rmr_worker";

/// The beginning of the names of folders.
const PREFIX: &str = "rmr-python-";

macro_rules! package {
    ($($name:literal),+ $(,)?) => {
        /// The files of the package, with their texts.
        const PACKAGE_FILES: &[(&str, &str)] = &[$(
            (concat!($name, ".py"), include_str!(concat!("worker/rmr_worker/", $name, ".py"))),
        )+];
    };
}

package! {
    "__init__", "arguments", "builder", "channel", "context", "conversions", "errors", "event_arguments",
    "event_requests", "events", "execution", "frames", "futures", "guard", "launcher", "operators", "pickling", "plan",
    "pool", "process", "readers", "record_wise", "reducers", "requirements", "runtime", "session", "sessions",
    "settings", "sinks", "stage", "steps", "template", "worker",
}

/// Is the folder with the program.
pub(super) struct Program {
    folder: PathBuf,
    /// Locked as long as the folder is in use.
    _lock: File,
}

impl Program {
    /// Lays the program out in a folder of its own.
    pub(super) fn lay_out() -> io::Result<Self> {
        let place = env::temp_dir();
        remove_left_behind(&place);
        let folder = new_folder(&place)?;
        let lock = File::open(&folder)?;
        lock.lock_shared()?;
        let program = Self { folder, _lock: lock };
        program.write()?;
        Ok(program)
    }

    /// Returns what python3 is to run.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("worker")
    }

    /// Returns the folder with all that is to be removed.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a new, empty folder for something that belongs to the program, such as packages that scripts require.
    pub(super) fn new_folder(&self) -> io::Result<PathBuf> {
        new_folder(&self.folder)
    }

    fn write(&self) -> io::Result<()> {
        let package = self.path().join(PACKAGE);
        make_folder(&self.path())?;
        make_folder(&package)?;
        write(&self.path().join(MAIN), include_str!("worker/__main__.py"))?;
        PACKAGE_FILES.iter().try_for_each(|(name, text)| write(&package.join(name), text))
    }
}

/// Keeps the program that is laid out, for all who need it.
#[derive(Clone, Default)]
pub(super) struct ProgramShelf {
    program: Arc<Mutex<Option<Arc<Program>>>>,
}

impl ProgramShelf {
    /// Returns the program, after laying it out if need be.
    pub(super) fn get(&self) -> Result<Arc<Program>, Error> {
        let mut kept = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = kept.as_ref().filter(|program| program.path().join(MAIN).exists()) {
            return Ok(program.clone());
        }
        let program = Program::lay_out().map_err(|error| Error::Unusable {
            what: "the program for functions in Python cannot be laid out in the folder for temporary files".into(),
            cause: error.into(),
        })?;
        Ok(kept.insert(Arc::new(program)).clone())
    }

    /// Lets go of the program; the folder is removed when nobody uses it any more.
    pub(super) fn clear(&self) {
        self.program.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Writes a file that all may read, whatever the server's umask is.
fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o644))
}

/// Makes a folder that all may read and only its owner may change.
fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Makes a folder that nobody has made before.
fn new_folder(place: &Path) -> io::Result<PathBuf> {
    const TRIES: usize = 16;
    let mut last = io::ErrorKind::AlreadyExists.into();
    for _ in 0..TRIES {
        let folder = place.join(format!("{PREFIX}{:016x}", RandomState::new().hash_one(process::id())));
        match make_folder(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Removes folders of the same user whose servers have ended without doing so.
fn remove_left_behind(place: &Path) {
    /// The age below which a folder may be about to be locked.
    const YOUNG: Duration = Duration::from_secs(60);
    let Ok(entries) = fs::read_dir(place) else { return };
    let own = rustix::process::geteuid().as_raw();
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        // About the entry itself, not about what a link leads to.
        let Ok(about) = entry.metadata() else { continue };
        let is_old = about.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > YOUNG);
        let is_unused = || File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok());
        if about.is_dir() && about.uid() == own && is_old && is_unused() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_the_program_is_missing() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/python/worker").join(PACKAGE);
        let names = fs::read_dir(source).expect("the package").map(|entry| entry.expect("an entry").file_name());
        let mut there: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
        there.retain(|name| name.ends_with(".py"));
        there.sort();
        let mut shipped: Vec<_> = PACKAGE_FILES.iter().map(|(name, _)| *name).collect();
        shipped.sort_unstable();
        assert_eq!(shipped, there);
    }

    #[test]
    fn the_folder_goes_with_the_value() {
        let program = Program::lay_out().expect("a folder");
        let main = program.path().join(MAIN);
        assert!(main.is_file());
        let folder = program.folder.clone();
        assert!(File::open(&folder).expect("the folder").try_lock().is_err(), "nobody else cleans up");
        drop(program);
        assert!(!main.exists() && !folder.exists());
    }
}
