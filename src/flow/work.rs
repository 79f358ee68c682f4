//! [`StageWork`]: the steps of a flow on one node, as they are taken by one batch of records after the other.

use std::sync::Arc;

use bytes::Bytes;

use super::failures::KeyFailures;
use super::keyspace::{CommandsDone, Keyspace, Reducing};
use super::messages::{LeafFailure, LeafProgress};
use super::plan::{FlowEnd, FlowPlan, KeyedCommand, StepPlan};
use super::records::Records;
use super::registry::StepsAndReducers;
use super::step::BatchStep;
use crate::combine::{AnyCombine, AnyPartial, Origin};
use crate::describe::special::may_run_code;
use crate::error::Error;
use crate::reply::Reply;
use crate::resp::{Retry, ServerError};

/// The work on records, and its results so far.
pub(super) struct StageWork {
    keyspace: Arc<dyn Keyspace>,
    steps: Vec<ReadyStep>,
    /// The number of the step behind the last one of each stage.
    stage_ends: Vec<usize>,
    is_partial: bool,
    /// The reducer is given the keys themselves.
    is_of_keys: bool,
    combine: Option<Arc<dyn AnyCombine>>,
    /// The partial result of the records; [`None`] if the records are the answer.
    pub(super) reduced: Option<Box<dyn AnyPartial>>,
    next_place: u32,
    /// The number of records that may yet pass the limit.
    limit: Option<u64>,
    pub(super) progress: LeafProgress,
    pub(super) failures: KeyFailures,
    /// Records that wait for a step on another node.
    pub(super) elsewhere: Vec<(u32, Records)>,
}

/// A step, with the code that it names.
enum ReadyStep {
    /// A command for each record, and whether it runs code of others: such code may end in any words, also in those of
    /// a refusal, when it has done its work.
    Command(KeyedCommand, bool),
    Named(Arc<dyn BatchStep>, Vec<u8>),
    Limit,
}

/// The reason why the work has ended too soon; with the error itself, if it has one that says more than what travels.
#[derive(Debug)]
pub(super) struct WorkFailed {
    pub(super) failure: LeafFailure,
    pub(super) error: Option<Box<Error>>,
}

impl From<LeafFailure> for WorkFailed {
    fn from(failure: LeafFailure) -> Self {
        Self { failure, error: None }
    }
}

impl From<Error> for WorkFailed {
    fn from(error: Error) -> Self {
        let failure = match &error {
            Error::FlowMemory { .. } => LeafFailure::Memory,
            Error::NoPermission(why) => LeafFailure::NoPermission(why.clone()),
            other => LeafFailure::Other(other.to_string()),
        };
        Self { failure, error: Some(Box::new(error)) }
    }
}

impl StageWork {
    /// Makes the steps of a plan ready. `limit` is what is left of the plan's limit.
    ///
    /// # Errors
    /// That this node does not know a step or the reducer, or that the plan is none.
    pub(super) fn new(
        plan: &FlowPlan,
        keyspace: Arc<dyn Keyspace>,
        registry: &dyn StepsAndReducers,
        limit: Option<u64>,
        first_place: u32,
    ) -> Result<Self, Error> {
        if !plan.is_sound() {
            return Err(Error::Invalid("the plan of the flow is malformed".into()));
        }
        let mut steps = Vec::new();
        let mut stage_ends = Vec::with_capacity(plan.stages.len());
        for stage in &plan.stages {
            for step in &stage.steps {
                steps.push(match step {
                    StepPlan::Command(command) => {
                        let sample = command.for_keys([&b""[..]]).command(0);
                        ReadyStep::Command(command.clone(), may_run_code((&sample).into()))
                    }
                    StepPlan::Limit(_) => ReadyStep::Limit,
                    StepPlan::Code => {
                        return Err(Error::Invalid("a step of code in a flow that is not of code".into()));
                    }
                    StepPlan::Named { name, arguments } => {
                        let unknown = || Error::Invalid(format!("no step is called '{name}' here"));
                        ReadyStep::Named(registry.step(name).ok_or_else(unknown)?, arguments.clone())
                    }
                });
            }
            stage_ends.push(steps.len());
        }
        let combine = match &plan.end {
            FlowEnd::Records => None,
            FlowEnd::Reduce { name, arguments } => {
                let unknown = || Error::Invalid(format!("no reducer is called '{name}' here"));
                Some(registry.reducer(name, arguments).ok_or_else(unknown)?)
            }
        };
        let stages = plan.stages.len();
        Ok(Self {
            keyspace,
            steps,
            stage_ends,
            is_partial: plan.is_partial,
            is_of_keys: plan.is_of_keys(),
            reduced: combine.clone().map(AnyCombine::open),
            combine,
            next_place: first_place,
            limit,
            progress: LeafProgress {
                records_in: vec![0; stages],
                records_out: vec![0; stages],
                ..LeafProgress::default()
            },
            failures: KeyFailures::default(),
            elsewhere: Vec::new(),
        })
    }

    /// Tells whether a command runs for each record.
    pub(super) fn runs_commands(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, ReadyStep::Command(..)))
    }

    /// Returns how many records are worth reading for this step: fewer than `most` if it is the limit, none if no record
    /// that begins here can pass any more.
    pub(super) fn worth_reading(&self, step: usize, most: usize) -> usize {
        let is_limit = |step: &ReadyStep| matches!(step, ReadyStep::Limit);
        let Some(left) = self.limit else { return most };
        match self.steps.iter().skip(step).position(is_limit) {
            Some(0) => usize::try_from(left).unwrap_or(usize::MAX).min(most),
            Some(_) if left == 0 => 0,
            // Those that have passed it before go on.
            _ => most,
        }
    }

    /// Returns the stage to which a step belongs; one behind the last step belongs to the last stage.
    pub(super) fn stage_of(&self, step: usize) -> usize {
        self.stage_ends.iter().position(|end| step < *end).unwrap_or(self.stage_ends.len() - 1)
    }

    /// Returns the number of a stage's first step.
    pub(super) fn first_step_of(&self, stage: usize) -> usize {
        stage.checked_sub(1).map_or(0, |before| self.stage_ends[before])
    }

    /// Takes records through all steps from this one on, on this node.
    ///
    /// # Errors
    /// As [`pass_stage`](Self::pass_stage).
    pub(super) async fn pass(&mut self, step: usize, records: Records) -> Result<Records, WorkFailed> {
        let mut stage = self.stage_of(step);
        let mut records = self.pass_stage(step, records).await?;
        while stage + 1 < self.stage_ends.len() {
            stage += 1;
            self.progress.records_in[stage] += records.len() as u64;
            records = self.pass_stage(self.first_step_of(stage), records).await?;
        }
        Ok(records)
    }

    /// Takes records through the steps from this one to the end of its stage. Returns what is left of them, which is nothing
    /// where they have been reduced.
    ///
    /// # Errors
    /// The first failure of a key, unless all are to be counted; those of the code of others. Commands that were done
    /// before are counted all the same.
    pub(super) async fn pass_stage(&mut self, step: usize, mut records: Records) -> Result<Records, WorkFailed> {
        let stage = self.stage_of(step);
        let is_last = stage + 1 == self.stage_ends.len();
        for number in step..self.stage_ends[stage] {
            if records.is_empty() {
                return Ok(records);
            }
            match &self.steps[number] {
                ReadyStep::Limit => {
                    let most = self.limit.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
                    records = records.take_first(most);
                    self.limit = self.limit.map(|left| left - records.len() as u64);
                    self.progress.limited += records.len() as u64;
                }
                ReadyStep::Named(step, arguments) => records = step.run(arguments, records).await?,
                ReadyStep::Command(command, _) => {
                    let commands = command.for_keys(records.keys());
                    let is_end = is_last && number + 1 == self.stage_ends[stage];
                    match (&self.combine, is_end) {
                        (Some(combine), true) => {
                            let reducing = Reducing { combine: combine.clone(), first_place: self.next_place };
                            let done = self.keyspace.run(commands, Some(reducing)).await?;
                            self.next_place = self.next_place.wrapping_add(records.len() as u32);
                            self.take_reduced(number, &records, done)?;
                            return Ok(Records::new());
                        }
                        _ => {
                            let done = self.keyspace.run(commands, None).await?;
                            records = self.take_replies(number, &records, done)?;
                        }
                    }
                }
            }
        }
        self.progress.records_out[stage] += records.len() as u64;
        if is_last && self.combine.is_some() {
            self.reduce(&records)?;
            return Ok(Records::new());
        }
        Ok(records)
    }

    /// Returns the records whose command has succeeded, each with its reply.
    fn take_replies(&mut self, step: usize, records: &Records, done: CommandsDone) -> Result<Records, WorkFailed> {
        let CommandsDone::Replies(replies) = done else {
            return Err(Error::Internal("replies were reduced that nobody reduces".into()).into());
        };
        let (mut passed, mut gone, mut first) = (Records::new(), Records::new(), None);
        let runs_code = self.runs_code(step);
        for ((key, value), reply) in records.iter().zip(replies) {
            match reply {
                None => gone.push(key, value),
                Some(Reply::Error(error)) if !runs_code && self.is_refused(&error) => gone.push(key, value),
                Some(Reply::Error(error)) => self.fail(key, &error, &mut first),
                Some(reply) => passed.push_reply(key, &reply),
            }
        }
        self.wait_elsewhere(step, gone);
        match first {
            None => Ok(passed),
            Some(failure) => {
                // Their commands have succeeded.
                let last = self.stage_ends.len() - 1;
                self.progress.records_out[last] += passed.len() as u64;
                Err(failure.into())
            }
        }
    }

    /// Takes the replies to the last command.
    fn take_reduced(&mut self, step: usize, records: &Records, done: CommandsDone) -> Result<(), WorkFailed> {
        let last = self.stage_ends.len() - 1;
        let (share, elsewhere) = match done {
            CommandsDone::Reduced { share, elsewhere } => (share, elsewhere),
            replies @ CommandsDone::Replies(_) => {
                let passed = self.take_replies(step, records, replies)?;
                self.progress.records_out[last] += passed.len() as u64;
                return self.reduce(&passed);
            }
        };
        let (mut gone, mut first) = (Records::new(), None);
        let runs_code = self.runs_code(step);
        let mut elsewhere_at = elsewhere.iter().peekable();
        let mut failed = share.failed.iter().peekable();
        let mut failures = 0;
        for (number, (key, value)) in (0_u32..).zip(records.iter()) {
            if elsewhere_at.next_if(|at| **at == number).is_some() {
                gone.push(key, value);
            }
            match failed.next_if(|(at, _)| *at == number) {
                None => {}
                Some((_, error)) if !runs_code && self.is_refused(error) => gone.push(key, value),
                Some((_, error)) => {
                    failures += 1;
                    self.fail(key, error, &mut first);
                }
            }
        }
        self.progress.records_out[last] += (records.len() - gone.len() - failures) as u64;
        self.wait_elsewhere(step, gone);
        if let Some(reduced) = &mut self.reduced {
            reduced.combine(share.reduced);
        }
        match (first, share.mixed) {
            (Some(failure), _) => Err(failure.into()),
            (None, Some((_, found))) => Err(LeafFailure::Mixed { found }.into()),
            (None, None) => Ok(()),
        }
    }

    /// Tells whether the command of a step runs code of others.
    fn runs_code(&self, step: usize) -> bool {
        matches!(self.steps.get(step), Some(ReadyStep::Command(_, true)))
    }

    /// Tells whether a command was refused here, without having run, for a reason that may not hold elsewhere: the node is no
    /// primary any more, or the slot is on the move.
    fn is_refused(&self, error: &Bytes) -> bool {
        !self.keyspace.reaches_all() && ServerError::new(error.clone()).retry() != Retry::Never
    }

    /// Counts a key's failure; keeps the first one that ends the flow.
    fn fail(&mut self, key: &[u8], error: &Bytes, first: &mut Option<LeafFailure>) {
        if self.is_partial {
            self.failures.add(key, error);
        } else {
            first.get_or_insert_with(|| LeafFailure::Key { key: key.to_vec(), error: error.to_vec() });
        }
    }

    fn wait_elsewhere(&mut self, step: usize, records: Records) {
        if !records.is_empty() {
            self.elsewhere.push((step as u32, records));
        }
    }

    /// Gives records to the reducer.
    fn reduce(&mut self, records: &Records) -> Result<(), WorkFailed> {
        let Some(reduced) = &mut self.reduced else { return Ok(()) };
        let first = self.next_place;
        self.next_place = first.wrapping_add(records.len() as u32);
        let places = (0..).map(|number| first.wrapping_add(number));
        let mixed = |found| LeafFailure::Mixed { found };
        if self.is_of_keys {
            for (place, key) in places.zip(records.keys()) {
                reduced.take_bulk(Origin::new(place, key), key).map_err(mixed)?;
            }
        } else {
            for (place, (key, reply)) in places.zip(records.replies()) {
                reduced.take(Origin::new(place, key), reply?).map_err(mixed)?;
            }
        }
        Ok(())
    }
}
