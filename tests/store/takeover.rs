//! A proxy that orders writes may go, and another one takes over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::copies::{Storm, holders, node, two_copies, value};
use super::{SOON, await_served, proxy};
use crate::common::{RmrProxy, Server, eventually};

/// Waits until all slots are ordered by a proxy that lives, and have equal copies.
fn await_settled(config: &Server, proxy: &RmrProxy) {
    let name = format!("127.0.0.1:{}/", proxy.port());
    eventually(SOON, "all slots are taken over", || {
        let slots: Vec<String> = config.run(&["HVALS", "slots"]);
        slots.iter().all(|slot| slot.contains(&name) && slot.ends_with(" ok"))
    });
}

/// S1, S5, S6, B13, B31: the proxy that orders all writes is killed in a storm of them. Another one takes over, nothing that was
/// acknowledged is lost, and all copies end alike (S2).
#[test]
fn a_proxy_that_orders_writes_may_be_killed() {
    let (config, nodes, first) = two_copies::<3>(&[]);
    let second = proxy(&config);
    await_served(&second);
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| storm.blow(&[&second], &end));
        eventually(SOON, "writes are under way", || storm.acknowledged.lock().unwrap().len() >= 100);
        let killed = Instant::now();
        drop(first);
        await_settled(&config, &second);
        println!("all slots are settled {:?} after the end of the proxy", killed.elapsed());
        let before: i64 = storm.acknowledged.lock().unwrap().values().sum();
        eventually(SOON, "writes go on", || storm.acknowledged.lock().unwrap().values().sum::<i64>() > before + 200);
        end.store(true, Ordering::Relaxed);
    });
    let unknown = storm.unknown.into_inner().unwrap();
    // The four clients may have had a write each on its way to the proxy that went.
    assert!(unknown.len() <= 8, "{unknown:?}");
    let mut wire = second.wire();
    for (key, count) in storm.acknowledged.into_inner().unwrap() {
        let may_be_more = unknown.iter().filter(|write| write.starts_with(&format!("{key} "))).count() as i64;
        let read = value(&mut wire, &key).unwrap();
        assert!((count..=count + may_be_more).contains(&read), "{key}: {read}, and {count} were acknowledged");
        for holder in holders(&config, &key) {
            assert_eq!(node(&nodes, &holder).run::<i64>(&["GET", &key]), read, "{key} at {holder}");
        }
    }
}

/// H5, S5: a proxy that was stopped, and wakes up when another one has taken over, writes nothing any more.
#[test]
fn a_proxy_that_wakes_up_too_late_writes_nothing() {
    let (config, nodes, first) = two_copies::<3>(&[]);
    let second = proxy(&config);
    await_served(&second);
    let mut wire = first.wire();
    assert_eq!(wire.reply("SET key before"), "+OK");
    first.stop_signal();
    // It is read when the proxy wakes up.
    wire.send_raw(b"SET key late\r\n");
    await_settled(&config, &second);
    assert_eq!(second.reply("SET key after"), "+OK");
    let users = |node: &Server| -> Vec<String> { node.run(&["ACL", "LIST"]) };
    let is_kept_out = |user: &String| user.contains("rmr-") && user.contains(" off ");
    let kept_out: Vec<String> = nodes.iter().flat_map(users).filter(is_kept_out).collect();
    assert_eq!(kept_out.len(), 3, "{kept_out:?}");
    first.cont_signal();
    // Not for a moment is its user let in again.
    let awake = Instant::now();
    while awake.elapsed() < Duration::from_millis(500) {
        for node in &nodes {
            let users = users(node);
            assert_eq!(users.iter().filter(|user| is_kept_out(user)).count(), 1, "{users:?}");
        }
    }
    // The one that was stopped hears of it, and forwards to the other.
    let reply = String::from_utf8(wire.read_frame()).unwrap();
    let expected = if reply == "+OK\r\n" { "late" } else { "after" };
    for holder in holders(&config, "key") {
        assert_eq!(node(&nodes, &holder).run::<String>(&["GET", "key"]), expected, "{reply}");
    }
}

/// With one copy too, a proxy that is started again serves what the one before has written.
#[test]
fn a_proxy_that_is_started_again_serves_on() {
    let [config, server] = super::servers::<2>();
    let first = proxy(&config);
    super::push(&config, std::slice::from_ref(&server));
    await_served(&first);
    assert_eq!(first.reply("SET key 1"), "+OK");
    drop(first);
    let second = proxy(&config);
    await_served(&second);
    assert_eq!(second.reply("INCR key"), "2");
}

/// Tests the ground of the fence: once a node has answered `CLIENT KILL USER`, nothing runs any more of what that user had sent,
/// read or unread, and the user cannot come back; with threads for reading and writing too.
#[test]
fn nothing_runs_of_a_user_that_is_fenced() {
    for io_threads in ["1", "4"] {
        let server = Server::builder().module(false).config("io-threads", io_threads).start();
        for round in 0..10 {
            let user = format!("rmr-{round}");
            server.run::<String>(&["ACL", "SETUSER", &user, "on", ">secret", "~*", "+@all"]);
            let mut wire = server.wire();
            assert_eq!(wire.reply(&format!("AUTH {user} secret")), "+OK");
            wire.send_raw("INCR counter\r\n".repeat(20_000).as_bytes());
            server.run::<String>(&["ACL", "SETUSER", &user, "off"]);
            server.run::<i64>(&["CLIENT", "KILL", "USER", &user]);
            let after = server.run::<Option<i64>>(&["GET", "counter"]);
            for _ in 0..100 {
                server.run::<String>(&["PING"]);
            }
            assert_eq!(server.run::<Option<i64>>(&["GET", "counter"]), after, "io-threads {io_threads}");
            assert!(server.reply(&format!("AUTH {user} secret")).starts_with("-WRONGPASS"));
        }
    }
}

/// A proxy that was taken for dead, and fenced, is one of the proxies again when it wakes up: it takes over in its turn.
#[test]
fn a_proxy_that_was_fenced_begins_anew() {
    let (config, _nodes, first) = two_copies::<3>(&[]);
    let second = proxy(&config);
    await_served(&second);
    first.stop_signal();
    await_settled(&config, &second);
    assert_eq!(second.reply("SET key 1"), "+OK");
    first.cont_signal();
    // It has been told by a node that it is fenced once it has tried to write there.
    eventually(SOON, "it forwards what it is sent", || first.reply("INCR key").parse::<i64>().is_ok());
    drop(second);
    eventually(SOON, "it orders writes again", || first.reply("SET key 5") == "+OK");
    await_settled(&config, &first);
    for key in 0..30 {
        assert_eq!(first.reply(&format!("SET key:{key} {key}")), "+OK");
    }
}
