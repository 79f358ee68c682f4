//! The scripts of the page of recipes, on three shards, with a real database.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::common::{Cluster, Server, Wire, eventually, functions_python, show, slot_of};
use crate::console::{self, Folder};

const PAGE: &str = include_str!("../../docs/how-to/event-recipes.md");

/// The longest that functions may take that run by themselves: machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three shards with a database.
struct Shop {
    cluster: Cluster,
    folder: Folder,
}

impl Shop {
    fn open(name: &str) -> Self {
        let folder = Folder::new(name);
        let database = folder.0.join("app.db");
        let arguments = ["gears", "on", "python", &functions_python(), "AppDatabase", database.to_str().expect("text")]
            .map(str::to_owned);
        // A write that is answered is on the disk.
        let cluster = Cluster::builder().module_args(arguments);
        let cluster = cluster.config("appendonly", "yes").config("appendfsync", "always").start();
        Self { cluster, folder }
    }

    /// Loads a script of the page, with something behind it.
    fn load(&self, file: &str, more: &str) {
        let (_, script) =
            console::files(PAGE).into_iter().find(|(name, _)| name == file).expect("a script of the page");
        let reply = self.cluster.node(0).wire().reply_to(&["RG.PYEXECUTE", &format!("{script}{more}"), "ID", "recipe"]);
        assert_eq!(reply, "+OK", "{file}");
    }

    /// Runs a command where its key is: the second word.
    fn at_key(&self, words: &[&str]) -> String {
        let owner = self.cluster.owner_of(slot_of(words[1]));
        self.cluster.node(owner).wire().reply_to(words)
    }

    /// Runs a command at a node. Nothing if the server has gone away.
    fn try_at(&self, node: usize, words: &[&str]) -> Option<String> {
        let mut wire = Wire::try_connect(self.cluster.node(node).port(), PATIENCE).ok()?;
        wire.try_call(words).ok().map(|frame| show(&frame))
    }

    /// Waits until a command at the first node is answered so.
    #[track_caller]
    fn await_reply(&self, words: &[&str], expected: &str) {
        let first = self.cluster.node(0);
        let what = format!("{words:?} is {expected}");
        eventually(PATIENCE, &what, || first.wire().reply_to(words) == expected);
    }

    /// Has Python do something with the database `db`; returns what it prints.
    fn in_database(&self, lines: &str) -> String {
        let program =
            format!("import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], timeout=30)\n{lines}\ndb.commit()");
        let output = Command::new(functions_python()).args(["-c", &program]).arg(self.folder.0.join("app.db")).output();
        let output = output.expect("a Python");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Whoever functions run as may write it, too.
        let opened = Command::new("chmod").arg("a+rw").arg(self.folder.0.join("app.db")).status();
        assert!(opened.expect("chmod").success());
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }
}

/// By which the process of the recipe's session kills itself on a shard.
const CRASH: &str = "
import os
def crash(words):
    os.kill(os.getpid(), 9)
GB('CommandReader').foreach(crash).register(trigger='crash', mode='async_local')
";

const KEYS: usize = 12;

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|key| format!("person:{key}"))
}

/// Has clients change keys on all shards while something else is done to the shards again and again, after each seven changes.
/// A client that gets an error, or nothing, sends the change again. In the end the table has what the keys have.
fn write_behind(shop: &Shop, disturb: impl Fn(&Server) + Sync) {
    shop.load("write_behind.py", CRASH);
    let (is_over, made, retries) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let owners: HashMap<String, usize> =
        keys().map(|key| (key.clone(), shop.cluster.owner_of(slot_of(&key)))).collect();
    let change = |words: &[&str]| {
        eventually(PATIENCE, "a change is made", || {
            let reply = shop.try_at(owners[words[1]], words);
            let is_made = reply.as_ref().is_some_and(|reply| reply.parse::<i64>().is_ok());
            assert!(is_made || reply.is_none_or(|reply| reply.starts_with('-')), "{words:?}");
            let count = if is_made { &made } else { &retries };
            count.fetch_add(1, Relaxed);
            is_made
        });
    };
    thread::scope(|scope| {
        let disturber = scope.spawn(|| {
            let mut times = 0;
            for node in shop.cluster.nodes().iter().cycle() {
                eventually(PATIENCE, "clients go on", || is_over.load(Relaxed) || made.load(Relaxed) >= 7 * times);
                if is_over.load(Relaxed) {
                    break;
                }
                disturb(node);
                times += 1;
            }
            times
        });
        // Each key has one client, so that its changes have an order.
        let clients: Vec<_> = (0..3)
            .map(|client| {
                scope.spawn(move || {
                    for round in 0..15 {
                        for key in keys().skip(client).step_by(3) {
                            match (round + client) % 5 {
                                4 => change(&["DEL", &key]),
                                3 => change(&["HSET", &key, "city", &format!("Rome {round}")]),
                                _ => change(&["HSET", &key, "name", &format!("Ann {round}"), "city", "Oslo"]),
                            }
                        }
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().expect("all changes"));
        is_over.store(true, Relaxed);
        let times = disturber.join().expect("the shards are disturbed");
        assert!(times > 10, "{times}");
    });
    shop.cluster.settle();
    shop.await_reply(&["RMR.MAP", "SUM", "MATCH", "changes:*", "XLEN", "{}"], "0");
    let mut rows: Vec<String> = Vec::new();
    for key in keys() {
        let field = |field| match &*shop.at_key(&["HGET", &key, field]) {
            "nil" => "None".to_owned(),
            value => value.trim_matches('"').to_owned(),
        };
        if shop.at_key(&["EXISTS", &key]) == "1" {
            rows.push(format!("{key} {} {}", field("name"), field("city")));
        }
    }
    rows.sort();
    let all = shop.in_database("for row in sorted(db.execute('SELECT id, name, city FROM person')): print(*row)");
    assert!(rows.len() > KEYS / 2, "{rows:?}");
    assert_eq!(all.lines().collect::<Vec<_>>(), rows, "after {} retries", retries.load(Relaxed));
}

#[test]
fn no_acknowledged_change_is_lost_where_processes_are_killed_that_note_and_write_it() {
    let shop = Shop::open("write-behind");
    write_behind(&shop, |node| {
        let reply = node.wire().reply_to(&["RG.TRIGGER", "crash"]);
        assert!(reply.starts_with('-'), "{reply}");
    });
}

#[test]
fn no_acknowledged_change_is_lost_where_shards_are_killed() {
    let shop = Shop::open("write-behind-shards");
    write_behind(&shop, |node| node.restart());
}

#[test]
fn a_key_that_is_missing_is_fetched_for_the_client_that_asks() {
    let shop = Shop::open("read-through");
    shop.in_database("db.execute('CREATE TABLE rate (id TEXT, value TEXT)')\ndb.executemany('INSERT INTO rate VALUES (?, ?)', [('rate:eur', '1.08'), ('rate:chf', '1.12')])");
    shop.load("read_through.py", "");
    for (key, value) in [("rate:eur", r#""1.08""#), ("rate:chf", r#""1.12""#)] {
        assert_eq!(shop.at_key(&["GET", key]), value);
        assert_eq!(shop.at_key(&["EXISTS", key]), "1", "{key} is kept");
        assert_ne!(shop.at_key(&["TTL", key]), "-1", "{key} is kept for a minute");
    }
    // From now on the cache answers.
    shop.in_database("db.execute('DELETE FROM rate')");
    assert_eq!(shop.at_key(&["GET", "rate:eur"]), r#""1.08""#);
    assert_eq!(shop.at_key(&["GET", "rate:none"]), "nil");
}

#[test]
fn what_expires_is_told_with_what_was_kept_beside_it() {
    let shop = Shop::open("expired");
    shop.load("expired.py", "");
    for (id, user) in [("17", "Ann"), ("18", "Ben"), ("19", "Eve")] {
        assert_eq!(shop.at_key(&["HSET", &format!("about:{{{id}}}"), "user", user]), "1");
        assert_eq!(shop.at_key(&["SET", &format!("session:{{{id}}}"), "token", "PX", "1"]), "+OK");
    }
    shop.await_reply(&["RMR.MAP", "SUM", "MATCH", "ended:*", "XLEN", "{}"], "3");
    let ended =
        shop.cluster.node(0).wire().reply_to(&["RMR.MAP", "LIST", "MATCH", "ended:*", "XRANGE", "{}", "-", "+"]);
    for user in ["Ann", "Ben", "Eve"] {
        assert!(ended.contains(user), "{ended}");
    }
    shop.await_reply(&["RMR.MAP", "COUNT", "MATCH", "about:*"], "0");
}

#[test]
fn changes_are_counted_on_all_shards() {
    let shop = Shop::open("key-counts");
    shop.load("key_counts.py", "");
    for number in 0..30 {
        assert_eq!(shop.at_key(&["SET", &format!("order:{number}"), "open"]), "+OK");
    }
    for number in 0..10 {
        assert_eq!(shop.at_key(&["DEL", &format!("order:{number}")]), "1");
    }
    let sum_of = |field| ["RMR.MAP", "SUM", "MATCH", "counts:*", "HGET", "{}", field];
    shop.await_reply(&sum_of("changes"), "40");
    shop.await_reply(&sum_of("del"), "10");
}
