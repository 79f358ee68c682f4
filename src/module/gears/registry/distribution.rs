//! Makes changes of the registry on all shards, or on none.
//!
//! The node that makes a change asks all shards whether they can have it, and they keep others out until they hear more. If
//! all can, it is decided by being made on this node; then the others are told. One that cannot be told gets to know from
//! [others](super::catching_up) when it is there again: what was decided holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::answers::{check_place, prepare};
use super::asked::RegistryAsked;
use super::set::RegistryChange;
use super::{commit, lock, with};
use crate::engine::{Engine, Request};
use crate::error::Error;
use crate::module::gears::asking::{self, GearsAsked};
use crate::module::gears::cluster::ClusterView;
use crate::module::gears::events;
use crate::module::gears::sessions::NewSession;
use crate::module::inquiry::AskingUser;
use crate::module::server::main_thread;
use crate::module::state as module_state;
use crate::peer;
use crate::reply::Reply;
use crate::topology::Node;

/// The time within which a change is decided; it is shorter than the time after which others forget it.
const TO_DECIDE: Duration = Duration::from_secs(9);

/// The time that shards have to answer when they are told that there is no change.
const TO_DROP: Duration = Duration::from_secs(1);

/// A shard that a change has to be made on.
#[derive(Clone)]
enum ChangedShard {
    Here,
    There(Arc<Node>),
}

/// A change, and where it is to be made.
struct Decision {
    id: String,
    change: RegistryChange,
    engine: Engine,
    /// The id of this node.
    own: String,
    /// The shards in the order of their ids.
    shards: Vec<ChangedShard>,
}

/// Makes a change on all shards; the session whose change it is takes its place then. It is made also when nobody waits for
/// it any more.
///
/// # Errors
/// The error says why it is not made: then nothing has changed. Or which shards do not know of it yet.
pub(in crate::module::gears) async fn decide(
    change: RegistryChange,
    session: Option<NewSession>,
    aborts_pending: bool,
) -> Result<(), Vec<String>> {
    let lost = |_| vec!["internal error: the change was lost; see the server's log".to_owned()];
    tokio::spawn(async move {
        if change.sets.is_empty() {
            session.map(NewSession::succeed);
            return Ok(());
        }
        let decision = Decision::begin(change).await.map_err(|error| vec![error.to_string()])?;
        decision.make(session, aborts_pending).await
    })
    .await
    .unwrap_or_else(|error| Err(lost(error)))
}

/// Asks all other primaries of the cluster for something; returns what those say that refuse.
pub(in crate::module::gears) async fn tell_others(asked: RegistryAsked) -> Result<(), Vec<String>> {
    let failed = |error: Error| vec![error.to_string()];
    let engine = main_thread::run(|_| module_state::engine()).await.and_then(|engine| engine).map_err(failed)?;
    let others = others(&engine).await.map_err(failed)?.1;
    let answers = others.iter().map(|node| ask(&engine, node, asked.clone(), Duration::ZERO));
    let refused: Vec<String> = join_all(answers).await.into_iter().filter_map(Result::err).collect();
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}

/// Returns the id of this node and the other primaries of its cluster, in the order of their ids.
pub(super) async fn others(engine: &Engine) -> Result<(String, Vec<Arc<Node>>), Error> {
    let topology = engine.request().begin().pinned_topology().await?;
    let view = ClusterView::of(&topology);
    if !view.is_cluster {
        return Ok((view.id, Vec::new()));
    }
    let primaries = topology.data_shards().map(|shard| &shard.primary);
    let mut others: Vec<_> = primaries.filter(|node| !topology.is_local(node)).cloned().collect();
    others.sort_by(|one, other| one.id.cmp(&other.id));
    Ok((view.id, others))
}

/// Asks a node; the error is what it says against it, or that it cannot be asked.
pub(super) async fn ask(
    engine: &Engine,
    node: &Arc<Node>,
    asked: RegistryAsked,
    wait: Duration,
) -> Result<Reply, String> {
    let request = engine.request().begin();
    ask_with(&request, node, &GearsAsked::Registry(asked), wait)
        .await
        .map_err(|error| format!("ERR shard-{:0>40}: {error}", node.id))
}

/// Asks a node within a request; what it says against it is an error.
pub(super) async fn ask_with(
    request: &Request,
    node: &Arc<Node>,
    asked: &GearsAsked,
    wait: Duration,
) -> Result<Reply, String> {
    let question = AskingUser::named(None).question(asked).map_err(|error| error.to_string())?;
    match asking::there(request, node, &question, wait).await {
        Ok(Reply::Error(why)) => Err(String::from_utf8_lossy(&why).into_owned()),
        Ok(reply) => Ok(reply),
        Err(error) => Err(error.to_string()),
    }
}

impl Decision {
    async fn begin(change: RegistryChange) -> Result<Self, Error> {
        let engine = main_thread::run(|_| module_state::engine()).await??;
        let (own, others) = others(&engine).await?;
        let mut shards: Vec<_> = others.into_iter().map(ChangedShard::There).collect();
        let place = shards.partition_point(|shard| shard.id(&own).as_str() < own.as_str());
        shards.insert(place, ChangedShard::Here);
        Ok(Self { id: peer::secret_word(), change, engine, own, shards })
    }

    async fn make(self, session: Option<NewSession>, aborts_pending: bool) -> Result<(), Vec<String>> {
        let began = Instant::now();
        let mut refused = self.prepare().await;
        if refused.is_empty() && began.elapsed() >= TO_DECIDE {
            refused.push("ERR the shards took too long to agree; nothing has changed".to_owned());
        }
        if refused.is_empty() {
            refused.extend(self.commit_here(session, aborts_pending).await.err());
        }
        if !refused.is_empty() {
            self.drop_everywhere().await;
            return Err(refused);
        }
        let sessions: Vec<&str> = self.change.sets.iter().map(|set| set.session.as_str()).collect();
        let living = join_all(sessions.into_iter().map(events::come_to_life));
        let (unknown, _) = tokio::join!(self.commit_elsewhere(aborts_pending), living);
        if unknown.is_empty() { Ok(()) } else { Err(unknown) }
    }

    /// Asks all shards whether they can have the change: the first one, and if that can, the others. Returns why not.
    async fn prepare(&self) -> Vec<String> {
        let (first, others) = self.shards.split_at(1);
        for shards in [first, others] {
            let answers = join_all(shards.iter().map(|shard| self.prepare_at(shard))).await;
            let refused: Vec<String> = answers.into_iter().filter_map(Result::err).collect();
            if !refused.is_empty() {
                return refused;
            }
        }
        Vec::new()
    }

    async fn prepare_at(&self, shard: &ChangedShard) -> Result<(), String> {
        /// The interpreter may have to be started first.
        const TO_START: Duration = Duration::from_secs(3);
        let (id, change) = (self.id.clone(), self.change.clone());
        match shard {
            ChangedShard::Here => {
                prepare(id, change).await.map_err(|why| format!("ERR shard-{:0>40}: {why}", self.own))
            }
            ChangedShard::There(node) => {
                ask(&self.engine, node, RegistryAsked::Prepare { id, change }, TO_START).await.map(drop)
            }
        }
    }

    /// Decides: makes the change on this node.
    async fn commit_here(&self, session: Option<NewSession>, aborts_pending: bool) -> Result<(), String> {
        let (id, change) = (self.id.clone(), self.change.clone());
        let decided = main_thread::run(move |ctx| -> Result<(), String> {
            let is_agreed = lock().get().prepared.release(&id, Instant::now());
            check_place(ctx)?;
            if !is_agreed {
                return Err("the shards took too long to agree; nothing has changed".to_owned());
            }
            with(|registry| registry.check(&change))?;
            if let Some(session) = session {
                session.succeed();
            }
            commit(ctx, change, aborts_pending);
            Ok(())
        });
        let decided = decided.await.map_err(|error| error.to_string()).and_then(|decided| decided);
        decided.map_err(|why| format!("ERR shard-{:0>40}: {why}", self.own))
    }

    /// Tells the others of the decision. Returns those that may not have heard.
    async fn commit_elsewhere(&self, aborts_pending: bool) -> Vec<String> {
        let tell = |node: Arc<Node>| async move {
            let (id, change) = (self.id.clone(), self.change.clone());
            let request = self.engine.request().begin();
            let asked = GearsAsked::Registry(RegistryAsked::Commit { id, change, aborts_pending });
            let told = ask_with(&request, &node, &asked, Duration::ZERO).await;
            told.err().map(|why| {
                format!(
                    "ERR outcome unknown on shard-{:0>40}: {why}; all others have changed, and it is told when it is there again",
                    node.id
                )
            })
        };
        join_all(self.elsewhere().map(tell)).await.into_iter().flatten().collect()
    }

    /// Tells all shards that nothing changes, as far as they are there; others find out by themselves.
    async fn drop_everywhere(&self) {
        lock().get().prepared.release(&self.id, Instant::now());
        let tell = |node: Arc<Node>| async move {
            let asked = RegistryAsked::Drop { id: self.id.clone() };
            let _ = ask(&self.engine, &node, asked, Duration::ZERO).await;
        };
        let _ = timeout(TO_DROP, join_all(self.elsewhere().map(tell))).await;
    }

    fn elsewhere(&self) -> impl Iterator<Item = Arc<Node>> {
        self.shards.iter().filter_map(|shard| match shard {
            ChangedShard::Here => None,
            ChangedShard::There(node) => Some(node.clone()),
        })
    }
}

impl ChangedShard {
    fn id<'a>(&'a self, own: &'a String) -> &'a String {
        match self {
            Self::Here => own,
            Self::There(node) => &node.id,
        }
    }
}
