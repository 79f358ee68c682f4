//! Looking at a node that wants in.

use std::time::{Duration, SystemTime};

use crate::command::Command;
use crate::engine::Engine;
use crate::error::Error;
use crate::link::LinkOptions;
use crate::reply::Reply;
use crate::topology::{Address, StaticList};

/// The oldest version of Redis that nodes may have.
const OLDEST: u64 = 7;

/// The most by which the clocks of a node and of the configuration node may differ.
const CLOCKS_APART: Duration = Duration::from_millis(50);

/// The time that a node has to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// The time of a server, as far as it is known: how far it is ahead of this machine's, and by how much that may be wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    ahead: f64,
    unsure: f64,
}

impl Clock {
    /// Takes what a server has answered to `TIME`, and when it was asked.
    pub(super) fn of(seconds: f64, micros: f64, asked: SystemTime) -> Self {
        let at = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let (asked, answered) = (at(asked), at(SystemTime::now()));
        Self { ahead: seconds + micros / 1e6 - (asked + answered) / 2.0, unsure: (answered - asked) / 2.0 }
    }

    fn is_apart_from(self, other: Self) -> bool {
        (self.ahead - other.ahead).abs() > CLOCKS_APART.as_secs_f64() + self.unsure + other.unsure
    }
}

/// The conditions that a node has to meet.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeDemands {
    /// Others have copies of what it has.
    pub(super) has_copies: bool,
    /// The node may hold keys, in database 0: they become those of the store.
    pub(super) may_hold_keys: bool,
}

/// Looks at a node, and returns the id of its process, or why it cannot hold slots.
pub(super) async fn look_at(
    address: &str,
    links: LinkOptions,
    clock: Clock,
    demands: NodeDemands,
) -> Result<String, String> {
    let asked = async {
        let list = StaticList::new([Address::parse(address)?])?;
        let engine = Engine::builder().provider(list).links(links).timeout(LIMIT).build();
        let info = ask(&engine, Command::new("INFO")).await?;
        let began = SystemTime::now();
        let time = ask(&engine, Command::new("TIME")).await?;
        Ok((info, time, began))
    };
    let (info, time, began) = asked.await.map_err(|error: Error| error.to_string())?;
    let info = String::from_utf8_lossy(info.bytes().unwrap_or_default()).into_owned();
    let run_id = check(&info, demands)?;
    let part = |place: usize| {
        let text = time.elements().and_then(|parts| parts.get(place)?.bytes()).unwrap_or_default();
        String::from_utf8_lossy(text).parse::<f64>().unwrap_or_default()
    };
    let its_clock = Clock::of(part(0), part(1), began);
    if its_clock.is_apart_from(clock) {
        let apart = (its_clock.ahead - clock.ahead) * 1000.0;
        return Err(format!("its clock is {apart:.0} ms from that of the configuration node"));
    }
    Ok(run_id)
}

async fn ask(engine: &Engine, command: Command) -> Result<Reply, Error> {
    let replies = engine.fan_out(command).await?;
    let first = replies.into_iter().next();
    first.ok_or_else(|| Error::Internal("nobody was asked".into()))?.result
}

/// Returns the id of a node's process, or why it cannot hold slots.
fn check(info: &str, demands: NodeDemands) -> Result<String, String> {
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).unwrap_or_default()
    };
    let version = field("redis_version");
    let major: u64 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    if major < OLDEST {
        return Err(format!("it is Redis {version}, and {OLDEST}.0 is the oldest that will do"));
    }
    if field("role") != "master" {
        return Err("it is a replica".into());
    }
    if field("cluster_enabled") == "1" {
        return Err("it is a node of a Redis Cluster (cluster-enabled yes)".into());
    }
    let mut databases = info.lines().filter(|line| line.starts_with("db") && line.contains(":keys="));
    if demands.may_hold_keys && databases.any(|line| !line.starts_with("db0:")) {
        return Err("it holds keys in other databases than 0".into());
    }
    if !demands.may_hold_keys && databases.next().is_some() {
        return Err("it holds keys already, and would have to be empty".into());
    }
    let policy = field("maxmemory_policy");
    if demands.has_copies && policy != "noeviction" {
        return Err(format!(
            "its maxmemory-policy is {policy}, and copies need noeviction: each node would evict other keys"
        ));
    }
    match field("run_id") {
        "" => Err("it does not tell the id of its process (run_id in INFO)".into()),
        run_id => Ok(run_id.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nrole:master\r\ncluster_enabled:0\r\nmaxmemory_policy:noeviction\r\n\
         # Keyspace\r\n";

    fn check(info: &str, has_copies: bool) -> Result<String, String> {
        super::check(info, NodeDemands { has_copies, may_hold_keys: false })
    }

    #[test]
    fn a_node_that_is_taken_with_its_keys_has_them_in_the_first_database() {
        let check = |info: &str| super::check(info, NodeDemands { has_copies: true, may_hold_keys: true });
        assert!(check(&GOOD.replace("# Keyspace", "db0:keys=1,expires=0")).is_ok());
        let refused = check(&GOOD.replace("# Keyspace", "db0:keys=1,expires=0\r\ndb3:keys=1,expires=0"));
        assert_eq!(refused, Err("it holds keys in other databases than 0".to_owned()));
    }

    #[test]
    fn a_node_has_to_be_new_enough_empty_and_on_its_own() {
        assert_eq!(check(GOOD, true), Ok("abc".to_owned()));
        assert!(check(&GOOD.replace("noeviction", "allkeys-lru"), false).is_ok());
        for (from, to, why) in [
            ("7.0.15", "6.2.14", "it is Redis 6.2.14, and 7.0 is the oldest that will do"),
            ("role:master", "role:slave", "it is a replica"),
            ("cluster_enabled:0", "cluster_enabled:1", "it is a node of a Redis Cluster (cluster-enabled yes)"),
            ("# Keyspace", "db0:keys=1,expires=0", "it holds keys already, and would have to be empty"),
            (
                "noeviction",
                "allkeys-lru",
                "its maxmemory-policy is allkeys-lru, and copies need noeviction: each node would evict other keys",
            ),
            ("run_id:abc", "", "it does not tell the id of its process (run_id in INFO)"),
        ] {
            assert_eq!(check(&GOOD.replace(from, to), true), Err(why.to_owned()));
        }
    }

    #[test]
    fn clocks_are_compared_as_far_as_they_are_known() {
        let clock = |ahead, unsure| Clock { ahead, unsure };
        assert!(!clock(0.04, 0.0).is_apart_from(clock(0.0, 0.0)));
        assert!(clock(0.06, 0.001).is_apart_from(clock(0.0, 0.001)));
        assert!(!clock(0.06, 0.01).is_apart_from(clock(0.0, 0.01)));
    }
}
