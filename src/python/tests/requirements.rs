//! Packages that scripts require, without any index: from a folder of wheels that the test makes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;

use super::super::frame::FrameKind;
use super::super::marshal::Value;
use super::super::{SessionHandle, Wheel, digest_of};
use super::host::{Toy, interpreter, load};

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

async fn load_from(session: &SessionHandle, folder: &str, script: &str) {
    let path = Value::List(vec![folder.into()]);
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
    let (one, other) = tokio::join!(requirements.install(&wheels), requirements.install(&wheels));
    let folder = one.expect("a folder");
    assert_eq!(other.expect("the same folder"), folder);
    let script = "import rmr_required\nassert rmr_required.version == 15";
    let session = toy.open("a").await;
    load_from(&session, &folder, script).await;
    // A shard that does not run the script itself.
    let elsewhere = toy.open("b").await;
    let no_flow = Bytes::from_static(b"no flow, and yet its folder is there");
    elsewhere.install(1, "key", &no_flow, Some(&folder)).await.expect_err("no flow");
    load(&elsewhere, script).await.expect("loaded");
    // The same by names.
    let wanted = texts(&["cloudpickle", "rmr-required>=1"]);
    let set: BTreeSet<String> = wanted.iter().cloned().collect();
    assert_eq!((requirements.digest(&set), requirements.kept(&set)), (None, None));
    requirements.keep(set.clone(), wheels.clone());
    assert_eq!(requirements.digest(&set), Some(digest_of(&wheels)));
    assert_eq!(requirements.folder(&wanted).await.expect("a folder"), Some(folder.clone()));
    // What was fetched for several serves each of them.
    assert_eq!(requirements.folder(&wanted[1..]).await.expect("a folder"), Some(folder.clone()));
    assert_eq!(requirements.kept_apart(&wanted), Some(wheels));
    let other = texts(&["cloudpickle", "rmr-other"]);
    assert_eq!(requirements.folder(&other).await.expect("no folder"), None);
    assert_eq!(requirements.kept_apart(&other), None);
    requirements.forget(&set);
    assert_eq!(requirements.kept(&set), None);
    // A worker that has had a folder is not for others.
    let number = session.worker().number();
    drop((session, elsewhere));
    let other = toy.open("c").await;
    assert_ne!(other.worker().number(), number);
    assert!(load(&other, "import rmr_required").await.is_err());
    toy.sessions.stop().await;
    assert!(!Path::new(&folder).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_an_error_in_the_words_of_gears() {
    let toy = Toy::new();
    let wheel = |name: &str| [Wheel { name: name.into(), data: b"no wheel".as_slice().into() }];
    for name in ["bad-1.0-py3-none-any.whl", "../bad-1.0-py3-none-any.whl", "bad.txt"] {
        let refused = toy.sessions.requirements().install(&wheel(name)).await.expect_err(name);
        assert!(refused.to_string().starts_with("Failed installing requirements on shard"), "{refused}");
    }
    assert!(!toy.host.lines.lock().expect("lines").is_empty(), "pip's words are in the log");
    toy.sessions.stop().await;
}
