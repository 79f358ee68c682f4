//! [`FakeKeyspace`]: keys in a list, and what happens to the commands for them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::combine::AnyCombine;
use crate::command::{CommandSet, PerKey};
use crate::error::Error;
use crate::flow::keyspace::{CommandsDone, KeySlice, KeySource, KeysWanted, Keyspace, Reducing};
use crate::flow::messages::RunShare;
use crate::flow::plan::{FlowEnd, FlowPlan, FlowReader, KeyFilter, KeyedCommand, Passage, Stage, StepPlan, ValuesRead};
use crate::flow::records::Records;
use crate::flow::registry::StepsAndReducers;
use crate::flow::step::BatchStep;
use crate::reduce::Builtin;
use crate::reply::Reply;
use crate::topology::BoxFuture;

const READONLY: &str = "READONLY You can't write against a read only replica.";

/// Keys `0`, `1` and so on; the reply to any command is the key's number.
pub(super) struct FakeKeyspace {
    /// The first one, and the one behind the last.
    pub(super) first: usize,
    pub(super) keys: usize,
    /// Keys whose command fails.
    pub(super) bad: BTreeSet<usize>,
    /// Keys that have gone to another node.
    pub(super) gone: BTreeSet<usize>,
    /// Keys whose command a node refuses that is no primary any more.
    pub(super) refused: BTreeSet<usize>,
    /// The bytes of each reply; 0 for the number.
    pub(super) reply_bytes: usize,
    /// Keys whose command has run, in order.
    pub(super) commanded: Mutex<Vec<usize>>,
    pub(super) read: Arc<AtomicUsize>,
    /// Slots of which it says that it could not read them.
    pub(super) unread: Vec<u16>,
}

impl FakeKeyspace {
    pub(super) fn of(keys: usize) -> Self {
        let (bad, gone, refused) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (commanded, read) = (Mutex::default(), Arc::default());
        Self { first: 0, keys, bad, gone, refused, reply_bytes: 0, commanded, read, unread: Vec::new() }
    }

    pub(super) fn commanded(&self) -> Vec<usize> {
        self.commanded.lock().unwrap().clone()
    }
}

impl Keyspace for FakeKeyspace {
    fn read(&self, _wanted: KeysWanted) -> Box<dyn KeySource> {
        self.read.fetch_max(self.first, Relaxed);
        Box::new(FakeSource { keys: self.keys, read: self.read.clone(), unread: self.unread.clone() })
    }

    fn run(&self, commands: PerKey, _reducing: Option<Reducing>) -> BoxFuture<'_, Result<CommandsDone, Error>> {
        Box::pin(async move {
            let mut replies = Vec::new();
            for command in CommandSet::from(commands).into_each() {
                let key = number(command.routing_key().unwrap());
                replies.push(match (self.gone.contains(&key), self.bad.contains(&key)) {
                    (true, _) => None,
                    _ if self.refused.contains(&key) => Some(Reply::Error(READONLY.into())),
                    (_, true) => Some(Reply::Error("WRONGTYPE no".into())),
                    _ if self.reply_bytes > 0 => Some(Reply::Bulk(vec![b'x'; self.reply_bytes].into())),
                    _ => Some(Reply::Integer(key as i64)),
                });
                if !self.gone.contains(&key) && !self.refused.contains(&key) {
                    self.commanded.lock().unwrap().push(key);
                }
            }
            tokio::task::yield_now().await;
            Ok(CommandsDone::Replies(replies))
        })
    }
}

pub(super) fn number(key: &[u8]) -> usize {
    std::str::from_utf8(key).unwrap().parse().unwrap()
}

struct FakeSource {
    keys: usize,
    read: Arc<AtomicUsize>,
    unread: Vec<u16>,
}

impl KeySource for FakeSource {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<KeySlice, Error>> {
        let first = self.read.load(Relaxed);
        let last = self.keys.min(first + most);
        self.read.store(last, Relaxed);
        let mut records = Records::new();
        (first..last).for_each(|key| records.push(key.to_string().as_bytes(), &[]));
        let unread = std::mem::take(&mut self.unread);
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(KeySlice { records, unread, slots_read: 1, is_end: last == self.keys, ..KeySlice::default() })
        })
    }

    fn memory(&self) -> u64 {
        0
    }
}

/// Knows the built-in reducers, and a step that leaves odd keys out.
pub(super) struct FakeRegistry;

impl StepsAndReducers for FakeRegistry {
    fn step(&self, name: &str) -> Option<Arc<dyn BatchStep>> {
        (name == "EVEN").then(|| Arc::new(Even) as Arc<dyn BatchStep>)
    }

    fn reducer(&self, name: &str, _arguments: &[u8]) -> Option<Arc<dyn AnyCombine>> {
        Builtin::named(name.as_bytes()).map(|builtin| Arc::new(builtin) as Arc<dyn AnyCombine>)
    }
}

struct Even;

impl BatchStep for Even {
    fn name(&self) -> &str {
        "EVEN"
    }

    fn run<'a>(&'a self, _arguments: &'a [u8], records: Records) -> BoxFuture<'a, Result<Records, Error>> {
        Box::pin(async move {
            let mut even = Records::new();
            let is_even = |(key, _): &(&[u8], &[u8])| number(key).is_multiple_of(2);
            records.iter().filter(is_even).for_each(|(key, value)| even.push(key, value));
            Ok(even)
        })
    }
}

pub(super) fn get() -> StepPlan {
    StepPlan::Command(KeyedCommand { words: vec![b"GET".to_vec().into()], key_at: 1, is_read_only: true })
}

pub(super) fn even() -> StepPlan {
    StepPlan::Named { name: "EVEN".into(), arguments: Vec::new() }
}

/// Makes a flow over all keys, with these steps; its end is this reducer, or the records.
pub(super) fn plan(steps: Vec<StepPlan>, reducer: Option<&str>) -> FlowPlan {
    let filter = KeyFilter { pattern: b"*".to_vec(), type_name: None, values: ValuesRead::No };
    FlowPlan {
        reader: FlowReader::Keys(filter),
        stages: vec![Stage { steps, then: Passage::Collect }],
        end: reducer.map_or(FlowEnd::Records, |name| FlowEnd::Reduce { name: name.into(), arguments: Vec::new() }),
        is_partial: false,
        is_resp3: true,
        code: None,
    }
}

pub(super) fn share(plan: FlowPlan) -> RunShare {
    RunShare {
        execution: "n-1".into(),
        node: "n".into(),
        limit: plan.limit(),
        plan,
        slots: Some(vec![(0, 99)]),
        caller: None,
        memory: 1 << 28,
        first_place: 0,
        owners: Vec::new(),
        coordinator: String::new(),
        stages: Vec::new(),
    }
}
