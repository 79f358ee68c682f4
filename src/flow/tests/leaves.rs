//! Leaves: every key once, limits, the first failure, keys elsewhere, what waits to be taken.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::fake::{FakeKeyspace, FakeRegistry, even, get, number, plan, share};
use crate::combine::{self, AnyCombine};
use crate::flow::leaf::Leaf;
use crate::flow::messages::{LeafEnd, LeafFailure, NextReport, Report, RunShare};
use crate::flow::plan::{FlowPlan, KeyedCommand, StepPlan};
use crate::reduce::Builtin;
use crate::reply::Reply;

/// Puts all reports of a leaf together until it ends; the sizes of its batches apart.
async fn all(leaf: &Leaf) -> (Report, Vec<usize>) {
    let (mut so_far, mut batches) = (Report::default(), Vec::new());
    loop {
        let report = leaf.next(NextReport { wait_ms: 1000, cancels: false, closed: 0 }).await;
        if !report.records.is_empty() {
            batches.push(report.records.len());
        }
        so_far.records.append(&report.records);
        so_far.elsewhere.extend(report.elsewhere);
        so_far.failures.merge(report.failures);
        (so_far.progress, so_far.end) = (report.progress, report.end);
        if so_far.end.is_some() {
            return (so_far, batches);
        }
    }
}

fn begin(keyspace: &Arc<FakeKeyspace>, share: RunShare) -> Leaf {
    Leaf::begin(&share, keyspace.clone(), &FakeRegistry).unwrap()
}

async fn run(keyspace: &Arc<FakeKeyspace>, plan: FlowPlan) -> (Report, Vec<usize>) {
    all(&begin(keyspace, share(plan))).await
}

fn reduced(report: &Report, builtin: Builtin) -> Reply {
    let Some(LeafEnd::Done { reduced: Some(reduced), .. }) = &report.end else { panic!("{:?}", report.end) };
    let mut partial = (Arc::new(builtin) as Arc<dyn AnyCombine>).open();
    partial.combine_encoded(reduced).unwrap();
    combine::finish(&builtin, partial).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_key_is_commanded_once_and_reduced_or_sent_in_batches() {
    let keys = Arc::new(FakeKeyspace::of(10_000));
    let (report, batches) = run(&keys, plan(vec![get()], Some("SUM"))).await;
    assert_eq!(reduced(&report, Builtin::Sum), Reply::Integer(49_995_000));
    assert_eq!(keys.commanded(), (0..10_000).collect::<Vec<_>>());
    assert_eq!((batches.len(), &report.progress.records_out[..]), (0, &[10_000][..]));
    assert_eq!((report.progress.slots, report.progress.slots_read), (100, 10));

    let keys = Arc::new(FakeKeyspace::of(10_000));
    let (report, batches) = run(&keys, plan(vec![get()], None)).await;
    let is_own = |(key, reply): (&[u8], Result<Reply, _>)| reply.unwrap() == Reply::Integer(number(key) as i64);
    assert!(report.records.replies().all(is_own));
    assert_eq!(batches, [4096, 4096, 1808]);
}

#[tokio::test(start_paused = true)]
async fn without_steps_the_keys_are_reduced_and_named_steps_see_batches() {
    let count = |report: Report| reduced(&report, Builtin::Count);
    assert_eq!(
        count(run(&Arc::new(FakeKeyspace::of(2345)), plan(vec![], Some("COUNT"))).await.0),
        Reply::Integer(2345)
    );
    let keys = Arc::new(FakeKeyspace::of(2345));
    let (report, _) = run(&keys, plan(vec![even(), get()], Some("COUNT"))).await;
    assert_eq!(count(report), Reply::Integer(1173));
    assert!(keys.commanded().iter().all(|key| key % 2 == 0));
    let unknown = StepPlan::Named { name: "ODD".into(), arguments: Vec::new() };
    let refused = Leaf::begin(&share(plan(vec![unknown], None)), keys, &FakeRegistry).err().unwrap();
    assert_eq!(refused.to_string(), "no step is called 'ODD' here");
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_never_passed() {
    for limit in [0, 1, 999, 1000, 1001, 2500, 9999] {
        let keys = Arc::new(FakeKeyspace::of(2500));
        let (report, _) = run(&keys, plan(vec![StepPlan::Limit(limit), get()], Some("COUNT"))).await;
        let expected = limit.min(2500);
        assert_eq!(reduced(&report, Builtin::Count), Reply::Integer(expected as i64));
        assert_eq!((keys.commanded().len() as u64, report.progress.limited), (expected, expected));
        assert_eq!(keys.read.load(Relaxed) as u64, expected);

        let keys = Arc::new(FakeKeyspace::of(2500));
        let (report, _) = run(&keys, plan(vec![even(), StepPlan::Limit(limit), get()], None)).await;
        assert_eq!(report.records.len() as u64, limit.min(1250));
        assert_eq!(keys.commanded().len() as u64, limit.min(1250));
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_ends_it_and_says_how_many_were_done() {
    let keys = Arc::new(FakeKeyspace { bad: [1500, 1600].into(), ..FakeKeyspace::of(5000) });
    let (report, _) = run(&keys, plan(vec![get()], Some("SUM"))).await;
    let failure = LeafFailure::Key { key: b"1500".to_vec(), error: b"WRONGTYPE no".to_vec() };
    assert_eq!(report.end, Some(LeafEnd::Failed(failure)));
    // The slice that it is in has run.
    assert_eq!((keys.commanded().len(), &report.progress.records_out[..]), (2000, &[1998][..]));

    let keys = Arc::new(FakeKeyspace { bad: [1500, 1600].into(), ..FakeKeyspace::of(5000) });
    let (report, _) = run(&keys, FlowPlan { is_partial: true, ..plan(vec![get()], Some("COUNT")) }).await;
    assert_eq!(reduced(&report, Builtin::Count), Reply::Integer(4998));
    assert_eq!((report.failures.count(), &report.progress.records_out[..]), (2, &[4998][..]));
}

#[tokio::test(start_paused = true)]
async fn one_that_has_failed_waits_to_be_asked_how_and_one_that_nobody_asks_is_abandoned() {
    let keys = Arc::new(FakeKeyspace { bad: [1].into(), ..FakeKeyspace::of(10) });
    let leaf = begin(&keys, share(plan(vec![get()], Some("SUM"))));
    let seconds = |count| Duration::from_secs(count);
    let is_abandoned = tokio::spawn(leaf.is_abandoned());
    tokio::time::sleep(seconds(9)).await;
    assert!(!is_abandoned.is_finished());
    let (report, _) = all(&leaf).await;
    assert!(matches!(report.end, Some(LeafEnd::Failed(_))), "{:?}", report.end);
    tokio::time::sleep(seconds(9)).await;
    assert!(!is_abandoned.is_finished());
    assert!(tokio::time::timeout(seconds(4), is_abandoned).await.unwrap().unwrap());

    let leaf = begin(&keys, share(plan(vec![get()], Some("SUM"))));
    let is_abandoned = leaf.is_abandoned();
    drop(leaf);
    assert!(!is_abandoned.await);
}

#[tokio::test(start_paused = true)]
async fn what_the_reducer_cannot_take_ends_it() {
    let keys = Arc::new(FakeKeyspace { reply_bytes: 3, ..FakeKeyspace::of(10) });
    let (report, _) = run(&keys, plan(vec![get()], Some("SUM"))).await;
    assert!(matches!(report.end, Some(LeafEnd::Failed(LeafFailure::Mixed { .. }))), "{:?}", report.end);
}

#[tokio::test(start_paused = true)]
async fn a_script_that_ends_in_the_words_of_a_refusal_has_run() {
    let keys = Arc::new(FakeKeyspace { refused: [4].into(), ..FakeKeyspace::of(10) });
    let words = ["EVAL", "return redis.call('INCR', KEYS[1])", "1"].map(|word| word.as_bytes().to_vec().into());
    let script = StepPlan::Command(KeyedCommand { words: words.into(), key_at: 3, is_read_only: false });
    let (report, _) = run(&keys, FlowPlan { is_partial: true, ..plan(vec![script], Some("COUNT")) }).await;
    assert!(report.elsewhere.is_empty(), "{:?}", report.elsewhere);
    assert_eq!((reduced(&report, Builtin::Count), report.failures.count()), (Reply::Integer(9), 1));
}

#[tokio::test(start_paused = true)]
async fn keys_that_have_gone_are_handed_back_with_the_step_that_they_wait_for() {
    let keys = Arc::new(FakeKeyspace { gone: [4].into(), refused: [1444].into(), ..FakeKeyspace::of(3000) });
    let (report, _) = run(&keys, plan(vec![even(), get()], Some("COUNT"))).await;
    assert_eq!(reduced(&report, Builtin::Count), Reply::Integer(1498));
    let gone = |at: usize| (report.elsewhere[at].0, report.elsewhere[at].1.keys().map(number).collect::<Vec<_>>());
    assert_eq!([gone(0), gone(1)], [(1, vec![4]), (1, vec![1444])]);

    let here = Arc::new(FakeKeyspace::of(0));
    let (step, records) = report.elsewhere[0].clone();
    let share = share(plan(vec![even(), get()], Some("COUNT")));
    let (rest, _) = all(&Leaf::of_records(step, records, &share, here.clone(), &FakeRegistry).unwrap()).await;
    assert_eq!((reduced(&rest, Builtin::Count), here.commanded()), (Reply::Integer(1), vec![4]));
}

#[tokio::test(start_paused = true)]
async fn records_that_have_passed_the_limit_go_on_elsewhere() {
    let keys = Arc::new(FakeKeyspace { gone: [4].into(), ..FakeKeyspace::of(3000) });
    let limited = plan(vec![StepPlan::Limit(10), get()], Some("COUNT"));
    let (report, _) = run(&keys, limited.clone()).await;
    assert_eq!((reduced(&report, Builtin::Count), report.progress.limited), (Reply::Integer(9), 10));
    let here = Arc::new(FakeKeyspace::of(0));
    let (step, records) = report.elsewhere[0].clone();
    let share = RunShare { limit: Some(0), ..share(limited) };
    let (rest, _) = all(&Leaf::of_records(step, records, &share, here.clone(), &FakeRegistry).unwrap()).await;
    assert_eq!((reduced(&rest, Builtin::Count), here.commanded()), (Reply::Integer(1), vec![4]));
}

#[tokio::test(start_paused = true)]
async fn it_waits_until_its_batch_is_taken() {
    let keys = Arc::new(FakeKeyspace { reply_bytes: 1000, ..FakeKeyspace::of(100_000) });
    let leaf = begin(&keys, share(plan(vec![get()], None)));
    for taken in 0..4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // A batch that waits, and one that cannot be put there: no more than a slice was read for them.
        let most = (taken + 1) * 262 + 2000;
        assert!(keys.read.load(Relaxed) <= most, "{} of {most}", keys.read.load(Relaxed));
        let report = leaf.next(NextReport { wait_ms: 0, cancels: false, closed: 0 }).await;
        assert!(report.records.byte_len() <= 256 * 1024 && report.records.len() > 250);
    }
    drop(leaf);
}

#[tokio::test(start_paused = true)]
async fn memory_beyond_the_limit_is_an_error() {
    let keys = Arc::new(FakeKeyspace { reply_bytes: 1000, ..FakeKeyspace::of(100_000) });
    let small = RunShare { memory: 300_000, ..share(plan(vec![get()], None)) };
    let (report, _) = all(&begin(&keys, small)).await;
    assert_eq!(report.end, Some(LeafEnd::Failed(LeafFailure::Memory)));
    // The memory of a reducer counts, too.
    for (memory, is_enough) in [(500_000, false), (1 << 24, true)] {
        let reducing = RunShare { memory, ..share(plan(vec![get()], Some("LIST"))) };
        let leaf = Leaf::begin(
            &reducing,
            Arc::new(FakeKeyspace { reply_bytes: 100, ..FakeKeyspace::of(9000) }),
            &FakeRegistry,
        );
        let (report, _) = all(&leaf.unwrap()).await;
        assert_eq!(report.end != Some(LeafEnd::Failed(LeafFailure::Memory)), is_enough, "{memory}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_it_is_cancelled_dropped_or_forgotten() {
    let keys = Arc::new(FakeKeyspace { reply_bytes: 1000, ..FakeKeyspace::of(1_000_000) });
    let leaf = begin(&keys, share(plan(vec![get()], None)));
    leaf.cancel();
    let (report, _) = all(&leaf).await;
    assert_eq!(report.end, Some(LeafEnd::Failed(LeafFailure::Cancelled)));

    let leaf = begin(&keys, share(plan(vec![get()], None)));
    tokio::time::sleep(Duration::from_secs(12)).await;
    let (report, _) = all(&leaf).await;
    assert_eq!(report.end, Some(LeafEnd::Failed(LeafFailure::Cancelled)));

    drop(begin(&keys, share(plan(vec![get()], None))));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let read = keys.read.load(Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(keys.read.load(Relaxed), read);
}
