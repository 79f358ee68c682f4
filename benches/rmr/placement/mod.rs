//! Plain servers with a configuration node, behind `rmr-proxy --placement`: what copies cost, what moves cost, and how long
//! clients wait when something fails.
//!
//! - [`speed`]: reads and writes beside nutcracker and one server, two copies beside one, and a write that is forwarded
//! - [`moves`]: very many keys move, and a big value does, beside `MIGRATE`
//! - [`failures`]: a data node is killed or stopped, a proxy is killed
//! - [`scrub`]: copies of suspect slots are made equal
//! - [`pure`]: plans, tables and routes, without anything that is served
//! - [`world`]: what is started; [`traffic`]: clients that write down how long they have waited

mod failures;
mod moves;
mod pure;
mod scrub;
mod speed;
mod traffic;
mod world;

use crate::Failure;
use crate::rounds::Effort;

/// One measurement: its name as filters see it, and what does it.
pub struct Case {
    pub name: &'static str,
    run: fn(&Effort) -> Result<(), Failure>,
}

/// Returns all measurements.
pub fn all() -> [Case; 6] {
    [
        Case { name: "placement: reads and writes, by proxy", run: speed::run },
        Case { name: "placement: keys move", run: moves::run_keys },
        Case { name: "placement: a big value moves", run: moves::run_big_value },
        Case { name: "placement: failures", run: failures::run },
        Case { name: "placement: scrub", run: scrub::run },
        Case { name: "placement: plan, table, route", run: pure::run },
    ]
}

/// Measures, and prints.
pub fn run(cases: &[Case], effort: &Effort) -> Result<(), Failure> {
    cases.iter().try_for_each(|case| (case.run)(effort).map_err(|failure| format!("{}: {failure}", case.name).into()))
}
