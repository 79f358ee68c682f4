//! The configuration node has several addresses, and may lose what it knows.

use rmr::Command;
use rmr::placement::member::{Event, MemberOptions};
use rmr::testing::Server;

use crate::group::{Manner, SLOTS, Worker, ask, number, options, settled, until, url};

fn with_both(first: &Server, second: &Server, id: &str) -> MemberOptions {
    options_at(&[url(first), url(second)], id)
}

fn options_at(urls: &[String], id: &str) -> MemberOptions {
    let slots = rmr::placement::slot::SlotFunc::new(rmr::placement::slot::SlotHash::Sha1, SLOTS).expect("slots");
    MemberOptions::new(id, urls.to_vec()).name("test").slots(slots).timeout(crate::group::TIMEOUT)
}

fn replicate(replica: &Server, primary: &Server) {
    let host = primary.port().to_string();
    replica.call(Command::new("REPLICAOF").arg("127.0.0.1").arg(host)).expect("a replica");
}

/// A replica is promoted when the primary has died: the members go on there, with nothing lost and no epoch twice. The old one
/// comes back as a primary with what it knew, and is not taken for the real one.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_is_followed() {
    let (first, second) = (Server::builder().config("appendonly", "yes").start(), Server::start());
    replicate(&second, &first);
    until("the replica has caught up", || {
        ask::<String>(&second, &["INFO", "replication"]).contains("master_link_status:up")
    })
    .await;
    let one = Worker::join(with_both(&first, &second, "one"), Manner::Eager).await;
    let two = Worker::join(with_both(&second, &first, "two"), Manner::Eager).await;
    settled(&[&one, &two], 1).await;
    one.forget();
    let before = one.member.routes();

    first.kill();
    second.call(Command::new("REPLICAOF").arg("NO").arg("ONE")).expect("a primary");
    let three = Worker::join(with_both(&first, &second, "three"), Manner::Eager).await;
    settled(&[&one, &two, &three], 1).await;
    assert!(!one.told().iter().any(|event| matches!(event, Event::Lost(_))), "{:?}", one.told());
    for slot in 0..SLOTS {
        let (old, new) = (before.primary(slot).expect("a primary"), one.member.routes());
        let new = new.primary(slot).expect("a primary");
        assert!(old.id == new.id || new.token > before.epoch(), "slot {slot}: a token twice");
    }

    first.restart();
    let four = Worker::join(with_both(&first, &second, "four"), Manner::Eager).await;
    settled(&[&one, &two, &three, &four], 1).await;
    assert_eq!(number(&second, &["HLEN", "{rmr:test}:members"]), 4);
}

/// The configuration node forgets everything: the members hear that they have lost their slots, join anew, and no token is given
/// out twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_has_forgotten_is_built_anew() {
    let server = Server::start();
    let (one, two) = (Worker::eager(&server, "one").await, Worker::eager(&server, "two").await);
    settled(&[&one, &two], 1).await;
    let (held, epoch) = (one.member.held(), one.member.routes().epoch());
    one.forget();
    server.call(Command::new("FLUSHALL")).expect("nothing left");
    until("the loss is told", || !one.told().is_empty()).await;
    assert_eq!(one.told()[0], Event::Lost(held));
    settled(&[&one, &two], 1).await;
    let routes = one.member.routes();
    assert!((0..SLOTS).all(|slot| routes.primary(slot).expect("a primary").token > epoch));
}

/// None of its addresses is that of a primary: that is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_no_configuration_node() {
    let (first, second) = (Server::start(), Server::start());
    replicate(&second, &first);
    let error =
        rmr::placement::member::Member::join(options(&second, "one")).await.err().expect("an error").to_string();
    assert!(error.contains("none of its addresses is that of a primary"), "{error}");
}
