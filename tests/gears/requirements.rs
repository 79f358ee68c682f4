//! Packages that scripts require.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::common::{Server, elements, eventually, functions_python, show, slot_of, target_dir};
use crate::servers::{Servers, WAITS, call, cluster, server};

const UNSATISFIED: &str = "-Could not satisfy requirements (look at redis log file for more information)";

/// Writes wheels of two small packages, of which the first needs the second, into a folder that workers may read.
fn wheels(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rmr-wheels-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for wheels");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("a folder that all may read");
    let program = "
import sys, os, zipfile
def wheel(name, version, needs=''):
    info = '%s-%s.dist-info/' % (name, version)
    files = {name + '.py': 'version = %r\\n' % version,
             info + 'METADATA': 'Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n%s' % (name, version, needs),
             info + 'WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'}
    files[info + 'RECORD'] = ''.join('%s,,\\n' % file for file in [*files, info + 'RECORD'])
    with zipfile.ZipFile(os.path.join(sys.argv[1], '%s-%s-py3-none-any.whl' % (name, version)), 'w') as archive:
        for file, text in files.items(): archive.writestr(file, text)
wheel('rmr_first', '1.5', 'Requires-Dist: rmr_second\\n')
wheel('rmr_first', '2.5', 'Requires-Dist: rmr_second\\n')
wheel('rmr_second', '2.0')
";
    let made = Command::new(functions_python()).args(["-c", program]).arg(&folder).status().expect("a Python");
    assert!(made.success(), "no wheels could be made");
    folder
}

/// Wheels of small packages, for as long as a test runs.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        Self(wheels(name))
    }

    pub fn arguments(&self) -> [String; 2] {
        ["python-wheels".to_owned(), self.0.to_str().expect("a path in UTF-8").to_owned()]
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind harms no test.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A package that can be imported already is taken, and listed as installed.
#[test]
fn what_is_there_already() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let script = "import cloudpickle\nGB('ShardsIDReader').map(lambda x: cloudpickle.__name__).distinct().run()";
        let words = ["RG.PYEXECUTE", script, "REQUIREMENTS", "cloudpickle", "cloudpickle>=2.0"];
        assert_eq!(servers.reply(&words), "[[\"cloudpickle\"], []]", "{kind}");
        let id = servers.reply(&["RG.PYEXECUTE", WAITS, "UNBLOCKING", "REQUIREMENTS", "cloudpickle"]);
        let reply = call(servers.first(), &["RG.PYDUMPREQS"]);
        let entry = elements(&reply).into_iter().find(|entry| show(entry).contains("\"cloudpickle\""));
        let fields: Vec<String> = elements(entry.expect("the requirement")).into_iter().map(show).collect();
        let names: Vec<&str> = fields.iter().step_by(2).map(|name| name.trim_matches('"')).collect();
        let expected = [
            "GearReqVersion",
            "Name",
            "IsDownloaded",
            "IsInstalled",
            "CompiledOs",
            "Wheels",
            "Path",
            "RefCount",
            "IsInReqDictionary",
        ];
        assert_eq!(names, expected, "{kind}");
        assert_eq!([&*fields[1], &*fields[3], &*fields[7]], ["2", "\"cloudpickle\"", "\"yes\""], "{kind}");
        let sessions = servers.reply(&["RG.PYDUMPSESSIONS"]);
        assert!(sessions.contains("\"requirements\", [\"cloudpickle\"]"), "{kind}: {sessions}");
        servers.go();
        servers.reply(&["RG.GETRESULTSBLOCKING", id.trim_matches('"')]);
    }
}

#[test]
fn what_cannot_be_had() {
    for servers in [Servers::single(), Servers::cluster()] {
        let words = ["RG.PYEXECUTE", "execute('SET', 'ran', 1)", "REQUIREMENTS", "rmr-no-such-package-anywhere"];
        assert_eq!(servers.reply(&words), UNSATISFIED, "{}", servers.kind);
        assert_eq!(servers.at_owner("EXISTS ran"), "0", "{}: the script has not begun", servers.kind);
        assert!(servers.first().log().contains("rmr-no-such-package-anywhere"), "{}: the log says why", servers.kind);
        assert_eq!(servers.reply(&["RG.PYEXECUTE", "x = 1"]), "+OK");
    }
}

#[test]
fn from_a_folder_of_wheels() {
    let folder = Folder::new("all");
    let single = Servers::of(server().module_args(folder.arguments()).start());
    let script = "import rmr_first, rmr_second\nGB('ShardsIDReader').map(lambda x: (rmr_first.version, rmr_second.version)).run()";
    let run = |requirement: &str| single.reply(&["RG.PYEXECUTE", script, "REQUIREMENTS", requirement]);
    assert_eq!(run("rmr-first==1.5"), "[[\"('1.5', '2.0')\"], []]");
    // Sets of requirements are apart from each other, also when they name two versions of a package.
    assert_eq!(run("rmr-first>=2"), "[[\"('2.5', '2.0')\"], []]");
    assert_eq!(run("rmr-first==1.5"), "[[\"('1.5', '2.0')\"], []]");
    let plain = single.reply(&["RG.PYEXECUTE", "import rmr_first"]);
    assert!(plain.contains("ModuleNotFoundError"), "others know nothing of it: {plain}");
    let listed = single.reply(&["RG.PYDUMPREQS"]);
    assert!(listed.contains("\"rmr-first==1.5\"") && listed.contains("rmr_first-1.5-py3-none-any.whl"), "{listed}");
    // Where they are, and they are there.
    let path = listed.split("\"Path\", \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a path");
    assert!(PathBuf::from(path).join("rmr_first.py").is_file(), "{listed}");
    let again = ["RG.PYEXECUTE", script, "FORCE_REINSTALL_REQUIREMENTS", "REQUIREMENTS", "rmr-first==1.5"];
    assert_eq!(single.reply(&again), "[[\"('1.5', '2.0')\"], []]");
}

#[test]
fn on_all_shards() {
    let folder = Folder::new("cluster");
    let shards = cluster().module_args(folder.arguments()).start();
    let script = "import rmr_first\nGB('ShardsIDReader').map(lambda x: rmr_first.version).run()";
    let reply = show(&call(shards.node(0), &["RG.PYEXECUTE", script, "REQUIREMENTS", "rmr-first==1.5"]));
    assert_eq!(reply, "[[\"1.5\", \"1.5\", \"1.5\"], []]");
}

/// Returns where a server has the packages of a requirement.
fn path_at(node: &Server, requirement: &str) -> Option<PathBuf> {
    let reply = call(node, &["RG.PYDUMPREQS"]);
    let entries = elements(&reply);
    let shown = entries.into_iter().map(show).find(|entry| entry.contains(&format!("\"{requirement}\"")))?;
    let path = shown.split("\"Path\", \"").nth(1).and_then(|rest| rest.split('"').next());
    Some(path.expect("a path").into())
}

/// A shard that has lost what all have, since it was started again, gets it before the script begins; the others keep theirs.
#[test]
fn on_a_shard_that_lacks_what_all_others_have() {
    let folder = Folder::new("lacking");
    let shards = cluster().module_args(folder.arguments()).start();
    let name = "rmr-first==1.5";
    let script = "import rmr_first\nGB('ShardsIDReader').map(lambda x: rmr_first.version).run()";
    let run = |node: usize| show(&call(shards.node(node), &["RG.PYEXECUTE", script, "REQUIREMENTS", name]));
    let everywhere = "[[\"1.5\", \"1.5\", \"1.5\"], []]";
    assert_eq!(run(0), everywhere);
    let paths = || [0, 1, 2].map(|node| path_at(shards.node(node), name));
    let before = paths();
    assert!(before.iter().flatten().all(|path| path.join("rmr_first.py").is_file()), "{before:?}");
    shards.node(2).kill();
    shards.node(2).restart();
    shards.settle();
    assert_eq!(path_at(shards.node(2), name), None, "it has nothing");
    assert_eq!(run(0), everywhere);
    let after = paths();
    assert_eq!(after[..2], before[..2], "nothing is sent to those that have it");
    assert!(after[2].as_ref().is_some_and(|path| path.join("rmr_first.py").is_file()), "{after:?}");
    // The one that was asked may be the one that lacks it.
    shards.node(0).kill();
    shards.node(0).restart();
    shards.settle();
    assert_eq!(run(0), everywhere);
    assert_eq!(paths()[1..], after[1..], "the wheels are the same ones");
}

#[test]
fn forced_on_all_shards() {
    let folder = Folder::new("forced");
    let shards = cluster().module_args(folder.arguments()).start();
    let name = "rmr-first==1.5";
    let script = "import rmr_first\nGB('ShardsIDReader').map(lambda x: rmr_first.version).run()";
    let everywhere = "[[\"1.5\", \"1.5\", \"1.5\"], []]";
    let paths = || [0, 1, 2].map(|node| path_at(shards.node(node), name).expect("a path"));
    assert_eq!(show(&call(shards.node(0), &["RG.PYEXECUTE", script, "REQUIREMENTS", name])), everywhere);
    let first = paths();
    // Somebody has spoiled what is installed.
    for path in &first {
        fs::write(path.join("rmr_first.py"), "version = 'spoiled'\n").expect("written");
    }
    let words = ["RG.PYEXECUTE", script, "FORCE_REINSTALL_REQUIREMENTS", "REQUIREMENTS", name];
    assert_eq!(show(&call(shards.node(0), &words)), everywhere);
    for (before, after) in first.iter().zip(paths()) {
        assert!(*before != after && after.join("rmr_first.py").is_file(), "{before:?} {after:?}");
        eventually(Duration::from_secs(20), "the folder of before is removed", || !before.exists());
    }
}

#[test]
fn from_one_server_to_another() {
    let folder = Folder::new("export");
    let from = Servers::of(server().module_args(folder.arguments()).start());
    let script = "import rmr_second\nGB('ShardsIDReader').map(lambda x: rmr_second.version).run()";
    let words = ["RG.PYEXECUTE", script, "REQUIREMENTS", "rmr-second"];
    assert_eq!(from.reply(&words), "[[\"2.0\"], []]");
    let exported = call(from.first(), &["RG.PYEXPORTREQ", "rmr-second"]);
    let parts = elements(&exported);
    assert_eq!(parts.len(), 2, "{}", show(&exported));
    assert!(show(parts[0]).contains("\"rmr-second\""), "{}", show(parts[0]));
    let to = Servers::single();
    let mut import: Vec<Vec<u8>> = vec![b"RG.PYIMPORTREQ".to_vec()];
    for chunk in elements(parts[1]) {
        let head = chunk.iter().position(|&byte| byte == b'\n').expect("a bulk string") + 1;
        import.push(chunk[head..chunk.len() - 2].to_vec());
    }
    assert_eq!(to.reply(&import), "\"OK\"");
    assert_eq!(to.reply(&words), "[[\"2.0\"], []]");
    let whole = import[1..].concat();
    let cut = whole.len() - 1;
    let incompatible = "-Requirement version is not compatible, upgrade to newer RedisGears.";
    for (broken, text) in [
        (&b""[..], "-Bad serialization format on reading requirement version"),
        (&whole[..1], "-Bad serialization format on reading requirement os"),
        (&whole[..cut], "-Bad serialization format on reading wheel file data"),
        (b"junk", incompatible),
    ] {
        assert_eq!(to.reply(&[b"RG.PYIMPORTREQ".as_slice(), broken]), text);
    }
    // A wheel that is none: its first bytes are others.
    let zip = whole.windows(4).position(|bytes| bytes == b"PK\x03\x04").expect("a wheel");
    let spoiled = [&whole[..zip], b"JUNK", &whole[zip + 4..]].concat();
    for servers in [Servers::single(), Servers::cluster()] {
        let error = servers.reply(&[b"RG.PYIMPORTREQ".as_slice(), &spoiled]);
        assert_eq!(error, "-Failed install requirement on shard, check shard log for more info.", "{}", servers.kind);
        assert_eq!(servers.reply(&["RG.PYDUMPREQS"]), "[]", "{}: it is not kept", servers.kind);
    }
    let unknown = to.reply(&["RG.PYEXPORTREQ", "rmr-unknown"]);
    assert_eq!(unknown, "-requirement does not exists");
}

/// `RG.PYEXECUTE` says that the interpreter is missing, or lacks what it needs, and everything else works.
#[test]
fn without_an_interpreter() {
    let without = target_dir().join("no-such-python3").to_str().expect("a path in UTF-8").to_owned();
    let plain = Server::builder().module_args(["python".to_owned(), without.clone()]);
    let servers = Servers::of(plain.start());
    let error = servers.refusal("x = 1");
    assert!(error.contains(&without) && error.contains("rmr.python"), "{error}");
    assert_eq!(servers.first().reply("RMR.MAP COUNT MATCH *"), "0");
    assert_eq!(servers.reply(&["RG.DUMPEXECUTIONS"]), "[]");
}

/// A shard that joins later has no network, and gets the packages from the others with the registrations that need them.
#[test]
fn registrations_bring_their_packages_along() {
    let folder = Folder::new("late");
    let mut cluster = cluster().module_args(folder.arguments()).start();
    let script = "import rmr_first
def version(x):
    return rmr_first.version
GB('CommandReader').map(version).register(trigger='version', mode='async_local')";
    let words = ["RG.PYEXECUTE", script, "REQUIREMENTS", "rmr_first==1.5"];
    assert_eq!(show(&call(cluster.node(0), &words)), "+OK");
    for node in cluster.nodes() {
        assert_eq!(node.reply("RG.TRIGGER version"), r#"["1.5"]"#);
    }
    fs::remove_dir_all(&folder.0).expect("the wheels are gone");
    let late = cluster.add_node();
    let slot = slot_of(cluster.key_for(0, "k"));
    cluster.move_slot(slot, 0, late);
    eventually(Duration::from_secs(30), "the late shard has it", || {
        cluster.node(late).reply("RG.TRIGGER version") == r#"["1.5"]"#
    });
}
