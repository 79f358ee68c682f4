//! Requests: a command that the server knows, on one of many roads, and often not quite as it was meant.

use super::inner;
use super::mutate::{garble, mutate};
use super::telling::{self, Telling};
use crate::common::Random;
use crate::generate::{Argv, generate};
use crate::listed::Listed;
use crate::pair::Pair;

/// By what a command is sent; more ways than those where the law holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Exec,
    /// `RMR.EXEC` with a word that says where.
    ExecAt,
    Explain,
    Map,
    /// With a reducer that nodes run on their own share.
    MapReduced,
    Batch,
    Fanout,
    FanoutReduced,
    /// As it is, in proxy mode.
    Proxy,
    /// `RMR.EXEC` in a transaction.
    Multi,
    /// `RMR.EXEC` out of a script.
    Script,
    /// A request of another node.
    Inner,
}

const ROUTES: [Route; 12] = [
    Route::Exec,
    Route::ExecAt,
    Route::Explain,
    Route::Map,
    Route::MapReduced,
    Route::Batch,
    Route::Fanout,
    Route::FanoutReduced,
    Route::Proxy,
    Route::Multi,
    Route::Script,
    Route::Inner,
];

const REDUCERS: [&str; 12] =
    ["SUM", "AVG", "MIN", "MAX", "COUNT", "CONCAT", "UNION", "TOP 2", "GROUP", "TOPGROUPS 2", "STATS", "DISTINCT"];

/// The commands that could harm the servers of the test. A stranger must not be able to run them, by whatever road. Each is
/// refused by name where a command is sent on; but the node itself, or a node that is named, does it.
const HARMFUL: [&str; 9] =
    ["cluster", "debug", "failover", "module", "replicaof", "shutdown", "slaveof", "client|reply", "client|pause"];

/// Commands that change the connection or that stream, left out where a command is sent as it is.
const OF_THE_CONNECTION: [&str; 26] = [
    "asking",
    "auth",
    "hello",
    "quit",
    "readonly",
    "readwrite",
    "reset",
    "select",
    "client",
    "monitor",
    "psubscribe",
    "psync",
    "punsubscribe",
    "replconf",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "sync",
    "unsubscribe",
    "multi",
    "exec",
    "discard",
    "watch",
    "unwatch",
    "wait",
    "waitaof",
];

/// One of them: what is sent, and what is known of it.
pub struct Request {
    pub route: Route,
    /// The command within. None if it may be another: words were changed.
    pub command: Option<Argv>,
    /// All words.
    pub words: Argv,
    /// The key that counts how often the command within ran, and how often it may.
    pub counter: Option<(Vec<u8>, usize)>,
}

impl Request {
    /// Draws one.
    pub fn draw(commands: &[Listed], pair: &mut Pair, random: &mut Random) -> Self {
        if random.chance(35) {
            return Self::telling(pair, random);
        }
        loop {
            let (command, route) = (random.pick(commands), random.pick(&ROUTES));
            if is_one_of(&HARMFUL, &command) || (route == Route::Proxy && may_hold_up(&command)) {
                continue;
            }
            let argv = generate(&command, &pair.stock, random);
            let words = wrap(route, &argv, pair, random);
            let mut request = Self { route, command: Some(argv), words, counter: None };
            if route != Route::Proxy && random.chance(25) {
                request.spoil(random);
            }
            return request;
        }
    }

    /// Draws one of those that once were answered wrongly.
    fn telling(pair: &mut Pair, random: &mut Random) -> Self {
        let Telling { argv, counter, has_secret } = telling::draw(random);
        let mut route = random.pick(&ROUTES);
        // The server shows the arguments of a script, and of a command that it takes for wrong.
        if has_secret && matches!(route, Route::Script | Route::Explain | Route::Proxy) {
            route = Route::Exec;
        }
        // Commands that the node answers by itself in proxy mode may wait, and show all names, as without rmr.
        let is_nodes_own = argv[0] == b"CLUSTER" || argv.iter().any(|word| word == b"BLOCK");
        if route == Route::Proxy && is_nodes_own {
            route = Route::Exec;
        }
        let times = if matches!(route, Route::Map | Route::MapReduced) { 2 } else { 1 };
        let words = wrap(route, &argv, pair, random);
        Self { route, command: Some(argv), words, counter: counter.map(|key| (key, times)) }
    }

    /// Makes something wrong with it.
    fn spoil(&mut self, random: &mut Random) {
        self.command = None;
        match self.route {
            Route::Inner => garble(self.words.last_mut().expect("a request"), random),
            _ => mutate(&mut self.words, random),
        }
    }
}

/// Returns whether a command is one of these, or a subcommand of one.
fn is_one_of(names: &[&str], command: &Listed) -> bool {
    let whole = command.name.split('|').next().unwrap_or_default();
    names.iter().any(|name| *name == command.name || *name == whole)
}

/// Returns whether a command, sent as it is, changes its connection, streams to it or waits.
fn may_hold_up(command: &Listed) -> bool {
    is_one_of(&OF_THE_CONNECTION, command)
        || command.has_flag("blocking")
        || is_one_of(&["xread", "xreadgroup"], command)
}

fn wrap(route: Route, argv: &Argv, pair: &mut Pair, random: &mut Random) -> Argv {
    let text = |words: &str| words.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Argv>();
    let key = pair.keys(argv).into_iter().next().unwrap_or_else(|| b"{a}str1".to_vec());
    let node = random.below(pair.nodes.len());
    let address = pair.servers()[node].address();
    let count = argv.len().to_string();
    let key_at = argv.iter().position(|word| *word == key).unwrap_or_default();
    let with_hole = || {
        let mut argv = argv.clone();
        if key_at > 0 {
            argv[key_at] = b"{}".to_vec();
        }
        argv
    };
    let reducer = random.pick(&REDUCERS);
    let front = match route {
        Route::Exec | Route::Multi => text("RMR.EXEC TIMEOUT 2000 --"),
        Route::Script => [text("EVAL"), vec![b"return redis.call(unpack(ARGV))".to_vec()], text("0 RMR.EXEC")].concat(),
        Route::Explain => text("RMR.EXPLAIN"),
        Route::ExecAt => {
            let at = match random.below(4) {
                0 => text(&format!("NODE {address}")),
                1 => text("ON ALL"),
                2 => text("ON PRIMARIES PARTIAL"),
                _ => vec![b"KEY".to_vec(), key.clone()],
            };
            [text("RMR.EXEC TIMEOUT 2000"), at, text("--")].concat()
        }
        Route::Map => [text("RMR.MAP TIMEOUT 2000 LIST 2"), vec![key.clone(), key]].concat(),
        Route::MapReduced => [text(&format!("RMR.MAP TIMEOUT 2000 {reducer} 2")), vec![key.clone(), key]].concat(),
        Route::Batch => [text("RMR.BATCH TIMEOUT 2000 --"), vec![key], text(&format!("1 {count}"))].concat(),
        Route::Fanout => text(&format!("RMR.FANOUT NODE {address} TIMEOUT 2000 --")),
        Route::FanoutReduced => text(&format!("RMR.FANOUT TIMEOUT 2000 REDUCE {reducer} --")),
        Route::Proxy => Vec::new(),
        Route::Inner => {
            let request = inner::request(random.roll(), reducer, argv, key_at, random.chance(50));
            return vec![b"RMR.INNER".to_vec(), request];
        }
    };
    let command = if matches!(route, Route::Map | Route::MapReduced) { with_hole() } else { argv.clone() };
    [front, command].concat()
}
