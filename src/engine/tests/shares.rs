//! Shares that nodes reduce themselves, and what happens to those that they do not.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::Command;
use crate::engine::fake::*;
use crate::link::{Delivery, Failure};
use crate::number::Number;
use crate::peer::ReducedShare;
use crate::reduce::Builtin;
use crate::reply::Reply;

#[tokio::test(start_paused = true)]
async fn a_share_that_is_declined_is_sent_as_plain_commands() {
    let fake = Fake::that_reduces([halves()]);
    fake.node(1).plays([delivers(|_| Delivery::failed(Failure::Declined)), ok(5)]);
    let sum = fake.request().map([set(BAR), set(BAR), get(FOO)]).combine(Builtin::Sum).await.unwrap();
    assert_eq!(sum.number(), Some(Number::Integer(5 + 5 + 2)));
    let asked: Vec<bool> = fake.node(1).sent().iter().map(|sent| sent.reduces).collect();
    assert_eq!(asked, [true, false]);
    let stats = fake.engine.stats();
    assert_eq!((stats.inner.load(Relaxed), stats.inner_declined.load(Relaxed)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_share_that_is_declined_in_process_is_served_there_all_the_same() {
    let fake = Fake::that_reduces([cluster(&[(1, (0, 16383))]).with_local("10.0.0.1:1")]);
    fake.local().plays([delivers(|_| Delivery::failed(Failure::Declined))]);
    let map = fake.engine.request().in_process_only("in MULTI").map([get(BAR), get(FOO)]);
    assert_eq!(map.combine(Builtin::Sum).await.unwrap().number(), Some(Number::Integer(200)));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_with_a_share_leaves_writes_open_and_reads_are_tried_again() {
    let fake = Fake::that_reduces([halves()]);
    fake.node(1).plays([lost()]);
    assert!(fake.request().map([set(BAR)]).combine(Builtin::Sum).await.unwrap_err().is_outcome_unknown());
    fake.node(1).plays([lost()]);
    let sum = fake.request().map([get(BAR)]).combine(Builtin::Sum).await.unwrap();
    assert_eq!(sum, Reply::Integer(1));
}

#[tokio::test(start_paused = true)]
async fn what_a_node_refuses_of_its_share_goes_where_it_belongs() {
    let fake = Fake::that_reduces([halves()]);
    fake.node(1).plays([delivers(|batch| {
        let reduced = batch.reduction.unwrap().combine.open();
        let failed = vec![(1, "MOVED 5061 10.0.0.1:2".into())];
        Delivery::reduced(ReducedShare { reduced, failed, mixed: None })
    })]);
    // The first counts as nothing in what node 1 has reduced its share to, the second is done by node 2.
    let sum = fake.request().map([get(BAR), get(BAR), get(FOO)]).combine(Builtin::Sum).await.unwrap();
    assert_eq!(sum.number(), Some(Number::Integer(2 + 2)));
    assert_eq!((fake.node(1).sent().len(), fake.engine.stats().moved.load(Relaxed)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn nodes_that_cannot_reduce_are_not_asked_to() {
    let fake = Fake::of([halves()]);
    assert_eq!(fake.request().map([get(BAR), get(FOO)]).combine(Builtin::Sum).await.unwrap(), Reply::Integer(3));
    assert!(!fake.node(1).sent()[0].reduces);
}

#[tokio::test(start_paused = true)]
async fn a_reducer_that_goes_by_keys_sees_those_of_commands_and_is_not_sent_where_there_are_none() {
    let fake = Fake::that_reduces([halves()]);
    let pair = |key: &str, number: i64| Reply::Array(vec![key.into(), number.into()]);
    let reduced = |port: u16| fake.node(port).sent().last().map(|sent| sent.reduces);
    let top = fake.request().map([get(BAR), get(FOO)]).combine(Builtin::Top(9)).await.unwrap();
    assert_eq!(top, Reply::Array(vec![pair(FOO, 2), pair(BAR, 1)]));
    assert_eq!((reduced(1), reduced(2)), (Some(true), Some(true)));

    // Its arguments do not say by which key a command is routed.
    let apart = |key: &str| Command::new("GET").arg("x").routed_by(key);
    let top = fake.request().map([apart(BAR), apart(FOO)]).combine(Builtin::Top(9)).await.unwrap();
    assert_eq!(top, Reply::Array(vec![pair(FOO, 2), pair(BAR, 1)]));
    assert_eq!((reduced(1), reduced(2)), (Some(false), Some(false)));
    fake.request().map([apart(BAR)]).combine(Builtin::Sum).await.unwrap();
    assert_eq!(reduced(1), Some(true), "who needs no keys does not mind");

    // In a fan-out nodes take the place of keys, and do not know what they are called.
    let top = fake.request().fan_out(Command::new("PING")).combine(Builtin::Bottom(9)).await.unwrap();
    assert_eq!(top, Reply::Array(vec![pair("10.0.0.1:1", 1), pair("10.0.0.1:2", 2)]));
    assert_eq!((reduced(1), reduced(2)), (Some(false), Some(false)));
}
