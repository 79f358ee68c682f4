//! Nodes that do not answer: what may be sent again, and what is known of its outcome.

use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use crate::command::Command;
use crate::engine::Replies;
use crate::engine::fake::*;
use crate::error::Error;
use crate::link::{Delivery, Failure};
use crate::reply::Reply;

fn first(replies: Result<Replies, Error>) -> Result<Reply, Error> {
    replies?.into_all().map(|mut replies| replies.swap_remove(0))
}

#[tokio::test(start_paused = true)]
async fn a_link_lost_before_sending_is_tried_again_for_writes_too() {
    for command in [get(BAR), set(BAR)] {
        let fake = Fake::of([halves()]);
        fake.node(1).plays([unreachable(), unreachable()]);
        assert_eq!(first(fake.request().map([command]).await).unwrap(), Reply::Integer(1));
        assert_eq!((fake.node(1).sent().len(), fake.engine.stats().retries.load(Relaxed)), (3, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_unreachable_three_times_is_an_error_with_a_known_outcome() {
    let fake = Fake::of([halves()]);
    fake.node(1).always(unreachable);
    let error = first(fake.request().map([set(BAR)]).await).unwrap_err();
    assert!(matches!(&error, Error::Node { node, outcome_unknown: false, .. } if node == "10.0.0.1:1"), "{error}");
    assert_eq!(fake.node(1).sent().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_read_whose_link_is_lost_is_tried_again() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([lost()]);
    assert_eq!(first(fake.request().map([get(BAR)]).await).unwrap(), Reply::Integer(1));
    fake.node(1).always(lost);
    let error = first(fake.request().map([get(BAR)]).await).unwrap_err();
    assert!(matches!(error, Error::Node { outcome_unknown: false, .. }), "{error}");
    assert_eq!(fake.node(1).sent().len(), 2 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_link_is_lost_is_never_sent_twice() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([lost()]);
    let start = Instant::now();
    let error = first(fake.request().map([set(BAR)]).await).unwrap_err();
    assert!(matches!(error, Error::Node { outcome_unknown: true, .. }), "{error}");
    assert_eq!((fake.node(1).sent().len(), ms(start)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn replies_that_came_before_the_link_was_lost_count() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([fails(vec![Reply::Integer(8)], Failure::Lost("cut".into()))]);
    let replies = fake.request().map([set(BAR), set(BAR), get(BAR)]).partial(true).await.unwrap();
    let results: Vec<_> = replies.into_iter().map(|entry| entry.result).collect();
    assert_eq!(results[0].as_ref().unwrap(), &Reply::Integer(8));
    assert!(results[1].as_ref().unwrap_err().is_outcome_unknown());
    // The read is sent once more, and it alone.
    assert_eq!(results[2].as_ref().unwrap(), &Reply::Integer(1));
    assert_eq!(fake.node(1).sent().iter().map(|sent| sent.commands).collect::<Vec<_>>(), [3, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_too_short_is_a_lost_link() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([delivers(|_| Delivery::default())]);
    let error = first(fake.request().map([set(BAR)]).await).unwrap_err();
    assert!(error.to_string().contains("the node sent too little") && error.is_outcome_unknown(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn replies_beyond_the_budget_are_an_error_and_not_asked_for_again() {
    let fake = Fake::of([halves()]);
    fake.engine.set_max_reply_bytes(1000);
    fake.node(1).plays([delivers(|batch| {
        assert_eq!(batch.budget.limit(), 1000);
        Delivery::failed(if batch.budget.take(1001) { Failure::Declined } else { Failure::TooBig })
    })]);
    let error = first(fake.request().map([get(BAR)]).await).unwrap_err();
    assert!(matches!(error, Error::TooBig { limit: 1000 }), "{error}");
    assert_eq!(fake.node(1).sent().len(), 1);
    assert_eq!(fake.engine.stats().largest_replies.load(Relaxed), 1001);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_left_is_replaced_by_the_one_that_has_its_slots() {
    let fake = Fake::of([halves(), cluster(&[(3, (0, 8191)), (2, (8192, 16383))])]);
    fake.node(1).plays([unreachable()]);
    assert_eq!(first(fake.request().map([set(BAR)]).await).unwrap(), Reply::Integer(3));
    assert_eq!((fake.node(1).sent().len(), fake.node(3).sent().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn failures_are_left_to_whoever_allows_partial_results() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([error("ERR no"), error("ERR no")]);
    let whole = fake.request().map([get(FOO), get(BAR)]).await.unwrap_err();
    assert!(matches!(&whole, Error::Shard { node, .. } if node == "10.0.0.1:1"), "{whole}");
    assert_eq!(fake.engine.stats().partial.load(Relaxed), 0);
    let part = fake.request().map([get(FOO), get(BAR)]).partial(true).await.unwrap();
    assert_eq!((part.len(), part.ok().count(), part.errors().count()), (2, 1, 1));
    assert_eq!(fake.engine.stats().partial.load(Relaxed), 1);
    // Without a failure nothing is partial.
    fake.request().map([get(FOO), get(BAR)]).partial(true).await.unwrap();
    assert_eq!(fake.engine.stats().partial.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn of_several_failures_the_one_that_leaves_a_write_open_stands_for_the_request() {
    let fake = Fake::of([halves()]);
    fake.node(1).always(unreachable);
    fake.node(2).plays([lost()]);
    let error = fake.request().map([set(BAR), set(FOO)]).await.unwrap_err();
    assert!(error.is_outcome_unknown() && !error.is_retryable(), "{error}");
    assert_eq!(error.node(), Some("10.0.0.1:2"));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_lost_or_refused_is_not_begun_anew() {
    let blocking = || Command::new("XREAD").arg("BLOCK").arg("0").arg("STREAMS").key(BAR).arg("$").read_only(true);
    let fake = Fake::of([halves()]);
    fake.node(1).plays([lost(), error("CLUSTERDOWN The cluster is down")]);
    let error = fake.request().alone(blocking()).await.unwrap_err();
    assert!(matches!(error, Error::Node { .. }), "{error}");
    let error = fake.request().alone(blocking()).await.unwrap_err();
    assert!(matches!(error, Error::Shard { .. }), "{error}");
    assert_eq!(fake.node(1).sent().len(), 2);
}
