//! Tests the routes that a member knows, and their age.

use std::time::{Duration, Instant};

use rmr::placement::member::Event;
use rmr::testing::Server;

use crate::group::{Manner, SLOTS, TIMEOUT, Worker, ask, number, options, settled, until};

/// R19: routes follow each change, and are asked for without Redis.
#[tokio::test(flavor = "multi_thread")]
async fn routes_follow_and_cost_nothing() {
    let server = Server::start();
    let (one, two) = (Worker::eager(&server, "one").await, Worker::eager(&server, "two").await);
    settled(&[&one, &two], 1).await;
    let begun = Instant::now();
    const LOOKS: u32 = 100_000;
    for look in 0..LOOKS {
        let routes = one.member.routes();
        assert!(routes.primary((look % u32::from(SLOTS)) as u16).is_some());
    }
    // 50 ns are asked for; this build is not optimised.
    assert!(begun.elapsed() / LOOKS < Duration::from_micros(20), "{:?} a look", begun.elapsed() / LOOKS);
    let age = one.member.routes().age();
    assert!(age < TIMEOUT, "{age:?}");
}

/// Redis is away: routes stay and say how old they are, nothing panics, and after longer than the timeout nobody takes itself
/// for a primary. When it is back nothing has changed.
#[tokio::test(flavor = "multi_thread")]
async fn redis_may_be_away() {
    let server = Server::start();
    let (one, two) = (Worker::eager(&server, "one").await, Worker::eager(&server, "two").await);
    settled(&[&one, &two], 1).await;
    let (before, primaries) = (one.member.routes(), one.member.primaries());
    one.forget();
    server.stop_signal();
    until("nobody takes itself for a primary", || {
        one.member.primaries().is_empty() && two.member.primaries().is_empty()
    })
    .await;
    let routes = one.member.routes();
    assert!(routes.age() > TIMEOUT / 2, "{:?}", routes.age());
    assert!((0..SLOTS).all(|slot| routes.holders(slot) == before.holders(slot)));
    let error = one.member.ready(0).await.expect_err("no answer").to_string();
    assert!(error.contains("configuration node"), "{error}");
    until("the loss is told", || {
        one.told().iter().any(|event| matches!(event, Event::Primaries { lost, .. } if lost.len() == primaries.len()))
    })
    .await;

    server.cont_signal();
    until("all is as it was", || one.member.primaries() == primaries && !two.member.primaries().is_empty()).await;
    assert!(!one.told().iter().any(|event| matches!(event, Event::Lost(_) | Event::Missing(_))), "{:?}", one.told());
    assert!(one.member.routes().age() < TIMEOUT);
}

/// A member that sees S slots change reads about S slots, and not all slots each time.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_read_and_not_the_table() {
    let server = Server::start();
    let watcher = Worker::join(options(&server, "watcher"), Manner::Idle).await;
    let one = Worker::join(options(&server, "one"), Manner::Idle).await;
    until("both are there", || watcher.member.members().len() == 2 && one.member.members().len() == 2).await;
    let reads = || {
        let text: String = ask(&server, &["INFO", "commandstats"]);
        let calls = |command: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
            line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse::<usize>().expect("a number"))
        };
        (calls("hgetall"), calls("hget"))
    };
    let before = reads();
    for slot in 0..SLOTS {
        one.member.ready(slot).await.expect("a token");
    }
    until("the watcher knows all", || (0..SLOTS).all(|slot| watcher.member.routes().primary(slot).is_some())).await;
    let after = reads();
    assert_eq!(after.0, before.0, "the whole table was read");
    // Two for each `ready`, one a slot for each of the two that follow, and those of renewals.
    assert!(after.1 - before.1 < 6 * usize::from(SLOTS), "{} reads", after.1 - before.1);
    assert_eq!(number(&server, &["XLEN", "{rmr:test}:log"]), 2 + i64::from(SLOTS));
}
