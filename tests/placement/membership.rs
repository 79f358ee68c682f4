//! Tests the list of members.

use std::time::{Duration, Instant};

use rmr::placement::member::{Event, Member};
use rmr::testing::Server;

use crate::group::{LIMIT, Manner, SLOTS, TIMEOUT, Worker, keys, number, options, settled, until};

/// R1, R3, R22 to R24: two members, one Redis; both know both, and who serves which slot.
#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_all_slots_and_know_it() {
    let server = Server::start();
    let (one, two) = (Worker::eager(&server, "one").await, Worker::eager(&server, "two").await);
    settled(&[&one, &two], 1).await;
    let mut all = [one.member.held(), two.member.held()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..SLOTS).collect::<Vec<_>>());
    assert!(!one.member.held().is_empty() && !two.member.held().is_empty());
    assert_eq!(one.member.members(), ["one", "two"]);
    assert_eq!(two.member.members(), ["one", "two"]);
}

/// R9, R14: the slots of a member that dies go to others, and no others do; also if it never had one.
#[tokio::test(flavor = "multi_thread")]
async fn who_dies_is_removed_in_time_with_slots_or_without() {
    let server = Server::start();
    let (one, two) = (Worker::eager(&server, "one").await, Worker::eager(&server, "two").await);
    let three = Worker::eager(&server, "three").await;
    settled(&[&one, &two, &three], 1).await;
    let (before, gone) = (one.member.routes(), three.member.held());
    one.forget();
    two.forget();

    let died = Instant::now();
    drop(three);
    until("the dead one is removed", || one.member.members() == ["one", "two"]).await;
    assert!(died.elapsed() < TIMEOUT + TIMEOUT / 4 + Duration::from_secs(2), "{:?}", died.elapsed());
    settled(&[&one, &two], 1).await;
    let mut moved = [one.told_missing(), two.told_missing()].concat();
    moved.sort_unstable();
    assert_eq!(moved, gone);
    let after = one.member.routes();
    for slot in (0..SLOTS).filter(|slot| !gone.contains(slot)) {
        assert_eq!(before.holders(slot), after.holders(slot));
    }

    let idle = Worker::join(options(&server, "idle"), Manner::Idle).await;
    until("the idle one is there", || one.member.members().len() == 3).await;
    assert!(idle.member.held().is_empty());
    drop(idle);
    until("the idle one is removed", || one.member.members().len() == 2).await;
    assert!(!keys(&server).iter().any(|key| key.contains("idle")), "{:?}", keys(&server));
}

/// Whoever gives up its last slot, or is refused to, stays a member.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_slots_stays_a_member() {
    let server = Server::start();
    let one = Worker::eager(&server, "one").await;
    let idle = Worker::join(options(&server, "idle"), Manner::Idle).await;
    until("both are there", || one.member.members().len() == 2).await;
    let slot = idle.member.missing()[0];
    idle.member.ready(slot).await.expect("a token");
    idle.member.failed(slot).await.expect("given up");
    assert!(idle.member.release(slot).await.expect("given up").is_done());
    assert!(idle.member.held().is_empty());
    assert_eq!(number(&server, &["EXISTS", "{rmr:test}:member:idle"]), 1);
    assert_eq!(number(&server, &["HLEN", "{rmr:test}:members"]), 2);
}

/// R35: a member that has left is in no list, and nothing of it stays in Redis or runs on.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_of_a_member_that_has_left() {
    let server = Server::start();
    let (one, two) = (Worker::eager(&server, "one").await, Worker::eager(&server, "two").await);
    settled(&[&one, &two], 1).await;
    let left = two.member.leave(LIMIT).await.expect("left");
    assert_eq!(left.short, []);
    settled(&[&one], 1).await;
    assert!(!keys(&server).iter().any(|key| key.contains("two")), "{:?}", keys(&server));
    // Events from before can still be waiting, since its worker takes one at a time.
    while two.member.next_event().await.is_some() {}
    assert!(two.member.primaries().is_empty());
    assert!(two.member.ready(0).await.expect_err("no member").to_string().contains("no member"));

    let left = one.member.leave(LIMIT).await.expect("left");
    assert_eq!(left.short.len(), usize::from(SLOTS), "nobody else is there");
    let common = ["epoch", "log", "settings", "watch"].map(|name| format!("{{rmr:test}}:{name}"));
    assert_eq!(keys(&server), common);
}

/// The id of a member that is alive is refused; that of a dead one can be had once its key has run out.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_had_once() {
    let server = Server::start();
    let one = Worker::eager(&server, "one").await;
    let error = Member::join(options(&server, "one")).await.err().expect("a refusal").to_string();
    assert_eq!(error, "a living member has the id 'one'");
    settled(&[&one], 1).await;
    let token = one.member.routes().primary(0).expect("a primary").token;
    drop(one);
    let again = Worker::eager(&server, "one").await;
    settled(&[&again], 1).await;
    assert!(again.member.routes().primary(0).expect("a primary").token > token, "a token of its former life");
}

/// A member that was taken for dead hears of it before anything else, is the primary of nothing, and joins again with new tokens.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_hears_that_first() {
    let server = Server::start();
    let one = Worker::eager(&server, "one").await;
    settled(&[&one], 1).await;
    one.forget();
    let before = one.member.primaries();
    // As others do when its key has run out.
    let script = "for _, key in ipairs({'member:one', 'members', 'slots', 'held:one'}) do redis.call('DEL', '{rmr:test}:' .. key) end";
    server.call(rmr::Command::new("EVAL").arg(script).arg(0)).expect("removed");
    until("it was told", || !one.told().is_empty()).await;
    assert_eq!(one.told()[0], Event::Lost((0..SLOTS).collect()));
    settled(&[&one], 1).await;
    let after = one.member.primaries();
    assert_eq!(before.len(), after.len());
    assert!(before.iter().all(|(slot, token)| after[slot] > *token));
}
