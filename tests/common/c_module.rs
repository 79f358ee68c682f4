//! Modules in C, built with the C compiler that is there for the bindings anyway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::artifacts::target_dir;

/// Builds a module of this file of the project, and returns what is to be loaded.
///
/// # Panics
///
/// When the compiler has anything to say.
pub fn c_module(source: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = root.join(source);
    let dir = target_dir().join("c");
    fs::create_dir_all(&dir).expect("a folder for modules in C");
    let name = source.file_stem().expect("a name").to_str().expect("a name in UTF-8");
    // Several tests may build it at once.
    let own = dir.join(format!("{name}-{}-{:?}.so", std::process::id(), std::thread::current().id()));
    let output = Command::new("cc")
        .args(["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC"])
        .arg("-I")
        .arg(root.join("include"))
        // Its own warnings are not ours.
        .arg("-isystem")
        .arg(redismodule_h())
        .arg("-o")
        .args([&own, &source])
        .output()
        .expect("cc, which scripts/setup.sh installs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let built = dir.join(format!("{name}.so"));
    fs::rename(&own, &built).expect("the module in its place");
    built
}

/// Returns the folder of `redismodule.h`, which is in the sources of the crate `redis-module`.
fn redismodule_h() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
        let version = Command::new(&cargo).arg("-vV").output().expect("cannot run cargo");
        let version = String::from_utf8(version.stdout).expect("text");
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("the platform of cargo");
        // Crates of other platforms have not been fetched.
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--offline", "--all-features", "--filter-platform", host])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cannot run cargo");
        let metadata = String::from_utf8(output.stdout).expect("text");
        let manifests = metadata.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next());
        let includes = manifests.filter_map(|manifest| Some(Path::new(manifest).parent()?.join("src/include")));
        let mut found = includes.filter(|include| include.join("redismodule.h").exists());
        found.next().expect("redismodule.h among the sources of the dependencies")
    })
}
