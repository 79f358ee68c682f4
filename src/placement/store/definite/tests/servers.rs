//! On real servers: A runs each command as it came, B1 and B2 as it was made definite. B2 is later by some milliseconds. Then
//! B1 and B2 have the same, and B1 has answered as A has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use super::super::transaction::Others;
use super::super::{CarriedKeys, Definite, WriteCall, definite, definite_transaction, table};
use super::content::{content, text};
use crate::command::Command;
use crate::describe::{Description, getkeys};
use crate::reply::Reply;
use crate::testing::{Server, ServerBuilder, poll};

/// Calls of each write command, one a line: what is there before, `=>`, and the call. `~` marks a call whose reply is not
/// determined. `%dump` is the value of the key `source`, as `DUMP` gives it.
const CASES: &str = include_str!("cases.txt");

/// Transactions, one a line: their commands, with `;` between them.
const TRANSACTIONS: &str = include_str!("transactions.txt");

/// By how much B2 is late, at least.
const LATER_MS: i64 = 4;

/// One server, and a connection to it.
pub(super) struct Node {
    connection: redis::Connection,
    _server: Arc<Server>,
}

impl Node {
    fn of(server: &Arc<Server>, protocol: ProtocolVersion) -> Self {
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name().set_protocol(protocol);
        let address =
            ConnectionAddr::Tcp("127.0.0.1".into(), server.port()).into_connection_info().expect("an address");
        let client = redis::Client::open(address.set_redis_settings(settings)).expect("an address");
        Self { connection: client.get_connection().expect("a connection"), _server: server.clone() }
    }

    pub(super) fn call(&mut self, command: &Command) -> Reply {
        let mut wire = Vec::new();
        command.write_to(&mut wire);
        self.connection.send_packed_command(&wire).expect("it is sent");
        self.connection.recv_response().expect("a reply").into()
    }

    pub(super) fn run(&mut self, line: &str) -> Reply {
        self.call(&Command::from_args(words(line)).expect("a command"))
    }

    fn transact(&mut self, commands: &[Command]) -> Reply {
        self.run("MULTI");
        for command in commands {
            self.call(command);
        }
        self.run("EXEC")
    }

    fn now(&mut self) -> i64 {
        let reply = self.run("TIME");
        let parts: Vec<i64> = reply.elements().expect("a time").iter().filter_map(Reply::integer).collect();
        parts[0] * 1000 + parts[1] / 1000
    }
}

/// Takes a line apart: words between blanks or quotation marks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("an end"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.replace("\\n", "\n"));
        rest = behind.trim_start();
    }
    words
}

/// The three servers, by one protocol.
struct Trial {
    plain: Node,
    first: Node,
    other: Node,
    /// For looking at them.
    looks: [Node; 2],
}

/// A command with all that is known of it.
struct Known {
    command: Command,
    description: Arc<Description>,
    keys: Vec<usize>,
}

impl Known {
    fn call(&self) -> WriteCall<'_> {
        WriteCall { command: &self.command, description: &self.description, keys: &self.keys, script: None }
    }
}

impl Trial {
    fn new(servers: &[Arc<Server>; 3], protocol: ProtocolVersion) -> Self {
        let [plain, first, other] = servers.each_ref().map(|server| Node::of(server, protocol));
        let looks = [1, 2].map(|at: usize| Node::of(&servers[at], ProtocolVersion::RESP3));
        Self { plain, first, other, looks }
    }

    fn prepare(&mut self, setup: &str) {
        for node in [&mut self.plain, &mut self.first, &mut self.other] {
            node.run("FLUSHALL");
            for line in setup.split(" ; ").filter(|line| !line.trim().is_empty()) {
                node.run(line);
            }
        }
    }

    /// Reads a command; `None` if the servers do not know it.
    fn read(&mut self, line: &str) -> Option<Known> {
        let mut dump = |key: &str| self.plain.run(key).bytes().expect("bytes").to_vec();
        let word = |word: String| match &*word {
            "%dump" => dump("DUMP source"),
            "%functions" => dump("FUNCTION DUMP"),
            word => word.as_bytes().to_vec(),
        };
        let command = Command::from_args(words(line).into_iter().map(word)).expect("a command");
        let rows = self.plain.call(&Command::new("COMMAND").arg("INFO").arg(command.name()));
        let description = Arc::new(Description::parse(&rows.elements()?[0])?).of_call(command.args())?;
        let args: Vec<&[u8]> = command.words().collect();
        let keys = description.keys(&args, || {
            let names = self.plain.call(&getkeys(&command));
            let names: Vec<&[u8]> = names.elements().unwrap_or_default().iter().filter_map(Reply::bytes).collect();
            args.iter().enumerate().filter(|(_, word)| names.contains(word)).map(|(at, _)| at).collect()
        });
        Some(Known { description, keys, command: command.clone() })
    }

    fn wait_until_later(&mut self, than: i64) {
        let is_later = poll(Duration::from_secs(10), || (self.other.now() >= than + LATER_MS).then_some(()));
        is_later.expect("time goes on");
    }

    fn carry(&mut self, carried: &CarriedKeys) {
        for key in &carried.keys {
            let dump = self.first.call(&Command::new("DUMP").arg(key));
            let at = self.first.call(&Command::new("PEXPIRETIME").arg(key)).integer().expect("a time").max(0);
            let Reply::Bulk(dump) = dump else {
                self.other.call(&Command::new("DEL").arg(key));
                continue;
            };
            let restore = Command::new("RESTORE").arg(key).arg(at).arg(dump).arg("ABSTTL").arg("REPLACE");
            assert_eq!(self.other.call(&restore), Reply::OK);
        }
    }

    /// Runs a command at the two copies, and returns what a client is told.
    fn run_definite(&mut self, known: &Known, made: &Definite, start: i64) -> Reply {
        match made {
            Definite::AsIs => {
                let reply = self.first.call(&known.command);
                self.wait_until_later(start);
                self.other.call(&known.command);
                reply
            }
            Definite::Rewritten(rewritten) => {
                let reply = rewritten.reply(self.first.call(&rewritten.command));
                self.wait_until_later(start);
                self.other.call(&rewritten.command);
                reply
            }
            Definite::First(follow_up) => {
                let reply = self.first.call(follow_up.command.as_ref().unwrap_or(&known.command));
                let after = follow_up.after(&reply);
                after.first.iter().for_each(|command| drop(self.first.call(command)));
                self.wait_until_later(start);
                after.others.iter().for_each(|command| drop(self.other.call(command)));
                reply
            }
            Definite::CarryOver(carried) => {
                let reply = self.first.call(&known.command);
                self.wait_until_later(start);
                if carried.is_needed(&reply) {
                    self.carry(carried);
                }
                reply
            }
        }
    }

    /// Returns how the answers, or the copies, differ; `None` if they do not.
    fn difference(&mut self, case: &str, plain: &Reply, told: &Reply) -> Option<String> {
        let is_determined = !case.contains("=> ~");
        let kind = |reply: &Reply| (reply.is_aggregate(), reply.is_null());
        if kind(plain) != kind(told) || (is_determined && text(plain) != text(told)) {
            return Some(format!("{case}: {} in place of {}", text(told), text(plain)));
        }
        let [first, other] = self.looks.each_mut().map(content);
        (first != other).then(|| format!("{case}: {first:?} and {other:?}"))
    }

    /// Runs one case, and returns the command's name, if it was no error.
    fn case(&mut self, case: &str) -> Option<String> {
        let (known, start) = self.begin(case)?;
        let made = definite(&known.call(), start).unwrap_or_else(|reason| panic!("{case}: {reason}"));
        let plain = self.plain.call(&known.command);
        let told = self.run_definite(&known, &made, start);
        assert_eq!(self.difference(case, &plain, &told), None);
        (!matches!(plain, Reply::Error(_))).then(|| known.description.name.clone())
    }

    /// Tells whether the copies differ if they run a case as it came.
    fn differs_as_it_came(&mut self, case: &str) -> bool {
        let Some((known, start)) = self.begin(case) else { return false };
        let plain = self.plain.call(&known.command);
        let told = self.run_definite(&known, &Definite::AsIs, start);
        self.difference(case, &plain, &told).is_some()
    }

    /// Makes what a case begins with, and reads its command. Returns the time too.
    fn begin(&mut self, case: &str) -> Option<(Known, i64)> {
        let (setup, line) = case.split_once("=>").expect("an arrow");
        self.prepare(setup);
        let known = self.read(line.trim().trim_start_matches("~ "))?;
        Some((known, self.first.now()))
    }

    fn transaction(&mut self, case: &str) {
        let (setup, lines) = case.split_once("=>").expect("an arrow");
        self.prepare(setup);
        let lines = lines.trim().trim_start_matches("~ ");
        let known: Option<Vec<Known>> = lines.split(" ; ").map(|line| self.read(line)).collect();
        let Some(known) = known else { return };
        let start = self.first.now();
        let calls: Vec<WriteCall<'_>> = known.iter().map(Known::call).collect();
        let made = definite_transaction(&calls, start).unwrap_or_else(|reason| panic!("{case}: {reason}"));
        let as_sent: Vec<Command> = known.iter().map(|known| known.command.clone()).collect();
        let plain = self.plain.transact(&as_sent);
        let replies = self.first.transact(made.commands()).into_elements().expect("replies");
        self.wait_until_later(start);
        match made.others() {
            Others::Same => drop(self.other.transact(made.commands())),
            Others::FromReplies => drop(self.other.transact(&made.after(&replies))),
            Others::Carried(carried) => self.carry(carried),
        }
        assert_eq!(self.difference(case, &plain, &made.replies(replies).into()), None);
    }

    /// Returns the write commands that the servers have, modules' aside.
    fn listed(&mut self) -> BTreeSet<String> {
        fn leaves(description: &Description, names: &mut BTreeSet<String>) {
            for subcommand in &description.subcommands {
                leaves(subcommand, names);
            }
            let is_own = description.has_flag("write") && !description.has_flag("module");
            if description.subcommands.is_empty() && is_own {
                names.insert(description.name.clone());
            }
        }
        let mut names = BTreeSet::new();
        let rows = self.plain.run("COMMAND");
        let rows = rows.elements().expect("commands");
        rows.iter().filter_map(Description::parse).for_each(|description| leaves(&description, &mut names));
        names
    }
}

/// H10, H13, B37, B38: equal data and equal writes make equal data, and the answer is that of a plain server.
#[test]
fn copies_stay_equal_through_every_write_command() {
    let servers: [Arc<Server>; 3] = std::array::from_fn(|_| Arc::new(ServerBuilder::default().start()));
    for protocol in [ProtocolVersion::RESP3, ProtocolVersion::RESP2] {
        let mut trial = Trial::new(&servers, protocol);
        let done: BTreeSet<String> = CASES.lines().filter_map(|case| trial.case(case)).collect();
        for name in trial.listed() {
            match table::rule(&name) {
                None => panic!("{name} is a write command that has no rule"),
                Some(table::Rule::Refused(_) | table::Rule::Blocks) => {}
                Some(_) => assert!(done.contains(&name), "{name} is never run without an error"),
            }
        }
        TRANSACTIONS.lines().for_each(|case| trial.transaction(case));
    }
}

/// The same, had every copy got what the client has sent: the test above would find it.
#[test]
fn copies_would_differ_if_writes_ran_as_they_came() {
    let servers: [Arc<Server>; 3] = std::array::from_fn(|_| Arc::new(ServerBuilder::default().start()));
    let mut trial = Trial::new(&servers, ProtocolVersion::RESP3);
    let differ: Vec<&str> = CASES.lines().filter(|case| trial.differs_as_it_came(case)).collect();
    for name in
        ["EXPIRE", "SETEX", "SET", "GETEX", "RESTORE", "SPOP", "XADD", "XREADGROUP", "XCLAIM", "XAUTOCLAIM", "EVAL"]
    {
        let call = format!(" {name} ");
        let is_found = differ.iter().any(|case| case.split("=>").nth(1).is_some_and(|line| line.contains(&call)));
        assert!(is_found, "{name} of {differ:#?}");
    }
}
