//! The program that does the work by hand, in a Python of its own below the target directory.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::Case;
use crate::Failure;
use crate::common::{Cluster, functions_python, target_dir};

/// Runs as long as this value lives.
pub struct Hand {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Hand {
    /// Starts it, with the interpreter that runs the functions.
    pub fn start(cluster: &Cluster) -> Result<Self, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = target_dir().join("python-hiredis");
        let made = Command::new(root.join("scripts/python.sh"))
            .env("PYTHON", functions_python())
            .arg(&dir)
            .args(["redis==6.4.0", "hiredis==3.2.1"])
            .output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).trim().to_owned().into());
        }
        let mut child = Command::new(dir.join("bin/python3"))
            .arg("-B")
            .arg(root.join("benches/rmr/gears_by_hand.py"))
            .args(cluster.primaries().iter().map(|node| node.port().to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take().ok_or("no input")?, child.stdout.take().ok_or("no output")?);
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// Does the work of a case once; returns the time by its own clock.
    pub fn run(&mut self, case: Case) -> Result<Duration, Failure> {
        writeln!(self.input, "{}", case.job)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let (seconds, outcome) = line.trim().split_once(' ').ok_or("the program by hand has ended")?;
        let expected = (case.expected)();
        if outcome != expected {
            return Err(format!("{}, by hand: {outcome} where {expected} is right", case.name()).into());
        }
        Ok(Duration::from_secs_f64(seconds.parse()?))
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
