//! Leaves of flows of code: which stages each works on, where these have their records from, and where they hand them on.
//!
//! Three kinds of leaves share the work. Each node that runs code has one: it reads the node's keys, and works on all stages
//! that records are moved into by their slots. For a node that does not run code a *stand-in* runs at the coordinator: it
//! reads that node's keys by plain commands, and works on the first stage. And one *gathers*: it runs at the coordinator, and
//! works on the stages whose records are gathered there, and on those of slots whose owner does not run code.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::carrier::Carrier;
use super::code::CodeShare;
use super::code_task::{CodeTask, KeysOfCode, StageInput};
use super::exit::Exit;
use super::inlet::Inlet;
use super::keyspace::Keyspace;
use super::messages::{LeafProgress, RunShare};
use super::plan::Passage;
use super::records::Records;
use super::registry::StepsAndReducers;
use super::router::{Router, SlotOwners};
use super::takers::Taker;
use crate::error::Error;

/// The part that a leaf of code plays.
pub(super) enum CodeRole {
    /// Works for the node that it runs on.
    OfNode,
    /// Works in place of a node, on these of its keys, or on all that its slots have.
    StandIn { name: String, only: Option<Records> },
    /// Takes what is gathered.
    Gathers,
}

/// The stages of a leaf, ready to run.
pub(super) struct CodeStages {
    pub(super) tasks: Vec<CodeTask>,
    /// The ways into the stages behind the first one.
    pub(super) inlets: Vec<Arc<Inlet>>,
    pub(super) taker: Option<Taker>,
    /// The progress of the leaf before it has begun.
    pub(super) progress: LeafProgress,
}

/// Makes the stages of a share ready.
///
/// # Errors
/// That this node does not know the code, or that the plan is none.
pub(super) fn stages(
    share: &RunShare,
    role: CodeRole,
    keyspace: Arc<dyn Keyspace>,
    registry: &dyn StepsAndReducers,
    carrier: &Arc<dyn Carrier>,
) -> Result<CodeStages, Error> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let plan = &share.plan;
    let count = plan.stages.len();
    let own: Vec<usize> = share.stages.iter().map(|stage| *stage as usize).collect();
    let is_sound = plan.is_sound() && own.is_sorted_by(|one, next| one < next) && own.iter().all(|at| *at < count);
    let Some(code) = plan.code.as_ref().filter(|_| is_sound && !own.is_empty()) else {
        return Err(Error::Invalid("a flow of code without stages, or with stages that it has not".into()));
    };
    let owners = Arc::new(SlotOwners::new(&share.owners));
    let inlets: Vec<Arc<Inlet>> = (1..count).map(|_| Arc::default()).collect();
    (1..count).filter(|stage| !own.contains(stage)).for_each(|stage| inlets[stage - 1].close());
    let is_coordinators = share.node == share.coordinator;
    let (is_stand_in, gathers) = (matches!(role, CodeRole::StandIn { .. }), matches!(role, CodeRole::Gathers));
    let progress = LeafProgress {
        slots: share.slot_count(),
        records_in: vec![0; count],
        records_out: vec![0; count],
        stages_ended: own[0] as u32,
        ..LeafProgress::default()
    };
    let (only, of_other) = match role {
        CodeRole::OfNode | CodeRole::Gathers => (None, None),
        CodeRole::StandIn { name, only } => (only, Some(name)),
    };
    let mut keys = Some(KeysOfCode { keyspace, slots: share.slots.clone(), only, of_other });
    let leaf = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut tasks = Vec::new();
    for (place, &stage) in own.iter().enumerate() {
        let was_gathered = stage > 0 && plan.stages[stage - 1].then == Passage::Gather;
        let code_share = CodeShare {
            execution: share.execution.clone(),
            leaf,
            stage: stage as u32,
            node: share.node.clone(),
            runs_at: if is_stand_in { share.coordinator.clone() } else { share.node.clone() },
            is_initiators: is_coordinators && !is_stand_in && (!gathers || was_gathered),
            is_stand_in: is_stand_in || (gathers && !was_gathered),
        };
        let is_initiators = code_share.is_initiators;
        let unknown = || Error::Invalid(format!("no code is called '{}' here", code.name));
        let opening = registry.code(&code.name, &code.arguments, code_share).ok_or_else(unknown)?;
        let input = match stage.checked_sub(1) {
            Some(before) => StageInput::Inlet(inlets[before].clone()),
            None => StageInput::Keys(keys.take().ok_or_else(unknown)?),
        };
        let exit = match plan.stages[stage].then {
            Passage::Collect => Exit::Outbox(Records::new()),
            Passage::Stay if is_initiators => Exit::Outbox(Records::new()),
            Passage::Stay => Exit::Nowhere,
            Passage::Gather => Exit::Router(Router::to_coordinator(share, stage + 1, carrier.clone())),
            Passage::Repartition => Exit::Router(Router::to_all(share, stage + 1, owners.clone(), carrier.clone())),
        };
        let ended_with = own.get(place + 1).copied().unwrap_or(count);
        tasks.push(CodeTask::new(stage, opening, input, exit, share.memory, ended_with, progress.clone()));
    }
    let taker = (!is_stand_in).then(|| Taker::begin(&share.execution, &share.node, gathers, &inlets));
    Ok(CodeStages { tasks, inlets, taker, progress })
}
