//! Programs in JavaScript, run by node with the Redis clients of real programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::artifacts::target_dir;

/// The clients, by the names under which npm has them.
const PACKAGES: [&str; 2] = ["redis@5.8.2", "ioredis@5.7.0"];

/// Runs `tests/node/<name>.js` with these arguments, and gives what it printed; `None` where there is no node, which is said.
///
/// # Panics
///
/// When it fails, with what it said; and when its packages cannot be had.
#[track_caller]
pub fn run_node(name: &str, args: &[&str]) -> Option<String> {
    static MODULES: OnceLock<Option<PathBuf>> = OnceLock::new();

    let modules = MODULES.get_or_init(modules).as_ref()?;
    let program = root().join("tests/node").join(format!("{name}.js"));
    let output = Command::new("node").env("NODE_PATH", modules).arg(program).args(args).output().expect("node");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}.js {args:?} failed:\n{printed}\n{errors}");
    Some(printed)
}

/// Fetches the clients, once.
fn modules() -> Option<PathBuf> {
    if Command::new("npm").arg("--version").output().is_err() || Command::new("node").arg("--version").output().is_err()
    {
        println!("not tested: there is no node, or no npm");
        return None;
    }
    let dir = target_dir().join("node");
    let made = Command::new(root().join("scripts/node.sh")).arg(&dir).args(PACKAGES).output();
    let made = made.expect("cannot run a script");
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "tests with real clients need packages of npm. {errors}");
    Some(dir.join("node_modules"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
