//! A proxy that ends gives its slots away as planned, so that nobody suspects what it has written.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::Store;
use super::copy::node::DataNode;
use super::order::{Movers, Sequencer, user_of};
use super::scripts::{BY_PROXY, SIGN_OFF};
use super::shared::ProxyStage;
use super::shares::{SlotsByProxy, own_slots};
use crate::command::Command;
use crate::error::Error;

/// The time that the configuration node has to hear that the proxy is about to end.
const TOLD: Duration = Duration::from_secs(1);

/// The time that a move has to come to where it can stop.
const MOVES_END: Duration = Duration::from_secs(2);

/// The time that the other proxies have to hear who orders the slots now.
const HEARD: Duration = Duration::from_secs(1);

/// The time that a node has to forget the user of a proxy that ends.
const FORGET: Duration = Duration::from_secs(1);

impl Store {
    /// Hands the slots whose writes are ordered here over to other proxies, and says that this one is about to end: it is given no
    /// slots any more, and clients go on being served. Without another proxy the slots stay until [`sign_off`](Self::sign_off).
    ///
    /// A slot that cannot be handed over, with the reason in the log, is taken over by another proxy later.
    pub async fn hand_over(&self) {
        let shared = &self.shared;
        shared.stage.send_if_modified(|stage| {
            let serves = *stage == ProxyStage::Serves;
            *stage = if serves { ProxyStage::Leaves } else { *stage };
            serves
        });
        if let Err(error) = self.give_all(false).await {
            log::warn!("slots are not handed over: {error}");
        }
    }

    /// Says that this proxy takes part no more: to be called when it serves no client any longer. Slots that it still orders go to
    /// others, or to nobody if there is no other proxy.
    pub async fn sign_off(&self) {
        let shared = &self.shared;
        if let Err(error) = self.give_all(true).await {
            log::warn!("slots are left behind, to be taken over: {error}");
        }
        shared.stage.send_replace(ProxyStage::Gone);
        let sequencer = shared.sequencer();
        shared.tables.lease().end();
        let (address, start) = parts(sequencer.name());
        if let Err(error) = shared.tables.run::<i64>(&SIGN_OFF, &[address, start]).await {
            log::warn!("the configuration node takes the proxy for one until its lease is over: {error}");
        }
        self.forget_user(&sequencer).await;
    }

    /// Gives all slots that are ordered here to the other proxies; to nobody if there is none, and it is the last chance.
    async fn give_all(&self, is_last: bool) -> Result<(), Error> {
        let shared = &self.shared;
        let sequencer = shared.sequencer();
        let mut told = shared.told.subscribe();
        if timeout(TOLD, told.wait_for(|stage| *stage != ProxyStage::Serves)).await.is_err() {
            return Err(Error::Topology(
                "the configuration node has not heard yet that the proxy is about to end".into(),
            ));
        }
        let mut idle = shared.movers_idle.subscribe();
        let is_idle = timeout(MOVES_END, idle.wait_for(|is_idle| *is_idle)).await.is_ok();
        let movers = if is_idle { Movers::Idle } else { Movers::Run };
        shared.tables.load().await?;
        let (live, ..): SlotsByProxy = shared.tables.run(&BY_PROXY, &[]).await?;
        if live.is_empty() && !is_last {
            return Ok(());
        }
        let slots = own_slots(shared, &sequencer, &live);
        if slots.is_empty() {
            return Ok(());
        }
        let (began, count) = (Instant::now(), slots.len());
        let given = sequencer.give(slots, movers).await?;
        log::info!("{given} of {count} slots are handed over, in {} ms", began.elapsed().as_millis());
        let epoch = shared.tables.current().map_or(0, |table| table.epoch);
        // From then on nobody forwards anything to this proxy.
        if !shared.tables.until_in_force(epoch, Instant::now() + HEARD).await {
            log::warn!("not all proxies have heard that slots are handed over");
        }
        Ok(())
    }

    /// Has nodes forget the user as whom this proxy has written, with all that is left of its connections.
    async fn forget_user(&self, sequencer: &Sequencer) {
        let Some(table) = self.shared.tables.current() else { return };
        let user = user_of(sequencer.name());
        let forgets = table.nodes.iter().map(|node| async {
            let (node, forget) = (node.address.to_string(), Command::new("ACL").arg("DELUSER").arg(&user));
            let asked = async { DataNode::connect(&self.shared.own_links, &node).await?.call(forget).await };
            match timeout(FORGET, asked).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => log::debug!("{node} keeps the user of the proxy: {error}"),
                Err(_) => log::debug!("{node} keeps the user of the proxy: it does not answer"),
            }
        });
        join_all(forgets).await;
    }
}

/// Returns the address of a proxy, and which start of it this is.
fn parts(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or((name, ""))
}
