//! [`Store`]: data on plain servers, whose slots a configuration node knows.
//!
//! What the proposal of 2010 for a Redis Cluster describes. At the configuration node, a plain Redis, stand with the prefix
//! `{rmr:NAME}:`, or none:
//!
//! | key | type | content |
//! |---|---|---|
//! | `settings` | hash | `slots`, `copies`, `hash`, `hash-tags`: what never changes; `version` |
//! | `newnodes` | list | nodes that want in, as `ip:port`: pushed by hand |
//! | `joining` | list | the one of them that the handler looks at |
//! | `nodes` | hash | `ip:port` of who is in; the id of its process, weight, zone, state, epoch |
//! | `hashingslot:N` | list | `ip:port` of the nodes that hold slot N |
//! | `slots` | hash | each slot: epoch, sequencer, state |
//! | `proxies` | sorted set | addresses of proxies, by when they came |
//! | `proxy:ADDRESS` | string | expires when that proxy has not been heard of |
//!
//! - [`table`]: what is read of that, and where keys are by it
//! - [`definite`]: what copies run in place of a write, so that it has the same effect on each
//! - [`handler`], [`admit`]: letting nodes in, and giving slots out
//! - [`place`], [`report`]: what operators ask, and what there is to tell

mod admit;
#[cfg_attr(not(test), expect(dead_code, reason = "slots move in the next step"))]
mod copy;
#[allow(dead_code, reason = "the order of writes asks it, once there are several copies")]
mod definite;
mod handler;
mod place;
mod report;
mod scripts;
mod table;

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::PubSub;
use tokio::time::{sleep, timeout};

use super::config_node::ConfigNode;
use crate::error::Error;
use crate::link::LinkOptions;
use crate::topology::{BoxFuture, NodeProvider, Topology};
pub(crate) use place::changes;
use scripts::{EPOCH, RENEW, TABLE};
use table::SlotTable;

/// How long the configuration node has to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// How often everybody looks whether something has changed, should no hint of it arrive.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// For how long a proxy is known without being heard of. It says that it is there four times as often.
const LEASE: Duration = Duration::from_millis(2000);

/// A store of plain servers. One copy of each key is kept; the slots are given out once, and do not move.
///
/// As a [`NodeProvider`] it makes an engine find the nodes, and keys on them. A clone is a handle to the same store.
///
/// ```no_run
/// use rmr::Engine;
/// use rmr::placement::Store;
///
/// # async fn run() -> Result<(), rmr::Error> {
/// let store = Store::new(&["redis://10.0.0.9:6379".into()], None)?;
/// let engine = Engine::builder().provider(store).build();
/// # Ok(())
/// # }
/// ```
///
/// [What an answer is worth](crate::_docs::guarantees) is a page of its own.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    config: ConfigNode,
    /// The table that was read last: it holds on while the configuration node is away.
    last: Mutex<Option<Arc<SlotTable>>>,
    /// Its epoch.
    epoch: AtomicU64,
}

impl Store {
    /// Takes the addresses of the configuration node, as `redis://[user:password@]host:port[/database]`, and the name of the
    /// store, if it has one: without a name its keys have no prefix. Nobody is asked yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no address, for one that cannot be read, and for a name with braces or spaces.
    pub fn new(addresses: &[String], name: Option<&str>) -> Result<Self, Error> {
        let config = ConfigNode::new(addresses, name, LIMIT)?;
        Ok(Self { shared: Arc::new(Shared { config, last: Mutex::default(), epoch: AtomicU64::new(0) }) })
    }

    /// Lets nodes in that are pushed to `newnodes`, and gives the slots out to those who are in, once no other is waiting. Never
    /// ends. Nodes are asked by such links.
    pub async fn handle(&self, links: impl Fn() -> LinkOptions + Send + Sync) {
        let mut was_away = false;
        loop {
            match handler::step(&self.shared.config, links()).await {
                Ok(true) => continue,
                Ok(false) => was_away = false,
                Err(error) if was_away => log::debug!("{error}"),
                Err(error) => {
                    log::warn!("{error}");
                    was_away = true;
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Tells the configuration node that a proxy is at this address, again and again. Never ends.
    pub async fn register(&self, address: &str) {
        let lease = LEASE.as_millis().to_string();
        loop {
            if let Err(error) = self.shared.config.run::<String>(&RENEW, &[address, &lease]).await {
                log::debug!("the proxy {address} is not registered: {error}");
            }
            sleep(LEASE / 4).await;
        }
    }

    /// Returns whether the configuration node lets those in who say no password.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn is_open(&self) -> Result<bool, Error> {
        self.shared.config.is_open().await
    }

    fn last(&self) -> Option<Arc<SlotTable>> {
        self.shared.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn load(&self) -> Result<Arc<SlotTable>, Error> {
        type StoredTable = (u64, HashMap<String, String>, Vec<Vec<String>>);
        let (epoch, settings, lists): StoredTable = self.shared.config.run(&TABLE, &[]).await?;
        self.shared.config.saw(epoch);
        let table = Arc::new(SlotTable::read(epoch, &settings, &lists)?);
        self.shared.epoch.store(epoch, Ordering::Relaxed);
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(table.clone());
        Ok(table)
    }

    /// Waits until the configuration node has another epoch than that of the last table.
    async fn change(&self) {
        let mut hints: Option<_> = None;
        loop {
            if hints.is_none() {
                hints = self.shared.config.hints().await.ok().map(PubSub::into_on_message);
            }
            let hint = async {
                match &mut hints {
                    Some(hints) => hints.next().await.is_some(),
                    None => pending().await,
                }
            };
            if matches!(timeout(LOOK_EVERY, hint).await, Ok(false)) {
                hints = None;
                sleep(LOOK_EVERY).await;
            }
            let epoch = self.shared.config.run::<u64>(&EPOCH, &[]).await;
            if epoch.is_ok_and(|epoch| epoch != self.shared.epoch.load(Ordering::Relaxed)) {
                return;
            }
        }
    }
}

impl NodeProvider for Store {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        Box::pin(async {
            let table = match self.load().await {
                // Without the configuration node all goes on as it was.
                Err(error @ Error::Node { .. }) => self.last().ok_or(error)?,
                table => table?,
            };
            Ok(table.topology())
        })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.change())
    }
}
