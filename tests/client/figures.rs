//! The figures of servers, and small pieces that the tests share.

use rmr::testing::{Server, Servers};
use rmr::{Command, Reply};

/// Returns a command typed with blanks between its words.
pub fn command(line: &str) -> Command {
    Command::from_args(line.split(' ')).expect("a command")
}

/// Returns the reply of one server to a command.
#[track_caller]
pub fn ask(server: &Server, line: &str) -> Reply {
    server.call(command(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Returns the number of times that all servers together have run a command, by its name in lower case.
pub fn calls(servers: &Servers, name: &str) -> u64 {
    let of_one = |server: &Server| {
        let stats = ask(server, "INFO commandstats").to_string();
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|rest| rest.split(',').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    servers.iter().map(of_one).sum()
}

/// Returns the number of keys on all servers.
pub fn keys(servers: &Servers) -> i64 {
    servers.iter().filter_map(|server| ask(server, "DBSIZE").integer()).sum()
}

/// Returns a result in words.
pub fn shown(result: &Result<Reply, rmr::Error>) -> String {
    result.as_ref().map_or_else(|error| format!("!{error}"), ToString::to_string)
}
