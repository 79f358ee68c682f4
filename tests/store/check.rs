//! `RMR.PLACE CHECK`: copies that differ are found, and made equal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::copies::{Storm, holders, two_copies};
use super::place::ask;
use super::{SOON, await_served, proxy};
use crate::common::{RmrProxy, Server, eventually};

/// A figure of an answer, or of `INFO`.
pub(super) fn figure(said: &str, name: &str) -> u64 {
    let found = said.split_once(&format!("{name}\": ")).or_else(|| said.split_once(&format!("{name}:")));
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    found.and_then(|(_, rest)| digits(rest).parse().ok()).unwrap_or_else(|| panic!("no {name} in {said}"))
}

pub(super) fn check(proxy: &RmrProxy, words: &str) -> String {
    let said = ask(proxy, &format!("CHECK {words}"));
    assert_eq!(figure(&said, "slots-unchecked"), 0, "{said}");
    said
}

/// S2, and that what is only under way is no difference: copies are compared while clients write, then some are spoiled behind the
/// back of the proxies, found by either proxy, and made equal from the first copy.
#[test]
fn copies_that_differ_are_found_and_made_equal() {
    let (config, nodes, first) = two_copies::<3>(&[]);
    let second = proxy(&config);
    await_served(&second);
    let mut wire = first.wire();
    for key in 0..100 {
        assert_eq!(wire.reply(&format!("SET key:{key} {key}")), "+OK");
        assert_eq!(wire.reply(&format!("SADD set:{key} a b {key}")), "3");
    }
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| storm.blow(&[&first, &second], &end));
        eventually(SOON, "writes are under way", || storm.acknowledged.lock().unwrap().len() >= 100);
        let said: Vec<String> = (0..3).map(|_| check(&first, "ALL")).collect();
        end.store(true, Ordering::Relaxed);
        assert!(said.iter().all(|said| figure(said, "differences") == 0), "{said:?}");
    });
    let sound = check(&first, "");
    assert_eq!((figure(&sound, "slots"), figure(&sound, "differences")), (1024, 0), "{sound}");
    assert!(figure(&sound, "keys") >= first.reply("DBSIZE").parse().unwrap(), "{sound}");

    let at = |key: &str, copy: usize| -> &Server {
        let holder = &holders(&config, key)[copy];
        nodes.iter().find(|node| node.address() == *holder).expect("a node")
    };
    at("key:1", 1).run::<()>(&["SET", "key:1", "other"]);
    at("key:2", 1).run::<u64>(&["DEL", "key:2"]);
    at("key:3", 1).run::<u64>(&["PEXPIRE", "key:3", "600000"]);
    at("set:4", 1).run::<u64>(&["SADD", "set:4", "d"]);
    at("key:5", 0).run::<u64>(&["DEL", "key:5"]);
    let spoiled = ["key:1", "key:2", "key:3", "set:4", "key:5"];
    for proxy in [&first, &second] {
        let said = check(proxy, "ALL");
        assert_eq!((figure(&said, "differences"), figure(&said, "repaired")), (5, 0), "{said}");
        for key in spoiled {
            assert!(said.contains(&format!("\"key\": \"{key}\"")), "{key} is not in {said}");
        }
    }
    let slot = figure(&ask(&second, "KEY key:2"), "slot");
    let said = check(&second, &slot.to_string());
    assert_eq!((figure(&said, "slots"), figure(&said, "differences")), (1, 1), "{said}");
    let (one, other) = (at("key:2", 0).address(), at("key:2", 1).address());
    let line =
        format!("\"first-copy\": \"{one}\", \"other-copy\": \"{other}\", \"what\": \"is not at the other node\"");
    assert!(said.contains(&line), "{said}");

    let said = check(&second, "ALL REPAIR");
    assert_eq!((figure(&said, "differences"), figure(&said, "repaired")), (5, 5), "{said}");
    assert_eq!(figure(&check(&first, "ALL"), "differences"), 0);
    assert_eq!(at("key:1", 1).run::<String>(&["GET", "key:1"]), "1");
    assert_eq!(at("key:2", 1).run::<String>(&["GET", "key:2"]), "2");
    assert_eq!(at("key:3", 1).run::<i64>(&["PTTL", "key:3"]), -1);
    assert!(!at("set:4", 1).run::<bool>(&["SISMEMBER", "set:4", "d"]));
    assert!(!at("key:5", 1).run::<bool>(&["EXISTS", "key:5"]), "the first copy counts");
    let sum =
        |name: &str| [&first, &second].iter().map(|proxy| figure(&proxy.reply("INFO placement"), name)).sum::<u64>();
    assert!(sum("scrub_differences") >= 5 && sum("writes_forwarded") > 0 && sum("writes_in_doubt") == 0);
    assert!(ask(&first, "CHECK 1024").contains("CHECK 1024: there are slots 0 to 1023"));
}
