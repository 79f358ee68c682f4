//! Records that move from leaf to leaf between two stages.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::fake::{FakeKeyspace, FakeRegistry, even, get, plan, share};
use crate::combine::{self, AnyCombine};
use crate::error::Error;
use crate::flow::carrier::Carrier;
use crate::flow::leaf::Leaf;
use crate::flow::messages::{self, LeafEnd, NextReport, Report, RunShare, SlotOwner, TakenRecords};
use crate::flow::plan::{FlowPlan, Passage, Stage, StepPlan};
use crate::flow::takers;
use crate::reduce::Builtin;
use crate::reply::Reply;
use crate::topology::{BoxFuture, key_slot};

/// Takes records to leaves of this process.
pub(super) struct AtHome;

impl Carrier for AtHome {
    fn carry<'a>(&'a self, records: &'a TakenRecords) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async {
            let message = messages::encode(records)?;
            Ok(takers::take(messages::decode(&message)?).await)
        })
    }
}

/// Makes a flow of two stages: even keys, then a command for each at the owner of its slot.
fn two_stages() -> FlowPlan {
    let stages = [(even(), Passage::Repartition), (get(), Passage::Collect)];
    let stages = stages.map(|(step, then)| Stage { steps: vec![step], then }).into();
    FlowPlan { stages, ..plan(vec![], Some("SUM")) }
}

/// Begins the shares of two nodes that own a third of the slots each. The last third is nobody's.
fn begin(execution: &str, plan: &FlowPlan, keyspaces: &[Arc<FakeKeyspace>; 2]) -> Vec<Leaf> {
    let owner = |node: &str, slots| SlotOwner { node: node.into(), slots: vec![slots] };
    let owners = vec![owner("a", (0, 5460)), owner("b", (5461, 10922))];
    let leaf = |(node, keyspace): (&str, &Arc<FakeKeyspace>)| {
        let (execution, node) = (execution.into(), node.into());
        let share = RunShare { execution, node, owners: owners.clone(), ..share(plan.clone()) };
        Leaf::begin_with(&share, keyspace.clone(), &FakeRegistry, Arc::new(AtHome)).unwrap()
    };
    ["a", "b"].into_iter().zip(keyspaces).map(leaf).collect()
}

/// Asks leaves in turns until all have ended, as a coordinator does.
async fn all(leaves: &[Leaf]) -> Vec<Report> {
    let mut so_far = vec![Report::default(); leaves.len()];
    while so_far.iter().any(|report| report.end.is_none()) {
        let running = so_far.iter().filter(|report| report.end.is_none());
        let closed = running.map(|report| report.progress.stages_ended).min().unwrap_or(0);
        for (leaf, so_far) in leaves.iter().zip(&mut so_far).filter(|(_, report)| report.end.is_none()) {
            let report = leaf.next(NextReport { wait_ms: 40, cancels: false, closed }).await;
            so_far.elsewhere.extend(report.elsewhere);
            (so_far.progress, so_far.end) = (report.progress, report.end);
        }
    }
    so_far
}

#[tokio::test(start_paused = true)]
async fn each_record_goes_to_the_owner_of_its_slot_once() {
    let of = |first, keys| Arc::new(FakeKeyspace { first, ..FakeKeyspace::of(keys) });
    let keyspaces = [of(0, 20_000), of(20_000, 30_000)];
    let leaves = begin("n-moves", &two_stages(), &keyspaces);
    let reports = all(&leaves).await;
    let third = |key: &usize| usize::from(key_slot(key.to_string().as_bytes())) / 5461;
    let mut partial = (Arc::new(Builtin::Sum) as Arc<dyn AnyCombine>).open();
    let mut nobodys = Vec::new();
    for (number, report) in reports.iter().enumerate() {
        let Some(LeafEnd::Done { reduced: Some(reduced), .. }) = &report.end else { panic!("{:?}", report.end) };
        partial.combine_encoded(reduced).unwrap();
        let mut commanded = keyspaces[number].commanded();
        commanded.sort_unstable();
        assert_eq!(commanded, (0..30_000).step_by(2).filter(|key| third(key) == number).collect::<Vec<_>>());
        assert_eq!(report.progress.records_in[1], commanded.len() as u64);
        for (step, records) in &report.elsewhere {
            assert_eq!(*step, 1);
            nobodys.extend(records.keys().map(super::fake::number));
        }
    }
    nobodys.sort_unstable();
    assert_eq!(nobodys, (0..30_000).step_by(2).filter(|key| third(key) > 1).collect::<Vec<_>>());
    let sum = (0..30_000).step_by(2).filter(|key| third(key) < 2).sum::<usize>();
    assert_eq!(combine::finish(&Builtin::Sum, partial).unwrap(), Reply::Integer(sum as i64));
    assert_eq!(reports[0].progress.records_in[0], 20_000);
    drop(leaves);
    let late = TakenRecords {
        execution: "n-moves".into(),
        node: "a".into(),
        stage: 1,
        is_gathered: false,
        records: Default::default(),
    };
    assert!(!takers::take(late).await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_stage_slows_those_that_send_to_it() {
    let of = |first, keys| Arc::new(FakeKeyspace { first, reply_bytes: 4096, ..FakeKeyspace::of(keys) });
    let keyspaces = [of(0, 200_000), of(200_000, 400_000)];
    let plan = FlowPlan { end: crate::flow::plan::FlowEnd::Records, ..two_stages() };
    let leaves = begin("n-slow", &plan, &keyspaces);
    // Nobody asks `b` for what it makes.
    for _ in 0..50 {
        leaves[0].next(NextReport { wait_ms: 40, cancels: false, closed: 0 }).await;
    }
    assert!(keyspaces[1].commanded().len() < 10_000, "{}", keyspaces[1].commanded().len());
    assert!(keyspaces.iter().all(|keys| keys.read.load(Relaxed) - keys.first < 60_000));
    drop(leaves);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let read = keyspaces[0].read.load(Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(keyspaces[0].read.load(Relaxed), read);
}

#[tokio::test(start_paused = true)]
async fn a_failure_behind_the_move_ends_the_leaf() {
    let bad = Arc::new(FakeKeyspace { bad: (0..9000).collect(), ..FakeKeyspace::of(9000) });
    let leaves = begin("n-bad", &two_stages(), &[bad, Arc::new(FakeKeyspace::of(0))]);
    let report = leaves[0].next(NextReport { wait_ms: 5000, cancels: false, closed: 0 }).await;
    assert!(matches!(report.end, Some(LeafEnd::Failed(_))), "{:?}", report.end);
    let limited = FlowPlan {
        stages: vec![
            Stage { steps: vec![StepPlan::Limit(10)], then: Passage::Repartition },
            Stage { steps: vec![get()], then: Passage::Collect },
        ],
        ..two_stages()
    };
    let keyspaces = [Arc::new(FakeKeyspace::of(100)), Arc::new(FakeKeyspace::of(0))];
    let reports = all(&begin("n-limit", &limited, &keyspaces)).await;
    let at_home = keyspaces.iter().map(|keys| keys.commanded().len()).sum::<usize>();
    let elsewhere =
        reports.iter().flat_map(|report| &report.elsewhere).map(|(_, records)| records.len()).sum::<usize>();
    assert_eq!(at_home + elsewhere, 10);
}
