//! A sum that never changes, asked for again and again while the cluster under it does.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::cluster::Cluster;
use super::figures::text_of;
use super::load::while_repeating;
use super::server::Server;
use super::wire::Wire;

/// Longer than any request may take, so that one which hangs fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// Numbers all over a cluster, whose sum is known.
pub struct ConstantTotal {
    keys: Vec<String>,
    total: i64,
}

/// The answers to a loop of requests for the sum.
#[derive(Default)]
pub struct Answers {
    /// The number of times that the true sum came.
    pub right: usize,
    /// Every error, as it came; what broke a connection too.
    pub errors: Vec<String>,
    /// Everything else: there must be none.
    pub wrong: Vec<String>,
}

impl ConstantTotal {
    /// Puts `count` numbers into the cluster, no two of them the same.
    pub fn fill(cluster: &Cluster, count: usize) -> Self {
        let keys: Vec<String> = (0..count).map(|number| format!("total:{number}")).collect();
        Self::fill_keys(cluster, keys)
    }

    /// Puts a number under each of these keys, no two of them the same.
    pub fn fill_keys(cluster: &Cluster, keys: Vec<String>) -> Self {
        let number = |index: usize| (index * index + 1) as i64;
        cluster.fill(keys.len(), |index| (keys[index].clone(), number(index).to_string()));
        let total = (0..keys.len()).map(number).sum();
        Self { keys, total }
    }

    /// Returns the keys.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Asks a node for the sum, on a connection of its own.
    pub fn ask(&self, node: &Server) -> String {
        text_of(&node.wire().call(&self.command()))
    }

    /// Returns whether a node gives the true sum now.
    pub fn is_right_on(&self, node: &Server) -> bool {
        self.is_right(&self.ask(node))
    }

    /// Asks all of these nodes all the time, while something is done to the cluster.
    ///
    /// # Panics
    ///
    /// At the end, if any answer was neither the true sum nor an error.
    pub fn ask_while<R>(&self, nodes: &[&Server], meanwhile: impl FnOnce() -> R) -> (R, Answers) {
        let answers = Mutex::new(Answers::default());
        let begin = |node: &&Server| {
            let port = node.port();
            let mut wire = None;
            let answers = &answers;
            move || self.one_turn(port, &mut wire, answers)
        };
        let result = while_repeating(nodes, begin, meanwhile);
        let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        assert!(answers.wrong.is_empty(), "the sum is {}, but: {:?}", self.total, answers.wrong);
        (result, answers)
    }

    fn one_turn(&self, port: u16, wire: &mut Option<Wire>, answers: &Mutex<Answers>) {
        let answer = match wire {
            Some(open) => open.try_call(&self.command()),
            None => Wire::try_connect(port, PATIENCE).and_then(|open| wire.insert(open).try_call(&self.command())),
        };
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answer.as_deref().map(text_of) {
            Ok(text) if self.is_right(&text) => answers.right += 1,
            Ok(text) if text.starts_with('-') => answers.errors.push(text),
            Ok(text) => answers.wrong.push(text),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                answers.wrong.push(format!("no answer from port {port} within {PATIENCE:?}"));
                *wire = None;
            }
            // A node that becomes a replica throws its waiting clients out.
            Err(error) => {
                answers.errors.push(error.to_string());
                *wire = None;
            }
        }
    }

    fn is_right(&self, text: &str) -> bool {
        *text == format!(":{}", self.total)
    }

    fn command(&self) -> Vec<&str> {
        let keys = self.keys.iter().map(String::as_str);
        ["RMR.SUM"].into_iter().chain(keys).collect()
    }
}
