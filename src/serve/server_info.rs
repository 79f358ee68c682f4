//! `INFO` of the proxy: what clients of a single server look for there, and what the proxy counts.

use std::sync::atomic::Ordering::Relaxed;

use super::state::ProxyState;
use super::users::ProxyUser;
use crate::command::Command;
use crate::engine::Targets;
use crate::error::Error;
use crate::reply::Reply;

/// The version that is named while no node has told its own.
const UNKNOWN_VERSION: &str = "7.0.0";

impl ProxyState {
    /// Returns the version of the nodes: of the first that tells it.
    pub(super) async fn version(&self) -> String {
        if let Some(version) = self.version.get() {
            return version.clone();
        }
        let asked =
            self.engine.request().begin().ask_any(vec![Command::new("INFO").arg("server").read_only(true)]).await;
        let info = asked.ok().and_then(|mut replies| replies.pop()).and_then(Result::ok);
        match info.as_ref().and_then(|info| field(info, "redis_version")) {
            Some(version) => self.version.get_or_init(|| version).clone(),
            None => UNKNOWN_VERSION.into(),
        }
    }

    /// Returns these sections, or all. Those with figures of the data take the right to `INFO` at the nodes.
    ///
    /// # Errors
    /// The answers of the nodes to the user.
    pub(super) async fn info(&self, user: &ProxyUser, sections: &[String]) -> Result<String, Error> {
        let is_wanted = |name: &str| {
            sections.is_empty()
                || sections.iter().any(|wanted| ["all", "default", "everything", name].contains(&wanted.as_str()))
        };
        let request = user.engine.request().begin();
        let keyspace = Command::new("INFO").arg("keyspace").read_only(true);
        let is_just_that = !sections.is_empty() && sections.iter().all(|section| section == "keyspace");
        let keyspaces = match is_wanted("keyspace") {
            true => {
                let keyspaces = request.fan_out(keyspace).targets(Targets::Primaries).await;
                match keyspaces.and_then(|replies| replies.into_all()) {
                    // Many clients ask for all before they do anything else: a node that is down must not keep them from it.
                    Err(error) if !is_just_that && !matches!(error, Error::Shard { .. }) => None,
                    keyspaces => Some(keyspaces?),
                }
            }
            false => {
                request.ask_any(vec![keyspace]).await?.pop().transpose()?;
                None
            }
        };
        let mut text = String::new();
        let mut section = |name: &str, lines: Vec<(&str, String)>| {
            if !is_wanted(&name.to_ascii_lowercase()) {
                return;
            }
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            text.push_str(&format!("# {name}\r\n"));
            lines.iter().for_each(|(field, value)| text.push_str(&format!("{field}:{value}\r\n")));
        };
        let topology = self.engine.topology();
        let nodes = topology.as_ref().map_or(0, |topology| topology.all_nodes().count());
        let shards = topology.as_ref().map_or(0, |topology| topology.data_shards().count());
        section(
            "Server",
            vec![
                ("redis_version", self.version().await),
                ("redis_mode", "standalone".into()),
                ("rmr_proxy_version", env!("CARGO_PKG_VERSION").into()),
                ("process_id", std::process::id().to_string()),
                ("uptime_in_seconds", self.began.elapsed().as_secs().to_string()),
            ],
        );
        section(
            "Clients",
            vec![
                ("connected_clients", self.clients.len().to_string()),
                ("maxclients", self.options.max_clients.to_string()),
            ],
        );
        section(
            "Stats",
            vec![
                ("total_connections_received", self.clients.accepted.load(Relaxed).to_string()),
                ("total_commands_processed", self.commands.load(Relaxed).to_string()),
                ("rejected_connections", self.clients.refused.load(Relaxed).to_string()),
            ],
        );
        section("Replication", vec![("role", "master".into()), ("connected_slaves", "0".into())]);
        section("Cluster", vec![("cluster_enabled", "0".into())]);
        section("Proxy", vec![("nodes", nodes.to_string()), ("shards", shards.to_string())]);
        #[cfg(feature = "placement")]
        if let Some(figures) = self.options.store.as_ref().and_then(crate::placement::Store::figures) {
            section(
                "Placement",
                vec![
                    ("place_epoch", figures.epoch.to_string()),
                    ("place_lease_ms", figures.lease_ms.to_string()),
                    ("slots_ok", figures.slots_ok.to_string()),
                    ("slots_suspect", figures.slots_suspect.to_string()),
                    ("slots_short", figures.slots_short.to_string()),
                    ("slots_lost", figures.slots_lost.to_string()),
                    ("writes_forwarded", figures.writes_forwarded.to_string()),
                    ("writes_in_doubt", figures.writes_in_doubt.to_string()),
                    ("copies_dropped", figures.copies_dropped.to_string()),
                    ("fences", figures.fences.to_string()),
                    ("moves_running", figures.moves_running.to_string()),
                    ("moves_done", figures.moves_done.to_string()),
                    ("moves_failed", figures.moves_failed.to_string()),
                    ("keys_moved", figures.keys_moved.to_string()),
                    ("scrub_differences", figures.scrub_differences.to_string()),
                ],
            );
        }
        let Some(keyspaces) = keyspaces else { return Ok(text) };
        let sum = |name: &str| keyspaces.iter().filter_map(|info| db0(info, name)).sum::<u64>();
        let keys = sum("keys");
        let lines = if keys == 0 {
            Vec::new()
        } else {
            vec![("db0", format!("keys={keys},expires={},avg_ttl=0", sum("expires")))]
        };
        section("Keyspace", lines);
        Ok(text)
    }
}

/// Returns a field of an `INFO` reply.
fn field(info: &Reply, name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(info.bytes()?).into_owned();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|value| value.trim().to_owned())
}

/// Returns a figure of database 0 in `INFO keyspace`.
fn db0(info: &Reply, name: &str) -> Option<u64> {
    let line = field(info, "db0")?;
    line.split(',').find_map(|figure| figure.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found() {
        let info = Reply::from("# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\ndb1:keys=1,expires=1,avg_ttl=0\r\n");
        assert_eq!((db0(&info, "keys"), db0(&info, "expires")), (Some(12), Some(3)));
        assert_eq!(field(&Reply::from("redis_version:7.0.15\r\n"), "redis_version").as_deref(), Some("7.0.15"));
    }
}
