//! Packages that scripts require, without any index: from a folder of wheels that the test makes.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;

use super::super::frame::FrameKind;
use super::super::marshal::Value;
use super::super::{Interpreter, SessionHandle, Wheel, digest_of};
use super::host::{Toy, await_true, interpreter, load};

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Is a folder with a wheel of the package `rmr_required`, version 1.5.
struct Wheels(PathBuf);

impl Wheels {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("rmr-test-wheels-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let script = "
import sys, zipfile
base = 'rmr_required-1.5'
files = {'rmr_required.py': 'version = 15\\n',
    base + '.dist-info/METADATA': 'Metadata-Version: 2.1\\nName: rmr_required\\nVersion: 1.5\\n',
    base + '.dist-info/WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'}
record = base + '.dist-info/RECORD'
files[record] = ''.join(name + ',,\\n' for name in [*files, record])
with zipfile.ZipFile(sys.argv[1] + '/' + base + '-py3-none-any.whl', 'w') as archive:
    for name, text in files.items():
        archive.writestr(name, text)";
        let done = Command::new(interpreter().program).args(["-c", script]).arg(&folder).status();
        assert!(done.expect("python3").success());
        Self(folder)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a name")
    }
}

impl Drop for Wheels {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn load_from(session: &SessionHandle, path: Value, script: &str) {
    let head = [("session", session.id().into()), ("context", 1_u64.into()), ("script", script.into()), ("path", path)];
    session.worker().ask(FrameKind::Load, &Value::dict(head), &[]).await.expect("loaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_interpreter_has_is_not_missing() {
    let toy = Toy::new();
    let wanted = texts(&["cloudpickle", "cloudpickle<1", "no-such-package-here"]);
    for _ in 0..2 {
        let missing = toy.sessions.requirements().missing(&wanted).await;
        assert_eq!(missing.expect("an answer"), texts(&["cloudpickle<1", "no-such-package-here"]));
    }
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wheels_are_fetched_and_installed_once_and_imported() {
    let toy = Toy::new();
    let links = Wheels::new("fetched");
    let requirements = toy.sessions.requirements();
    let wheels = requirements.fetch(&texts(&["rmr-required>=1"]), Some(links.path())).await.expect("wheels");
    assert_eq!(
        wheels.iter().map(|wheel| wheel.name.as_str()).collect::<Vec<_>>(),
        ["rmr_required-1.5-py3-none-any.whl"]
    );
    let set = |words: &[&str]| texts(words).into_iter().collect::<BTreeSet<String>>();
    let keep = |again| requirements.keep(set(&["rmr-required"]), wheels.clone(), again);
    let (one, other) = tokio::join!(keep(false), keep(false));
    let folder = one.expect("packages").expect("a folder");
    assert_eq!(other.expect("packages").as_ref(), Some(&folder));
    let script = "import rmr_required\nassert rmr_required.version == 15";
    let session = toy.open("a").await;
    load_from(&session, session.import_from(&folder), script).await;
    // A shard that does not run the script itself.
    let elsewhere = toy.open("b").await;
    let no_flow = Bytes::from_static(b"no flow, and yet its folder is there");
    elsewhere.install(1, "key", &no_flow, Some(&folder)).await.expect_err("no flow");
    load(&elsewhere, script).await.expect("loaded");
    // The same by other names.
    let wanted = texts(&["cloudpickle", "rmr-required>=1"]);
    let both = set(&["cloudpickle", "rmr-required>=1"]);
    assert_eq!((requirements.digest(&both), requirements.kept(&both)), (None, None));
    let kept = requirements.keep(both.clone(), wheels.clone(), false).await.expect("packages");
    assert_eq!(kept.as_ref(), Some(&folder));
    assert_eq!(requirements.digest(&both), Some(digest_of(&wheels)));
    assert_eq!(requirements.folder(&wanted).await.expect("a folder").as_ref(), Some(&folder));
    // Wheels that were fetched for several requirements serve each of them.
    assert_eq!(requirements.folder(&wanted[1..]).await.expect("a folder").as_ref(), Some(&folder));
    assert_eq!(requirements.kept_apart(&wanted), Some(wheels.clone()));
    let other = texts(&["cloudpickle", "rmr-other"]);
    let refused = requirements.folder(&other).await.expect_err("nobody has it");
    assert!(refused.to_string().starts_with("Failed installing requirements on shard"), "{refused}");
    assert_eq!(requirements.kept_apart(&other), None);
    assert_eq!(requirements.folder(&texts(&["cloudpickle"])).await.expect("no error").as_ref(), Some(&folder));
    let without = requirements.keep(set(&["cloudpickle"]), Vec::new(), false).await;
    assert_eq!(without.expect("the interpreter has it"), None);
    assert_eq!(requirements.folder(&texts(&["cloudpickle"])).await.expect("no folder"), None);
    // Sessions that import from a folder keep it, also when the packages are installed again.
    let again = keep(true).await.expect("packages").expect("a folder");
    assert!(again != folder && again.path().is_dir() && folder.path().is_dir());
    let (path, again) = (folder.path().to_owned(), again.path().to_owned());
    drop((folder, kept));
    // A worker that has had a folder is not for others.
    let number = session.worker().number();
    drop((session, elsewhere));
    requirements.keep(both, wheels.clone(), true).await.expect("packages");
    await_true(|| !path.exists()).await;
    let other = toy.open("c").await;
    assert_ne!(other.worker().number(), number);
    assert!(load(&other, "import rmr_required").await.is_err());
    toy.sessions.stop().await;
    assert!(!again.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_an_error_in_the_words_of_gears() {
    let toy = Toy::new();
    let requirements = toy.sessions.requirements();
    let wheel = |name: &str| vec![Wheel { name: name.into(), data: b"no wheel".as_slice().into() }];
    let names = BTreeSet::from(["bad".to_owned()]);
    for name in ["bad-1.0-py3-none-any.whl", "../bad-1.0-py3-none-any.whl", "bad.txt"] {
        let refused = requirements.keep(names.clone(), wheel(name), false).await.expect_err(name);
        assert!(refused.to_string().starts_with("Failed installing requirements on shard"), "{refused}");
        assert_eq!((requirements.kept(&names), requirements.digest(&names)), (None, None), "and it is not kept");
    }
    assert!(!toy.host.lines.lock().expect("lines").is_empty(), "pip's words are in the log");
    toy.sessions.stop().await;
}

/// The interpreter changes, as after `rmr.python` was set.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_installed_any_more_is_kept_no_more() {
    let toy = Toy::new();
    let links = Wheels::new("no-more");
    let requirements = toy.sessions.requirements();
    let wanted = texts(&["rmr-required"]);
    let names: BTreeSet<String> = wanted.iter().cloned().collect();
    let wheels = requirements.fetch(&wanted, Some(links.path())).await.expect("wheels");
    let folder = requirements.keep(names.clone(), wheels, false).await.expect("packages").expect("a folder");
    std::fs::remove_dir_all(folder.path()).expect("removed");
    let other = Interpreter { program: "/bin/false".into(), ..interpreter() };
    *toy.host.interpreter.lock().expect("an interpreter") = Some(other);
    requirements.folder(&wanted).await.expect_err("it runs no pip");
    assert_eq!(requirements.kept(&names), None);
    toy.sessions.stop().await;
}

/// Secrets of the server are nothing to code that builds a package.
#[tokio::test(flavor = "multi_thread")]
async fn pip_does_not_see_the_servers_environment() {
    let toy = Toy::new();
    let folder = Wheels::new("environment");
    let program = folder.0.join("python");
    let python = interpreter();
    let text = format!("#!/bin/sh\nenv > '{}/environment'\nexec '{}' \"$@\"\n", folder.path(), python.program);
    std::fs::write(&program, text).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a script that can run");
    let other = Interpreter { program: program.to_str().expect("a path").into(), ..python };
    *toy.host.interpreter.lock().expect("an interpreter") = Some(other);
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "what runs the tests has set it");
    toy.sessions.requirements().missing(&texts(&["cloudpickle"])).await.expect("an answer");
    let seen = std::fs::read_to_string(folder.0.join("environment")).expect("what it has seen");
    assert!(seen.contains("PATH=") && !seen.contains("CARGO_"), "{seen}");
    toy.sessions.stop().await;
}
