//! `MOVED` and `ASK`: followed at once while that makes sense, and never without end.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use crate::command::Command;
use crate::engine::Replies;
use crate::engine::fake::*;
use crate::error::Error;
use crate::link::Mode;
use crate::reply::Reply;
use crate::topology::{Address, Topology};

fn one(replies: Result<Replies, Error>) -> Result<Reply, String> {
    let mut replies = replies.and_then(Replies::into_all).map_err(|error| error.to_string())?;
    Ok(replies.pop().unwrap())
}

#[tokio::test(start_paused = true)]
async fn moved_is_followed_at_once() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([moved(2)]);
    let start = Instant::now();
    assert_eq!(one(fake.request().map([get(BAR)]).await), Ok(Reply::Integer(2)));
    assert_eq!((ms(start), fake.fetches()), (0, 1));
    assert_eq!(fake.engine.stats().moved.load(Relaxed), 1);
    assert_eq!(fake.node(2).sent()[0].mode, Mode::Plain);
}

#[tokio::test(start_paused = true)]
async fn moved_brings_a_refresh_for_those_that_come_after() {
    let fake = Fake::of([halves()]);
    fake.follows();
    fake.engine.refresh().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = fake.fetches();
    fake.node(1).plays([moved(2)]);
    fake.shows([cluster(&[(2, (0, 16383))])]);
    assert_eq!(one(fake.request().map([get(BAR)]).await), Ok(Reply::Integer(2)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fake.fetches(), before + 1);
    assert_eq!(one(fake.request().map([get(BAR)]).await), Ok(Reply::Integer(2)));
    assert_eq!((fake.node(1).sent().len(), fake.node(2).sent().len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_write_is_sent_on_too() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([moved(2)]);
    assert_eq!(one(fake.request().map([set(BAR)]).await), Ok(Reply::Integer(2)));
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_redirects_is_followed_to_its_end() {
    let fake = Fake::of([cluster(&[(1, (0, 8191)), (2, (8192, 12287)), (3, (12288, 16383))])]);
    fake.node(1).plays([moved(2)]);
    fake.node(2).plays([moved(3)]);
    let start = Instant::now();
    assert_eq!(one(fake.request().map([get(BAR)]).await), Ok(Reply::Integer(3)));
    assert_eq!(ms(start), 0);
}

#[tokio::test(start_paused = true)]
async fn six_redirects_are_quick_and_the_seventh_waits_for_a_fresh_topology() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays((0..5).map(|_| moved(2)));
    fake.node(2).always(|| moved(1));
    let start = Instant::now();
    assert_eq!(one(fake.request().map([get(BAR)]).await), Ok(Reply::Integer(1)));
    assert_eq!(fake.node(1).times(start), [0, 0, 0, 0, 51, 102]);
    assert_eq!(fake.node(2).times(start), [0, 0, 0]);
    assert_eq!(fake.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_never_agree_end_after_sixteen_redirects() {
    let fake = Fake::of([halves()]);
    fake.node(1).always(|| moved(2));
    fake.node(2).always(|| moved(1));
    let error = one(fake.request().map([get(BAR)]).await).unwrap_err();
    assert!(error.contains("MOVED 5061"), "{error}");
    assert_eq!(fake.node(1).sent().len() + fake.node(2).sent().len(), 17);
}

#[tokio::test(start_paused = true)]
async fn ask_is_followed_for_this_one_command() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([error("ASK 5061 10.0.0.1:2")]);
    assert_eq!(one(fake.request().map([get(BAR)]).await), Ok(Reply::Integer(2)));
    assert_eq!(fake.node(2).sent()[0].mode, Mode::Asking);
    assert_eq!((fake.engine.stats().ask.load(Relaxed), fake.fetches()), (1, 1));
    assert_eq!(one(fake.request().map([get(BAR)]).await), Ok(Reply::Integer(1)));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_asked_only_is_not_asked_in_process() {
    let fake = Fake::of([halves().with_local("10.0.0.1:2")]);
    fake.node(1).plays([error("ASK 5061 10.0.0.1:2")]);
    assert_eq!(one(fake.request().map([get(BAR)]).await), Ok(Reply::Integer(2)));
    assert!(fake.local().sent().is_empty());
    fake.node(1).plays([moved(2)]);
    assert_eq!(one(fake.request().map([get(BAR)]).await), Ok(Reply::Integer(100)));
}

#[tokio::test(start_paused = true)]
async fn a_redirect_for_another_slot_is_an_answer() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([error("MOVED 5062 10.0.0.1:2")]);
    let error = one(fake.request().map([get(BAR)]).await).unwrap_err();
    assert!(error.contains("MOVED 5062"), "{error}");
    assert!(fake.node(2).sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_no_slots_are_no_redirect_is_followed() {
    let addresses = [1, 2].map(|port| Address::new("10.0.0.1", port));
    let fake = Fake::of([Topology::of_nodes("list", addresses)]);
    for port in [1, 2] {
        fake.node(port).plays([moved(3 - port)]);
    }
    assert!(one(fake.request().map([get(BAR)]).await).unwrap_err().contains("MOVED"));
    assert_eq!(fake.node(1).sent().len() + fake.node(2).sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_follows_no_redirect() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([moved(2)]);
    assert!(one(fake.request().fan_out(get(BAR)).await).unwrap_err().contains("MOVED"));
    assert_eq!((fake.node(1).sent().len(), fake.node(2).sent().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_nobody_knows_is_waited_for() {
    let three = cluster(&[(1, (0, 5000)), (2, (8192, 16383)), (3, (5001, 8191))]);
    let fake = Fake::of([halves(), halves(), halves(), three]);
    fake.node(1).plays([moved(3)]);
    assert_eq!(one(fake.request().map([set(BAR)]).await), Ok(Reply::Integer(3)));
    assert_eq!((fake.node(1).sent().len(), fake.node(3).sent().len(), fake.fetches()), (1, 1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_unknown_is_given_up_after_a_second() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([moved(3)]);
    let start = Instant::now();
    assert!(one(fake.request().map([get(BAR)]).await).unwrap_err().contains("MOVED 5061 10.0.0.1:3"));
    assert!((1000..1500).contains(&ms(start)), "{}", ms(start));
    assert!(fake.node(3).sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_command_with_a_connection_to_itself_follows_too() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([moved(2)]);
    fake.node(2).plays([error("ASK 5061 10.0.0.1:1")]);
    let blocking = Command::new("BLPOP").key(BAR).arg("0");
    assert_eq!(fake.request().alone(blocking).await.unwrap(), Reply::Integer(1));
    assert!(fake.node(1).sent().iter().chain(&fake.node(2).sent()).all(|sent| sent.by_own_connection));
    assert_eq!(fake.node(1).sent()[1].mode, Mode::Asking);
}
