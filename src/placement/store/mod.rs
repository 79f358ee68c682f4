//! [`Store`]: data on plain servers, whose slots a configuration node knows.
//!
//! The store of the proposal of 2010 for a Redis Cluster. At the configuration node, a plain Redis, stand with the prefix
//! `{rmr:NAME}:`, or none:
//!
//! | key | type | content |
//! |---|---|---|
//! | `settings` | hash | `slots`, `copies`, `hash`, `hash-tags`: what never changes; `version` |
//! | `newnodes` | list | nodes that want in, as `ip:port`: pushed by hand |
//! | `joining` | list | the one of them that the handler looks at |
//! | `nodes` | hash | `ip:port` of who is in; the id of its process, weight, zone, state, epoch |
//! | `hashingslot:N` | list | `ip:port` of the nodes that hold slot N |
//! | `moves` | hash | each slot that is to move: who loses it, who gets it, phase, epoch |
//! | `slots` | hash | each slot: epoch, sequencer, state |
//! | `proxies` | sorted set | addresses of proxies, by when they came |
//! | `proxy:ADDRESS` | string | expires when that proxy has not been heard of |
//! | `starts` | hash | each start of a proxy that may still read: the epoch that it has confirmed |
//! | `heard` | string | when any proxy was heard last |
//! | `back` | string | when one was heard again after the configuration node was away |
//! | `fenced-until` | string | until when a proxy that is fenced may still read |
//!
//! - [`settings`], [`table`]: what is read of that, and where keys are by it; [`tables`]: how it is followed
//! - [`handler`], [`admit`]: letting nodes in, giving slots out, and saying who orders their writes
//! - [`take_over`]: the slots of a proxy that does not live any more; [`lease`]: for how long one lives
//! - [`shares`], [`hand_over`]: the slots that go to a proxy that has come, and from one that ends
//! - [`order`]: the writes of a slot, in one order to all copies
//! - [`definite`]: what copies run in place of a write, so that it has the same effect on each
//! - [`mover`]: copies of slots go from node to node, by [`copy`]
//! - [`place`], [`report`]: what operators ask, and what there is to tell; [`figures`]: what is told without asking, of it what is [counted](counts)
//! - [`check`]: a comparison of copies
//! - [`front`]: links that know of copies, by [`copy_read`] with [`reads`], [`copy_write`] and [`user_copies`]; [`whole`]: commands about all keys; [`rights`]: who may write
//! - [`without`]: what tests leave out, to be missed

mod admit;
mod check;
mod copy;
mod copy_read;
mod copy_write;
mod counts;
mod definite;
mod figures;
mod front;
mod hand_over;
mod handler;
mod late_nodes;
mod lease;
mod mover;
mod node_links;
mod order;
mod place;
mod reads;
mod report;
mod rights;
mod scripts;
mod settings;
mod shared;
mod shares;
mod table;
mod tables;
mod take_over;
mod user_copies;
mod whole;
mod without;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::config_node::ConfigNode;
use crate::command::Command;
use crate::error::Error;
use crate::link::{LinkOptions, Links, NodeCheck};
use crate::peer::{Forwarded, ForwardedStep, secret_word};
use crate::topology::{Address, BoxFuture, NodeProvider, Topology};
pub use figures::StoreFigures;
use front::StoreFront;
use mover::{Mover, Planner};
use order::Sequencer;
pub(crate) use place::changes;
use scripts::RENEW;
use shared::{ProxyStage, Shared};
use shares::Shares;
use tables::Tables;

/// The time that the configuration node has to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// The time after which the handler looks again whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The time for which a proxy that has just begun is known without being heard of, until the settings say another.
const FIRST_LEASE: Duration = Duration::from_millis(2000);

/// A store of plain servers, which keeps as many copies of each key as the setting `copies` says. Slots move while
/// all runs when nodes come and go.
///
/// As a [`NodeProvider`] it makes an engine find the nodes, and keys on them. [`links`](Self::links) makes the engine's links
/// read any copy, and take writes to all of them. A clone is a handle to the same store.
///
/// ```no_run
/// use rmr::Engine;
/// use rmr::link::LinkOptions;
/// use rmr::placement::Store;
///
/// # async fn run() -> Result<(), rmr::Error> {
/// let store = Store::new(&["redis://10.0.0.9:6379".into()], None)?;
/// let engine = Engine::builder().links(store.links(LinkOptions::new())).provider(store).build();
/// # Ok(())
/// # }
/// ```
///
/// [What an answer is worth](crate::_docs::guarantees) is a page of its own.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Takes the addresses of the configuration node, as `redis://[user:password@]host:port[/database]`, and the name of the
    /// store, if it has one: without a name its keys have no prefix. Nobody is asked yet. Nodes are reached without a login.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no address, for one that cannot be read, and for a name with braces or spaces.
    pub fn new(addresses: &[String], name: Option<&str>) -> Result<Self, Error> {
        Self::with_own_links(addresses, name, LinkOptions::new)
    }

    /// Makes a store that reaches its nodes by such links of its own: to look at nodes that want in, and to write to copies.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_own_links(
        addresses: &[String],
        name: Option<&str>,
        own: impl Fn() -> LinkOptions + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let tables = Arc::new(Tables::new(ConfigNode::new(addresses, name, LIMIT)?));
        let own_links = Arc::new(Links::new(own(), None));
        // It orders nothing: who does not serve sends writes on to those who do.
        let sequencer = ArcSwap::from(Sequencer::new("-".into(), tables.clone(), own_links.clone()));
        let make_links = Box::new(own);
        let (stage, told) = (watch::Sender::new(ProxyStage::Serves), watch::Sender::new(ProxyStage::Serves));
        let movers_idle = watch::Sender::new(true);
        Ok(Self { shared: Arc::new(Shared { tables, own_links, make_links, sequencer, stage, told, movers_idle }) })
    }

    /// Makes links know of copies: writes go to all of them by way of the proxy that orders them, and a server that was started
    /// again since it was let in is not spoken to. Reads take the same way, except in a process that [serves](Self::serve_as):
    /// that one hears of changes before they count, and reads any copy.
    #[must_use]
    pub fn links(&self, options: LinkOptions) -> LinkOptions {
        let front = StoreFront::new(self.shared.clone());
        options.fronted_by(front).checked_by(Arc::new(SameProcess { shared: self.shared.clone() }))
    }

    /// Returns what takes the steps that other proxies forward.
    pub(crate) fn forwarded(&self) -> Arc<dyn Forwarded> {
        Arc::new(StepsOfPeers { shared: self.shared.clone() })
    }

    /// Takes part as a proxy that clients reach at this address: orders the writes of slots, lets nodes in that are pushed to
    /// `newnodes`, and gives the slots out. Never ends. Must be called once, within a tokio runtime.
    pub async fn serve_as(&self, address: &str) {
        loop {
            self.serve_once(address).await;
        }
    }

    /// Takes part under a name that nobody has had, until another proxy has fenced it: then it has to be another one, since that
    /// name never writes to the node any more.
    async fn serve_once(&self, address: &str) {
        let start = secret_word()[..8].to_owned();
        let name: Arc<str> = format!("{address}/{start}").into();
        let links = self.shared.own_links.clone();
        let sequencer = Sequencer::new(name.clone(), self.shared.tables.clone(), links.clone());
        let tables = &self.shared.tables;
        tables.lease().end();
        let stage = self.shared.stage.subscribe();
        let mover = Mover::new(name.clone(), self.shared.tables.clone(), sequencer.clone(), links, stage);
        self.shared.movers_idle.send_replace(false);
        self.shared.sequencer.store(sequencer.clone());
        let taking_part = async {
            tokio::join!(
                tables.keep_up(),
                tables.follow_in_force(),
                sequencer.keep_lease(),
                self.handle(),
                sequencer.scrub(),
                sequencer.drop_removed(),
                self.welcome_back(),
                async {
                    mover.run().await;
                    self.shared.movers_idle.send_replace(true);
                },
            )
        };
        tokio::select! {
            _ = taking_part => {}
            () = sequencer.login().until_fenced() => {}
            () = self.register(address, &start) => {}
        }
        log::warn!("{name} was taken for dead, and begins anew");
    }

    /// Lets nodes in, and gives the slots out to those who are in, once no other is waiting. Ends when the proxy is about to.
    async fn handle(&self) {
        let (mut was_away, mut planner, mut shares) = (false, Planner::default(), Shares::default());
        while *self.shared.stage.borrow() == ProxyStage::Serves {
            match handler::step(&self.shared, &mut planner, &mut shares).await {
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

    /// Lets nodes in again that were lost. Never ends.
    async fn welcome_back(&self) {
        loop {
            sleep(mover::WELCOME_EVERY).await;
            let Shared { tables, own_links, make_links, .. } = &*self.shared;
            if let Err(error) = mover::readmit(tables, own_links, make_links).await {
                log::debug!("it is not known which nodes are back: {error}");
            }
        }
    }

    /// Tells the configuration node that the proxy lives, and by which epoch it goes: again and again, and whenever there is
    /// another table. Ends when that node says that others have taken the proxy for dead.
    async fn register(&self, address: &str, start: &str) {
        let mut tables = self.shared.tables.follow();
        let mut stages = self.shared.stage.subscribe();
        let mut is_known = "new";
        loop {
            let stage = *stages.borrow_and_update();
            if stage == ProxyStage::Gone {
                return std::future::pending().await;
            }
            let table = tables.borrow_and_update().clone();
            let lease = table.as_ref().map_or(FIRST_LEASE, |table| table.settings.lease);
            let epoch = table.as_ref().map_or(0, |table| table.epoch).to_string();
            let (millis, sent) = (lease.as_millis().to_string(), Instant::now());
            let word = if stage == ProxyStage::Serves { "stays" } else { "leaving" };
            match self.shared.tables.run::<u64>(&RENEW, &[address, &millis, start, &epoch, is_known, word]).await {
                Ok(0) if is_known == "known" => return,
                Ok(_) => {
                    is_known = "known";
                    self.shared.tables.lease().renew(sent, table.as_ref());
                    self.shared.told.send_replace(stage);
                }
                Err(error) => log::debug!("the proxy {address} is not registered: {error}"),
            }
            tokio::select! {
                _ = tables.changed() => {}
                _ = stages.changed() => {}
                () = sleep(lease / 4) => {}
            }
        }
    }

    /// Returns whether the configuration node lets those in who say no password.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn is_open(&self) -> Result<bool, Error> {
        self.shared.tables.config().is_open().await
    }
}

impl NodeProvider for Store {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        Box::pin(async {
            let tables = &self.shared.tables;
            let table = match tables.load().await {
                // Without the configuration node all goes on as it was.
                Err(error @ Error::Node { .. }) => tables.current().ok_or(error)?,
                table => table?,
            };
            Ok(table.topology())
        })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.tables.changed())
    }
}

/// Takes steps of other proxies.
struct StepsOfPeers {
    shared: Arc<Shared>,
}

impl Forwarded for StepsOfPeers {
    fn is_peer(&self, secret: &[u8]) -> bool {
        let table = self.shared.tables.current();
        table.is_some_and(|table| !secret.is_empty() && table.settings.secret.as_bytes() == secret)
    }

    fn take(&self, step: Command) -> BoxFuture<'_, ForwardedStep> {
        let sequencer = self.shared.sequencer();
        Box::pin(async move { sequencer.take_forwarded(&step).await })
    }
}

/// Knows nodes by the ids of their processes.
struct SameProcess {
    shared: Arc<Shared>,
}

impl NodeCheck for SameProcess {
    fn check<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let Some(table) = self.shared.tables.current() else { return Ok(()) };
            match table.place_of(address).map(|place| &table.nodes[place]) {
                Some(node) if node.run_id.is_empty() => Ok(()),
                Some(node) => order::is_same_process(&self.shared.own_links, node).await,
                None => Err("it is no node of the store, or none any more".into()),
            }
        })
    }
}
