//! Nodes stand still, lose the module and leave while all keys that match a pattern are worked on: every answer is true, or
//! an error that says why, and comes in time.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, Wire, eventually, poll, show, slot_of, while_repeating};

/// The number of keys.
const KEYS: usize = 20_000;

/// The time that a command has, in milliseconds.
const TIMEOUT: &str = "15000";

/// Longer than any command may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest for which a node may say nothing, and a busy machine may take to notice.
const SILENCE: Duration = Duration::from_secs(9);

const SOON: Duration = Duration::from_secs(5);

/// The number of pings between two questions.
const PINGS: usize = 50;

/// The number of times that a module goes and comes.
const TIMES: usize = 4;

const COUNT: &[&str] = &["RMR.MAP", "TIMEOUT", TIMEOUT, "COUNT", "MATCH", "k:*"];
const SUM: &[&str] = &["RMR.MAP", "TIMEOUT", TIMEOUT, "SUM", "MATCH", "k:*", "STRLEN"];

fn fill(cluster: &Cluster) {
    cluster.fill(KEYS, |number| (format!("k:{number}"), "x"));
}

/// The answers to questions whose right answer is the number of keys.
#[derive(Default)]
struct Answers {
    right: usize,
    errors: Vec<String>,
}

/// Asks these nodes all the time, while something is done to the cluster.
fn ask_while<R>(nodes: &[&Server], meanwhile: impl FnOnce() -> R) -> (R, Answers) {
    let answers = Mutex::new(Answers::default());
    let begin = |node: &&Server| {
        let (port, answers) = (node.port(), &answers);
        let mut turn = 0;
        move || {
            turn += 1;
            let words = if turn % 2 == 0 { COUNT } else { SUM };
            // A connection for each: the module closes those whose last command was its own as it goes.
            let reply = Wire::try_connect(port, PATIENCE).and_then(|mut wire| wire.try_call(words));
            // A moment of other work, so that there are moments with nobody waiting.
            if let Ok(mut wire) = Wire::try_connect(port, PATIENCE) {
                (0..PINGS).for_each(|_| drop(wire.try_call(&["PING"])));
            }
            let mut answers = answers.lock().expect("no thread has failed");
            match reply {
                Ok(frame) if frame[0] == b'-' => answers.errors.push(show(&frame)),
                Ok(frame) => {
                    assert_eq!(show(&frame), KEYS.to_string(), "{words:?} at port {port}");
                    answers.right += 1;
                }
                Err(error) => {
                    assert!(error.kind() != io::ErrorKind::WouldBlock, "no answer to {words:?} within {PATIENCE:?}");
                    answers.errors.push(error.to_string());
                }
            }
        }
    };
    let result = while_repeating(nodes, begin, meanwhile);
    (result, answers.into_inner().expect("no thread has failed"))
}

fn is_right(node: &Server) -> bool {
    [COUNT, SUM].iter().all(|words| show(&node.wire().call(words)) == KEYS.to_string())
}

fn assert_no_crash(node: &Server) {
    let log = node.log();
    assert!(!log.contains("BUG REPORT") && !log.contains("panicked"), "{log}");
}

#[test]
fn a_node_that_stands_still_is_named_long_before_the_time_is_over() {
    // Nobody thinks that it has failed.
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(60)).start();
    fill(&cluster);
    let still = cluster.node(2);
    assert!(cluster.nodes().iter().all(is_right));
    for words in [COUNT, SUM] {
        let words: Vec<&str> = words.iter().map(|word| if *word == TIMEOUT { "60000" } else { word }).collect();
        still.stop_signal();
        let asked = Instant::now();
        let mut wire = Wire::connect_with_timeout(cluster.node(0).port(), PATIENCE);
        let reply = show(&wire.call(&words));
        let took = asked.elapsed();
        still.cont_signal();
        assert!(reply.starts_with('-') && reply.contains(&still.address()), "{words:?}: {reply}");
        assert!(took < SILENCE, "{words:?}: {took:?}: {reply}");
        assert!(is_right(cluster.node(0)), "when it is there again");
    }
    // A limit of its own is kept, whatever the node does.
    still.stop_signal();
    let asked = Instant::now();
    let words: Vec<&str> = COUNT.iter().map(|word| if *word == TIMEOUT { "700" } else { word }).collect();
    let reply = show(&cluster.node(0).wire().call(&words));
    let took = asked.elapsed();
    still.cont_signal();
    assert!(reply.starts_with('-'), "{reply}");
    assert!(took < Duration::from_secs(2), "{took:?}: {reply}");
    assert!(cluster.nodes().iter().all(is_right), "when it is there again");
}

#[test]
fn modules_come_and_go_while_keys_are_counted() {
    let cluster = Cluster::builder().unloadable().start();
    fill(&cluster);
    // The first is asked itself, the third is one that it asks.
    let mut refused = 0;
    let ((), answers) = ask_while(&[cluster.node(0)], || {
        for time in 0..TIMES {
            let node = cluster.node(if time % 2 == 0 { 0 } else { 2 });
            let mut wire = node.wire();
            let unloaded = poll(Duration::from_secs(20), || {
                let reply = wire.ask(&["MODULE", "UNLOAD", "rmr"]);
                let is_gone = reply == "+OK";
                assert!(is_gone || reply.starts_with("-ERR Error unloading module: "), "{reply}");
                refused += usize::from(!is_gone);
                is_gone.then_some(())
            });
            assert!(unloaded.is_some(), "cannot be unloaded under traffic");
            eventually(SOON, "no thread outlives its module", || node.rmr_threads() == 0);
            // So somebody asks while it is not there.
            eventually(SOON, "the others count without it", || is_right(cluster.node(1)));
            node.load_unloadable(&[]);
        }
    });
    println!("{} right, {refused} refusals, {} errors", answers.right, answers.errors.len());
    // It is chance whether an unloading falls into a request, and is refused.
    assert!(answers.right > 0 && !answers.errors.is_empty(), "{} right, no errors", answers.right);
    for error in &answers.errors {
        let node_was_without = error.contains("unknown command");
        assert!(node_was_without || error.starts_with("-RMRNODE ") || !error.starts_with('-'), "{error}");
    }
    for node in cluster.nodes() {
        assert_no_crash(node);
        eventually(SOON, "all is as before", || is_right(node));
    }
}

#[test]
fn a_node_leaves_while_keys_are_counted() {
    let mut cluster = Cluster::start(3);
    let added = cluster.add_node();
    fill(&cluster);
    let slots: Vec<u16> = (0..8).map(|number| slot_of(format!("k:{number}"))).collect();
    let homes: Vec<usize> = slots.iter().map(|slot| cluster.owner_of(*slot)).collect();
    let asked: Vec<&Server> = cluster.nodes()[..3].iter().collect();
    let ((), answers) = ask_while(&asked, || {
        for (slot, home) in slots.iter().zip(&homes) {
            cluster.move_slot(*slot, *home, added);
        }
        for (slot, home) in slots.iter().zip(&homes) {
            cluster.move_slot(*slot, added, *home);
        }
        let id: String = cluster.node(added).run(&["CLUSTER", "MYID"]);
        cluster.nodes()[..3].iter().for_each(|node| node.run::<()>(&["CLUSTER", "FORGET", &id]));
        cluster.node(added).kill();
        asked.iter().for_each(|node| eventually(SOON, "the others go on", || is_right(node)));
    });
    println!("{} right, errors: {:?}", answers.right, answers.errors);
    assert!(answers.right > 3, "{} right", answers.right);
    for error in &answers.errors {
        assert!(error.starts_with("-RMRSLOTS ") || error.starts_with("-RMRNODE "), "{error}");
    }
    cluster.nodes()[..3].iter().for_each(assert_no_crash);
}
