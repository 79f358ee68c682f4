//! Programs in Python, run with a Python of the tests' own that has the Redis client of real programs, or the library rb.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::artifacts::target_dir;

/// Returns the interpreter that runs functions, for `rmr.python`: what `RMR_PYTHON` names, else that of the system.
///
/// Not the first one on `PATH`: a server of root gives functions to another user, who has to be able to read it.
pub fn functions_python() -> String {
    std::env::var("RMR_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned())
}

/// Runs `tests/python/<name>.py` with these arguments, and gives what it printed.
///
/// # Panics
///
/// When it fails, with what it said; and when there is no Python or no Redis client for it, with what to do about that.
#[track_caller]
pub fn run_python(name: &str, args: &[&str]) -> String {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();

    run(PYTHON.get_or_init(|| python("python", "python3", &[])), name, args)
}

/// Runs a program with the library rb, and the newest Redis client that it runs with.
#[track_caller]
pub fn run_python_with_rb(name: &str, args: &[&str]) -> String {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();

    run(PYTHON.get_or_init(|| python("python-rb", "python3", &["rb==1.10.0", "redis==4.6.0"])), name, args)
}

/// Runs a program with Celery, which keeps its jobs in Redis.
#[track_caller]
pub fn run_python_with_celery(name: &str, args: &[&str]) -> String {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();

    run(PYTHON.get_or_init(|| python("python-celery", "python3", &["celery==5.5.3", "redis==5.2.1"])), name, args)
}

/// Runs a program with the client of RedisGears, in an interpreter of the version that runs functions: both sides unpickle what
/// the other one has pickled.
#[track_caller]
pub fn run_python_with_redgrease(name: &str, args: &[&str]) -> String {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();

    let made = || python("python-redgrease", &functions_python(), &["redgrease[client]==0.3.30"]);
    run(PYTHON.get_or_init(made), name, args)
}

#[track_caller]
fn run(python: &Path, name: &str, args: &[&str]) -> String {
    let program = root().join("tests/python").join(format!("{name}.py"));
    let output = Command::new(python).arg("-B").arg(program).args(args).output().expect("a Python that can be run");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}.py {args:?} failed:\n{printed}\n{errors}");
    printed
}

/// Makes an interpreter with these packages, of another one; `make test` has made it, and otherwise it is made here, once.
fn python(name: &str, of: &str, packages: &[&str]) -> PathBuf {
    let dir = target_dir().join(name);
    let made = Command::new(root().join("scripts/python.sh")).env("PYTHON", of).arg(&dir).args(packages).output();
    let made = made.expect("cannot run a script");
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "tests with real clients need Python and its packages. {errors}");
    dir.join("bin/python3")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
