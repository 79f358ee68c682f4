//! Reads the part of a page between ```` ```console ```` and ```` ``` ````: lines that are typed, and what comes out, on a
//! cluster whose nodes have the ports 7001 to 7003 there and others here. Between ```` ```python ```` and ```` ``` ```` stand
//! files, whose names are their first lines.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{Cluster, Server, eventually, functions_python, slot_of};

/// The prompt of redis-cli.
const PROMPT: &str = "127.0.0.1:7001> ";

/// The longest that functions may take that run by themselves: machines are busy.
const PATIENCE: Duration = Duration::from_secs(40);

/// A line that was typed, with its prompt, and what came out.
pub struct Typed {
    pub line: String,
    pub output: Vec<String>,
}

/// Returns all that is typed in a page.
pub fn typed(page: &str) -> Vec<Typed> {
    let mut typed: Vec<Typed> = Vec::new();
    let blocks = page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    for line in blocks.flat_map(str::lines) {
        if line.starts_with(PROMPT) || line.starts_with("$ ") {
            typed.push(Typed { line: line.to_owned(), output: Vec::new() });
        } else {
            typed.last_mut().expect("a prompt first").output.push(line.to_owned());
        }
    }
    typed
}

/// Returns the Python files of a page, with their names: the comment in the first line, as in `# stats.py`.
pub fn files(page: &str) -> Vec<(String, String)> {
    let blocks = page.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next());
    let file = |block: &str| {
        let name = block.lines().next()?.strip_prefix("# ").filter(|name| name.ends_with(".py"))?;
        Some((name.to_owned(), block.to_owned()))
    };
    blocks.filter_map(file).collect()
}

/// Returns the cluster of the tour, with its data.
pub fn sample() -> Cluster {
    let cluster = Cluster::builder()
        .module_args(["python".to_owned(), functions_python(), "gears".to_owned(), "on".to_owned()])
        .start();
    // Where redis-cli draws the line between the second and the third shard.
    cluster.move_slot(10922, 2, 1);
    for line in include_str!("../../scripts/sample-data.redis").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        cluster.node(cluster.owner_of(slot_of(words[1]))).run::<()>(&words);
    }
    cluster
}

/// Checks that what came out is what is shown.
pub fn check(got: &str, shown: &[String], line: &str) {
    let (got, shown) = comparable(got, shown);
    assert_eq!(got, shown, "{line}");
}

fn is_shown(got: &str, shown: &[String]) -> bool {
    let (got, shown) = comparable(got, shown);
    got == shown
}

/// Returns what came out and what is shown, both without the parts that differ each time.
fn comparable(got: &str, shown: &[String]) -> (Vec<String>, Vec<String>) {
    // redis-cli says how long what took long has taken.
    let is_time = |line: &&str| line.starts_with('(') && line.ends_with("s)") && line.contains('.');
    let got = got.lines().filter(|line| !is_time(line));
    let got: Vec<String> = got.map(|line| without_chance(line.trim_end())).collect();
    (got, shown.iter().map(|line| without_chance(line)).collect())
}

/// Tells whether a line only looks at what functions have done meanwhile: it is run again until it shows what the page does.
fn only_looks(shell: &str) -> bool {
    let words = [" GET ", " HGET ", " XLEN ", " RMR.MAP COUNT MATCH "];
    !shell.contains("=$(") && words.iter().any(|word| shell.contains(word))
}

/// Runs all that is typed in a page, on a cluster with the data of the tour.
pub fn run(page: &str) {
    run_on(&sample(), page);
}

/// Runs all that is typed in a page on this cluster.
pub fn run_on(cluster: &Cluster, page: &str) {
    let folder = Folder::new(&format!("page-{}", cluster.node(0).port()));
    for (name, text) in files(page) {
        fs::write(folder.0.join(name), text).expect("a file");
    }
    let sh = |lines: &str| sh(cluster, &folder.0, lines);
    let typed = typed(page);
    assert!(!typed.is_empty(), "nothing is typed in the page");
    let mut variables = String::new();
    for Typed { line, output } in typed {
        let Some(shell) = line.strip_prefix("$ ") else {
            let command = line.strip_prefix(PROMPT).expect("a prompt");
            check(&redis_cli(cluster, command), &output, &line);
            continue;
        };
        if let Some((name, value)) = shell.split_once("=$(").filter(|_| shell.ends_with(')')) {
            // Once, and not again for each line that names it.
            let value = sh(&format!("{variables}printf %s \"$({value}\""));
            assert!(!value.contains('\''), "{line}: {value}");
            variables += &format!("{name}='{value}'\n");
            continue;
        }
        if !shell.starts_with("redis-cli ") {
            variables += &format!("{shell}\n");
        }
        let lines = format!("{variables}{shell}");
        let mut got = sh(&lines);
        if only_looks(shell) && !is_shown(&got, &output) {
            eventually(PATIENCE, &format!("{line} shows {output:?}"), || {
                got = sh(&lines);
                is_shown(&got, &output)
            });
        }
        check(&got, &output, &line);
    }
}

/// A folder that is removed when the test is over, and that functions may use, too.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rmr-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("a folder for all");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind harms no test.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs lines of a shell in a folder.
fn sh(cluster: &Cluster, folder: &Path, lines: &str) -> String {
    let real = |lines: String, (index, node): (usize, &Server)| {
        lines.replace(&format!("-p {}", 7001 + index), &format!("-p {}", node.port()))
    };
    let lines = cluster.nodes().iter().enumerate().fold(lines.to_owned(), real);
    let output = Command::new("sh").args(["-c", &lines]).current_dir(folder).output().expect("a shell");
    String::from_utf8(output.stdout).expect("text")
}

/// Types a line into redis-cli at the first node.
pub fn redis_cli(cluster: &Cluster, line: &str) -> String {
    let ports: Vec<(String, String)> = cluster.nodes().iter().enumerate().map(port_pair).collect();
    let line = ports.iter().fold(line.to_owned(), |line, (shown, real)| line.replace(shown, real));
    let mut cli = Command::new("redis-cli")
        .args(["-3", "--no-raw", "-p", &cluster.node(0).port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli, which comes with the server");
    cli.stdin.take().expect("its input").write_all(line.as_bytes()).expect("redis-cli reads");
    let output = cli.wait_with_output().expect("redis-cli ends");
    let output = String::from_utf8(output.stdout).expect("text");
    ports.iter().fold(output, |output, (shown, real)| output.replace(real, shown)).trim_end().to_owned()
}

fn port_pair((index, node): (usize, &Server)) -> (String, String) {
    (format!("127.0.0.1:{}", 7001 + index), node.address())
}

/// Returns the line without what differs from cluster to cluster and from moment to moment: ids, ages, and how many shapes of the
/// cluster a node has seen, which depends on when it has looked while the cluster was formed.
fn without_chance(line: &str) -> String {
    for by_chance in ["\"age-ms\" => (integer) ", "\"epoch\" => (integer) "] {
        if let Some((before, number)) = line.split_once(by_chance) {
            assert!(number.parse::<u64>().is_ok(), "{line}");
            return format!("{before}{by_chance}(some)");
        }
    }
    let is_id = |word: &str| matches!(word.len(), 8 | 40) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words: Vec<&str> = line.split_inclusive(['"', '@', ' ']).collect();
    let cut =
        |word: &&str| if is_id(word.trim_end_matches(['"', '@'])) { "(id)".to_owned() } else { (*word).to_owned() };
    words.iter().map(cut).collect()
}
