//! Tells whether the node that a command was sent to can answer it as a single server would.

use super::policy::{Overrides, Policy, RequestPolicy, ResponsePolicy};
use crate::describe::Description;

/// Says who can answer a command as a single server would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The node that was asked: the command is about that node or its connection, or any node knows the answer.
    ThisNode,
    /// The node that has its keys can.
    ItsKeys,
    /// All nodes together can.
    AllNodes,
}

impl Reach {
    /// Finds out how far a command reaches, by what the server and the operator say about it.
    ///
    /// A command that [`exec`](super::exec) refuses is this node's, in its own words. So is one that would be answered by each node's
    /// reply under its name, as `INFO` would be: nobody who asks a single server expects that.
    pub(crate) fn of(command: &Description, overrides: &Overrides) -> Self {
        let special = command.special();
        // These bring a key to where it is not yet expected.
        let is_moving = command.has_flag("asking") || special.is_some_and(|special| special.moves_keys);
        let is_about_connection = command.categories.iter().any(|category| category == "@connection");
        let is_refused = command.is_never_shared() || command.why_not_cluster_wide().is_some();
        if command.blocks_always() || is_moving || is_about_connection || is_refused {
            return Self::ThisNode;
        }
        let policy = Policy::of(command, overrides);
        let has_keys = !command.keys.is_empty() || command.channel.is_some() || command.has_flag("movablekeys");
        match policy.request {
            RequestPolicy::Special if special.is_some_and(|special| special.handler.is_some()) => Self::AllNodes,
            RequestPolicy::AllNodes | RequestPolicy::AllShards | RequestPolicy::AllPrimaries
                if policy.response != ResponsePolicy::Special =>
            {
                Self::AllNodes
            }
            RequestPolicy::MultiShard | RequestPolicy::Default if has_keys => Self::ItsKeys,
            _ => Self::ThisNode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::{Find, KeySpec};

    #[test]
    fn a_ping_is_for_the_connection_that_it_comes_by() {
        let tips = ["request_policy:all_shards".into(), "response_policy:all_succeeded".into()];
        let ping = Description { name: "ping".into(), tips: tips.into(), ..Description::default() };
        assert_eq!(Reach::of(&ping, &Overrides::default()), Reach::AllNodes);
        let ping = Description { categories: vec!["@fast".into(), "@connection".into()], ..ping };
        assert_eq!(Reach::of(&ping, &Overrides::default()), Reach::ThisNode);
    }

    fn reach(name: &str, flags: &[&str], tips: &[&str], has_keys: bool) -> Reach {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let key = KeySpec { find: Find::Range { step: 1 }, is_uncertain: false };
        let keys = if has_keys { vec![key] } else { Vec::new() };
        let command =
            Description { name: name.into(), flags: owned(flags), tips: owned(tips), keys, ..Description::default() };
        Reach::of(&command, &Overrides::default())
    }

    #[test]
    fn keys_and_policies_reach_beyond_the_node() {
        assert_eq!(reach("get", &["readonly"], &[], true), Reach::ItsKeys);
        assert_eq!(reach("mget", &["readonly"], &["request_policy:multi_shard"], true), Reach::ItsKeys);
        let sum = ["request_policy:all_shards", "response_policy:agg_sum"];
        assert_eq!(reach("dbsize", &[], &sum, false), Reach::AllNodes);
        assert_eq!(reach("scan", &[], &["request_policy:special"], false), Reach::AllNodes);
        assert_eq!(reach("config|set", &[], &["request_policy:all_nodes"], false), Reach::AllNodes);
        assert_eq!(reach("xread", &["blocking"], &[], true), Reach::ItsKeys);
    }

    #[test]
    fn what_is_about_a_node_or_a_connection_does_not() {
        assert_eq!(reach("echo", &[], &[], false), Reach::ThisNode);
        assert_eq!(reach("blpop", &["blocking"], &[], true), Reach::ThisNode);
        assert_eq!(reach("watch", &[], &[], true), Reach::ThisNode);
        assert_eq!(reach("restore-asking", &["write", "asking"], &[], true), Reach::ThisNode);
        assert_eq!(reach("migrate", &["write", "movablekeys"], &[], true), Reach::ThisNode);
        let all = ["request_policy:all_shards", "response_policy:agg_min"];
        assert_eq!(reach("wait", &[], &all, false), Reach::ThisNode);
        let apart = ["request_policy:all_shards", "response_policy:special"];
        assert_eq!(reach("info", &[], &apart, false), Reach::ThisNode);
        assert_eq!(reach("client|reply", &[], &["request_policy:all_nodes"], false), Reach::ThisNode);
    }
}
