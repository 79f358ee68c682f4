//! The first words of doc comments: each says what the item is or does, and does not begin as a question.

use std::path::Path;

use super::read;
use super::source::Files;

/// The words with which no doc comment begins, nor what stands below `# Errors`.
const QUESTIONS: [&str; 6] = ["What", "Who", "Whose", "Why", "How", "Whether"];

/// Returns the lines that begin so, each with its number.
fn questions(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = |at: usize| match at.checked_sub(1).and_then(|before| words_of(lines[before])) {
        None | Some("# Errors") => true,
        Some(_) => false,
    };
    let is_question = |line: &str| {
        let first = words_of(line).and_then(|words| words.split(' ').next());
        first.is_some_and(|word| QUESTIONS.contains(&word))
    };
    let found = lines.iter().enumerate().filter(|(at, line)| is_question(line) && begins(*at));
    found.map(|(at, line)| (at + 1, *line)).collect()
}

/// Returns the words of a line of a doc comment.
fn words_of(line: &str) -> Option<&str> {
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).map(str::trim)
}

#[test]
fn no_doc_comment_begins_with_a_question() {
    let mut files = Files::new();
    for folder in ["src", "proxy", "module/src", "rg", "model", "tests", "benches", "examples"] {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &format!("{folder}/"), &mut files);
    }
    let found: Vec<String> = files
        .iter()
        .flat_map(|(file, text)| questions(text).into_iter().map(move |(at, line)| format!("{file}:{at}: {line}")))
        .collect();
    assert!(found.is_empty(), "say what it is or does:\n{}", found.join("\n"));
}

#[test]
fn a_question_is_found_where_a_comment_begins() {
    let text = "//! What a node says.\n\n/// Returns this.\n/// What is left.\n///\n/// # Errors\n/// Why not.\nfn f() {}\n    /// How it goes.\n// Who knows.\n";
    assert_eq!(questions(text), [(1, "//! What a node says."), (7, "/// Why not."), (9, "/// How it goes.")]);
}
