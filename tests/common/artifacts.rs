//! The files that `cargo build` makes and the tests load or run: the module, the examples.

use std::env;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Returns the module to load: `RMR_MODULE` if set, else `librmr.so` of this workspace, built on the first call.
pub fn module_path() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();

    given_module().unwrap_or_else(|| {
        let path = || build(&["--lib"]).join(format!("{DLL_PREFIX}rmr{DLL_SUFFIX}"));
        BUILT.get_or_init(path).clone()
    })
}

/// Returns `librg.so`, the name for clients of RedisGears, which is built with the module.
///
/// With `RMR_MODULE` set nothing is built: whoever names a module has built the rest as well.
pub fn rg_path() -> PathBuf {
    module_path();
    profile_dir().join(format!("{DLL_PREFIX}rg{DLL_SUFFIX}"))
}

/// Returns the program `rmr-proxy`: what `RMR_PROXY` names if it is set, else that of this workspace, built on the first call.
///
/// With `RMR_MODULE` set nothing is built: whoever names a module has built the rest as well.
pub fn proxy_path() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();

    let name = format!("rmr-proxy{EXE_SUFFIX}");
    env::var_os("RMR_PROXY").map(PathBuf::from).unwrap_or_else(|| {
        let dir = || if given_module().is_some() { profile_dir() } else { build(&["--bins"]) };
        BUILT.get_or_init(dir).join(name)
    })
}

/// Returns an example which is a loadable library: `sum` gives `examples/libsum.so`.
pub fn example_path(name: &str) -> PathBuf {
    built_example(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"))
}

/// Returns an example which is a program: `client` gives `examples/client`.
pub fn example_bin(name: &str) -> PathBuf {
    built_example(format!("{name}{EXE_SUFFIX}"))
}

/// Returns a file among the examples, which are built on the first call.
///
/// With `RMR_MODULE` set nothing is built: whoever names a module has built the rest as well.
fn built_example(file: String) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();

    let dir = || if given_module().is_some() { profile_dir() } else { build(&["--examples"]) };
    BUILT.get_or_init(dir).join("examples").join(file)
}

/// Returns the module named by the environment.
fn given_module() -> Option<PathBuf> {
    env::var_os("RMR_MODULE").map(PathBuf::from)
}

/// Returns the directory of this test's profile; the test is `<target>/<profile>/deps/<name>-<hash>`.
fn profile_dir() -> PathBuf {
    let test = env::current_exe().expect("the path of the test");
    let dir = test.ancestors().nth(2);
    dir.expect("a test below the target directory").to_owned()
}

/// Returns the folder of everything that is built: `target`, unless told otherwise.
pub fn target_dir() -> PathBuf {
    profile_dir().parent().expect("a profile below the target directory").to_owned()
}

/// Builds these targets of all packages with the profile of this test, and returns the directory that they are in.
///
/// The test itself is named to cargo as well. It is there already; but with it cargo gives all crates the features that
/// they have for the test, so that this build uses what the test was built from and only links. Without it the whole
/// crate would be compiled once more, with the features that it has without its tests.
///
/// The variables by which cargo tells this test about its package are kept from the other cargo: build scripts such as that of `ring` look
/// at those variables, and would be run, with all that depends on them, once by either cargo whenever the other was.
fn build(targets: &[&str]) -> PathBuf {
    let dir = profile_dir();
    let (profile, test) = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => ("dev", test_name()),
        // The benchmarks load what users load.
        Some(name) => (name, None),
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let of_package = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    });
    let mut command = Command::new(cargo);
    of_package.for_each(|name| {
        command.env_remove(name);
    });
    let output = command
        .args(["build", "--quiet", "--workspace", "--profile", profile])
        .args(targets)
        .args(test.iter().flat_map(|name| ["--test", name]))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cannot run cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo build failed: {errors}");
    dir
}

/// Returns the name that this test has in `tests/`: its file is `<name>-<hash>`.
fn test_name() -> Option<String> {
    let test = env::current_exe().expect("the path of the test");
    let (name, _) = test.file_name()?.to_str()?.rsplit_once('-')?;
    Some(name.to_owned())
}
