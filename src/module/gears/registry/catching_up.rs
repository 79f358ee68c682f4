//! Gives other primaries what they lack of this node's registry: shards that have joined late, were replaced, or were away
//! when something was decided.
//!
//! Each primary that has registrations compares what it has with others every second, and with all of them when the topology
//! has changed. Each gives what it has that is later; so all have the same in the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;

use super::answers::digest_of;
use super::asked::RegistryAsked;
use super::distribution;
use super::set::{RegistryChange, SetVersions};
use super::with;
use crate::engine::Engine;
use crate::error::Error;
use crate::flow::messages;
use crate::module::gears::asking::GearsAsked;
use crate::module::gears::carried::CarriedRequirements;
use crate::module::inquiry::LONGEST_WAIT;
use crate::module::server::main_thread;
use crate::module::state as module_state;
use crate::reply::Reply;
use crate::topology::Node;

const EVERY: Duration = Duration::from_secs(1);

/// The number of other primaries that are asked at a time.
const AT_A_TIME: usize = 3;

/// Tells whether somebody compares.
static IS_RUNNING: AtomicBool = AtomicBool::new(false);

/// Sees to it that others are compared with from now on. From the main thread.
pub(in crate::module::gears) fn begin() {
    if !IS_RUNNING.swap(true, Relaxed) {
        // While the server loads its data this waits.
        main_thread::post(|_| match module_state::runtime() {
            Ok(runtime) => drop(runtime.spawn(Comparison::default().run())),
            Err(_) => IS_RUNNING.store(false, Relaxed),
        });
    }
}

/// Hears that the runtime has ended.
pub(in crate::module::gears) fn reset() {
    IS_RUNNING.store(false, Relaxed);
}

/// The progress of comparing.
#[derive(Default)]
struct Comparison {
    /// The topology of the last round.
    stamp: Option<u64>,
    /// The index of the shard that is next.
    next: usize,
}

impl Comparison {
    async fn run(mut self) {
        loop {
            tokio::time::sleep(EVERY).await;
            // Nodes that cannot be asked are asked again.
            let _ = self.round().await;
        }
    }

    async fn round(&mut self) -> Result<(), Error> {
        let Some(engine) = module_state::engine_if_started() else { return Ok(()) };
        let topology = engine.request().begin().pinned_topology().await?;
        let is_primary = topology.data_shards().any(|shard| topology.is_local(&shard.primary));
        let (_, others) = distribution::others(&engine).await?;
        if !is_primary || others.is_empty() {
            self.stamp = None;
            return Ok(());
        }
        let is_new = self.stamp.replace(topology.stamp()) != Some(topology.stamp());
        let asked: Vec<_> = if is_new {
            others.iter().collect()
        } else {
            let first = self.next;
            self.next = (first + AT_A_TIME) % others.len();
            (0..AT_A_TIME.min(others.len())).map(|at| &others[(first + at) % others.len()]).collect()
        };
        join_all(asked.into_iter().map(|node| compare(&engine, node))).await;
        Ok(())
    }
}

/// Compares with a node, and gives it what it lacks.
async fn compare(engine: &Engine, node: &Arc<Node>) {
    let digest = digest_of(&with(|registry| registry.versions()));
    let asked = RegistryAsked::Compare { digest };
    let Ok(Reply::Bulk(versions)) = distribution::ask(engine, node, asked, Duration::ZERO).await else { return };
    let Ok(versions) = messages::decode::<SetVersions>(&versions) else { return };
    let change = with(|registry| registry.later_than(&versions));
    if change.sets.is_empty() {
        return;
    }
    let given = match give_packages(engine, node, &change).await {
        Ok(()) => {
            let sessions: Vec<_> = change.sets.iter().map(|set| set.session_id.clone()).collect();
            let taken = distribution::ask(engine, node, RegistryAsked::Take { change }, Duration::ZERO).await;
            taken.map(|_| sessions)
        }
        Err(why) => Err(why),
    };
    match given {
        Ok(sessions) => log::info!("{node} lacked registrations of these sessions: {}", sessions.join(" ")),
        Err(why) => log::warn!("{node} lacks registrations, and cannot be given them: {why}"),
    }
}

/// Gives a node the packages that registrations require. One that cannot have them gets the registrations nevertheless, and
/// says why they cannot run.
async fn give_packages(engine: &Engine, node: &Arc<Node>, change: &RegistryChange) -> Result<(), String> {
    let with_registrations = change.sets.iter().filter(|set| !set.registrations.is_empty());
    let required: BTreeSet<BTreeSet<String>> =
        with_registrations.map(|set| set.requirements.iter().cloned().collect()).collect();
    let sessions = module_state::python_sessions().map_err(|error| error.to_string())?;
    for names in required.into_iter().filter(|names: &BTreeSet<String>| !names.is_empty()) {
        // Packages that the interpreter has by itself have to be in that of the other node, too.
        let Some((names, wheels)) = sessions.requirements().kept(&names) else { continue };
        let request = engine.request().begin();
        let asked = GearsAsked::Require(CarriedRequirements::new(names, &wheels, false));
        if let Err(why) = distribution::ask_with(&request, node, &asked, LONGEST_WAIT).await {
            log::warn!("{node} cannot have packages that registrations require: {why}");
        }
    }
    Ok(())
}
