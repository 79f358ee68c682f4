//! Answers in which each slot is once: what is asked again when slots have changed hands, and what cannot be settled.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use crate::command::Command;
use crate::engine::fake::*;
use crate::engine::{FanOut, Options, Replies, Targets};
use crate::error::{Error, ErrorKind};
use crate::link::{Delivery, Failure};
use crate::number::Number;
use crate::reduce::Builtin;
use crate::reply::Reply;
use crate::topology::{OwnSlots, Role, Shard, SlotRange, Topology, key_slot};

fn dbsize(fake: &Fake) -> FanOut {
    fake.request().fan_out(Command::new("DBSIZE"))
}

fn sum(replies: Replies) -> i64 {
    sum_of(&replies)
}

fn sum_of(replies: &Replies) -> i64 {
    replies.integers().sum()
}

async fn total(fan_out: FanOut) -> Option<Number> {
    fan_out.combine(Builtin::Sum).await.unwrap().number()
}

/// Answers with this number for these slots.
fn holds(number: i64, own: &Arc<OwnSlots>) -> FakeTurn {
    around(own, own, ok(number))
}

fn low(last: u16) -> Arc<OwnSlots> {
    own_slots(1, 1, &[(0, last)])
}

fn high(first: u16) -> Arc<OwnSlots> {
    own_slots(2, 2, &[(first, 16383)])
}

fn figures(fake: &Fake) -> [u64; 4] {
    let stats = fake.engine.stats();
    [&stats.slot_checks, &stats.slot_repairs, &stats.slots_unsettled, &stats.inconsistent].map(|it| it.load(Relaxed))
}

#[tokio::test(start_paused = true)]
async fn nodes_that_cover_all_slots_once_are_asked_once() {
    let fake = Fake::of([halves()]);
    for _ in 0..2 {
        assert_eq!(sum(dbsize(&fake).await.unwrap()), 3);
    }
    assert!(fake.node(1).sent().iter().all(|sent| sent.asks_own_slots && sent.commands == 1));
    assert_eq!((fake.node(1).sent().len(), figures(&fake)), (2, [2, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_two_nodes_have_answered_for_is_counted_once() {
    for reduces in [false, true] {
        let thirds = cluster(&[(1, (0, 5000)), (2, (5001, 9999)), (3, (10000, 16383))]);
        let fake = if reduces { Fake::that_reduces([thirds]) } else { Fake::of([thirds]) };
        // The slot 5000 goes from node 1 to node 2, after the one has answered and before the other does.
        fake.node(1).plays([holds(10, &low(5000)), holds(9, &low(4999))]);
        let more = own_slots(2, 9, &[(5000, 9999)]);
        fake.node(2).plays([holds(21, &more), holds(21, &more)]);
        let start = Instant::now();
        assert_eq!(total(dbsize(&fake)).await, Some(Number::Integer(9 + 21 + 3)));
        let times = [1, 2, 3].map(|port| fake.node(port).times(start));
        assert_eq!(times, [vec![0, 0], vec![0, 0], vec![0]], "only the two are asked again, and at once");
        assert_eq!(figures(&fake), [1, 1, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_nobody_has_answered_for_is_asked_for_where_it_is() {
    let fake = Fake::of([halves(), cluster(&[(1, (0, 8190)), (2, (8191, 16383))])]);
    fake.refresh().await;
    // The slot 8191 goes from node 1 to node 2, after this one has answered and before the other does.
    fake.node(1).plays([holds(9, &low(8190))]);
    fake.node(2).plays([holds(20, &high(8192)), holds(21, &high(8191))]);
    assert_eq!(sum(dbsize(&fake).await.unwrap()), 9 + 21);
    assert_eq!((fake.node(1).sent().len(), fake.node(2).sent().len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_has_just_got_slots_is_asked_too() {
    let after = cluster(&[(1, (0, 8191)), (2, (8192, 9999)), (3, (10000, 16383))]);
    let fake = Fake::of([halves(), after]);
    fake.refresh().await;
    fake.node(2).plays([holds(15, &own_slots(2, 2, &[(8192, 9999)]))]);
    fake.node(3).owns(&own_slots(3, 3, &[(10000, 16383)]));
    let replies = dbsize(&fake).await.unwrap();
    assert_eq!(replies.integers().collect::<Vec<_>>(), [1, 15, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_has_lost_all_its_slots_drops_out() {
    let fake = Fake::of([halves()]);
    fake.node(1).owns(&own_slots(1, 1, &[(0, 16383)]));
    fake.node(2).owns(&own_slots(2, 1, &[]));
    let replies = dbsize(&fake).await.unwrap();
    assert_eq!(replies.integers().collect::<Vec<_>>(), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_says_it_is_none_makes_all_be_asked() {
    // The topology is behind: node 1 has given the slot 8191 away, and node 2 has it and was asked before.
    let fake = Fake::of([halves()]);
    fake.node(1).owns(&low(8190));
    fake.node(2).plays([holds(20, &high(8192)), holds(21, &high(8191))]);
    assert_eq!(sum(dbsize(&fake).await.unwrap()), 1 + 21);
}

#[tokio::test(start_paused = true)]
async fn an_answer_during_which_slots_changed_is_asked_for_again() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([around(&low(8191), &own_slots(1, 5, &[(0, 8191)]), ok(7))]);
    assert_eq!(sum(dbsize(&fake).await.unwrap()), 1 + 2);
    assert_eq!((fake.node(1).sent().len(), fake.node(2).sent().len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_has_become_a_replica_does_not_count_and_the_new_one_does() {
    let with_replica = |primary: u16, replica: u16| {
        let shard = |primary, replicas: &[u16], slots: SlotRange| {
            let replicas = replicas.iter().map(|&port| node(port, Role::Replica));
            Shard::new(node(primary, Role::Primary)).replicas(replicas).slots([slots])
        };
        Topology::with_slots("fake", vec![shard(primary, &[replica], (0, 8191)), shard(2, &[], (8192, 16383))])
    };
    let fake = Fake::of([with_replica(1, 3), with_replica(3, 1)]);
    let demoted = OwnSlots { is_primary: false, ..OwnSlots::clone(&own_slots(1, 1, &[])) };
    fake.node(1).owns(&Arc::new(demoted));
    fake.node(3).owns(&own_slots(3, 7, &[(0, 8191)]));
    let replies = dbsize(&fake).await.unwrap();
    let mut numbers: Vec<i64> = replies.integers().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_answers_for_two_shards_counts_once() {
    // The first node cannot be reached, and the second one has its slots by then.
    let fake = Fake::of([halves(), cluster(&[(2, (0, 16383))])]);
    fake.refresh().await;
    fake.node(1).plays([unreachable()]);
    fake.node(2).owns(&own_slots(2, 5, &[(0, 16383)]));
    let replies = dbsize(&fake).await.unwrap();
    assert_eq!((replies.integers().collect::<Vec<_>>(), fake.node(2).sent().len()), (vec![2], 2));
}

#[tokio::test(start_paused = true)]
async fn an_old_primary_and_the_promoted_one_count_once() {
    // Both are asked, since slots were missing elsewhere and the topology had changed meanwhile.
    let fake = Fake::of([halves(), cluster(&[(3, (0, 8191)), (2, (8192, 16383))])]);
    fake.refresh().await;
    fake.node(2).plays([holds(20, &high(8193)), holds(21, &high(8192))]);
    fake.node(3).owns(&own_slots(3, 7, &[(0, 8191)]));
    assert_eq!(sum(dbsize(&fake).await.unwrap()), 1 + 21, "the old one has answered for its slots");
    assert!(fake.node(3).sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_settled_is_an_error_that_names_the_slots() {
    let fake = Fake::of([halves()]);
    fake.node(1).owns(&low(8195));
    let start = Instant::now();
    let error = dbsize(&fake).timeout(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Slots);
    let said = "2 nodes answer for slots 8192-8195: 10.0.0.1:1 and 10.0.0.1:2; INCONSISTENT gives the answer as it is";
    assert_eq!(error.to_string(), said);
    assert!((1700..2000).contains(&ms(start)), "{}", ms(start));
    assert_eq!(figures(&fake), [1, 1, 1, 0]);
    let times = fake.node(1).times(start);
    assert_eq!(times[..5], [0, 0, 5, 15, 35], "pauses double");
}

#[tokio::test(start_paused = true)]
async fn slots_that_stay_missing_are_an_error() {
    let fake = Fake::of([halves()]);
    fake.node(1).owns(&low(8190));
    let error = dbsize(&fake).timeout(Duration::from_millis(500)).await.unwrap_err();
    assert!(error.to_string().starts_with("no node answers for slot 8191; "), "{error}");

    // Nobody's slots are waited for as long as nodes take to agree.
    let fake = Fake::of([halves(), cluster(&[(1, (0, 8190)), (2, (8192, 16383))])]);
    fake.refresh().await;
    fake.node(1).owns(&low(8190));
    let start = Instant::now();
    let error = dbsize(&fake).await.unwrap_err();
    assert_eq!(error.to_string(), "1 slots have no owner (8191)");
    assert!((1000..1500).contains(&ms(start)), "{}", ms(start));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_say_its_slots_is_named() {
    let fake = Fake::of([halves()]);
    fake.node(2).always(|| slots_unknown("NOPERM no", ok(5)));
    let error = dbsize(&fake).await.unwrap_err();
    let said = "10.0.0.1:2 does not say which slots it has: NOPERM no; ";
    assert!(matches!(&error, Error::Slots(why) if why.starts_with(said)), "{error}");
    assert_eq!(fake.node(2).sent().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_not_sent_again_and_the_error_says_that_it_has_run() {
    for (name, moves) in [("FLUSHALL", false), ("FLUSHALL", true), ("EVAL", false)] {
        let fake = Fake::of([halves()]);
        let own = if moves { own_slots_moving(&low(8191), 3, true, 2) } else { low(8192) };
        fake.node(1).owns(&own);
        let command = Command::new(name).arg("x").arg(0);
        let error = fake.request().fan_out(command).await.unwrap_err();
        assert!(!error.is_retryable() && error.kind() == ErrorKind::Slots, "{error}");
        let said = if moves { "slot 3 moves from 10.0.0.1:1 to 10.0.0.1:2" } else { "2 nodes answer for slot 8192: " };
        assert!(error.to_string().starts_with(said), "{error}");
        let end = format!(
            "; '{name}' has run all the same, and keys may have come to a node after it ran there; 2 of 2 parts were done"
        );
        assert!(error.to_string().ends_with(&end), "{error}");
        // The first is the look ahead.
        let asked = fake.node(1).sent().iter().filter(|sent| sent.asks_own_slots).count();
        assert_eq!(asked, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn with_partial_results_what_fits_counts_and_the_rest_is_said() {
    // A shard that has failed may be missing.
    let fake = Fake::of([halves()]);
    fake.node(1).always(unreachable);
    let (sum, missing) = dbsize(&fake).partial(true).combine_beside_failures(Builtin::Sum).await.unwrap();
    assert_eq!((sum.number(), missing.errors().count()), (Some(Number::Integer(2)), 1));
    assert!(missing.unsettled().is_empty());
    assert_eq!(figures(&fake), [1, 0, 0, 0]);

    // Shards that answer for the same slot until time is up have failed.
    let fake = Fake::of([cluster(&[(1, (0, 5000)), (2, (5001, 9999)), (3, (10000, 16383))])]);
    fake.node(1).owns(&low(5001));
    let replies = dbsize(&fake).partial(true).timeout(Duration::from_millis(100)).await.unwrap();
    assert_eq!(replies.ok().count(), 1);
    assert!(replies.errors().all(|(_, error)| error.kind() == ErrorKind::Slots));
    assert_eq!(replies.unsettled().iter().map(|(range, _)| *range).collect::<Vec<_>>(), [(5001, 5001)]);
    assert_eq!(replies.missed_slots()[0].0, "slots 5001");

    // A slot that nobody has is missing.
    let fake = Fake::of([halves()]);
    fake.node(1).owns(&low(8000));
    let replies = dbsize(&fake).partial(true).timeout(Duration::from_millis(100)).await.unwrap();
    assert_eq!(replies.unsettled().iter().map(|(range, _)| *range).collect::<Vec<_>>(), [(8001, 8191)]);
    assert_eq!(sum_of(&replies), 3);
}

#[tokio::test(start_paused = true)]
async fn nobodys_slots_are_said_once_with_partial_results() {
    let fake = Fake::of([cluster(&[(1, (0, 8191)), (2, (8200, 16383))])]);
    let replies = dbsize(&fake).partial(true).await.unwrap();
    assert_eq!((replies.uncovered(), replies.unsettled().len(), sum_of(&replies)), (&[(8192, 8199)][..], 0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_the_answer_whatever_slots_there_are() {
    let fake = Fake::of([halves()]);
    fake.node(1).owns(&low(8195));
    fake.node(2).plays([error("ERR no")]);
    assert!(matches!(dbsize(&fake).await, Err(Error::Shard { .. })));
    assert_eq!(fake.node(1).sent().len(), 1);
    // Also where whoever reads the replies decides about failures.
    fake.node(2).plays([error("ERR no")]);
    let replies = dbsize(&fake).with_options(Options::keeping_failures(false)).await.unwrap();
    assert_eq!((replies.ok().count(), replies.errors().count(), fake.node(1).sent().len()), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn whoever_allows_it_gets_the_answer_as_it_is() {
    let fake = Fake::of([halves()]);
    fake.node(1).owns(&low(8195));
    assert_eq!(sum(dbsize(&fake).allow_inconsistent(true).await.unwrap()), 3);
    fake.engine.set_consistent(false);
    assert_eq!(sum(dbsize(&fake).await.unwrap()), 3);
    assert!(fake.node(1).sent().iter().all(|sent| !sent.asks_own_slots), "it costs nothing");
    assert_eq!(figures(&fake), [0, 0, 0, 2]);

    // Beside failures it is said what may be wrong.
    let replies = dbsize(&fake).partial(true).await.unwrap();
    assert_eq!(replies.unsettled().iter().map(|(range, _)| *range).collect::<Vec<_>>(), [(8192, 8195)]);
    assert_eq!((sum_of(&replies), fake.node(1).sent().len()), (3, 3));
    assert_eq!(figures(&fake), [1, 0, 0, 3]);
    fake.node(1).owns(&low(8191));
    assert!(dbsize(&fake).partial(true).await.unwrap().unsettled().is_empty());
}

#[tokio::test(start_paused = true)]
async fn reports_about_nodes_have_no_slots() {
    let fake = Fake::of([halves()]);
    fake.node(1).owns(&low(8195));
    assert_eq!(sum(fake.request().fan_out(Command::new("INFO")).await.unwrap()), 3);
    let named = Targets::Nodes(vec!["10.0.0.1:1".into()]);
    assert_eq!(sum(dbsize(&fake).targets(named).await.unwrap()), 1);
    assert_eq!(sum(dbsize(&fake).targets(Targets::All).await.unwrap()), 3);
    assert!(fake.node(1).sent().iter().all(|sent| !sent.asks_own_slots));
}

#[tokio::test(start_paused = true)]
async fn slots_that_never_change_hands_are_not_asked_for() {
    let fake = Fake::of([halves().with_plain_servers()]);
    assert_eq!(sum(dbsize(&fake).await.unwrap()), 3);
    assert!(fake.node(1).sent().iter().all(|sent| !sent.asks_own_slots));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_cannot_wait_gets_an_error_at_once() {
    let fake = Fake::of([cluster(&[(1, (0, 16383))]).with_local("10.0.0.1:1")]);
    let count = || fake.engine.request().in_process_only("in MULTI").fan_out(Command::new("DBSIZE"));
    assert_eq!(sum(count().await.unwrap()), 100);
    fake.local().owns(&low(16000));
    assert!(matches!(count().await, Err(Error::Slots(_))));
    assert_eq!(fake.local().sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_moves_is_waited_for_and_then_an_error_to_commands_that_cannot_do_without() {
    let fake = Fake::of([halves()]);
    let count = || fake.request().fan_out(Command::new("EVAL_RO").arg("return 1").arg(0));
    // It ends soon.
    fake.node(1).plays((0..3).map(|_| holds(1, &own_slots_moving(&low(8191), 3, true, 2))));
    let start = Instant::now();
    assert_eq!(sum(count().await.unwrap()), 3);
    assert!(ms(start) > 0 && fake.node(2).sent().len() == 1);
    // It does not.
    fake.node(2).owns(&own_slots_moving(&high(8192), 3, false, 1));
    let start = Instant::now();
    let error = count().await.unwrap_err();
    let said = "slot 3 moves from 10.0.0.1:1 to 10.0.0.1:2; INCONSISTENT gives the answer as it is";
    assert_eq!(error.to_string(), said);
    assert!((300..=500).contains(&ms(start)), "{}", ms(start));
    // The shards that it is in have failed.
    let replies = count().partial(true).await.unwrap();
    assert_eq!((replies.ok().count(), replies.unsettled().len()), (0, 1));
    let replies = count().partial(true).allow_inconsistent(true).await.unwrap();
    assert_eq!((replies.ok().count(), replies.unsettled().len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_lost_when_it_is_asked_again_fails_the_request() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays([holds(1, &low(8192))]);
    fake.node(1).always(|| fails(Vec::new(), Failure::Unreachable("gone".into())));
    assert!(matches!(dbsize(&fake).await, Err(Error::Node { .. })));
}

/// Two nodes between which the slot 3 moves by hand, three of its five keys still being at the first.
struct InMotion {
    fake: Fake,
}

impl InMotion {
    fn new() -> Self {
        let fake = Fake::of([halves()]);
        let [key_0, key_1, key_2, key_3, key_4] = KEYS_OF_3;
        let low = || own_slots_moving(&low(8191), 3, true, 2);
        let high = || own_slots_moving(&high(8192), 3, false, 1);
        fake.node(1).owns(&low());
        fake.node(2).owns(&high());
        // Of its other keys each has one.
        fake.node(1)
            .always(|| serves(1, "ASK 3 10.0.0.1:2", low(), vec![key_0, key_1, key_2, BAR], "[3->-10.0.0.1:2]"));
        fake.node(2).always(|| serves(2, "MOVED 3 10.0.0.1:1", high(), vec![key_3, key_4, FOO], "[3-<-10.0.0.1:1]"));
        Self { fake }
    }
}

/// Keys of the slot 3.
const KEYS_OF_3: [&str; 5] = ["{ccg}a", "{ccg}b", "{ccg}c", "{ccg}d", "{ccg}e"];

/// Answers what is asked of a node while a slot moves.
fn serves(
    port: u16,
    to_probes: &'static str,
    own: Arc<OwnSlots>,
    keys: Vec<&'static str>,
    marks: &'static str,
) -> FakeTurn {
    let in_3 = |key: &&&str| key_slot(key.as_bytes()) == 3;
    let in_slot: Vec<&str> = keys.iter().filter(in_3).copied().collect();
    let list = |keys: &[&str]| Reply::Array(keys.iter().map(|key| Reply::from(*key)).collect());
    delivers(move |batch| {
        let mut queued: Option<Vec<Reply>> = None;
        let ranges = own.owned.iter().map(|(first, last)| format!("{first}-{last}")).collect::<Vec<_>>().join(" ");
        let mut replies = Vec::new();
        for command in batch.picked() {
            let line = command.command().to_string();
            let words: Vec<&str> = line.split(' ').collect();
            let reply = match words[..] {
                ["MULTI"] => {
                    queued = Some(Vec::new());
                    replies.push(Reply::OK);
                    continue;
                }
                ["EXEC"] => {
                    replies.push(Reply::Array(queued.take().unwrap_or_default()));
                    continue;
                }
                ["DBSIZE"] => Reply::Integer(keys.len() as i64),
                ["KEYS", ..] => list(&keys),
                ["TYPE", key] if keys.contains(&key) => "string".into(),
                ["TYPE", _] if marks.is_empty() => "none".into(),
                ["TYPE", _] => Reply::Error(to_probes.into()),
                ["CLUSTER", "GETKEYSINSLOT", ..] => list(&in_slot),
                ["CLUSTER", "COUNTKEYSINSLOT", _] => Reply::Integer(in_slot.len() as i64),
                ["CLUSTER", "INFO"] => "cluster_my_epoch:1\r\n".into(),
                ["CLUSTER", "NODES"] => {
                    format!("10.0.0.1:{port} x myself,master - 0 0 {port} connected {ranges} {marks}\n").into()
                }
                _ => Reply::Error(format!("ERR unexpected {line}").into()),
            };
            match &mut queued {
                Some(queued) => {
                    queued.push(reply);
                    replies.push(Reply::Simple("QUEUED".into()));
                }
                None => replies.push(reply),
            }
        }
        Delivery::of(replies)
    })
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_slot_that_moves_are_counted_once() {
    let InMotion { fake } = InMotion::new();
    let replies = dbsize(&fake).await.unwrap();
    assert_eq!(replies.integers().collect::<Vec<_>>(), [1 + 5, 1], "they are put to their slot's owner");
    assert_eq!(total(dbsize(&fake)).await, Some(Number::Integer(7)));
}

#[tokio::test(start_paused = true)]
async fn keys_that_the_owner_of_their_slot_does_not_send_to_are_an_error() {
    // The first node has failed over in the middle of the move, and the new primary knows nothing of it.
    let fake = Fake::of([halves()]);
    let low = || own_slots(1, 2, &[(0, 8191)]);
    fake.node(1).owns(&low());
    fake.node(1).always(|| serves(1, "ERR", low(), vec![KEYS_OF_3[0], "{ccg}x", BAR], ""));
    let high = || own_slots_moving(&high(8192), 3, false, 1);
    fake.node(2).owns(&high());
    fake.node(2).always(|| serves(2, "MOVED 3 10.0.0.1:1", high(), vec![KEYS_OF_3[1], FOO], "[3-<-10.0.0.1:1]"));
    let error = dbsize(&fake).timeout(Duration::from_millis(300)).await.unwrap_err();
    let said = "keys of slot 3 are at a node that its owner does not send to; INCONSISTENT gives the answer as it is";
    assert_eq!(error.to_string(), said);
}

#[tokio::test(start_paused = true)]
async fn names_in_a_slot_that_moves_are_shown_once() {
    let InMotion { fake } = InMotion::new();
    let keys = |pattern: &str| fake.request().fan_out(Command::new("KEYS").arg(pattern).read_only(true));
    let names = |replies: Replies| {
        let mut names: Vec<String> = replies
            .ok()
            .flat_map(|reply| reply.elements().unwrap())
            .map(|name| String::from_utf8_lossy(name.bytes().unwrap()).into_owned())
            .collect();
        names.sort_unstable();
        names
    };
    let mut all: Vec<&str> = KEYS_OF_3.into_iter().chain([BAR, FOO]).collect();
    all.sort_unstable();
    assert_eq!(names(keys("*").await.unwrap()), all);
    // Names that are listed apart are held against the pattern here.
    assert_eq!(names(keys("{ccg}[ad]").await.unwrap()).iter().filter(|name| name.starts_with('{')).count(), 2);
}
