//! Slots go from one member to another when, and only when, the programs say so.

use std::time::Duration;

use rmr::placement::balance::{Balance, Candidate, Order};
use rmr::placement::member::Release;
use rmr::placement::slot::{SlotFunc, SlotHash};
use rmr::testing::Server;

use crate::group::{Manner, SLOTS, TIMEOUT, Worker, options, settled, until};

/// R6, R20, R21, R31 to R34: what each serves, who serves a slot, who is its primary and which slot an object has are those of
/// the Go library where its hash is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn placement_is_that_of_the_golden_vectors() {
    let server = Server::start();
    let slots = SlotFunc::new(SlotHash::Md5, SLOTS).expect("a number of slots");
    let join = |id| Worker::join(options(&server, id).slots(slots).order(Order::Md5).copies(2), Manner::Eager);
    let workers = [join("site1").await, join("site2").await, join("site3").await];
    settled(&[&workers[0], &workers[1], &workers[2]], 2).await;
    let balance = Balance::new(SLOTS, 2, ["site1", "site2", "site3"].map(Candidate::new)).order(Order::Md5);
    let routes = workers[0].member.routes();
    for slot in 0..SLOTS {
        let mut wanted: Vec<&str> = balance.holders(slot).collect();
        let mut held: Vec<&str> = routes.holders(slot).iter().map(|holder| &*holder.id).collect();
        wanted.sort_unstable();
        held.sort_unstable();
        assert_eq!(held, wanted, "slot {slot}");
    }
    for worker in &workers {
        assert_eq!(worker.member.held(), balance.slots_of(worker.member.id()));
        let primaries: Vec<u16> = worker.member.primaries().into_keys().collect();
        let is_primary = |slot: &u16| *routes.primary(*slot).expect("a primary").id == *worker.member.id();
        assert_eq!(primaries, (0..SLOTS).filter(is_primary).collect::<Vec<_>>());
    }
    assert_eq!(workers[0].member.slot_of(b"abcdefg"), 31430 % SLOTS);
}

/// R2, R10, R11: a member that comes gets its slots from the others, no other slot moves, and each is asked for once.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_slots_of_the_newcomer_move() {
    let server = Server::start();
    let (one, two) = (Worker::eager(&server, "one").await, Worker::eager(&server, "two").await);
    settled(&[&one, &two], 1).await;
    let before = one.member.routes();
    one.forget();
    two.forget();
    let three = Worker::eager(&server, "three").await;
    settled(&[&one, &two, &three], 1).await;

    let balance = Balance::new(SLOTS, 1, ["one", "two", "three"].map(Candidate::new));
    let wanted = balance.slots_of("three");
    assert_eq!(three.told_missing(), wanted);
    let mut given = [one.told_redundant(), two.told_redundant()].concat();
    given.sort_unstable();
    assert_eq!(given, wanted);
    assert!(one.told_missing().is_empty() && two.told_missing().is_empty());
    let after = one.member.routes();
    for slot in 0..SLOTS {
        let is_moved = before.primary(slot).map(|holder| &holder.id) != after.primary(slot).map(|holder| &holder.id);
        assert_eq!(is_moved, wanted.contains(&slot), "slot {slot}");
    }
}

/// R8, R12, R13, R25 to R29: the old member serves a slot, whatever time passes, until the new one says that it is ready; it
/// is refused to give it up before, and when it may, nobody's routes have it any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_stays_until_the_new_member_is_ready() {
    let server = Server::start();
    let one = Worker::join(options(&server, "one"), Manner::Idle).await;
    for slot in 0..SLOTS {
        one.member.ready(slot).await.expect("a token");
    }
    let two = Worker::join(options(&server, "two"), Manner::Idle).await;
    until("slots are missing at the new member", || !two.told_missing().is_empty()).await;
    let slot = two.told_missing()[0];
    assert_eq!(one.member.release(slot).await.expect("an answer"), Release::Refused { others: 0, wanted: 1 });
    assert!(one.told_redundant().is_empty());
    assert!(one.member.redundant().contains(&slot));

    // Nothing is assumed about how long it takes: what was told stays so beyond all timeouts.
    tokio::time::sleep(2 * TIMEOUT).await;
    assert_eq!(two.told_missing().iter().filter(|&&told| told == slot).count(), 1);
    assert_eq!(&*one.member.routes().primary(slot).expect("a primary").id, "one");

    let token = two.member.ready(slot).await.expect("a token");
    assert_eq!(two.member.routes().holders(slot).len(), 2);
    until("it is redundant at the old member", || one.told_redundant() == [slot]).await;
    assert!(one.member.release(slot).await.expect("an answer").is_done());
    let known = two.member.routes();
    assert!(
        known.holders(slot).iter().all(|holder| &*holder.id != "one") || known.epoch() <= one.member.routes().epoch()
    );
    until("the new member is the primary", || two.member.primary_token(slot).is_some()).await;
    assert!(two.member.primary_token(slot).expect("a token") > token);
    assert_eq!(one.told_redundant(), [slot]);
}

/// R15, R16, R18: a slot that cannot be served is given up at once, and asked for again after pauses that grow.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_slot_is_asked_for_again_later_and_later() {
    let server = Server::start();
    let pause = Duration::from_millis(100);
    let one = Worker::join(options(&server, "one").retry_pause(pause), Manner::Idle).await;
    let times_told = |slot: u16| one.told_missing().iter().filter(|&&told| told == slot).count();
    until("all are missing", || one.told_missing().len() == usize::from(SLOTS)).await;
    let mut waited = Vec::new();
    for times in 1..=3 {
        until("the slot is asked for", || times_told(7) == times).await;
        let failed = std::time::Instant::now();
        one.member.ready(7).await.expect("a token");
        one.member.failed(7).await.expect("given up");
        assert!(one.member.routes().holders(7).is_empty());
        until("the slot is asked for again", || times_told(7) == times + 1).await;
        waited.push(failed.elapsed());
    }
    assert!(waited[0] >= pause && waited[1] >= 2 * pause && waited[2] >= 4 * pause, "{waited:?}");
    assert_eq!(times_told(8), 1);
}

/// Below the minimum of members nothing is missing, and nothing that is held becomes redundant.
#[tokio::test(flavor = "multi_thread")]
async fn too_few_members_change_nothing() {
    let server = Server::start();
    let join = |id| Worker::join(options(&server, id).min_members(2), Manner::Eager);
    let one = join("one").await;
    assert!(one.member.missing().is_empty());
    let two = join("two").await;
    settled(&[&one, &two], 1).await;
    let held = one.member.held();
    one.forget();
    drop(two);
    until("the other one is removed", || one.member.members() == ["one"]).await;
    assert_eq!(one.member.held(), held);
    assert!(one.told_missing().is_empty() && one.told_redundant().is_empty() && one.member.redundant().is_empty());
    let three = join("three").await;
    settled(&[&one, &three], 1).await;
}

/// Weights are shares, and copies are put in different zones.
#[tokio::test(flavor = "multi_thread")]
async fn weights_and_zones_count() {
    let server = Server::start();
    let join =
        |id, weight, zone: &str| Worker::join(options(&server, id).copies(2).weight(weight).zone(zone), Manner::Eager);
    let workers = [join("a1", 1, "a").await, join("a2", 5, "a").await, join("b1", 1, "b").await];
    settled(&[&workers[0], &workers[1], &workers[2]], 2).await;
    assert_eq!(workers[2].member.held().len(), usize::from(SLOTS));
    assert!(workers[1].member.held().len() > 2 * workers[0].member.held().len());
}
