//! Stages of code: each record goes through each stage once, in the place where it belongs; state lasts from batch to batch;
//! what is left open is read before the stages behind hear of an end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::fake::{FakeKeyspace, number, plan, share};
use super::moves::AtHome;
use crate::combine::AnyCombine;
use crate::error::Error;
use crate::flow::code::{CodeReads, CodeShare, OpenedCode, OpeningCode, StageCode, StageOutput};
use crate::flow::code_leaf::CodeRole;
use crate::flow::drive::Driver;
use crate::flow::execution::Execution;
use crate::flow::leaf::Leaf;
use crate::flow::messages::{RunShare, SlotOwner};
use crate::flow::plan::{CodePlan, FlowPlan, FlowReader, KeyFilter, Passage, Stage, StepPlan, ValuesRead};
use crate::flow::records::Records;
use crate::flow::registry::StepsAndReducers;
use crate::flow::share::{Share, Where};
use crate::flow::spec::{FlowAnswer, FlowSpec};
use crate::flow::step::BatchStep;
use crate::topology::{BoxFuture, key_slot};

/// The work of a stage.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Passes all on.
    Passes,
    /// Adds up the numbers that the values are, of a record without a value one; one record at the end.
    Sums,
    /// Gives each record the key of its number modulo 100.
    Keys,
    /// Sums by key, all at the end, ten at a time.
    Groups,
    /// Says of each record that it is an error, and that it has had enough.
    Fails,
    /// Ends the flow.
    Ends,
    /// Makes five records of its own.
    Makes,
    /// Never comes back.
    Hangs,
    /// Ends the flow at the node b; elsewhere it waits until it is told to end, and says that it was.
    EndsAtB,
}

/// The work that the code of a test does, and what the test wants to know of it.
#[derive(Default)]
struct Known {
    stages: Vec<Does>,
    opened: Mutex<Vec<CodeShare>>,
    /// The number of codes that were dropped before their end.
    dropped: Arc<AtomicUsize>,
}

impl StepsAndReducers for Known {
    fn step(&self, _name: &str) -> Option<Arc<dyn BatchStep>> {
        None
    }

    fn reducer(&self, _name: &str, _arguments: &[u8]) -> Option<Arc<dyn AnyCombine>> {
        None
    }

    fn code(&self, name: &str, arguments: &[u8], share: CodeShare) -> Option<OpeningCode> {
        assert_eq!((name, arguments), ("test", &b"arguments"[..]));
        let does = self.stages[share.stage as usize];
        let (is_first, is_b) = (share.stage == 0, share.node == "b");
        self.opened.lock().unwrap().push(share);
        let dropped = self.dropped.clone();
        Some(Box::pin(async move {
            let stop = Arc::new(tokio::sync::Notify::new());
            let abort = stop.clone();
            let groups = BTreeMap::new();
            let code = Box::new(Code { does, is_first, is_b, stop, sum: 0, groups, has_ended: false, dropped });
            let all = KeyFilter::any(ValuesRead::No);
            let reads = if does == Does::Makes { CodeReads::Nothing } else { CodeReads::Keys(all) };
            Ok(OpenedCode { code, reads, abort: Some(Box::new(move || abort.notify_one())) })
        }))
    }
}

struct Code {
    does: Does,
    is_first: bool,
    is_b: bool,
    stop: Arc<tokio::sync::Notify>,
    sum: usize,
    groups: BTreeMap<Vec<u8>, usize>,
    has_ended: bool,
    dropped: Arc<AtomicUsize>,
}

fn one(key: &[u8], value: usize) -> Records {
    let mut records = Records::new();
    records.push(key, value.to_string().as_bytes());
    records
}

impl StageCode for Code {
    fn take(&mut self, records: Records) -> BoxFuture<'_, Result<StageOutput, Error>> {
        assert!(!self.has_ended, "records behind the end");
        let value = |value: &[u8]| if value.is_empty() { 1 } else { number(value) };
        let mut output = StageOutput::default();
        match self.does {
            Does::Passes | Does::Makes => output.records = records,
            Does::Sums => self.sum += records.values().map(value).sum::<usize>(),
            Does::Keys => records.keys().for_each(|key| {
                output.records.push((number(key) % 100).to_string().as_bytes(), b"1");
            }),
            Does::Groups => records.iter().for_each(|(key, sum)| {
                *self.groups.entry(key.to_vec()).or_default() += value(sum);
            }),
            Does::Fails => {
                output.errors = records.keys().map(Bytes::copy_from_slice).collect();
                output.enough = true;
            }
            Does::EndsAtB if !self.is_b => {
                output.errors = vec![Bytes::from_static(b"stopped")];
                return Box::pin(async move {
                    self.stop.notified().await;
                    Ok(output)
                });
            }
            Does::Ends | Does::EndsAtB => return Box::pin(async { Err(Error::Refused("code has ended it".into())) }),
            Does::Hangs => return Box::pin(std::future::pending()),
        }
        Box::pin(async { Ok(output) })
    }

    fn more(&mut self) -> BoxFuture<'_, Result<StageOutput, Error>> {
        Box::pin(async {
            let mut output = StageOutput::default();
            for _ in 0..10 {
                if let Some((key, sum)) = self.groups.pop_first() {
                    output.records.append(&one(&key, sum));
                }
            }
            output.more = !self.groups.is_empty();
            Ok(output)
        })
    }

    fn end(&mut self) -> BoxFuture<'_, Result<StageOutput, Error>> {
        assert!(!std::mem::replace(&mut self.has_ended, true), "a second end");
        let mut output = StageOutput { more: !self.groups.is_empty(), ..StageOutput::default() };
        match self.does {
            Does::Sums if self.sum > 0 => output.records = one(b"", self.sum),
            Does::Makes => (0..5).for_each(|made| output.records.append(&one(b"", made))),
            _ => {}
        }
        assert!(self.does != Does::Makes || self.is_first);
        Box::pin(async { Ok(output) })
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        if !self.has_ended {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

fn code_plan(passages: &[Passage]) -> FlowPlan {
    FlowPlan {
        reader: FlowReader::OfCode,
        stages: passages.iter().map(|then| Stage { steps: vec![StepPlan::Code], then: *then }).collect(),
        code: Some(CodePlan { name: "test".into(), arguments: b"arguments".to_vec() }),
        ..plan(vec![], None)
    }
}

fn of(first: usize, keys: usize) -> Arc<FakeKeyspace> {
    Arc::new(FakeKeyspace { first, ..FakeKeyspace::of(keys) })
}

/// A flow over two nodes with a third of the slots each, and a third that does not run code, as its coordinator runs it.
struct TestFlow {
    name: &'static str,
    plan: FlowPlan,
    known: Known,
    memory: u64,
}

impl TestFlow {
    fn new(name: &'static str, stages: &[(Does, Passage)]) -> Self {
        let passages: Vec<Passage> = stages.iter().map(|(_, then)| *then).collect();
        let known = Known { stages: stages.iter().map(|(does, _)| *does).collect(), ..Known::default() };
        Self { name, plan: code_plan(&passages), known, memory: 1 << 28 }
    }

    fn share(&self, node: &str, role: CodeRole, keyspace: Arc<FakeKeyspace>) -> Share {
        let owner = |node: &str, slots| SlotOwner { node: node.into(), slots: vec![slots] };
        let passages = self.plan.stages.iter().map(|stage| stage.then);
        let moved = (1..).zip(passages).filter(|(_, then)| match role {
            CodeRole::OfNode => *then == Passage::Repartition,
            CodeRole::Gathers => *then == Passage::Repartition || *then == Passage::Gather,
            CodeRole::StandIn { .. } => false,
        });
        let mut stages: Vec<u32> = moved.map(|(stage, _)| stage).collect();
        if !matches!(role, CodeRole::Gathers) {
            stages.insert(0, 0);
        }
        let share = RunShare {
            execution: self.name.into(),
            node: node.into(),
            owners: vec![owner("a", (0, 5460)), owner("b", (5461, 10922))],
            coordinator: "a".into(),
            stages,
            memory: self.memory,
            ..share(self.plan.clone())
        };
        let leaf = Leaf::begin_code(&share, role, keyspace, &self.known, Arc::new(AtHome)).unwrap();
        Share::new(node.into(), Where::Home(leaf))
    }

    /// Runs it over the keys of the two nodes and of the one without code, and then over those that were left unread.
    async fn run(
        self,
        keyspaces: [Arc<FakeKeyspace>; 3],
        late: Arc<FakeKeyspace>,
    ) -> (Result<FlowAnswer, Error>, Known) {
        let execution = Arc::new(Execution::new(self.name.into(), String::new(), String::new()));
        let (ran, answer, known) = self.run_in(execution, keyspaces, late).await;
        (ran.map(|()| answer), known)
    }

    /// Runs the flow as an execution; returns the collected records also where the flow has failed.
    async fn run_in(
        self,
        execution: Arc<Execution>,
        keyspaces: [Arc<FakeKeyspace>; 3],
        late: Arc<FakeKeyspace>,
    ) -> (Result<(), Error>, FlowAnswer, Known) {
        let spec = FlowSpec {
            plan: self.plan.clone(),
            combine: None,
            timeout: None,
            idle: None,
            memory: self.memory,
            registry: Arc::new(Known::default()),
            caller: None,
            on_replicas: false,
            only_here: false,
            keeps_results: false,
            home: None,
        };
        let mut driver = Driver::new(&spec, None, execution);
        let [a, b, c] = keyspaces;
        let mut shares = Vec::new();
        if self.plan.stages.len() > 1 {
            shares.push(self.share("a", CodeRole::Gathers, of(0, 0)));
        }
        shares.push(self.share("a", CodeRole::OfNode, a));
        shares.push(self.share("b", CodeRole::OfNode, b));
        shares.push(self.share("c", CodeRole::StandIn { name: "c".into(), only: None }, c));
        let settle = |open: crate::flow::drive::Open| {
            let begin = || self.share("", CodeRole::StandIn { name: String::new(), only: None }, late.clone());
            Ok(if open.unread.is_empty() { Vec::new() } else { vec![begin()] })
        };
        let ran = driver.drive_settling(shares, settle).await;
        // A share that has failed ends within a moment.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        (ran, driver.finish(), self.known)
    }

    async fn answer(self) -> (FlowAnswer, Known) {
        let (ran, known) = self.run([of(0, 20_000), of(20_000, 30_000), of(30_000, 35_000)], of(0, 0)).await;
        (ran.unwrap_or_else(|error| panic!("{error}")), known)
    }
}

fn values(answer: &FlowAnswer) -> Vec<usize> {
    answer.records.values().map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn records_are_gathered_in_mid_flow() {
    use Does::{Passes, Sums};
    let stages = [(Sums, Passage::Gather), (Sums, Passage::Gather), (Passes, Passage::Collect)];
    let (answer, known) = TestFlow::new("c-gather", &stages).answer().await;
    assert_eq!(values(&answer), [35_000]);
    let opened = known.opened.into_inner().unwrap();
    let mut shares: Vec<_> = opened.iter().map(|of| (of.stage, &*of.node, of.is_initiators, of.is_stand_in)).collect();
    shares.sort_unstable();
    let expected = [
        (0, "a", true, false),
        (0, "b", false, false),
        (0, "c", false, true),
        (1, "a", true, false),
        (2, "a", true, false),
    ];
    assert_eq!(shares, expected);
    assert_eq!(known.dropped.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn records_that_move_come_to_one_place_each_also_behind_a_gathering() {
    use Does::{Groups, Keys, Passes, Sums};
    let stages = [(Keys, Passage::Repartition), (Groups, Passage::Collect)];
    let (answer, known) = TestFlow::new("c-groups", &stages).answer().await;
    let mut groups: Vec<_> = answer.records.iter().map(|(key, sum)| (number(key), number(sum))).collect();
    groups.sort_unstable();
    assert_eq!(groups, (0..100).map(|key| (key, 350)).collect::<Vec<_>>());
    let places = known.opened.into_inner().unwrap().into_iter().filter(|of| of.stage == 1);
    let mut places: Vec<_> = places.map(|of| (of.node, of.is_initiators, of.is_stand_in)).collect();
    places.sort_unstable();
    assert_eq!(places, [("a".into(), false, true), ("a".into(), true, false), ("b".into(), false, false)]);

    let stages = [
        (Passes, Passage::Gather),
        (Keys, Passage::Repartition),
        (Groups, Passage::Gather),
        (Keys, Passage::Repartition),
        (Groups, Passage::Gather),
        (Sums, Passage::Collect),
    ];
    let (answer, _) = TestFlow::new("c-to-and-fro", &stages).answer().await;
    assert_eq!(values(&answer), [100]);
}

#[tokio::test(start_paused = true)]
async fn what_stays_is_the_initiators() {
    let (answer, _) = TestFlow::new("c-stay", &[(Does::Sums, Passage::Stay)]).answer().await;
    assert_eq!(values(&answer), [20_000]);
    let stages = [(Does::Keys, Passage::Repartition), (Does::Groups, Passage::Stay)];
    let (answer, _) = TestFlow::new("c-stay-groups", &stages).answer().await;
    let third = |key: &&str| key_slot(key.as_bytes()) <= 5460;
    let numbers: Vec<String> = (0..100).map(|key: u32| key.to_string()).collect();
    assert_eq!(answer.records.len(), numbers.iter().map(String::as_str).filter(third).count());
    assert!(values(&answer).iter().all(|sum| *sum == 350));
    let stages = [(Does::Sums, Passage::Gather), (Does::Sums, Passage::Stay)];
    let (answer, _) = TestFlow::new("c-stay-gathered", &stages).answer().await;
    assert_eq!(values(&answer), [35_000]);
}

#[tokio::test(start_paused = true)]
async fn slots_that_moved_are_read_before_the_next_stage_ends() {
    let unread = Arc::new(FakeKeyspace { unread: vec![7], ..FakeKeyspace::of(1000) });
    for (name, stages) in [
        ("c-late", &[(Does::Passes, Passage::Gather), (Does::Sums, Passage::Collect)][..]),
        ("c-late-one", &[(Does::Passes, Passage::Collect)]),
    ] {
        let flow = TestFlow::new(name, stages);
        let (ran, known) = flow.run([unread.clone(), of(0, 10), of(0, 100)], of(0, 10_000)).await;
        let answer = ran.unwrap();
        match stages.len() {
            1 => assert_eq!(answer.records.len(), 11_110),
            _ => assert_eq!(values(&answer), [11_110]),
        }
        assert_eq!(known.opened.into_inner().unwrap().iter().filter(|of| of.stage == 0).count(), 4);
        unread.read.store(0, Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_carried_and_who_has_enough_reads_no_more() {
    let keyspaces = [of(0, 20_000), of(0, 20_000), of(0, 20_000)];
    let flow = TestFlow::new("c-errors", &[(Does::Fails, Passage::Gather), (Does::Sums, Passage::Collect)]);
    let (ran, _) = flow.run(keyspaces.clone(), of(0, 0)).await;
    let answer = ran.unwrap();
    assert_eq!((answer.errors.len(), answer.records.len()), (3 * 4096, 0));
    assert!(answer.errors.iter().any(|error| &error[..] == b"17"));
    assert!(keyspaces.iter().all(|keys| keys.read.load(Relaxed) == 4096));
    // A stage that hands on to one that has had enough does not have to wait for ever.
    let stages = [(Does::Passes, Passage::Gather), (Does::Fails, Passage::Collect)];
    let (answer, _) = TestFlow::new("c-enough", &stages).answer().await;
    assert!(!answer.errors.is_empty() && answer.errors.len() <= 4096, "{}", answer.errors.len());
}

#[tokio::test(start_paused = true)]
async fn code_may_make_its_own_records_where_it_runs() {
    let stages = [(Does::Makes, Passage::Gather), (Does::Sums, Passage::Collect)];
    let flow = TestFlow::new("c-makes", &stages);
    let (ran, _) = flow.run([of(0, 0), of(0, 0), of(0, 0)], of(0, 0)).await;
    let error = ran.err().unwrap().to_string();
    assert!(error.starts_with("c does not run this flow's reader: it has no rmr"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_ends_all_stages_everywhere_and_is_the_one_that_is_told() {
    let stages = [(Does::Passes, Passage::Repartition), (Does::Ends, Passage::Collect)];
    let flow = TestFlow::new("c-fails", &stages);
    let (ran, known) = flow.run([of(0, 90_000), of(0, 90_000), of(0, 90_000)], of(0, 0)).await;
    assert_eq!(ran.err().unwrap().to_string(), "code has ended it");
    assert!(known.dropped.load(Relaxed) > 0);

    let small = TestFlow { memory: 10_000, ..TestFlow::new("c-memory", &[(Does::Passes, Passage::Collect)]) };
    let (ran, _) = small.run([of(0, 90_000), of(0, 0), of(0, 0)], of(0, 0)).await;
    assert!(matches!(ran, Err(Error::FlowMemory { .. })));
}

#[tokio::test(start_paused = true)]
async fn code_that_hangs_is_dropped_when_the_share_is_cancelled() {
    let flow = TestFlow::new("c-hangs", &[(Does::Hangs, Passage::Collect)]);
    let mut share = flow.share("a", CodeRole::OfNode, of(0, 10));
    let next = crate::flow::messages::NextReport { wait_ms: 1000, cancels: false, closed: 0 };
    assert!(share.next(next).await.unwrap().end.is_none());
    // It has a second for its last words.
    let next = crate::flow::messages::NextReport { wait_ms: 1100, cancels: true, ..next };
    let report = share.next(next).await.unwrap();
    let failed = crate::flow::messages::LeafEnd::Failed(crate::flow::messages::LeafFailure::Cancelled);
    assert_eq!(report.end, Some(failed));
    assert_eq!(flow.known.dropped.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_code_says_that_is_told_to_end_counts_if_somebody_has_cancelled_the_flow() {
    let keys = || [of(0, 10), of(0, 10), of(0, 10)];
    let execution = || Arc::new(Execution::new("n-1".into(), String::new(), String::new()));
    let flow = TestFlow::new("c-told", &[(Does::EndsAtB, Passage::Collect)]);
    let (ran, answer, known) = flow.run_in(execution(), keys(), of(0, 0)).await;
    assert_eq!((ran.unwrap_err().to_string(), answer.errors.len()), ("code has ended it".into(), 0));
    assert_eq!(known.dropped.load(Relaxed), 3);

    let execution = execution();
    let flow = TestFlow::new("c-cancelled", &[(Does::EndsAtB, Passage::Collect)]);
    let none_at_b = [of(0, 10), of(0, 0), of(0, 10)];
    let cancels = execution.clone();
    let cancelling = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        cancels.cancel();
    });
    let (ran, answer, _) = flow.run_in(execution, none_at_b, of(0, 0)).await;
    cancelling.await.unwrap();
    assert!(matches!(ran, Err(Error::Cancelled { .. })));
    assert_eq!(answer.errors, [&b"stopped"[..], b"stopped"]);
}
