//! The first words of comments and of their sentences: they name what is spoken of, and are no questions.

use std::path::Path;

use super::read;
use super::source::Files;

/// The words with which no sentence of a comment begins, nor a doc comment, nor the text below `# Errors`.
const QUESTIONS: [&str; 7] = ["What", "Who", "Whose", "Why", "How", "Whether", "Which"];

/// The last characters of a line behind which a sentence begins.
const ENDS: [char; 4] = ['.', ':', '!', '?'];

/// Returns the lines of comments in which a sentence begins so, each with its number.
fn questions(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = |at: usize| match at.checked_sub(1).and_then(|before| words_of(lines[before])) {
        None | Some("") => true,
        Some(before) => before.starts_with('#') || before.ends_with(ENDS),
    };
    let is_question = |word: &str| QUESTIONS.contains(&word);
    let has_question = |at: usize| {
        let Some(line) = words_of(lines[at]) else { return false };
        let words: Vec<&str> = line.split(' ').collect();
        (is_question(words[0]) && begins(at))
            || words.windows(2).any(|pair| pair[0].ends_with(ENDS) && is_question(pair[1]))
    };
    (0..lines.len()).filter(|&at| has_question(at)).map(|at| (at + 1, lines[at])).collect()
}

/// Returns the words of a line of a comment.
fn words_of(line: &str) -> Option<&str> {
    let words = ["///", "//!", "//"].iter().find_map(|mark| line.strip_prefix(mark));
    words.map(str::trim)
}

#[test]
fn no_sentence_of_a_comment_begins_as_a_question() {
    let mut files = Files::new();
    for folder in ["src", "proxy", "module/src", "rg", "model", "tests", "benches", "examples"] {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &format!("{folder}/"), &mut files);
    }
    let found: Vec<String> = files
        .iter()
        .flat_map(|(file, text)| questions(text).into_iter().map(move |(at, line)| format!("{file}:{at}: {line}")))
        .collect();
    assert!(found.is_empty(), "name what is spoken of:\n{}", found.join("\n"));
}

#[test]
fn a_question_is_found_where_a_sentence_begins() {
    let text = "//! What a node says.\n\n/// Returns this. Who knows\n/// What is left.\n///\n/// # Errors\n/// Why not.\nfn f() {}\n    // It goes.\n    // How it goes.\nlet what = 1; // Who\n";
    let found = [
        (1, "//! What a node says."),
        (3, "/// Returns this. Who knows"),
        (7, "/// Why not."),
        (10, "// How it goes."),
    ];
    assert_eq!(questions(text), found);
}
