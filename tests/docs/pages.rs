//! The pages below `docs/`: what is typed there is run, each page is in the list of pages, and links lead to files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::console;

/// The folder of the pages.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// All pages below a folder.
fn pages(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder of pages").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] }).collect()
}

/// Where a page links to within the project, without what stands behind `#`.
fn links(page: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(page).expect("a page");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let within = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    within.map(|target| page.parent().expect("a folder").join(target.split('#').next().unwrap_or_default())).collect()
}

#[test]
fn the_page_of_guarantees_is_true() {
    console::run(include_str!("../../docs/explanation/guarantees.md"));
}

#[test]
fn the_page_of_keys_by_pattern_is_true() {
    console::run(include_str!("../../docs/how-to/keys-by-pattern.md"));
}

#[test]
fn the_page_of_long_jobs_is_true() {
    console::run(include_str!("../../docs/how-to/long-jobs.md"));
}

#[test]
fn events_come_as_the_page_says() {
    console::run(include_str!("../../docs/how-to/keyspace-events.md"));
}

#[test]
fn functions_run_for_events_as_the_page_says() {
    console::run(include_str!("../../docs/how-to/functions-on-events.md"));
}

/// Everything that the header offers is on the page, and the module is loaded and unloaded as it says.
#[test]
fn the_page_of_the_c_api_names_all_functions() {
    let page = include_str!("../../docs/reference/c-api.md");
    let header = include_str!("../../include/rmr.h");
    // What the functions of the header call with the module's name is not for authors.
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
fn every_page_is_listed_and_links_lead_somewhere() {
    let list = docs().join("README.md");
    let listed: Vec<PathBuf> = links(&list).iter().filter_map(|link| link.canonicalize().ok()).collect();
    for page in pages(&docs()) {
        assert!(page == list || listed.contains(&page.canonicalize().expect("a page")), "{page:?} is not in {list:?}");
        for link in links(&page) {
            assert!(link.exists(), "{page:?} links to {link:?}");
        }
    }
}
