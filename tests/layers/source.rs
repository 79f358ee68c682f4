//! A source tree as modules: what each declares, what it brings into scope, which paths it names, and so which file uses
//! which.
//!
//! A name is followed through re-exports to the file that defines it. A parent that merely passes on what its children
//! define does not depend on them; one that names it in its own code does, and then its children may not use it.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{Token, production, tokens};

/// Files by their path below `src/`, with their text.
pub type Files = BTreeMap<String, String>;

/// The names that lead to a module from the root of the crate.
type Path = Vec<String>;

/// One name that a `use` brings into scope; the name `*` stands for all that the module at `path` has.
struct Import {
    name: String,
    path: Path,
    is_public: bool,
}

#[derive(Default)]
struct Module {
    file: String,
    items: BTreeSet<String>,
    imports: Vec<Import>,
    /// Paths in code, and words that stand alone.
    paths: Vec<Path>,
    words: BTreeSet<String>,
}

/// The modules of a crate.
pub struct Source {
    modules: BTreeMap<Path, Module>,
    /// By name of a type, where it is declared.
    pub types: BTreeMap<String, Vec<String>>,
}

/// The place that a path leads to.
enum Place {
    Module(Path),
    Item(Path),
}

impl Source {
    pub fn read(files: &Files) -> Self {
        let parsed: BTreeMap<&String, _> = files.iter().map(|(file, text)| (file, production(&tokens(text)))).collect();
        let tests: BTreeSet<Path> = parsed
            .iter()
            .flat_map(|(file, parsed)| parsed.test_modules.iter().map(|name| child(&module_of(file), name)))
            .collect();
        let mut source = Self { modules: BTreeMap::new(), types: BTreeMap::new() };
        for (file, parsed) in &parsed {
            let path = module_of(file);
            if !(0..=path.len()).any(|length| tests.contains(&path[..length])) {
                Reader { source: &mut source, file, module: path }.read(&parsed.tokens);
            }
        }
        source
    }

    /// Returns which file uses which others.
    pub fn arrows(&self) -> BTreeSet<(String, String)> {
        let mut arrows = BTreeSet::new();
        for (path, module) in &self.modules {
            let imported =
                module.imports.iter().filter(|import| !import.is_public || module.words.contains(&import.name));
            for named in imported.map(|import| &import.path).chain(&module.paths) {
                let Some(Place::Item(owner)) = self.find(path, named, 0) else { continue };
                let target = &self.modules[&owner].file;
                if *target != module.file {
                    arrows.insert((module.file.clone(), target.clone()));
                }
            }
        }
        arrows
    }

    /// Follows a path from a module; none for one that leads out of the crate. `depth` ends what goes round in a circle.
    fn find(&self, from: &[String], path: &[String], depth: usize) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => Place::Module(Vec::new()),
            "self" => Place::Module(from.to_vec()),
            "super" => Place::Module(from.split_last()?.1.to_vec()),
            name => self.member(from, name, depth)?,
        };
        let mut place = start;
        for name in rest {
            place = match place {
                Place::Module(module) if name == "super" => Place::Module(module.split_last()?.1.to_vec()),
                // All of a module: whoever takes that depends on the module.
                Place::Module(module) if name == "*" => Place::Item(module),
                Place::Module(module) => self.member(&module, name, depth).unwrap_or(Place::Item(module)),
                item => return Some(item),
            };
        }
        Some(place)
    }

    /// Finds a name of a module: a module below it, an item of its own, or what it brings into scope.
    fn member(&self, module: &[String], name: &str, depth: usize) -> Option<Place> {
        let below = child(module, name);
        if self.modules.contains_key(&below) {
            return Some(Place::Module(below));
        }
        let here = self.modules.get(module)?;
        if here.items.contains(name) {
            return Some(Place::Item(module.to_vec()));
        }
        if depth > 8 {
            return None;
        }
        let named = here.imports.iter().filter(|import| import.name == name);
        let globs = here.imports.iter().filter(|import| import.name == "*");
        let through_glob =
            |import: &Import| match self.find(module, &import.path[..import.path.len() - 1], depth + 1)? {
                Place::Module(other) => self.member(&other, name, depth + 1),
                Place::Item(_) => None,
            };
        named
            .filter(|import| import.path.first().is_none_or(|first| first != name))
            .find_map(|import| self.find(module, &import.path, depth + 1))
            .or_else(|| globs.filter_map(through_glob).next())
    }
}

fn child(module: &[String], name: &str) -> Path {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// Returns the module that a file is: `engine/mod.rs` is `engine`, `engine/map.rs` is `engine::map`.
fn module_of(file: &str) -> Path {
    let names = file.trim_end_matches(".rs").split('/').filter(|name| !matches!(*name, "mod" | "lib"));
    names.map(str::to_owned).collect()
}

/// Reads one file into the modules.
struct Reader<'a> {
    source: &'a mut Source,
    file: &'a str,
    module: Path,
}

/// The kind of a block that a brace has opened.
enum Block {
    Module,
    /// An `impl` or a trait: a `type` in it is a part of that.
    Members,
    Code,
}

impl Reader<'_> {
    fn read(&mut self, tokens: &[Token]) {
        let mut blocks = Vec::new();
        let mut statement = 0;
        let mut here = 0;
        self.module();
        while here < tokens.len() {
            let next = tokens.get(here + 1).filter(|token| token.is_word()).map(|token| token.0.clone());
            match tokens[here].0.as_str() {
                "use" => {
                    let end = here + tokens[here..].iter().take_while(|token| !token.is(";")).count();
                    let is_public = tokens[statement..here].iter().any(|token| token.is("pub"));
                    self.import(&tokens[here + 1..end], Vec::new(), is_public);
                    here = end;
                    continue;
                }
                "{" => {
                    let block = opened_by(&tokens[statement..here]);
                    if let Block::Module = block {
                        self.module.push(tokens[here - 1].0.clone());
                        self.module();
                    }
                    blocks.push(block);
                }
                "}" => {
                    if let Some(Block::Module) = blocks.pop() {
                        self.module.pop();
                    }
                }
                word @ ("struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static") => {
                    let is_outside = blocks.iter().all(|block| matches!(block, Block::Module));
                    let is_type = match word {
                        "type" => !matches!(blocks.last(), Some(Block::Members)),
                        other => matches!(other, "struct" | "enum" | "union" | "trait"),
                    };
                    if let Some(name) = next {
                        if is_outside {
                            self.module().items.insert(name.clone());
                        }
                        let is_union = word == "union" && !tokens.get(here + 2).is_some_and(|token| token.is("{"));
                        if is_type && !is_union {
                            self.source.types.entry(name).or_default().push(self.file.to_owned());
                        }
                        here += 2;
                        continue;
                    }
                }
                "macro_rules" => {
                    if let Some(name) = tokens.get(here + 2) {
                        self.module().items.insert(name.0.clone());
                    }
                }
                _ if tokens[here].is_word() => {
                    let path = path_at(&tokens[here..]);
                    let is_first = here == 0 || !(tokens[here - 1].is("::") || tokens[here - 1].is("."));
                    if is_first {
                        self.module().words.insert(path[0].clone());
                    }
                    here += path.len() * 2 - 1;
                    if is_first && path.len() > 1 {
                        self.module().paths.push(path);
                    }
                    continue;
                }
                _ => {}
            }
            if matches!(tokens[here].0.as_str(), ";" | "{" | "}") {
                statement = here + 1;
            }
            here += 1;
        }
    }

    /// Returns the module that is being read, and makes it if it is new.
    fn module(&mut self) -> &mut Module {
        let module = self.source.modules.entry(self.module.clone()).or_default();
        module.file = self.file.to_owned();
        module
    }

    /// Reads what stands behind `use`, or a part of it: `a::{b, c::{d as e, *}}`.
    fn import(&mut self, tokens: &[Token], mut path: Path, is_public: bool) {
        let mut here = 0;
        while let Some(token) = tokens.get(here).filter(|token| token.is_word() || token.is("*")) {
            path.push(token.0.clone());
            here += if tokens.get(here + 1).is_some_and(|token| token.is("::")) { 2 } else { 1 };
            if !tokens[here - 1].is("::") {
                break;
            }
        }
        if tokens.get(here).is_some_and(|token| token.is("{")) {
            for part in parts(&tokens[here + 1..tokens.len() - 1]) {
                self.import(part, path.clone(), is_public);
            }
            return;
        }
        let renamed = tokens.get(here).filter(|token| token.is("as")).and_then(|_| tokens.get(here + 1));
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if let Some(name) = renamed.map(|token| token.0.clone()).or_else(|| path.last().cloned()) {
            self.module().imports.push(Import { name, path, is_public });
        }
    }
}

/// Splits at the commas that stand in no braces.
fn parts(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0;
    let parts = tokens.split(|token| {
        depth += i32::from(token.is("{")) - i32::from(token.is("}"));
        depth == 0 && token.is(",")
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// Returns the names of the path that begins here: one at least.
fn path_at(tokens: &[Token]) -> Path {
    let mut path = vec![tokens[0].0.clone()];
    while let [colons, word, ..] = &tokens[path.len() * 2 - 1..]
        && colons.is("::")
        && word.is_word()
    {
        path.push(word.0.clone());
    }
    path
}

/// Tells from what stands in front of a brace what it opens.
fn opened_by(statement: &[Token]) -> Block {
    let mut words = statement.iter().map(|token| token.0.as_str());
    match words
        .find(|word| matches!(*word, "mod" | "impl" | "trait" | "fn" | "struct" | "enum" | "match" | "let" | "="))
    {
        Some("mod") => Block::Module,
        Some("impl" | "trait") => Block::Members,
        _ => Block::Code,
    }
}
