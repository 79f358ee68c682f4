//! Tests of the bounds of requests, and of what ends them early: the most in flight, gates, and requesters who give up.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::command::{Command, CommandSet};
use crate::engine::Gate;
use crate::engine::fake::*;
use crate::error::Error;
use crate::topology::BoxFuture;

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_is_cancelled_everywhere() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([silent()]);
    fake.node(2).plays([silent()]);
    let map = fake.request().map([get(BAR), get(FOO)]);
    assert!(tokio::time::timeout(Duration::from_secs(1), map).await.is_err());
    assert_eq!((fake.node(1).dropped.load(Relaxed), fake.node(2).dropped.load(Relaxed)), (1, 1));
    let stats = fake.engine.stats();
    assert_eq!((stats.cancelled.load(Relaxed), stats.in_flight.load(Relaxed)), (1, 0));
    // Nobody was waited for in vain, so no link is suspected.
    assert_eq!(fake.node(1).timeouts.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_may_be_in_flight_are_refused() {
    let fake = Fake::of([halves()]);
    fake.engine.set_max_in_flight(1);
    fake.node(1).plays([after(Duration::from_secs(1), ok(7))]);
    let (first, second) = tokio::join!(fake.request().map([get(BAR)]), fake.request().map([get(FOO)]));
    assert_eq!(first.unwrap().integers().sum::<i64>(), 7);
    assert!(matches!(second, Err(Error::Busy { limit: 1 })));
    assert!(fake.node(2).sent().is_empty());
    assert_eq!(fake.engine.stats().errors.busy.load(Relaxed), 1);
    fake.request().map([get(FOO)]).await.unwrap();
}

/// Lets reads pass, and marks them.
struct ReadsOnly;

impl Gate for ReadsOnly {
    fn admit(&self, commands: CommandSet) -> BoxFuture<'_, Result<CommandSet, Error>> {
        let commands = commands.into_each();
        let may = commands.iter().all(|command| command.name() == b"GET");
        let marked = commands.into_iter().map(|command| command.read_only(true)).collect::<Vec<_>>();
        Box::pin(async move { if may { Ok(marked.into()) } else { Err(Error::NoPermission("reads only".into())) } })
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_is_asked_before_anything_is_sent() {
    let fake = Fake::of([halves()]);
    let request = fake.engine.request().gate(Arc::new(ReadsOnly)).begin();
    let error = request.map([get(FOO), set(BAR)]).await.unwrap_err();
    assert!(matches!(error, Error::NoPermission(_)), "{error}");
    assert!(matches!(request.fan_out(Command::new("DBSIZE")).await, Err(Error::NoPermission(_))));
    assert!(fake.node(1).sent().is_empty() && fake.node(2).sent().is_empty());
    request.without_gate().map([set(BAR)]).await.unwrap();
    // A command that the gate marks as a read may be sent twice.
    fake.node(1).plays([lost()]);
    request.map([Command::new("GET").key(BAR)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn unfit_commands_are_refused_before_anything_is_sent() {
    let fake = Fake::of([halves()]);
    let error = fake.request().map([get(FOO), Command::new("BLPOP").key(BAR).arg("0")]).await.unwrap_err();
    assert!(error.to_string().contains("'BLPOP' cannot be sent to other nodes"), "{error}");
    assert!(fake.node(2).sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn other_nodes_are_reached_in_database_0_only() {
    let fake = Fake::of([halves().with_local("10.0.0.1:1")]);
    let request = fake.engine.request().database(3);
    assert_eq!(request.map([get(BAR)]).await.unwrap().integers().sum::<i64>(), 100);
    let error = request.map([get(BAR), get(FOO)]).await.unwrap_err().to_string();
    assert!(error.contains("database 3 is selected"), "{error}");
    assert_eq!((fake.local().sent().len(), fake.node(2).sent().len()), (1, 0));
}
