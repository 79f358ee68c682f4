//! A Redis Cluster seen from outside: whichever node answers first describes it.

use std::sync::Arc;
use std::time::Duration;

use crate::command::{Command, CommandSet};
use crate::error::Error;
use crate::link::{Batch, Budget, Links};
use crate::reply::Reply;
use crate::topology::{Address, AskCluster, BoxFuture, ClusterAnswer};

/// Asks the nodes of a Redis Cluster from outside: those that a link exists to, then the seeds.
pub(super) struct ThroughSeeds {
    pub(super) links: Arc<Links>,
    pub(super) seeds: Vec<Address>,
}

impl AskCluster for ThroughSeeds {
    fn ask(&self, command: Command) -> BoxFuture<'_, Result<ClusterAnswer, Error>> {
        /// Longer than a healthy node takes, so that a silent one does not use up the whole refresh.
        const PATIENCE: Duration = Duration::from_secs(1);
        /// Room for the description of a thousand nodes.
        const DESCRIPTION: usize = 64 << 20;
        Box::pin(async move {
            let commands = Arc::new(CommandSet::from(vec![command]));
            let mut failure = Error::Topology("no seed node was given".into());
            let mut addresses = self.links.addresses();
            addresses.extend(self.seeds.iter().filter(|seed| !self.links.addresses().contains(seed)).cloned());
            for address in addresses {
                let budget = Arc::new(Budget::new(DESCRIPTION));
                let batch = Batch::new(commands.clone(), vec![0], budget);
                let sent = self.links.get(address.clone().into()).send(batch);
                let Ok(delivery) = tokio::time::timeout(PATIENCE, sent).await else {
                    failure = Error::Topology(format!("{address} did not describe the cluster in time"));
                    continue;
                };
                match delivery.replies.into_iter().next() {
                    Some(Reply::Error(message)) => {
                        failure = Error::Shard { node: address.to_string(), message: message.into(), key: None };
                    }
                    Some(reply) => return Ok(ClusterAnswer::new(reply, address.host())),
                    None => failure = Error::Topology(format!("{address} cannot be reached")),
                }
            }
            Err(failure)
        })
    }
}
