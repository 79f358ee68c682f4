//! Gathers what connections, links and engines of a proxy have counted.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use super::metrics::{CommandMetrics, NodeMetrics, OUTCOMES, ProxyMetrics, TopologyMetrics};
use super::state::ProxyState;
use crate::link::{LinkState, LinkStats};
use crate::topology::{Address, Role};

impl ProxyState {
    /// Returns all that was counted so far.
    pub(in crate::serve) fn metrics(&self) -> ProxyMetrics {
        let (counters, requests, own) = (&self.counters, self.users.stats(), self.engine.stats());
        let topology = self.engine.topology();
        ProxyMetrics {
            uptime: self.began.elapsed(),
            clients: self.clients.len(),
            max_clients: self.options.max_clients,
            accepted: self.clients.accepted.load(Relaxed),
            refused: self.clients.refused.load(Relaxed),
            cut: self.clients.cuts.all(),
            received_bytes: counters.received_bytes.load(Relaxed),
            sent_bytes: counters.sent_bytes.load(Relaxed),
            waiting_bytes: self.clients.all().iter().map(|client| client.output.load(Relaxed) as u64).sum(),
            commands: self.commands(),
            stages: vec![
                ("queue", counters.queue.by_doubling()),
                ("nodes", requests.latency.by_doubling()),
                ("write", counters.write.by_doubling()),
                ("total", counters.total.by_doubling()),
            ],
            in_flight: requests.in_flight.load(Relaxed),
            moved: requests.moved.load(Relaxed),
            ask: requests.ask.load(Relaxed),
            retries: requests.retries.load(Relaxed),
            refreshes: own.refreshes.load(Relaxed),
            refresh_failures: own.refresh_failures.load(Relaxed),
            topology: topology.as_ref().map(|topology| TopologyMetrics {
                age: self.engine.topology_age().unwrap_or_default(),
                shards: topology.data_shards().count(),
                slots_covered: topology
                    .shards()
                    .iter()
                    .flat_map(|shard| &shard.slots)
                    .map(|&(first, last)| u32::from(last - first) + 1)
                    .sum(),
                has_slots: topology.has_slots(),
            }),
            #[cfg(feature = "placement")]
            store: self.options.store.as_ref().and_then(crate::placement::Store::figures),
            nodes: topology.map_or_else(Vec::new, |topology| {
                let mut nodes: BTreeMap<&Address, bool> = BTreeMap::new();
                for node in topology.all_nodes() {
                    *nodes.entry(&node.address).or_default() |= node.role == Role::Primary;
                }
                let addresses: Vec<Address> = nodes.keys().map(|&address| address.clone()).collect();
                let stats = self.users.stats_of_nodes(&addresses);
                let nodes = nodes.into_iter().zip(stats);
                nodes.map(|((address, is_primary), stats)| node(address, is_primary, &stats)).collect()
            }),
        }
    }

    fn commands(&self) -> Vec<CommandMetrics> {
        let mut by_name: BTreeMap<String, [u64; OUTCOMES.len()]> = BTreeMap::new();
        self.known.each_count(|name, counts| match by_name.get_mut(name) {
            Some(outcomes) => counts.add_to(outcomes),
            None => counts.add_to(by_name.entry(name.to_owned()).or_default()),
        });
        self.counters.unknown.add_to(by_name.entry("unknown".to_owned()).or_default());
        let occurred = |outcomes: [u64; OUTCOMES.len()]| {
            OUTCOMES.into_iter().zip(outcomes).filter(|(_, count)| *count > 0).collect::<Vec<_>>()
        };
        let commands =
            by_name.into_iter().map(|(name, outcomes)| CommandMetrics { name, outcomes: occurred(outcomes) });
        commands.filter(|command| !command.outcomes.is_empty()).collect()
    }
}

fn node(address: &Address, is_primary: bool, stats: &LinkStats) -> NodeMetrics {
    NodeMetrics {
        address: address.to_string(),
        is_primary,
        is_reachable: stats.state() != LinkState::Failed,
        in_flight: stats.in_flight.load(Relaxed),
        connects: stats.connects.load(Relaxed),
        failures: stats.failures.load(Relaxed),
        sent_bytes: stats.sent_bytes.load(Relaxed),
        received_bytes: stats.received_bytes.load(Relaxed),
        round_trips: stats.round_trips.by_doubling(),
    }
}
