//! Rust as a row of words: comments and literals are left out, and so is what is compiled for tests only.
//!
//! That is as much of the language as the rules need, and less than a parser for all of it would ask of whoever reads them.

/// A word, `::`, or a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(pub String);

impl Token {
    pub fn is(&self, text: &str) -> bool {
        self.0 == text
    }

    pub fn is_word(&self) -> bool {
        self.0.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// Splits a file into its tokens.
pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\n');
    let is_in_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut here = 0;
    while here < chars.len() {
        let start = here;
        here = match (at(here), at(here + 1)) {
            ('/', '/') => past(&chars, here, "\n"),
            ('/', '*') => past(&chars, here, "*/"),
            ('r', '"' | '#') | ('b', 'r') if raw_string(&chars, here).is_some() => {
                raw_string(&chars, here).expect("it was just found")
            }
            ('b', '"') => string(&chars, here + 1),
            ('"', _) => string(&chars, here),
            ('\'', '\\') => past(&chars, here + 3, "'"),
            ('\'', _) if at(here + 2) == '\'' => here + 3,
            // A lifetime; its name is no name of an item.
            ('\'', _) => here + 1 + chars[here + 1..].iter().take_while(|c| is_in_word(**c)).count(),
            (':', ':') => here + 2,
            (c, _) if is_in_word(c) => here + chars[here..].iter().take_while(|c| is_in_word(**c)).count(),
            _ => here + 1,
        };
        let text: String = chars[start..here.min(chars.len())].iter().collect();
        let is_code = !text.starts_with("//") && !text.starts_with("/*") && !text.contains(['"', '\'']);
        if is_code && !text.trim().is_empty() {
            tokens.push(Token(text));
        }
    }
    tokens
}

/// Returns the index behind the next `end`.
fn past(chars: &[char], from: usize, end: &str) -> usize {
    let end: Vec<char> = end.chars().collect();
    let found = (from..chars.len()).find(|index| chars[*index..].starts_with(&end));
    found.map_or(chars.len(), |index| index + end.len())
}

/// Returns the index behind the string that begins here.
fn string(chars: &[char], quote: usize) -> usize {
    let mut here = quote + 1;
    while here < chars.len() && chars[here] != '"' {
        here += if chars[here] == '\\' { 2 } else { 1 };
    }
    here + 1
}

/// Returns the index behind the raw string that begins here, if one does.
fn raw_string(chars: &[char], from: usize) -> Option<usize> {
    let marks = from + if chars[from] == 'b' { 2 } else { 1 };
    let count = chars[marks..].iter().take_while(|c| **c == '#').count();
    let end = format!("\"{}", "#".repeat(count));
    (chars.get(marks + count) == Some(&'"')).then(|| past(chars, marks + count + 1, &end))
}

/// The part of a file that is not code for tests.
pub struct Production {
    pub tokens: Vec<Token>,
    /// Modules that only tests have, which are files of their own.
    pub test_modules: Vec<String>,
}

/// Takes out each item with `#[cfg(test)]`, `#[cfg(all(test, ...))]`, or what fuzzing has besides.
pub fn production(tokens: &[Token]) -> Production {
    let mut found = Production { tokens: Vec::new(), test_modules: Vec::new() };
    let mut here = 0;
    while here < tokens.len() {
        if !is_for_tests(&tokens[here..]) {
            found.tokens.push(tokens[here].clone());
            here += 1;
            continue;
        }
        let item = &tokens[here..];
        let end = end_of_item(item);
        if let Some(name) = item[..end].windows(3).find(|row| row[0].is("mod") && row[2].is(";")) {
            found.test_modules.push(name[1].0.clone());
        }
        here += end;
    }
    found
}

fn is_for_tests(tokens: &[Token]) -> bool {
    let begins = |row: &[&str]| tokens.len() > row.len() && row.iter().zip(tokens).all(|(text, token)| token.is(text));
    [&["test"][..], &["fuzzing"], &["all", "(", "test"], &["any", "(", "test", ",", "fuzzing", ")"]]
        .iter()
        .any(|condition| begins(&[&["#", "[", "cfg", "("], *condition].concat()))
}

/// Returns how many tokens the item that begins here has: up to a `;` or the end of a block, outside of all brackets.
fn end_of_item(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.0.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && (token.is(";") || token.is("}")) {
            return index + 1;
        }
    }
    tokens.len()
}
