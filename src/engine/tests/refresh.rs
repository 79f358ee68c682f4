//! The topology: fetched once for all who ask together, never too often, and never under a request's feet.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::fake::*;
use crate::engine::{Replies, Request};
use crate::error::Error;

const SECOND: Duration = Duration::from_secs(1);

fn sum(replies: Result<Replies, Error>) -> i64 {
    replies.unwrap().integers().sum()
}

/// Makes a topology in which slot 12182, which is that of [`FOO`], is nobody's.
fn with_hole() -> crate::topology::Topology {
    cluster(&[(1, (0, 12181)), (2, (12183, 16383))])
}

#[tokio::test(start_paused = true)]
async fn the_first_request_fetches_the_topology_and_the_others_use_it() {
    let fake = Fake::of([halves()]);
    fake.shows_after(SECOND);
    let (first, second) = tokio::join!(fake.request().map([get(BAR)]), fake.request().map([get(FOO)]));
    assert_eq!((sum(first), sum(second), fake.fetches()), (1, 2, 1));
    sum(fake.request().map([get(BAR)]).await);
    assert_eq!(fake.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn callers_that_come_together_share_a_refresh_that_began_after_they_asked() {
    let fake = Fake::of([halves()]);
    fake.shows_after(SECOND);
    let late = async {
        tokio::time::sleep(SECOND / 2).await;
        fake.engine.refresh().await.unwrap();
    };
    let (first, second, ()) = tokio::join!(fake.engine.refresh(), fake.engine.refresh(), late);
    first.unwrap();
    second.unwrap();
    // The one under way is too old for whoever came in the middle.
    assert_eq!(fake.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn refreshes_are_paced() {
    let fake = Fake::of([halves()]);
    let start = Instant::now();
    for _ in 0..5 {
        fake.refresh().await;
    }
    assert_eq!((fake.fetches(), ms(start)), (5, 1 + 4 * 51 + 1));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_is_given_up_after_five_seconds_and_by_requests_at_their_deadline() {
    let fake = Fake::of([halves()]);
    fake.shows_after(3600 * SECOND);
    let start = Instant::now();
    let error = fake.engine.map([get(BAR)]).timeout(SECOND).await.unwrap_err();
    assert_eq!((ms(start), error.to_string().contains("could not be fetched in time")), (1000, true), "{error}");
    let error = fake.request().map([get(BAR)]).await.unwrap_err();
    assert_eq!((ms(start), error.to_string().contains("did not answer")), (6000, true), "{error}");
    assert_eq!(fake.engine.topology_error().map(|error| error.to_string()), Some(error.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_is_an_error() {
    let fake = Fake::of([halves()]);
    fake.panics();
    let error = fake.request().map([get(BAR)]).await.unwrap_err().to_string();
    assert!(error.contains("the node provider panicked: oh"), "{error}");
    assert_eq!(fake.engine.stats().refresh_failures.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_wait_fetches_by_itself() {
    let fake = Fake::of([cluster(&[(1, (0, 16383))]).with_local("10.0.0.1:1")]);
    fake.shows_after(SECOND);
    let slow = async { fake.engine.refresh().await.map(drop) };
    let request = fake.engine.request().in_process_only("in MULTI");
    let start = Instant::now();
    let (refreshed, replies) = tokio::join!(slow, request.map([get(BAR)]));
    refreshed.unwrap();
    assert_eq!((sum(replies), fake.fetches(), ms(start)), (100, 2, 1000));
}

#[tokio::test(start_paused = true)]
async fn a_topology_that_changes_in_the_middle_leaves_a_request_alone() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([after(SECOND, ok(11))]);
    let change = async {
        tokio::time::sleep(SECOND / 2).await;
        fake.shows([cluster(&[(3, (0, 16383))])]);
        fake.engine.refresh().await.unwrap();
        assert_eq!(sum(fake.request().map([get(BAR)]).await), 3);
    };
    let (replies, ()) = tokio::join!(fake.request().map([get(BAR)]), change);
    assert_eq!(sum(replies), 11);
    assert_eq!(fake.engine.topology().unwrap().epoch(), 2);
    // The same picture once more is no new one.
    fake.engine.refresh().await.unwrap();
    assert_eq!(fake.engine.topology().unwrap().epoch(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_by_the_topology_that_came_meanwhile() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([after(SECOND, error("CLUSTERDOWN Hash slot not served"))]);
    let change = async {
        tokio::time::sleep(SECOND / 2).await;
        fake.shows([cluster(&[(3, (0, 16383))])]);
    };
    let (replies, ()) = tokio::join!(fake.request().map([set(BAR)]), change);
    assert_eq!(sum(replies), 3);
}

#[tokio::test(start_paused = true)]
async fn slots_that_were_just_lost_are_waited_for_a_second_and_then_an_error_at_once() {
    let fake = Fake::of([halves(), with_hole(), with_hole(), with_hole(), halves()]);
    fake.refresh().await;
    fake.refresh().await;
    assert_eq!(sum(fake.request().map([get(FOO)]).await), 2);
    assert_eq!(fake.fetches(), 5);
    fake.shows([with_hole()]);
    fake.refresh().await;
    let start = Instant::now();
    let ask = async |request: Request| {
        let error = request.map([get(FOO)]).await.unwrap_err();
        assert!(matches!(error, Error::Slots(_)), "{error}");
    };
    ask(fake.request()).await;
    assert!((900..=1100).contains(&ms(start)), "{}", ms(start));
    let (start, before) = (Instant::now(), fake.fetches());
    ask(fake.request()).await;
    assert!(ms(start) <= 51, "{}", ms(start));
    assert_eq!(fake.fetches(), before + 1, "it looks once all the same");
}

#[tokio::test(start_paused = true)]
async fn slots_that_are_lost_during_a_retry_are_waited_for() {
    let fake = Fake::of([halves(), with_hole(), with_hole(), halves()]);
    fake.node(2).plays([error("CLUSTERDOWN Hash slot not served")]);
    assert_eq!(sum(fake.request().map([set(FOO)]).await), 2);
    assert_eq!(fake.fetches(), 4);
}

#[tokio::test(start_paused = true)]
async fn slots_that_never_had_an_owner_are_an_error_after_one_look() {
    let fake = Fake::of([with_hole()]);
    fake.refresh().await;
    let start = Instant::now();
    assert!(matches!(fake.request().map([get(FOO)]).await, Err(Error::Slots(_))));
    assert_eq!((fake.fetches(), ms(start)), (2, 50));
    assert!(matches!(fake.request().fan_out(get(FOO)).await, Err(Error::Slots(_))));
    assert_eq!(sum(fake.request().fan_out(get(FOO)).partial(true).await), 3);
}

#[tokio::test(start_paused = true)]
async fn a_hint_brings_a_refresh_and_the_engines_end_the_end_of_them() {
    let fake = Fake::of([halves()]);
    fake.follows();
    tokio::time::sleep(SECOND).await;
    let before = fake.fetches();
    fake.engine.hint_change();
    tokio::time::sleep(SECOND).await;
    assert_eq!(fake.fetches(), before + 1);
    let provider = fake.provider.clone();
    drop(fake);
    tokio::time::sleep(2 * 3600 * SECOND).await;
    assert_eq!(provider.fetches.load(Relaxed), before + 1);
}
