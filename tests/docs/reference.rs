//! The pages below `docs/reference/` say what the module says of itself: commands, settings, errors, fields of `INFO rmr`.

use std::collections::BTreeSet;
use std::fs;

use redis::Value;

use crate::common::{Server, error_text};
use crate::pages::{self, docs, words};

/// Returns the text of a page below `docs/reference/`.
fn reference(page: &str) -> String {
    fs::read_to_string(docs().join("reference").join(page)).expect("a page")
}

/// Returns the names that a table has in its first column, each within backquotes.
fn names_in_rows(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `").or_else(|| line.strip_prefix("| [`")));
    rows.map(|row| row.split(['`', ' ']).next().expect("a name").to_owned()).collect()
}

#[test]
fn every_command_has_a_page_and_no_other_is_named() {
    let server = Server::start();
    let known: Vec<String> = server.run(&["COMMAND", "LIST", "FILTERBY", "MODULE", "rmr"]);
    let known: BTreeSet<String> = known.iter().map(|name| name.to_uppercase()).collect();
    let (of_gears, known): (BTreeSet<String>, _) = known.into_iter().partition(|name| name.starts_with("RG."));
    assert_eq!(names_in_rows(&reference("commands.md")), known, "the table of commands");
    let rows: BTreeSet<String> = names_in_rows(&reference("redisgears.md"));
    let rows: BTreeSet<String> = rows.into_iter().filter(|name| name.starts_with("RG.")).collect();
    assert_eq!(rows, of_gears, "the table of the commands of RedisGears");

    let files = fs::read_dir(docs().join("reference/commands")).expect("pages of commands");
    let files = files.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let files: BTreeSet<String> =
        files.map(|name| format!("RMR.{}", name.trim_end_matches(".md").to_uppercase())).collect();
    assert_eq!(files, known, "the pages of commands");
    for page in pages::all() {
        let text = fs::read_to_string(&page).expect("a page");
        let mut unknown: BTreeSet<String> = words(&text, "RMR.").difference(&known).cloned().collect();
        // Only rmr-proxy has it.
        unknown.remove("RMR.READS");
        assert!(unknown.is_empty(), "{page:?} names {unknown:?}");
        // The pages about RedisGears itself also name commands of its own that rmr lacks.
        let is_about_gears = page.file_name().is_some_and(|name| name.to_string_lossy().contains("redisgears"));
        assert!(
            is_about_gears || words(&text, "RG.").is_subset(&of_gears),
            "{page:?} names commands that are not there"
        );
    }
}

/// A page begins with what `COMMAND DOCS` says: summary, arguments, complexity, version. The page and the table of commands share the
/// summary.
#[test]
fn the_pages_of_commands_say_what_command_docs_says() {
    let server = Server::start();
    let table = reference("commands.md");
    for name in names_in_rows(&table) {
        let docs: Value = server.run(&["COMMAND", "DOCS", &name]);
        let docs = &elements(&docs)[1];
        let says = |what: &str| text(field(docs, what).unwrap_or_else(|| panic!("{name} has no {what}")));
        let arguments = field(docs, "arguments").map(elements).unwrap_or_default();
        let syntax: Vec<String> = std::iter::once(name.clone()).chain(arguments.iter().map(syntax)).collect();
        let expected = format!(
            "# {name} {} ```text {} ``` **Complexity:** {} **Since:** {} ",
            says("summary"),
            syntax.join(" "),
            says("complexity"),
            says("since")
        );
        let file = format!("commands/{}.md", name.trim_start_matches("RMR.").to_lowercase());
        let page = reference(&file).split_whitespace().collect::<Vec<_>>().join(" ") + " ";
        assert!(page.starts_with(&expected), "{file} does not begin with:\n{expected}\nbut with:\n{page:.800}");
        let row = format!("| [`{name}`]({file}) | {} |", says("summary"));
        assert!(table.contains(&row), "no row in the table of commands: {row}");
    }
}

/// Returns how an argument is written. Reducers have a page of their own.
fn syntax(argument: &Value) -> String {
    let is = |what: &str, wanted: &str| field(argument, what).map(text).is_some_and(|found| found == wanted);
    let flags: Vec<String> = field(argument, "flags").map(elements).unwrap_or_default().iter().map(text).collect();
    let is_optional = flags.iter().any(|flag| flag == "optional");
    let token = field(argument, "token").map(text);
    let name = field(argument, "name").map(text).expect("a name");
    let inner =
        || field(argument, "arguments").map(elements).unwrap_or_default().iter().map(syntax).collect::<Vec<_>>();
    let value = if is("type", "pure-token") {
        None
    } else if name.starts_with("reducer") {
        Some("reducer".to_owned())
    } else if is("type", "oneof") {
        let choices = inner();
        match (choices.iter().any(|choice| choice.contains(' ')), is_optional) {
            (false, _) => Some(choices.join("|")),
            (true, true) => Some(choices.join(" | ")),
            (true, false) => Some(format!("({})", choices.join(" | "))),
        }
    } else if is("type", "block") {
        Some(inner().join(" "))
    } else {
        Some(name)
    };
    let mut written = [token, value].into_iter().flatten().collect::<Vec<_>>().join(" ");
    if flags.iter().any(|flag| flag.starts_with("multiple")) {
        written = format!("{written} [{written} ...]");
    }
    if is_optional { format!("[{written}]") } else { written }
}

/// Returns the value behind a name in a flat list of names and values.
fn field<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    elements(list).chunks_exact(2).find(|pair| text(&pair[0]) == name).map(|pair| &pair[1])
}

fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(elements) => elements,
        other => panic!("no array: {other:?}"),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        other => panic!("no text: {other:?}"),
    }
}

#[test]
fn every_setting_stands_there_with_its_default_and_its_range() {
    let server = Server::start();
    let page = reference("settings.md");
    let pairs: Vec<(String, String)> = server.run(&["CONFIG", "GET", "rmr.*"]);
    let known: BTreeSet<String> = pairs.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(words(&page, "rmr."), known);
    for page in pages::all() {
        let mut named = words(&fs::read_to_string(&page).expect("a page"), "rmr.");
        // Files.
        named.retain(|name| !["rmr.h", "rmr.conf"].contains(&name.as_str()));
        let unknown: Vec<&String> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{page:?} names {unknown:?}");
    }

    let rows: Vec<Vec<&str>> = page.lines().filter(|line| line.starts_with("| `rmr.")).map(cells).collect();
    for (name, default) in &pairs {
        let row = rows.iter().find(|row| row[0].contains(&format!("`{name}`")));
        let [_, shown, allowed, meaning, ..] = row.unwrap_or_else(|| panic!("{name} has no row"))[..] else {
            panic!("{name}")
        };
        let default = if default.is_empty() { "empty".to_owned() } else { format!("`{default}`") };
        assert_eq!(shown, default, "the default of {name}");
        if meaning.contains("At load time only.") {
            let refusal = server.try_run::<()>(&["CONFIG", "SET", name, "2"]).expect_err("it is for load time only");
            assert!(error_text(&refusal).contains("immutable"), "{name}: {}", error_text(&refusal));
        } else {
            check_range(&server, name, allowed);
        }
    }
}

fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// Checks that what the table allows is taken, and the number before and after it is not.
fn check_range(server: &Server, name: &str, allowed: &str) {
    let takes = |value: &str| server.try_run::<()>(&["CONFIG", "SET", name, value]).is_ok();
    let numbers: Vec<i64> = allowed.split(' ').filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [least] => assert!(takes(&least.to_string()) && !takes(&(least - 1).to_string()), "{name}"),
        [least, most] => {
            assert!(takes(&least.to_string()) && !takes(&(least - 1).to_string()), "{name}");
            assert!(takes(&most.to_string()) && !takes(&(most + 1).to_string()), "{name}");
        }
        _ if allowed.contains("`, `") => {
            let refusal = server.try_run::<()>(&["CONFIG", "SET", name, "bogus"]).expect_err("no such word");
            assert!(error_text(&refusal).contains(&allowed.replace('`', "")), "{}", error_text(&refusal));
        }
        _ => {}
    }
}

/// The table of errors is that of the crate's documentation.
#[test]
fn every_error_prefix_stands_there_and_no_other() {
    let documented = |text: &str| -> BTreeSet<String> {
        let rows = text.lines().filter_map(|line| line.trim_start_matches("//! ").strip_prefix("| `"));
        let prefixes = rows.filter_map(|row| row.split('`').next()).filter(|prefix| !prefix.contains(['.', ' ']));
        prefixes.filter(|prefix| prefix.chars().all(|letter| letter.is_ascii_uppercase())).map(str::to_owned).collect()
    };
    let table = documented(&reference("errors.md"));
    assert_eq!(table, documented(include_str!("../../src/error.rs")));
    let page = fs::read_to_string(docs().join("how-to/troubleshoot.md")).expect("a page");
    for prefix in table.iter().filter(|prefix| *prefix != "RMRCANCELLED") {
        assert!(words(&page, prefix).contains(prefix), "the page of troubleshooting says nothing of {prefix}");
    }
}

#[test]
fn every_field_of_info_stands_there_and_no_other() {
    let server = Server::start();
    server.run::<()>(&["RMR.PING"]);
    let info: String = server.run(&["INFO", "rmr"]);
    let fields: BTreeSet<String> =
        info.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect();
    assert!(fields.len() > 40, "{info}");
    assert_eq!(names_in_rows(&reference("info.md")), fields);
}
