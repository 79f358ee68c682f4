//! One slot that has very many keys, more than a server can name in one go without standing still: counted rightly, and
//! other clients of the server are answered meanwhile.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, Wire, show, slot_of};
use crate::scene::turn;

/// The hash tag in all names, so that they share a slot.
const TAG: &str = "{crowd}";

/// The number of keys that have been sent away already when half of the slot is on another node.
const SENT: usize = 3_000;

/// The time that a command has, in milliseconds, and then the time that one waits for it.
const TIMEOUT: &str = "60000";
const PATIENCE: Duration = Duration::from_secs(70);

/// The longest that a client may wait for its answer meanwhile, on a machine that is busy and with a build that is slow.
const LONGEST_WAIT: Duration = Duration::from_millis(150);

/// The number of tries to have no client wait for longer: a busy machine has a server wait for a processor.
const TRIES: usize = 5;

/// Returns the number of keys: a million where there is time for it.
fn crowd() -> usize {
    if env::var_os("RMR_SLOTS_SECONDS").is_some() { 1_000_000 } else { 100_000 }
}

/// Asks a node for a number by way of rmr.
fn ask(node: &Server, words: &[&str]) -> String {
    let words = [&["RMR.MAP", "TIMEOUT", TIMEOUT], words].concat();
    show(&Wire::connect_with_timeout(node.port(), PATIENCE).call(&words))
}

/// Returns the longest of all pings to a node while something is done, and the result of that.
fn longest_ping_while<R>(node: &Server, meanwhile: impl FnOnce() -> R) -> (R, Duration) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let pings = scope.spawn(|| {
            let (mut wire, mut longest) = (node.wire(), Duration::ZERO);
            while !is_over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                wire.call(&["PING"]);
                longest = longest.max(asked.elapsed());
            }
            longest
        });
        let result = meanwhile();
        is_over.store(true, Ordering::Relaxed);
        (result, pings.join().expect("pings are answered"))
    })
}

#[test]
fn one_slot_with_very_many_keys() {
    let _turn = turn();
    let (cluster, crowd) = (Cluster::start(3), crowd());
    cluster.fill(1000, |number| (format!("other:{number}"), "1"));
    let slot = slot_of(TAG);
    let home = cluster.owner_of(slot);
    let (owner, other) = (cluster.node(home), cluster.node((home + 1) % 3));
    owner.run::<()>(&["DEBUG", "POPULATE", &crowd.to_string(), &format!("{TAG}key")]);
    let all = (crowd + 1000).to_string();
    // The value of each is `value:` and a number.
    let sevens = (0..crowd).filter(|number| number % 10 == 7).count().to_string();
    for node in [owner, other] {
        let count_all = || {
            let (counts, longest) = longest_ping_while(owner, || {
                let count = ask(node, &["COUNT", "MATCH", "*"]);
                let some = ask(node, &["COUNT", "MATCH", &format!("{TAG}*7"), "GET"]);
                (count, some, ask(node, &["COUNT", "MATCH", "other:*"]))
            });
            println!("{crowd} keys in one slot, by {}: the longest ping {longest:?}", node.address());
            assert_eq!(counts, (all.clone(), sevens.clone(), "1000".to_owned()), "by {}", node.address());
            longest
        };
        let waits: Vec<Duration> =
            (0..TRIES).map(|_| count_all()).take_while(|longest| *longest >= LONGEST_WAIT).collect();
        assert!(waits.len() < TRIES, "each time a client has waited: {waits:?}");
    }

    // With some of them at another node already.
    let to = (home + 1) % 3;
    cluster.begin_move(slot, home, to);
    let names: Vec<String> = owner.run(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &SENT.to_string()]);
    let port = other.port().to_string();
    for names in names.chunks(500) {
        let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        let words: Vec<&str> = words.into_iter().chain(names.iter().map(String::as_str)).collect();
        owner.run::<()>(&words);
    }
    assert_eq!(ask(owner, &["COUNT", "MATCH", "*"]), all, "half-way");
    assert_eq!(ask(other, &["COUNT", "MATCH", &format!("{TAG}*7"), "GET"]), sevens, "half-way");
}
