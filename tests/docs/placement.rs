//! The pages about slots that processes share: what is shown is cut from the example, which `tests/placement/` runs, and the
//! tests exist that the census names.

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../docs/how-to/share-work-among-processes.md");
const CENSUS: &str = include_str!("../../docs/reference/placement-census.md");
const EXAMPLE: &str = include_str!("../../examples/member.rs");

/// Returns the lines of a text without what they are indented by.
fn trimmed(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

/// Returns the blocks of code of these languages.
fn blocks<'p>(page: &'p str, languages: &[&str]) -> Vec<&'p str> {
    let blocks = page.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.filter(|(language, _)| languages.contains(language)).map(|(_, code)| code).collect()
}

#[test]
fn the_code_of_the_page_is_that_of_the_example() {
    let example = trimmed(EXAMPLE);
    let shown = blocks(PAGE, &["rust", "lua"]);
    assert!(shown.len() >= 5, "{} blocks", shown.len());
    for block in shown {
        assert!(example.contains(trimmed(block).trim_end()), "not in examples/member.rs:\n{block}");
    }
}

/// Every option has its row, and every row is an option.
#[test]
fn the_options_of_the_page_are_those_that_there_are() {
    let source = include_str!("../../src/placement/member/options.rs");
    let options = source.split("    pub fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
    let mut options: Vec<&str> = options.filter(|name| !["new", "name"].contains(name)).collect();
    let rows = PAGE.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 4);
    let mut rows: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    options.sort_unstable();
    rows.sort_unstable();
    assert_eq!(rows, options);
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn the_census_is_whole_and_its_tests_exist() {
    let is_number = |word: &&str| word.starts_with('R') && word[1..].starts_with(|sign: char| sign.is_ascii_digit());
    let numbers: Vec<&str> = CENSUS.lines().filter_map(|line| line.split(' ').nth(1)).filter(is_number).collect();
    assert_eq!(numbers, (1..=35).map(|number| format!("R{number}")).collect::<Vec<_>>());

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["tests/placement", "src/placement"].map(|dir| sources(&root.join(dir))).concat();
    let text: String = files.iter().map(|file| fs::read_to_string(file).expect("a source")).collect();
    let cells = CENSUS.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.rsplit('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| !name.contains('/'));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 40, "{} tests", names.len());
    for name in names {
        assert!(text.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}
