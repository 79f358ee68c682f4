//! One of those who serve a slot is its primary.

use std::collections::BTreeSet;

use rmr::placement::member::Event;
use rmr::testing::Server;

use crate::group::{Manner, SLOTS, Worker, options, settled, until};

/// R4, R5, R7: as many copies as asked for, or as there are members; one primary a slot, and roles forbid nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_has_its_copies_and_one_primary() {
    let server = Server::start();
    let join = |id| Worker::join(options(&server, id).copies(3), Manner::Eager);
    let (one, two) = (join("one").await, join("two").await);
    settled(&[&one, &two], 3).await;
    assert_eq!(one.member.held().len(), usize::from(SLOTS));
    let (three, four) = (join("three").await, join("four").await);
    let workers = [&one, &two, &three, &four];
    settled(&workers, 3).await;
    until("each slot has one primary that knows it", || {
        let all: Vec<u16> = workers.iter().flat_map(|worker| worker.member.primaries().into_keys()).collect();
        all.len() == usize::from(SLOTS) && all.iter().collect::<BTreeSet<_>>().len() == all.len()
    })
    .await;
    // A secondary may say ready again, and give up; nobody asks for its role.
    let is_secondary = |slot: &u16| four.member.primary_token(*slot).is_none();
    let slot = four.member.held().into_iter().find(is_secondary).expect("a secondary");
    four.member.ready(slot).await.expect("a token");
}

/// R17, R30: a secondary takes over within the change by which the primary goes, with a new token, and is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_takes_over_with_a_new_token() {
    let server = Server::start();
    let join = |id| Worker::join(options(&server, id).copies(2), Manner::Idle);
    let (one, two) = (join("one").await, join("two").await);
    let first = one.member.ready(5).await.expect("a token");
    let second = two.member.ready(5).await.expect("a token");
    assert_eq!((one.member.primary_token(5), two.member.primary_token(5)), (Some(first), None));
    assert!(second > first);

    one.member.failed(5).await.expect("given up");
    until("the other one has taken over", || two.member.primary_token(5).is_some()).await;
    let token = two.member.primary_token(5).expect("a token");
    assert!(token > second);
    assert!(two.told().contains(&Event::Primaries { gained: vec![(5, token)], lost: vec![] }));
    assert_eq!(one.told().iter().filter(|event| matches!(event, Event::Lost(_))).count(), 0);
    assert_eq!(one.member.primary_token(5), None);
}

/// The counterpart of TestPrimaryChange: of three slots at one member and two of them at another too, five changes of
/// primaries in all, and those of one that leaves in one message.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_primaries_come_in_one_message() {
    let server = Server::start();
    let join = |id| Worker::join(options(&server, id).copies(2), Manner::Idle);
    let (one, two) = (join("one").await, join("two").await);
    for slot in 1..=3 {
        one.member.ready(slot).await.expect("a token");
    }
    for slot in 1..=2 {
        two.member.ready(slot).await.expect("a token");
    }
    let gained = |worker: &Worker| -> Vec<Vec<u16>> {
        let slots = |event| match event {
            Event::Primaries { gained, .. } if !gained.is_empty() => {
                Some(gained.iter().map(|(slot, _)| *slot).collect())
            }
            _ => None,
        };
        worker.told().into_iter().filter_map(slots).collect()
    };
    until("three changes are told", || gained(&one).concat() == [1, 2, 3]).await;
    let left = one.member.leave(std::time::Duration::ZERO).await.expect("left");
    assert_eq!(left.short, [(1, 1), (2, 1), (3, 0)]);
    until("two more are told", || !gained(&two).is_empty()).await;
    assert_eq!(gained(&two), [[1, 2]]);
    until("nobody serves the third", || two.member.routes().primary(3).is_none()).await;
}

/// Every change has a number of its own, one higher than the last.
#[tokio::test(flavor = "multi_thread")]
async fn the_epoch_grows_by_one_with_each_change() {
    let server = Server::start();
    let one = Worker::join(options(&server, "one"), Manner::Idle).await;
    let tokens = [one.member.ready(1).await, one.member.ready(2).await, one.member.ready(3).await];
    let tokens: Vec<u64> = tokens.into_iter().map(|token| token.expect("a token")).collect();
    assert_eq!(tokens, [2, 3, 4], "the first change was that it joined");
    assert_eq!(one.member.ready(2).await.expect("the same token"), 3);
}
