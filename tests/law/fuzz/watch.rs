//! Watches the rules that must hold, whoever sends whatever.

use super::request::{Request, Route};
use super::telling::SECRET;
use super::users::User;
use crate::common::{Server, Wire, text_of};
use crate::pair::Pair;
use crate::reply::Reply;

/// Stands in the names and values of keys that no request mentions.
const CANARY: &str = "CANARY";

/// The data of each shard that is asked for beside every request: a key, and its value.
const BEACONS: [(&str, &str); 3] = [("{a}beacon", "first"), ("{b}beacon", "second"), ("{c}beacon", "third")];

/// First words that are between nodes, or between a node and a client of a cluster.
const INTERNAL: [&str; 3] = ["MOVED ", "ASK ", "RMRNOTINPROCESS"];

/// The answers of all nodes to what shows their state.
type State = Vec<String>;

/// Observers: connections of users with all rights to every node, of which the requests know nothing.
pub struct Watch {
    admins: Vec<Wire>,
    /// Ask for the beacons at the moment of a request.
    beside: Vec<Wire>,
    asked: Option<usize>,
    state: State,
    /// A connection with `MONITOR` to each node.
    monitors: Vec<Wire>,
}

impl Watch {
    pub fn new(pair: &Pair) -> Self {
        let open = |pair: &Pair| pair.servers().iter().map(Server::wire).collect();
        let mut monitors: Vec<Wire> = open(pair);
        monitors.iter_mut().for_each(|wire| assert_eq!(wire.ask(&["MONITOR"]), "+OK"));
        Self { admins: open(pair), beside: open(pair), asked: None, state: Vec::new(), monitors }
    }

    /// Makes everything as it is at first.
    pub fn begin(&mut self, pair: &mut Pair) {
        self.collect();
        pair.begin();
        for wire in &mut self.admins {
            wire.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"]);
            wire.ask(&["SLOWLOG", "RESET"]);
        }
        for (key, value) in BEACONS {
            self.put(pair, key, value);
        }
        for (number, place) in ["{a}", "{b}", "{c}"].iter().enumerate() {
            // Of keys of `{a}` all users know who may know anything.
            let place = if *place == "{a}" { "" } else { place };
            self.put(pair, &format!("{place}{CANARY}{number}"), CANARY);
        }
        for key in ["{b}str1", "{c}str1", "str1"] {
            self.put(pair, key, CANARY);
        }
        for wire in &mut self.admins {
            wire.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "1000"]);
            wire.ask(&["ACL", "LOG", "RESET"]);
        }
    }

    fn put(&mut self, pair: &mut Pair, key: &str, value: &str) {
        let owner = pair.owner(key.as_bytes());
        assert_eq!(self.admins[owner].ask(&["SET", key, value]), "+OK");
    }

    /// Remembers the state.
    pub fn look(&mut self) {
        self.state = self.now();
    }

    fn now(&mut self) -> State {
        let lines: [&[&str]; 4] =
            [&["DEBUG", "DIGEST"], &["ACL", "LIST"], &["FUNCTION", "LIST"], &["CONFIG", "GET", "maxmemory"]];
        // Lists come in the order of a hash table, which changes by itself.
        let in_order = |text: String| {
            let mut words: Vec<&str> = text.split(' ').collect();
            words.sort_unstable();
            words.join(" ")
        };
        for wire in &mut self.admins {
            lines.iter().for_each(|line| wire.send(line));
        }
        self.admins.iter_mut().flat_map(|wire| lines.map(|_| in_order(text_of(&wire.read_frame())))).collect()
    }

    /// Reads what the monitors have shown.
    ///
    /// # Errors
    /// A line with the secret.
    pub fn read_logs(&mut self) -> Result<(), String> {
        for (node, (monitor, admin)) in self.monitors.iter_mut().zip(&mut self.admins).enumerate() {
            let mut shown = Vec::new();
            admin.ask(&["ECHO", "end-of-the-log"]);
            loop {
                let line = text_of(&monitor.read_frame());
                let is_last = line.contains("end-of-the-log");
                shown.push(line);
                if is_last {
                    break;
                }
            }
            shown.push(admin.ask(&["SLOWLOG", "GET", "-1"]));
            admin.ask(&["SLOWLOG", "RESET"]);
            if let Some(text) = shown.iter().find(|text| text.contains(SECRET)) {
                let before = text.split(SECRET).next().unwrap_or_default();
                let last: Vec<&str> = before.rsplit(' ').take(40).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                return Err(format!("node {node} shows a secret after: {}", last.join(" ")));
            }
        }
        Ok(())
    }

    /// Makes the counter of a request 0.
    pub fn set_counter(&mut self, request: &Request, pair: &mut Pair) {
        if let Some((key, _)) = &request.counter {
            let owner = pair.owner(key);
            self.admins[owner].ask(&[b"DEL", &key[..]]);
            self.state = self.now();
        }
    }

    /// Asks a node for all beacons, and does not wait for the answer.
    pub fn ask_beacons(&mut self, node: usize) {
        let keys = BEACONS.map(|(key, _)| key);
        self.beside[node].send(&[&["RMR.MAP", "TIMEOUT", "4000", "LIST", "3"][..], &keys, &["GET"]].concat());
        self.asked = Some(node);
    }

    /// Reads that answer, if it was asked for.
    fn collect(&mut self) -> Option<String> {
        let node = self.asked.take()?;
        Some(crate::common::show(&self.beside[node].read_frame()))
    }

    /// Checks what must hold after each request.
    ///
    /// # Errors
    /// The error says what does not.
    pub fn check(&mut self, user: &User, request: &Request, reply: &[u8], pair: &mut Pair) -> Result<(), String> {
        if !pair.is_alive() {
            return Err("a server has died".into());
        }
        // A request that writes may have changed or deleted the beacons; but it puts nothing else in their place.
        let beacons = self.collect().expect("they were asked for");
        let expected: Vec<String> = BEACONS.iter().map(|(_, value)| format!("\"{value}\"")).collect();
        let is_known = |word: &str| word == "nil" || expected.iter().any(|known| known == word);
        let list = beacons.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let in_place = list.map(|list| {
            list.split(", ").zip(&expected).all(|(word, expected)| word == "nil" || word == expected)
                && list.split(", ").all(is_known)
        });
        if in_place != Some(true) && !(in_place.is_none() && is_honest_error(&beacons)) {
            return Err(format!("another caller's reply is {beacons}"));
        }
        let parsed = Reply::parse(reply);
        if let Some((key, times)) = &request.counter {
            let owner = pair.owner(key);
            let count = self.admins[owner].ask(&[b"GET", &key[..]]);
            let count: usize = count.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or_default();
            if count > *times {
                return Err(format!("it ran {count} times"));
            }
        }
        if request.counter.is_none()
            && !matches!(request.route, Route::Proxy | Route::Inner)
            && let Some(error) = internal_error(&parsed)
        {
            return Err(format!("an error of the inside: {error}"));
        }
        let text = String::from_utf8_lossy(reply);
        if !user.sees_all && text.contains(CANARY) {
            return Err("the user sees what it may not see".into());
        }
        let is_denied = match &request.command {
            Some(command) => {
                let dryrun = [&b"ACL"[..], b"DRYRUN", user.name.as_bytes()].into_iter().map(<[u8]>::to_vec);
                let line: Vec<Vec<u8>> = dryrun.chain(command.iter().cloned()).collect();
                // Asked of the single server, as the nodes would show the command in their logs.
                pair.alone.call(false, &line)?.text().contains("has no permissions")
            }
            None => false,
        };
        if is_denied || !user.writes {
            let now = self.now();
            if now != self.state {
                let changed = now.iter().zip(&self.state).filter(|(now, before)| now != before);
                let changed: Vec<String> = changed.map(|(now, before)| format!("{before}\n    now {now}")).collect();
                return Err(format!("the user may not do that, and it is done:\n{}", changed.join("\n")));
            }
        } else {
            self.state = self.now();
        }
        Ok(())
    }

    /// Reads what is outstanding.
    pub fn end(&mut self) {
        self.collect();
    }

    /// Returns the memory of each node, in bytes.
    pub fn memory(&mut self, pair: &Pair) -> Vec<u64> {
        pair.servers().iter().map(|node| node.figure("memory", "used_memory")).collect()
    }
}

/// Returns whether an error may come to somebody whose request has nothing to do with the others: the server had no time, no
/// rights.
fn is_honest_error(shown: &str) -> bool {
    ["-RMRTIMEOUT ", "-LOADING ", "-BUSY "].iter().any(|first| shown.starts_with(first)) || shown.contains("WRONGTYPE")
}

/// Returns the first error within a reply that nobody should see.
fn internal_error(reply: &Reply) -> Option<String> {
    let own = reply.error().filter(|error| INTERNAL.iter().any(|first| error.starts_with(first)));
    own.or_else(|| reply.elements().iter().find_map(internal_error))
}
