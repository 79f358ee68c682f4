//! Servers on which functions run: one without a cluster, and a cluster of three shards.

use std::thread;
use std::time::Duration;

use crate::common::{
    Cluster, ClusterBuilder, Server, ServerBuilder, Wire, elements, eventually, functions_python, show,
};

/// The longest that a reply may take: workers are niced, and machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time that a function has for which the server waits, in ms. Workers are niced: with the default of a second a busy machine
/// would end some of them. Tests of that limit set one of their own.
const SYNC_TIMEOUT: (&str, &str) = ("rmr.sync-timeout-ms", "20000");

/// Returns what starts a server whose functions run in the interpreter of the tests, and that keeps registrations, whatever
/// its version.
pub fn server() -> ServerBuilder {
    let (name, value) = SYNC_TIMEOUT;
    Server::builder().module_args(arguments()).config(name, value)
}

fn arguments() -> [String; 4] {
    ["python".to_owned(), functions_python(), "gears".to_owned(), "on".to_owned()]
}

/// Returns what starts three shards of that kind.
pub fn cluster() -> ClusterBuilder {
    let (name, value) = SYNC_TIMEOUT;
    Cluster::builder().module_args(arguments()).config(name, value)
}

/// Servers, of which the first is asked.
pub struct Servers {
    pub kind: &'static str,
    own: Owned,
}

enum Owned {
    Cluster(Cluster),
    Single([Server; 1]),
}

/// The answer to a script that has run a flow.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Bulk strings without quotes; all else as [`show`] shows it.
    pub results: Vec<String>,
    pub errors: Vec<String>,
}

impl Servers {
    /// Starts a server without a cluster.
    pub fn single() -> Self {
        Self::of(server().start())
    }

    /// Takes a server that stands alone.
    pub fn of(server: Server) -> Self {
        Self { kind: "a single server", own: Owned::Single([server]) }
    }

    /// Starts a cluster of three shards.
    pub fn cluster() -> Self {
        Self::of_cluster(cluster().start())
    }

    /// Takes a cluster of three shards.
    pub fn of_cluster(cluster: Cluster) -> Self {
        Self { kind: "three shards", own: Owned::Cluster(cluster) }
    }

    /// Starts three shards that think no node failed for as long as a test takes.
    pub fn patient_cluster() -> Self {
        let patient = cluster().node_timeout(Duration::from_secs(60));
        Self { kind: "three shards", own: Owned::Cluster(patient.start()) }
    }

    /// Starts one of each kind, at the same time.
    pub fn both() -> [Self; 2] {
        thread::scope(|scope| {
            let cluster = scope.spawn(Self::cluster);
            [Self::single(), cluster.join().expect("three shards")]
        })
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self.own, Owned::Cluster(_))
    }

    /// Returns the cluster.
    pub fn as_cluster(&self) -> &Cluster {
        match &self.own {
            Owned::Cluster(cluster) => cluster,
            Owned::Single(_) => panic!("there is no cluster"),
        }
    }

    /// Returns the server that is asked.
    pub fn first(&self) -> &Server {
        &self.nodes()[0]
    }

    /// Returns all servers.
    pub fn nodes(&self) -> &[Server] {
        match &self.own {
            Owned::Cluster(cluster) => cluster.nodes(),
            Owned::Single(server) => server,
        }
    }

    /// Runs a command, typed with blanks between its words and with `'` around words that have some, where its key is.
    #[track_caller]
    pub fn at_owner(&self, line: &str) -> String {
        let words = words_of(line);
        let reply = self.first().wire().reply_to(&[vec!["RMR.EXEC".to_owned()], words].concat());
        assert!(!reply.starts_with('-'), "{}: {line}: {reply}", self.kind);
        reply
    }

    /// Sends words to the first server; returns what it replies, as [`show`] shows it.
    #[track_caller]
    pub fn reply<A: AsRef<[u8]>>(&self, words: &[A]) -> String {
        show(&call(self.first(), words))
    }

    /// Runs a script with a flow at the first server.
    #[track_caller]
    pub fn run(&self, script: &str) -> Answer {
        run_at(self.first(), script)
    }

    /// Returns the results of a flow that has no errors, in their order.
    #[track_caller]
    pub fn ordered(&self, script: &str) -> Vec<String> {
        let answer = self.run(script);
        assert!(answer.errors.is_empty(), "{}: {script}\n{:?}", self.kind, answer.errors);
        answer.results
    }

    /// Returns the results of a flow that has no errors, sorted, since shards answer in any order.
    #[track_caller]
    pub fn results(&self, script: &str) -> Vec<String> {
        let mut results = self.ordered(script);
        results.sort();
        results
    }

    /// Returns the one result of a flow.
    #[track_caller]
    pub fn result(&self, script: &str) -> String {
        let results = self.ordered(script);
        assert_eq!(results.len(), 1, "{}: {script}: {results:?}", self.kind);
        results.into_iter().next().unwrap_or_default()
    }

    /// Returns the value of an expression, as Python shows it, evaluated in a step at the first server.
    #[track_caller]
    pub fn value(&self, expression: &str) -> String {
        self.value_after("", expression)
    }

    /// Returns the value of an expression in a step of a script that begins so.
    #[track_caller]
    pub fn value_after(&self, script: &str, expression: &str) -> String {
        self.result(&format!("{script}\n{}", one_record(&format!(".map(lambda x: repr(({expression})))"))))
    }

    /// Runs a script without a flow at the first server.
    #[track_caller]
    pub fn ok(&self, script: &str) {
        assert_eq!(self.reply(&["RG.PYEXECUTE", script]), "+OK", "{}: {script}", self.kind);
    }

    /// Returns the error that a script is answered.
    #[track_caller]
    pub fn refusal(&self, script: &str) -> String {
        let reply = self.reply(&["RG.PYEXECUTE", script]);
        assert!(reply.starts_with('-'), "{}: {script}: {reply}", self.kind);
        reply
    }

    /// Lets scripts of [`WAITS`] end.
    pub fn go(&self) {
        self.ok("execute('SET', 'go{%s}' % hashtag(), 1)");
    }

    /// Lets the scripts of [`WAITS`] that begin from now on wait again.
    pub fn stop(&self) {
        self.ok("execute('DEL', 'go{%s}' % hashtag())");
    }

    /// Waits until [`ENDLESS`] runs on all shards: an execution whose code has not begun would be aborted, not done.
    pub fn await_loops(&self) {
        eventually(PATIENCE, "all shards run the loop", || {
            self.nodes().iter().all(|node| node.reply("KEYS loops*") != "[]")
        });
    }

    /// Begins an execution that the client does not wait for; returns its id.
    #[track_caller]
    pub fn begin(&self, script: &str) -> String {
        let reply = self.reply(&["RG.PYEXECUTE", script, "UNBLOCKING"]);
        assert!(reply.starts_with('"'), "{}: {script}: {reply}", self.kind);
        reply.trim_matches('"').to_owned()
    }
}

/// Returns a script whose one record is the number 1, at the first server only, and which goes on with these steps.
pub fn one_record(steps: &str) -> String {
    format!("GB('PythonReader'){steps}.run(lambda: (x for x in [1]), mode='async_local')")
}

/// Returns a script whose records are the items of an expression, at the first server only.
pub fn records(items: &str, steps: &str) -> String {
    format!("GB('PythonReader'){steps}.run(lambda: (x for x in {items}), mode='async_local')")
}

/// A script that runs until the key `go` is there ([`Servers::go`]), at the first server only.
pub const WAITS: &str = "
import time
def f(x):
    while not execute('EXISTS', 'go{%s}' % hashtag()):
        time.sleep(0.01)
    return x
GB('PythonReader').map(f).run(lambda: (i for i in [1]), mode='async_local')";

/// A script that runs on all shards and never ends by itself.
pub const ENDLESS: &str = "
def f(x):
    execute('SET', 'loops{%s}' % hashtag(), x)
    while True:
        x += 1
GB('PythonReader').map(f).run(lambda: (i for i in [1]))";

/// Sends words to a server, and waits as long as functions may take.
#[track_caller]
pub fn call<A: AsRef<[u8]>>(node: &Server, words: &[A]) -> Vec<u8> {
    Wire::connect_with_timeout(node.port(), PATIENCE).call(words)
}

/// Runs a script with a flow at a server.
#[track_caller]
pub fn run_at(node: &Server, script: &str) -> Answer {
    answer_of(&call(node, &["RG.PYEXECUTE", script]), script)
}

/// Reads the pair of results and errors.
#[track_caller]
pub fn answer_of(frame: &[u8], asked: &str) -> Answer {
    assert!(frame.starts_with(b"*2\r\n"), "{asked}: {}", show(frame));
    let pair = elements(frame);
    assert!(pair.iter().all(|list| list.starts_with(b"*")), "{asked}: {}", show(frame));
    let [results, errors] = [pair[0], pair[1]].map(|list| elements(list).into_iter().map(text).collect());
    Answer { results, errors }
}

fn text(frame: &[u8]) -> String {
    let shown = show(frame);
    match shown.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => text.to_owned(),
        None => shown,
    }
}

/// Splits a line at its blanks; a word in single quotes may have some.
fn words_of(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let words = parts.map(|(number, part)| match number % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect::<Vec<Vec<String>>>().concat()
}
