//! One deadline for all of a request, and what is said of those who miss it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use crate::command::Command;
use crate::engine::fake::*;
use crate::engine::{Replies, Step};
use crate::error::Error;
use crate::reply::Reply;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_silent_node_costs_the_deadline_and_is_named() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([silent(), silent()]);
    let start = Instant::now();
    let error = fake.engine.map([get(BAR), get(FOO)]).timeout(SECOND).await.unwrap_err();
    let Error::Timeout { timeout_ms, answered, asked, waiting_on, outcome_unknown } = error else { panic!("{error}") };
    assert_eq!((timeout_ms, answered, asked, waiting_on.as_str()), (1000, 1, 2, "10.0.0.1:1"));
    assert!(!outcome_unknown, "reads change nothing");
    assert_eq!(ms(start), 1000);
    let error = fake.engine.map([set(BAR), set(FOO)]).timeout(SECOND).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "a write may have been done");
    assert_eq!(fake.node(1).timeouts.load(Relaxed), 2);
    assert_eq!(fake.node(2).timeouts.load(Relaxed), 0);
    assert_eq!(fake.node(1).sent().len(), 2, "nothing is sent again");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_has_come_and_was_not_read_is_no_late_one() {
    let fake = Fake::of([halves()]);
    fake.node(1).answers_when_looked_at();
    let start = Instant::now();
    let replies = fake.engine.map([set(BAR), set(FOO)]).timeout(SECOND).await;
    assert_eq!((replies.unwrap().integers().sum::<i64>(), ms(start)), (3, 1000));
    assert_eq!((fake.node(1).looked_at.load(Relaxed), fake.node(2).looked_at.load(Relaxed)), (1, 0));
    assert_eq!(fake.node(1).timeouts.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn the_engine_has_a_timeout_for_requests_that_name_none() {
    let fake = Fake::of([halves()]);
    fake.node(1).always(silent);
    let start = Instant::now();
    fake.engine.map([get(BAR)]).await.unwrap_err();
    assert_eq!(ms(start), 5000);
    fake.engine.set_timeout(SECOND);
    fake.engine.map([get(BAR)]).await.unwrap_err();
    assert_eq!(ms(start), 6000);
}

#[tokio::test(start_paused = true)]
async fn a_builder_can_be_kept_and_a_request_that_has_begun_runs_out() {
    let fake = Fake::of([halves()]);
    fake.engine.refresh().await.unwrap();
    let builder = fake.engine.request().timeout(SECOND);
    let (map, request) = (builder.map([get(BAR)]), builder.clone().begin());
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(builder.map([get(BAR)]).await.unwrap().integers().sum::<i64>(), 1);
    assert_eq!(map.await.unwrap().integers().sum::<i64>(), 1);
    assert_eq!(request.time_left(), Duration::ZERO);
    fake.node(1).plays([silent()]);
    let start = Instant::now();
    assert!(matches!(request.map([get(BAR)]).await, Err(Error::Timeout { .. })));
    assert_eq!(ms(start), 0);
    assert_eq!(request.timeout(3 * SECOND).time_left(), SECOND, "it counts from when the request began");
}

#[tokio::test(start_paused = true)]
async fn the_steps_of_one_request_share_its_time_and_its_bytes() {
    let fake = Fake::of([halves()]);
    fake.engine.set_max_reply_bytes(1000);
    let spend = |bytes, left| {
        delivers(move |batch| {
            assert!(batch.budget.take(bytes));
            assert_eq!(batch.budget.left(), left);
            crate::link::Delivery { replies: vec![Reply::Integer(1)], ..Default::default() }
        })
    };
    fake.node(1).plays([after(SECOND / 2, spend(600, 400)), spend(300, 100), silent()]);
    let start = Instant::now();
    let request = fake.engine.request().timeout(SECOND).begin();
    request.map([get(BAR)]).await.unwrap();
    request.map([get(BAR)]).await.unwrap();
    request.map([get(BAR)]).await.unwrap_err();
    assert_eq!(ms(start), 1000);
}

#[tokio::test(start_paused = true)]
async fn steps_that_a_reducer_starts_share_the_time_too() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([after(SECOND / 2, ok(1)), silent()]);
    let again = |_: Replies| Ok(Step::map([get(BAR)], |_: Replies| Ok(Step::reply(1))));
    let start = Instant::now();
    let error = fake.engine.map([get(BAR)]).timeout(SECOND).reduce(again).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { timeout_ms: 1000, .. }), "{error}");
    assert_eq!(ms(start), 1000);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tried_again_that_could_not_be_answered_in_time() {
    let fake = Fake::of([halves()]);
    fake.node(1).always(unreachable);
    let start = Instant::now();
    let error = fake.engine.map([get(BAR)]).timeout(Duration::from_millis(14)).await.unwrap_err();
    assert!(matches!(error, Error::Node { .. }), "what is known is said: {error}");
    assert_eq!((fake.node(1).sent().len(), ms(start)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_redirect_that_waited_for_others_too_long_is_not_sent_and_has_a_known_outcome() {
    let fake = Fake::of([halves()]);
    fake.engine.refresh().await.unwrap();
    fake.shows_after(10 * SECOND);
    let unable = error("CLUSTERDOWN The cluster is down");
    fake.node(1).plays([moved(2)]);
    fake.node(2).plays([unable]);
    let replies = fake.engine.map([set(BAR), set(FOO)]).timeout(SECOND).partial(true).await.unwrap();
    let errors: Vec<&Error> = replies.errors().map(|(_, error)| error).collect();
    assert!(matches!(errors[0], Error::Timeout { outcome_unknown: false, .. }), "{}", errors[0]);
    assert!(errors[1].to_string().contains("CLUSTERDOWN"), "{}", errors[1]);
    assert_eq!((fake.node(1).sent().len(), fake.node(2).sent().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_command_for_a_named_node_is_not_sent_after_the_deadline() {
    let fake = Fake::of([halves()]);
    let request = fake.engine.request().timeout(SECOND).begin();
    tokio::time::sleep(SECOND).await;
    let error = request.addressed(vec![(set(BAR), None)], None, &Default::default()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { outcome_unknown: false, .. }), "{error}");
    assert_eq!(error.node(), None, "none was found");
    assert!(fake.node(1).sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_blocking_command_waits_until_the_deadline() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([silent()]);
    let start = Instant::now();
    let blocking = Command::new("BLPOP").key(BAR).arg("0");
    let error = fake.engine.request().timeout(SECOND).begin().alone(blocking).await.unwrap_err();
    assert!(matches!(&error, Error::Timeout { waiting_on, outcome_unknown: true, .. } if waiting_on == "10.0.0.1:1"));
    assert_eq!(ms(start), 1000);
    assert_eq!(fake.node(1).dropped.load(Relaxed), 1, "which closes its connection");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_beyond_the_clock_is_as_good_as_ten_years() {
    let fake = Fake::of([halves()]);
    let left = fake.engine.request().timeout(Duration::MAX).begin().time_left();
    assert_eq!(left, Duration::from_secs(315_360_000));
}
