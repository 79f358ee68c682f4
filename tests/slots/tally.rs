//! Counts the answers to questions: how often each was answered rightly, by which errors, and wrongly.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The most wrong answers that are kept in their own words.
const MOST_SHOWN: usize = 5;

/// The answer to one question, asked once.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The truth.
    Right,
    /// An error, as it stands on the wire.
    Error(String),
    /// The connection to the asked node broke, or could not be made.
    Broken,
    /// Neither: there must be none.
    Wrong(String),
}

/// The answers to one question, counted.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub right: usize,
    /// By kind, with how often each came and the last one.
    pub errors: BTreeMap<String, (usize, String)>,
    pub broken: usize,
    pub wrong: usize,
    /// The time that right answers took, together.
    pub took: Duration,
    /// Some of the wrong answers.
    pub shown: Vec<String>,
}

/// The counts of all questions, by their names.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, Counts>>);

impl Tally {
    /// Adds an answer of the node at this address.
    pub fn add(&self, question: &'static str, node: &str, answer: Answer, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = all.entry(question).or_default();
        match answer {
            Answer::Right => {
                counts.right += 1;
                counts.took += took;
            }
            Answer::Broken => counts.broken += 1,
            Answer::Error(line) => {
                let (count, last) = counts.errors.entry(kind(&line)).or_default();
                *count += 1;
                *last = line;
            }
            Answer::Wrong(what) => {
                counts.wrong += 1;
                if counts.shown.len() < MOST_SHOWN {
                    counts.shown.push(format!("asked {node}: {what}"));
                }
            }
        }
    }

    /// Returns the number of wrong answers so far.
    pub fn wrong(&self) -> usize {
        self.all().values().map(|counts| counts.wrong).sum()
    }

    /// Returns the outcomes of each question so far.
    pub fn all(&self) -> BTreeMap<&'static str, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks that no answer was wrong, and no error of another kind than these.
    #[track_caller]
    pub fn assert_sound(&self, allowed: &[&str]) {
        let all = self.all();
        let wrong: Vec<&String> = all.values().flat_map(|counts| &counts.shown).collect();
        assert!(wrong.is_empty(), "{} wrong answers, among them:\n{wrong:#?}\n{self}", self.wrong());
        for (question, counts) in &all {
            for (kind, (count, last)) in &counts.errors {
                let is_allowed = allowed.iter().any(|allowed| kind.starts_with(allowed));
                assert!(is_allowed, "{count} times {question} was answered by {kind}, at last:\n{last}\n{self}");
            }
        }
    }
}

impl fmt::Display for Tally {
    /// Returns a line for each question, and for each kind of error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (question, Counts { right, errors, broken, wrong, took, .. }) in self.all() {
            let mean = took.checked_div(right as u32).unwrap_or_default();
            let count: usize = errors.values().map(|(count, _)| count).sum();
            let kinds: Vec<String> = errors.iter().map(|(kind, (count, _))| format!("{count} {kind}")).collect();
            let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
            writeln!(
                f,
                "  {question:<32} {right:>6} right ({:>4} ms) {wrong:>4} wrong {broken:>4} broken {count:>5} errors{kinds}",
                mean.as_millis()
            )?;
        }
        for (kind, (_, last)) in self.all().into_values().flat_map(|counts| counts.errors).collect::<BTreeMap<_, _>>() {
            writeln!(f, "  the last {kind}: {last}")?;
        }
        Ok(())
    }
}

/// Returns the kind of an error: its first word, and for an error of a shard the shard's first word, too.
fn kind(line: &str) -> String {
    let first = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    let text = line.strip_prefix('-').unwrap_or(line);
    match text.strip_prefix("RMRSHARD ").and_then(|rest| rest.split_once(": ")) {
        Some((_, words)) => format!("RMRSHARD {}", first(words)),
        None => first(text),
    }
}
