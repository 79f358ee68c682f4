//! Measures distributed commands side by side with what clients can do without them.
//!
//! `cargo bench --bench rmr` starts clusters with the module and measures, in interleaved rounds, each case of [`cases`]
//! through each way of having it done:
//!
//! - through the module: one command to one node, by the client of [`client`];
//! - the same, to a node where `rmr.pushdown` is on;
//! - by hand: the same client, with the keys grouped by node beforehand, one connection and one pipelined write a node;
//! - by the cluster client of the `redis` crate ([`crate_client`]), in the best way that it has.
//!
//! Every answer is checked; a wrong one ends the run. The output is Markdown: a table of medians over the rounds, how
//! to read it, and what it says about the module in comparison.
//!
//! # Arguments and environment
//!
//! - `--quick`: fewer and shorter rounds.
//! - `--only-module`: without the others, as for a profile of the module.
//! - `--aims`: with each comparison, the figure that was once aimed at, and whether it is met.
//! - `--million`: in addition, work over a pattern with ten times the keys.
//! - `--list`: the names of the cases.
//! - any other word: only cases whose name contains it.
//! - `REDIS_SERVER`: the server binary. `RMR_MODULE`: a module to load in place of the one built here.
//!
//! # Layout
//!
//! - [`cases`]: what is measured, as a table. New cases are new rows.
//! - [`data`]: keys and values, and who owns them.
//! - [`request`]: a request, encoded, with the answer it must get.
//! - [`client`] on [`wire`] and [`poll`]: the minimal client.
//! - [`crate_client`]: the `redis` crate.
//! - [`ping`]: how long other clients of a shard wait meanwhile.
//! - [`instructions`] on [`valgrind`]: what a request costs where no clock disturbs, under valgrind if it is there.
//! - [`flow`]: work over all keys that match a pattern, against a client that scans, and against scripts.
//! - [`gears`]: functions in Python on the servers, against the same work in Python by hand.
//! - [`proxy`]: `rmr-proxy`, against nutcracker and against no proxy.
//! - [`placement`]: plain servers with a configuration node: copies, moves, failures.
//! - [`mapping`]: ten thousand commands over many plain hosts, against the Python library rb.
//! - [`rounds`], [`cpu`]: measuring. [`report`], [`comparison`]: printing.

mod cases;
mod client;
mod comparison;
mod cpu;
mod crate_client;
mod data;
mod flow;
mod gears;
mod instructions;
mod mapping;
mod ping;
mod placement;
mod poll;
mod proxy;
mod report;
mod request;
mod rounds;
mod valgrind;
mod wire;

#[path = "../../tests/common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::process::ExitCode;

use cases::{Case, On};
use data::Data;
use rounds::{Effort, Sample};

/// The reason why a run stopped: a broken connection, a wrong answer.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let mut effort = Effort::full();
    let mut filters = Vec::new();
    let mut has_million = false;
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            // Cargo adds this one.
            "--bench" => {}
            "--quick" => effort = Effort { only_module: effort.only_module, aims: effort.aims, ..Effort::quick() },
            "--million" => has_million = true,
            "--aims" => effort.aims = true,
            "--only-module" => effort.only_module = true,
            "--list" => {
                cases::all().iter().for_each(|case| println!("{}", case.name()));
                [ping::NAME, instructions::NAME].iter().for_each(|name| println!("{name}"));
                flow::all().iter().for_each(|case| println!("{}", case.name()));
                println!("{}", flow::MILLION);
                gears::all().iter().for_each(|case| println!("{}", case.name()));
                [gears::CALLS, gears::SMALL, gears::EVENTS].iter().for_each(|name| println!("{name}"));
                mapping::all().iter().for_each(|case| println!("{}", case.name()));
                println!("{}", proxy::NAME);
                placement::all().iter().for_each(|case| println!("{}", case.name));
                return ExitCode::SUCCESS;
            }
            option if option.starts_with('-') => {
                eprintln!(
                    "unknown option {option}; known are --quick, --only-module, --aims, --million, --list and parts of names of cases"
                );
                return ExitCode::FAILURE;
            }
            filter => filters.push(filter.to_uppercase()),
        }
    }
    let is_wanted = |name: String| {
        let name = name.to_uppercase();
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
    };
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| is_wanted(case.name())).collect();
    let flows: Vec<flow::Case> = flow::all().into_iter().filter(|case| is_wanted(case.name())).collect();
    let functions: Vec<gears::Case> = gears::all().into_iter().filter(|case| is_wanted(case.name())).collect();
    let mappings: Vec<mapping::Case> = mapping::all().into_iter().filter(|case| is_wanted(case.name())).collect();
    let mut placements: Vec<placement::Case> = placement::all().into();
    placements.retain(|case| is_wanted(case.name.to_owned()));
    let run_all = || {
        run(&cases, &effort)?;
        if is_wanted(ping::NAME.to_owned()) {
            ping::run(&effort)?;
        }
        if is_wanted(instructions::NAME.to_owned()) {
            instructions::run(&effort)?;
        }
        flow::run(&flows, &effort)?;
        if has_million && is_wanted(flow::MILLION.to_owned()) {
            flow::run_million(&effort)?;
        }
        let [calls, small, events] = [gears::CALLS, gears::SMALL, gears::EVENTS].map(|name| is_wanted(name.to_owned()));
        gears::run(&functions, gears::Wanted { calls, small, events }, &effort)?;
        mapping::run(&mappings, &effort)?;
        if is_wanted(proxy::NAME.to_owned()) {
            proxy::run(&effort)?;
        }
        placement::run(&placements, &effort)?;
        Ok::<(), Failure>(())
    };
    match run_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("the benchmark was given up: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(cases: &[Case], effort: &Effort) -> Result<(), Failure> {
    let clusters: BTreeSet<On> = cases.iter().map(|case| case.on).collect();
    let mut measured = Vec::new();
    for on in clusters {
        let cluster = match rounds::start(on) {
            Ok(cluster) => cluster,
            Err(why) => {
                println!("{}: left out, since the server refuses it: {why}\n", on.name());
                continue;
            }
        };
        let data = Data::fill(&cluster)?;
        let cases: Vec<&Case> = cases.iter().filter(|case| case.on == on).collect();
        report::heading(&cluster, on, &cases, effort);
        let samples: Vec<Sample> = rounds::measure(&cluster, &data, &cases, effort)?;
        report::table(&samples);
        measured.extend(samples);
    }
    comparison::print(&measured, effort);
    println!();
    Ok(())
}
