//! The node that we live in is asked before a write to several nodes leaves.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::Options;
use crate::engine::fake::*;
use crate::reply::Reply;

const NOREPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
const PAUSED: &str = "TRYAGAIN writes are paused, as for a failover";

/// Makes a cluster of two nodes, the first of which is the process itself.
fn here_and_there() -> Fake {
    Fake::of([halves().with_local("10.0.0.1:1")])
}

#[tokio::test(start_paused = true)]
async fn what_the_own_node_would_refuse_is_sent_to_none() {
    let fake = here_and_there();
    fake.local().would_refuse([NOREPLICAS]);
    let error = fake.request().map([set(BAR), set(FOO)]).await.unwrap_err();
    assert_eq!(error.to_line(), format!("RMRSHARD 10.0.0.1:1: {NOREPLICAS} (key 'bar')").into_bytes());
    assert!(fake.local().sent().is_empty() && fake.node(2).sent().is_empty());
    let replies = fake.request().map([set(BAR), set(FOO)]).await.unwrap();
    assert_eq!(replies.into_all().unwrap(), [Reply::Integer(100), Reply::Integer(2)]);
}

#[tokio::test(start_paused = true)]
async fn the_own_node_is_asked_for_writes_here_and_elsewhere_that_are_no_success_in_part() {
    let fake = here_and_there();
    for (commands, asked) in [
        (vec![get(BAR), get(FOO)], 0),
        (vec![set(BAR), set(BAR)], 0),
        (vec![set(FOO)], 0),
        (vec![get(BAR), set(FOO)], 0),
        (vec![get(BAR), set(BAR), get(FOO)], 1),
    ] {
        let before = fake.local().asked_ahead.load(Relaxed);
        fake.request().map(commands.clone()).await.unwrap();
        assert_eq!(fake.local().asked_ahead.load(Relaxed) - before, asked, "{commands:?}");
    }
    fake.local().would_refuse([NOREPLICAS]);
    for options in [Options::new().partial(true), Options::keeping_failures(false).going_on()] {
        let replies = fake.request().map([set(BAR), set(FOO)]).with_options(options).await.unwrap();
        assert_eq!(replies.ok().count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_writes_is_waited_out_before_anything_is_sent() {
    let fake = here_and_there();
    fake.local().would_refuse([PAUSED; 4]);
    let start = Instant::now();
    fake.request().map([set(BAR), set(FOO)]).await.unwrap();
    assert_eq!(fake.node(2).times(start), [5 + 10 + 20 + 40]);
    fake.local().would_refuse([PAUSED; 1000]);
    let map = fake.engine.map([set(BAR), set(FOO)]).timeout(Duration::from_secs(3));
    let error = map.await.unwrap_err().to_string();
    assert!(error.contains(PAUSED), "{error}");
    assert_eq!(fake.node(2).sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_a_replica_by_now_hinders_nobody() {
    let fake = here_and_there();
    fake.local().would_refuse(["READONLY You can't write against a read only replica."]);
    fake.request().map([set(BAR), set(FOO)]).await.unwrap();
    assert_eq!((fake.local().sent().len(), fake.node(2).sent().len()), (1, 1));
}
