//! README.md and the pages below `docs/`: what is typed there is run, each page is listed and can be read in one sitting, and links lead
//! to files and headings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::console::{self, sample};

/// Pages whose typed lines run here, each on a cluster of its own.
const RUN_HERE: [&str; 9] = [
    "explanation/guarantees.md",
    "how-to/from-scan-loops.md",
    "how-to/functions-on-events.md",
    "how-to/keys-by-pattern.md",
    "how-to/keyspace-events.md",
    "how-to/load-the-module.md",
    "how-to/long-jobs.md",
    "how-to/troubleshoot.md",
    "reference/commands",
];

/// Pages whose typed lines run in other tests.
const RUN_ELSEWHERE: [&str; 3] = ["tutorial.md", "how-to/monitor-with-prometheus.md", "how-to/run-rmr-proxy.md"];

/// Returns the folder of the pages.
pub fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Returns all pages: README.md, and those below `docs/`.
pub fn all() -> Vec<PathBuf> {
    let mut pages = pages_below(&docs());
    pages.push(docs().with_file_name("README.md"));
    pages
}

fn pages_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder of pages").map(|entry| entry.expect("an entry").path());
    let paths = entries.flat_map(|path| if path.is_dir() { pages_below(&path) } else { vec![path] });
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Returns all words of a text that begin so, in the letters that such names have.
pub fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '-';
    let words = text.split(|letter: char| !is_part(letter)).map(|word| word.trim_end_matches(['.', '-']));
    let is_named = |word: &&str| word.starts_with(prefix) && (word.len() > prefix.len() || !prefix.ends_with('.'));
    words.filter(is_named).map(str::to_owned).collect()
}

/// Returns where a page links to within the project: the file, and what stands behind `#`.
fn links(page: &Path) -> Vec<(PathBuf, Option<String>)> {
    let text = fs::read_to_string(page).expect("a page");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let within = targets.filter(|target| !target.contains("://"));
    let parted = within.map(|target| match target.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor.to_owned())),
        None => (target, None),
    });
    let of_page = |file: &str| if file.is_empty() { page.to_owned() } else { page.with_file_name(file) };
    parted.map(|(file, anchor)| (of_page(file), anchor)).collect()
}

/// Returns the anchors of a page's headings: lower case, hyphens for spaces, other signs left out.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).expect("a page");
    // Every other piece is a block of code, in which `#` begins no heading.
    let prose: String = text.split("```").step_by(2).collect();
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let sign = |letter: char| match letter {
        ' ' => Some('-'),
        letter if letter.is_alphanumeric() || letter == '-' || letter == '_' => Some(letter),
        _ => None,
    };
    headings.map(|heading| heading.to_lowercase().chars().filter_map(sign).collect()).collect()
}

/// Runs what is typed in a page of [`RUN_HERE`].
fn run(page: &str) {
    assert!(RUN_HERE.contains(&page));
    console::run(&fs::read_to_string(docs().join(page)).expect("a page"));
}

#[test]
fn the_page_of_guarantees_is_true() {
    run("explanation/guarantees.md");
}

#[test]
fn the_page_of_keys_by_pattern_is_true() {
    run("how-to/keys-by-pattern.md");
}

#[test]
fn the_page_for_those_who_scan_is_true() {
    run("how-to/from-scan-loops.md");
}

#[test]
fn the_page_of_loading_is_true() {
    run("how-to/load-the-module.md");
}

#[test]
fn the_page_of_long_jobs_is_true() {
    run("how-to/long-jobs.md");
}

#[test]
fn the_page_of_troubleshooting_is_true() {
    run("how-to/troubleshoot.md");
}

#[test]
fn events_come_as_the_page_says() {
    run("how-to/keyspace-events.md");
}

#[test]
fn functions_run_for_events_as_the_page_says() {
    run("how-to/functions-on-events.md");
}

#[test]
fn the_pages_of_commands_are_true() {
    let cluster = sample();
    let pages = pages_below(&docs().join("reference/commands"));
    let typed = pages.iter().map(|page| fs::read_to_string(page).expect("a page"));
    let typed: Vec<String> = typed.filter(|page| page.contains("```console")).collect();
    assert!(typed.len() > 4, "few pages show anything");
    typed.iter().for_each(|page| console::run_on(&cluster, page));
}

/// No page shows what nobody has tried.
#[test]
fn all_that_is_typed_is_run() {
    let typed = pages_below(&docs())
        .into_iter()
        .filter(|page| fs::read_to_string(page).expect("a page").contains("```console"));
    for page in typed {
        let name = page.strip_prefix(docs()).expect("a page");
        let is_run = RUN_HERE.iter().chain(&RUN_ELSEWHERE).any(|run| name.starts_with(run));
        assert!(is_run, "what is typed in {name:?} is not run");
    }
}

/// Everything that the header offers is on the page, and the module is loaded and unloaded as it says.
#[test]
fn the_page_of_the_c_api_names_all_functions() {
    let page = include_str!("../../docs/reference/c-api.md");
    let header = include_str!("../../include/rmr.h");
    // Functions that the header calls with the module's name are not for authors.
    let inner =
        ["RMR_Enter", "RMR_Leave", "RMR_AddReducer", "RMR_AddFlowStep", "RMR_CreateRequest", "RMR_CreateFlowRequest"];
    let pointers = header.split("(*RMR_").skip(1).filter_map(|rest| rest.split(')').next());
    let inline = header.lines().filter(|line| line.starts_with("RMR_INLINE "));
    let inline = inline.filter_map(|line| line.split('(').next()?.rsplit_once("RMR_").map(|(_, name)| name));
    for name in pointers.chain(inline).map(|name| format!("RMR_{name}")) {
        let is_callback = ["RMR_Merge", "RMR_Done"].contains(&name.as_str());
        let is_said =
            page.contains(&format!("`{name}`")) || (name.starts_with("RMR_Create") && page.contains("`RMR_Create...`"));
        assert!(is_callback || inner.contains(&name.as_str()) || is_said, "{name} is not on the page");
    }
}

#[test]
fn every_page_is_listed() {
    for list in ["README.md", "SUMMARY.md"].map(|list| docs().join(list)) {
        let listed: Vec<PathBuf> = links(&list).iter().filter_map(|(file, _)| file.canonicalize().ok()).collect();
        for page in pages_below(&docs()) {
            // The pages of commands are listed in the table of commands, and in the site's contents.
            let is_list = ["README.md", "SUMMARY.md"].iter().any(|name| page == docs().join(name));
            let is_of_command =
                page.parent().is_some_and(|dir| dir.ends_with("commands")) && list.ends_with("README.md");
            let is_listed = listed.contains(&page.canonicalize().expect("a page"));
            assert!(is_list || is_of_command || is_listed, "{page:?} is not in {list:?}");
        }
    }
}

#[test]
fn links_lead_to_files_and_headings() {
    for page in all() {
        for (file, anchor) in links(&page) {
            assert!(file.exists(), "{page:?} links to {file:?}");
            if let Some(anchor) = anchor {
                assert!(anchors(&file).contains(&anchor), "{page:?} links to {file:?}, which has no heading #{anchor}");
            }
        }
    }
}

#[test]
fn every_page_can_be_read_in_one_sitting() {
    for page in all() {
        let lines = fs::read_to_string(&page).expect("a page").lines().count();
        let most = if page.parent() == docs().parent() { 150 } else { 300 };
        assert!(lines <= most, "{page:?} has {lines} lines, more than {most}");
    }
}
