//! Keeps README.md honest: it names every command, setting and error, and no others; its tour is run, and what stands
//! there is what comes out; its Rust code is code that is compiled elsewhere.

use std::collections::BTreeSet;
use std::process::Command;

use crate::common::{Cluster, Server, error_text, eventually};
use crate::console::{Typed, check, redis_cli, sample, typed};
use redis::Value;

const README: &str = include_str!("../../README.md");

/// All words of the text that begin so, in the letters that such names have.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '-';
    let words = text.split(|letter: char| !is_part(letter)).map(|word| word.trim_end_matches(['.', '-']));
    words.filter(|word| word.starts_with(prefix) && word.len() > prefix.len()).map(str::to_owned).collect()
}

#[test]
fn every_command_is_described_and_no_other() {
    let server = Server::start();
    let known: Vec<String> = server.run(&["COMMAND", "LIST", "FILTERBY", "MODULE", "rmr"]);
    let known: BTreeSet<String> = known.iter().map(|name| name.to_uppercase()).collect();
    let (of_gears, known): (BTreeSet<String>, _) = known.into_iter().partition(|name| name.starts_with("RG."));
    assert_eq!(words(README, "RMR."), known);
    // Those of RedisGears have a page of their own.
    let page = include_str!("../../docs/reference/redisgears.md");
    let described: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("| `RG.")).map(name_after_rg).collect();
    assert_eq!(described, of_gears, "the table of the page");
    assert!(words(README, "RG.").is_subset(&of_gears));

    let rows: BTreeSet<String> = README.lines().filter_map(|line| line.strip_prefix("| `RMR.")).map(name_of).collect();
    assert_eq!(rows, known, "the table of commands");
}

fn name_after_rg(rest_of_row: &str) -> String {
    name_of(rest_of_row).replace("RMR.", "RG.")
}

fn name_of(rest_of_row: &str) -> String {
    let end = rest_of_row.find([' ', '`']).expect("the end of a name");
    format!("RMR.{}", &rest_of_row[..end])
}

/// The words that `COMMAND DOCS` shows for the options of a command stand in its row.
#[test]
fn the_options_of_the_commands_are_described() {
    let server = Server::start();
    for name in ["RMR.FANOUT", "RMR.MAP", "RMR.JOB", "RMR.BATCH", "RMR.EXEC", "RMR.SCAN"] {
        let rows = README.lines().filter(|line| line.starts_with(&format!("| `{name} ")));
        let row: String = rows.collect();
        let docs: Value = server.run(&["COMMAND", "DOCS", name]);
        let mut tokens = Vec::new();
        find_tokens(&docs, &mut tokens);
        assert!(tokens.len() > 2, "{tokens:?}");
        for token in tokens {
            assert!(row.contains(&token) || README.contains(&format!("`{token}`")), "{name} takes {token}");
        }
    }
}

/// The value after each `token` in the nested lists of `COMMAND DOCS`.
fn find_tokens(docs: &Value, tokens: &mut Vec<String>) {
    let Value::Array(elements) = docs else { return };
    for pair in elements.windows(2) {
        if let [Value::BulkString(name), Value::BulkString(token)] = pair
            && name == b"token"
        {
            tokens.push(String::from_utf8_lossy(token).into_owned());
        }
    }
    elements.iter().for_each(|element| find_tokens(element, tokens));
}

#[test]
fn every_setting_stands_there_with_its_default_and_its_range() {
    let server = Server::start();
    let pairs: Vec<(String, String)> = server.run(&["CONFIG", "GET", "rmr.*"]);
    let known: BTreeSet<String> = pairs.iter().map(|(name, _)| name.clone()).collect();
    let mut named = words(README, "rmr.");
    // A file.
    named.remove("rmr.h");
    assert_eq!(named, known);

    let rows: Vec<Vec<&str>> = README.lines().filter(|line| line.starts_with("| `rmr.")).map(cells).collect();
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

/// What the table allows is taken, and the number before and after it is not.
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
    let table = README.split("## Errors").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    assert_eq!(documented(table), documented(include_str!("../../src/error.rs")));
}

#[test]
fn its_rust_code_is_the_code_of_the_examples_and_the_documentation() {
    let blocks: Vec<&str> = README.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [module, client] = blocks[..] else { panic!("two blocks of Rust, not {}", blocks.len()) };
    assert!(include_str!("../../examples/sum.rs").ends_with(module), "the module is not examples/sum.rs");
    let as_doc: String = client.lines().map(|line| format!("//! {line}").trim_end().to_owned() + "\n").collect();
    assert!(include_str!("../../src/lib.rs").contains(&as_doc), "the client is not that of src/lib.rs");
}

/// The page for those who know rb shows code of an example, and that runs.
#[test]
fn the_page_for_users_of_rb_shows_code_that_runs() {
    let without_indent = |text: &str| text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    let example = without_indent(include_str!("../../examples/from_rb.rs"));
    let page = include_str!("../../docs/from-rb.md");
    let blocks: Vec<&str> = page.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 8, "no code was found");
    for block in blocks {
        assert!(example.contains(without_indent(block).trim_end()), "not in examples/from_rb.rs:\n{block}");
    }
    for name in words(page, "RMR.") {
        assert!(README.contains(&format!("| `{name}")), "{name} is no command");
    }
    let servers = rmr::testing::Servers::start(3);
    let hosts: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    let output =
        Command::new(crate::common::example_bin("from_rb")).args(hosts).output().expect("a program that can be run");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for line in ["foo is 1", "twice foo is 2", "3 values", "2 hosts answered", "host 0 has", "Some([1, 2]), true"] {
        assert!(printed.contains(line), "no '{line}' in {printed}");
    }
}

#[test]
fn the_tour_is_true() {
    let cluster = sample();
    let typed = typed(README);
    assert!(typed.len() > 10, "no tour was found");
    for Typed { line, output } in typed {
        if let Some(command) = line.strip_prefix("127.0.0.1:7001> ") {
            check(&redis_cli(&cluster, command), &output, &line);
        } else {
            run_shell(&cluster, &line);
            assert!(output.is_empty(), "{line} prints nothing");
        }
    }
}

/// The shell lines of the tour: the cluster has other ports here, and its processes are stopped by their ids.
fn run_shell(cluster: &Cluster, line: &str) {
    let node = |address: &str| &cluster.nodes()[usize::from(address.as_bytes()[address.len() - 1] - b'1')];
    if let Some(address) = line.strip_prefix("$ pkill -STOP -f ") {
        node(address).stop_signal();
    } else if let Some(address) = line.strip_prefix("$ pkill -CONT -f ") {
        node(address).cont_signal();
        eventually(std::time::Duration::from_secs(5), "the node answers again", || {
            node(address).try_run::<()>(&["PING"]).is_ok()
        });
    } else {
        assert_eq!(line, "$ redis-cli -3 -p 7001");
    }
}
