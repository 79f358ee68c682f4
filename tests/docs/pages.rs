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
