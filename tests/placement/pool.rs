//! Workers as processes of their own: the example `member`.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use rmr::placement::slot::{SlotFunc, SlotHash};
use rmr::testing::{Process, ScratchDir, Server, eventually};

use crate::common::example_bin;
use crate::group::{LIMIT, ask, number, url};

/// The number of slots that the example has.
pub const SLOTS: u16 = 64;

/// The time after which a worker is given up, in milliseconds.
pub const TIMEOUT_MS: u64 = 1500;

/// A worker, and what it has printed.
pub struct Worker {
    pub id: String,
    pub process: Process,
    output: PathBuf,
    _dir: ScratchDir,
}

impl Worker {
    /// Starts a worker.
    pub fn start(server: &Server, id: &str, copies: usize) -> Self {
        let dir = ScratchDir::new();
        let output = dir.path().join("output");
        let file = File::create(&output).expect("a file");
        let mut program = Command::new(example_bin("member"));
        program.args(["work", &url(server), id, &TIMEOUT_MS.to_string(), &copies.to_string()]);
        program.stdout(file.try_clone().expect("a file")).stderr(file);
        let process = Process::spawn(&mut program, dir.path());
        Self { id: id.to_owned(), process, output, _dir: dir }
    }

    /// Returns what it has printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).expect("its output")
    }

    /// Waits until it has printed a line that ends so.
    #[track_caller]
    pub fn await_line(&self, end: &str) {
        let has_line = || self.output().lines().any(|line| line.ends_with(end));
        eventually(LIMIT, &format!("{} prints '{end}'", self.id), has_line);
    }
}

/// Puts a job into the list of its slot, which it returns.
pub fn push(server: &Server, job: &str) -> u16 {
    let slot = SlotFunc::new(SlotHash::Sha1, SLOTS).expect("slots").slot(job.as_bytes());
    number(server, &["RPUSH", &format!("jobs:{slot}"), job]);
    slot
}

/// Returns who serves each slot, the primary first.
pub fn holders(server: &Server) -> Vec<Vec<String>> {
    let one = |slot: u16| {
        let text: Option<String> = ask(server, &["HGET", "{rmr:pool}:slots", &slot.to_string()]);
        let words: Vec<String> = text.iter().flat_map(|text| text.split(' ')).map(str::to_owned).collect();
        words.into_iter().step_by(2).collect()
    };
    (0..SLOTS).map(one).collect()
}

/// Waits until these workers, and nobody else, serve all slots in as many copies as there ought to be.
#[track_caller]
pub fn settled(server: &Server, ids: &[&str], copies: usize) {
    let mut ids: Vec<&str> = ids.to_vec();
    ids.sort_unstable();
    let is_settled = || {
        let mut members: Vec<String> = ask(server, &["HKEYS", "{rmr:pool}:members"]);
        members.sort_unstable();
        let wanted = copies.min(ids.len());
        members == ids && holders(server).iter().all(|holders| is_full(holders, &ids, wanted))
    };
    eventually(LIMIT, "the workers have settled", is_settled);
}

fn is_full(holders: &[String], ids: &[&str], wanted: usize) -> bool {
    let is_once = |(place, id): (usize, &String)| !holders[..place].contains(id) && ids.contains(&id.as_str());
    holders.len() == wanted && holders.iter().enumerate().all(is_once)
}

/// Returns how often each job was done.
pub fn done(server: &Server) -> Vec<i64> {
    ask(server, &["HVALS", "done"])
}
