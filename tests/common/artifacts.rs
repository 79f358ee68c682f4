//! What `cargo build` makes and the tests load or run: the module, the examples.

use std::env;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What to build of each package. `--examples` alone would leave out the module: it is a library.
const TARGETS: [&str; 3] = ["--lib", "--bins", "--examples"];

/// The module to load: `RMR_MODULE` if set, else `librmr.so` of this workspace, built on the first
/// call.
pub fn module_path() -> PathBuf {
    given_module().unwrap_or_else(|| built_dir().join(format!("{DLL_PREFIX}rmr{DLL_SUFFIX}")))
}

/// An example which is a loadable library: `sum` gives `examples/libsum.so`.
pub fn example_path(name: &str) -> PathBuf {
    built_example(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"))
}

/// An example which is a program: `client` gives `examples/client`.
pub fn example_bin(name: &str) -> PathBuf {
    built_example(format!("{name}{EXE_SUFFIX}"))
}

/// A file among the built examples.
fn built_example(file: String) -> PathBuf {
    built_dir().join("examples").join(file)
}

/// The module named by the environment.
fn given_module() -> Option<PathBuf> {
    env::var_os("RMR_MODULE").map(PathBuf::from)
}

/// The profile's directory, `target/debug` say, with all in it built by this process, once.
///
/// With `RMR_MODULE` set nothing is built: whoever names a module has built the rest as well.
fn built_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();

    DIR.get_or_init(|| {
        let dir = profile_dir();
        if given_module().is_none() {
            build(&dir);
        }
        dir
    })
}

/// The directory of this test's profile; the test is `<target>/<profile>/deps/<name>-<hash>`.
fn profile_dir() -> PathBuf {
    let test = env::current_exe().expect("the path of the test");
    let dir = test.ancestors().nth(2);
    dir.expect("a test below the target directory").to_owned()
}

/// Where everything that is built stands: `target`, unless told otherwise.
pub fn target_dir() -> PathBuf {
    profile_dir().parent().expect("a profile below the target directory").to_owned()
}

/// Builds what the tests need, with the profile that belongs to `profile_dir`.
fn build(profile_dir: &Path) {
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--workspace"])
        .args(TARGETS)
        .args(["--profile", profile])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cannot run cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo build failed: {errors}");
}
