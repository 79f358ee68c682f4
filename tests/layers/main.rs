//! The floors of the house: which folder of `src/` may use which, without a circle, and one name for one thing.
//!
//! The files are read as text, as they are: no server, no compiler. Its reader is in `source.rs`, its questions are in
//! `rules.rs`, and `proofs.rs` shows that each rule finds what it is there for.

mod proofs;
mod rules;
mod source;
mod tokens;
mod words;

use std::fs;
use std::path::Path;

use rules::{Finding, findings};
use source::Files;

fn read(dir: &Path, below: &str, files: &mut Files) {
    for entry in fs::read_dir(dir).expect("a folder of src") {
        let path = entry.expect("an entry").path();
        let name = format!("{below}{}", path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8"));
        if path.is_dir() {
            read(&path, &format!("{name}/"), files);
        } else if name.ends_with(".rs") {
            files.insert(name, fs::read_to_string(&path).expect("a file of src"));
        }
    }
}

fn tree() -> Files {
    let mut files = Files::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    files
}

#[test]
fn the_floors_hold() {
    let found = findings(&tree());
    let lines: Vec<String> = found.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}
