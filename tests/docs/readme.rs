//! README.md and the tutorial: what is typed there comes out, and Rust code of the pages is code that is compiled elsewhere.

use std::process::Command;

use crate::common::{Cluster, eventually};
use crate::console::{Typed, check, redis_cli, sample, typed};
use crate::pages::words;

/// Returns the Rust code of a page.
fn rust_blocks(page: &str) -> Vec<&str> {
    page.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn rust_code_is_the_code_of_the_examples_and_the_documentation() {
    let [module] = rust_blocks(include_str!("../../docs/how-to/write-a-module.md"))[..] else { panic!("one block") };
    assert!(include_str!("../../examples/sum.rs").ends_with(module), "the module is not examples/sum.rs");
    let [client] = rust_blocks(include_str!("../../docs/how-to/use-the-client.md"))[..] else { panic!("one block") };
    let as_doc: String = client.lines().map(|line| format!("//! {line}").trim_end().to_owned() + "\n").collect();
    assert!(include_str!("../../src/lib.rs").contains(&as_doc), "the client is not that of src/lib.rs");
}

/// The page for those who know rb shows code of an example, and that runs.
#[test]
fn the_page_for_users_of_rb_shows_code_that_runs() {
    let without_indent = |text: &str| text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    let example = without_indent(include_str!("../../examples/from_rb.rs"));
    let page = include_str!("../../docs/how-to/from-rb.md");
    let blocks = rust_blocks(page);
    assert!(blocks.len() > 8, "no code was found");
    for block in blocks {
        assert!(example.contains(without_indent(block).trim_end()), "not in examples/from_rb.rs:\n{block}");
    }
    let commands = words(include_str!("../../docs/reference/commands.md"), "RMR.");
    assert!(words(page, "RMR.").is_subset(&commands));
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
fn the_readme_is_true() {
    run_tour(include_str!("../../README.md"));
}

#[test]
fn the_tour_is_true() {
    run_tour(include_str!("../../docs/tutorial.md"));
}

/// Types what a page has into redis-cli, and checks what comes out.
fn run_tour(page: &str) {
    let cluster = sample();
    let typed = typed(page);
    assert!(typed.len() > 5, "no tour was found");
    for Typed { line, output } in typed {
        if let Some(command) = line.strip_prefix("127.0.0.1:7001> ") {
            check(&redis_cli(&cluster, command), &output, &line);
        } else {
            run_shell(&cluster, &line);
            assert!(output.is_empty(), "{line} prints nothing");
        }
    }
}

/// Runs the shell lines of the tour: the cluster has other ports here, and its processes are stopped by their ids.
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
