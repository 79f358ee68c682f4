//! A directory of its own for each server, and random bits for names.

use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process;

/// Returns a random number from the seeds of the standard library's hash maps: good enough for names and ports, and for
/// nothing that must not be guessed.
pub fn random() -> u64 {
    RandomState::new().hash_one(process::id())
}

/// A temporary directory which is removed with everything in it when the value is dropped.
pub struct ScratchDir {
    path: PathBuf,
}

#[expect(clippy::new_without_default, reason = "making it does something")]
impl ScratchDir {
    /// Creates an empty directory below the system's temporary directory.
    pub fn new() -> Self {
        let name = format!("rmr-test-{}-{:016x}", process::id(), random());
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).expect("cannot create a temporary directory");
        Self { path }
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // A drop must not panic, and a directory left behind harms no test.
        let _ = fs::remove_dir_all(&self.path);
    }
}
