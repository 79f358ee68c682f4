//! The policies of a command, where it goes and how its replies are merged: the request and response policies of Redis' command
//! tips. Source: the Redis documentation, "Redis command tips".
//!
//! The server publishes them about its own commands and those of its modules. They are advice and have been wrong; a
//! short table corrects what is known to be, and the operator may correct the rest.

use std::fmt;

use crate::describe::Description;
use crate::words::words;

/// Says where a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestPolicy {
    /// Primaries and replicas.
    AllNodes,
    /// The primary of every shard that holds data.
    AllShards,
    /// Every primary: those without slots run scripts and functions without keys too.
    AllPrimaries,
    /// The command goes to each shard with the keys that it holds.
    MultiShard,
    /// The command goes a way of its own.
    Special,
    /// No policy is given: the command goes with its keys, or to any node.
    Default,
}

/// Says how the replies are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponsePolicy {
    /// The answer is any error, else one of the replies.
    AllSucceeded,
    /// The answer is any success.
    OneSucceeded,
    /// The sum.
    AggSum,
    /// The smallest.
    AggMin,
    /// The largest.
    AggMax,
    /// The answer tells whether all are true.
    AggLogicalAnd,
    /// The answer tells whether any is true.
    AggLogicalOr,
    /// Each node's reply under the node's name.
    Special,
    /// No policy is given: replies are joined, in the order of the keys where there are keys.
    Default,
}

/// The source of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The operator's word, `rmr.policy-overrides`.
    Override,
    /// The table of corrections.
    Correction,
    /// The server's tips.
    Tips,
    /// Nobody says anything.
    Default,
}

impl Source {
    /// Says it in words.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Correction => "built-in correction",
            Self::Tips => "tips",
            Self::Default => "default",
        }
    }
}

/// Says where a command goes, how its replies are merged, and on whose word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// The way of the command.
    pub(super) request: RequestPolicy,
    /// The way of merging replies.
    pub(super) response: ResponsePolicy,
    /// The source of both.
    pub(super) source: Source,
}

words!(pub(super) RequestPolicy {
    AllNodes = "all_nodes",
    AllShards = "all_shards",
    AllPrimaries = "all_primaries",
    MultiShard = "multi_shard",
    Special = "special",
    Default = "default",
});

words!(pub(super) ResponsePolicy {
    AllSucceeded = "all_succeeded",
    OneSucceeded = "one_succeeded",
    AggSum = "agg_sum",
    AggMin = "agg_min",
    AggMax = "agg_max",
    AggLogicalAnd = "agg_logical_and",
    AggLogicalOr = "agg_logical_or",
    Special = "special",
    Default = "default",
});

/// The policies of commands whose tips are missing or wrong in some version of the server.
const CORRECTIONS: &[(&str, RequestPolicy, ResponsePolicy)] = &[
    // Splitting breaks its promise to set all or nothing; the tip was taken back (redis#12417).
    ("msetnx", RequestPolicy::Default, ResponsePolicy::Default),
    // 7.0 says all_succeeded, which loses the counts.
    ("latency|reset", RequestPolicy::AllNodes, ResponsePolicy::AggSum),
    // Without tips before 7.2.
    ("acl|setuser", RequestPolicy::AllNodes, ResponsePolicy::AllSucceeded),
    ("acl|deluser", RequestPolicy::AllNodes, ResponsePolicy::AllSucceeded),
    ("acl|save", RequestPolicy::AllNodes, ResponsePolicy::AllSucceeded),
    ("config|rewrite", RequestPolicy::AllNodes, ResponsePolicy::AllSucceeded),
    ("config|resetstat", RequestPolicy::AllNodes, ResponsePolicy::AllSucceeded),
    // One of all keys, each as likely as any other: a shard's own pick is neither (redis#10104).
    ("randomkey", RequestPolicy::Special, ResponsePolicy::Special),
    // A cursor is one node's. Some servers do not say so.
    ("scan", RequestPolicy::Special, ResponsePolicy::Special),
    // Joined, nobody would know which node was slow.
    ("slowlog|get", RequestPolicy::AllNodes, ResponsePolicy::Special),
    ("commandlog|get", RequestPolicy::AllNodes, ResponsePolicy::Special),
    // 1 or 0: whether all of them were set. Any part's word is not that of all.
    ("msetex", RequestPolicy::MultiShard, ResponsePolicy::AggLogicalAnd),
    // The tips say all_shards. Code is for nodes without slots too, which run it without keys, and with keys once they get
    // slots.
    ("function|load", RequestPolicy::AllPrimaries, ResponsePolicy::AllSucceeded),
    ("function|delete", RequestPolicy::AllPrimaries, ResponsePolicy::AllSucceeded),
    ("function|flush", RequestPolicy::AllPrimaries, ResponsePolicy::AllSucceeded),
    ("function|restore", RequestPolicy::AllPrimaries, ResponsePolicy::AllSucceeded),
    ("function|kill", RequestPolicy::AllPrimaries, ResponsePolicy::OneSucceeded),
    ("function|stats", RequestPolicy::AllPrimaries, ResponsePolicy::Special),
    ("script|exists", RequestPolicy::AllPrimaries, ResponsePolicy::AggLogicalAnd),
    ("script|kill", RequestPolicy::AllPrimaries, ResponsePolicy::OneSucceeded),
];

/// The operator's policies for some commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides(Vec<(String, Option<RequestPolicy>, Option<ResponsePolicy>)>);

impl Overrides {
    /// Reads `command request_policy:word response_policy:word; ...`, commands as in `config|set`.
    ///
    /// # Errors
    /// The error says what was given, and what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut overrides = Vec::new();
        for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
            let mut words = entry.split_whitespace();
            let name = words.next().unwrap_or_default().to_ascii_lowercase();
            let (mut request, mut response) = (None, None);
            for word in words {
                let unknown =
                    |allowed: &[&str]| format!("'{word}' of '{name}'; the policies are {}", allowed.join(", "));
                match word.split_once(':') {
                    Some(("request_policy", policy)) => {
                        let policy = RequestPolicy::named(policy);
                        request = Some(policy.ok_or_else(|| unknown(RequestPolicy::WORDS))?);
                    }
                    Some(("response_policy", policy)) => {
                        let policy = ResponsePolicy::named(policy);
                        response = Some(policy.ok_or_else(|| unknown(ResponsePolicy::WORDS))?);
                    }
                    _ => return Err(format!("'{word}' of '{name}'; give request_policy:... or response_policy:...")),
                }
            }
            if request.is_none() && response.is_none() {
                return Err(format!("'{name}' has no policy; give request_policy:... or response_policy:..."));
            }
            overrides.push((name, request, response));
        }
        Ok(Self(overrides))
    }
}

impl Policy {
    /// Returns the policy for a command.
    pub(super) fn of(command: &Description, overrides: &Overrides) -> Self {
        let tip = |name| command.tip(name);
        let request = tip("request_policy").and_then(RequestPolicy::named);
        let response = tip("response_policy").and_then(ResponsePolicy::named);
        let mut policy = Self {
            request: request.unwrap_or(RequestPolicy::Default),
            response: response.unwrap_or(ResponsePolicy::Default),
            source: if request.is_some() || response.is_some() { Source::Tips } else { Source::Default },
        };
        if let Some(&(_, request, response)) = CORRECTIONS.iter().find(|(name, ..)| *name == command.name) {
            let corrected = Self { request, response, source: Source::Correction };
            if (corrected.request, corrected.response) != (policy.request, policy.response) {
                policy = corrected;
            }
        }
        if let Some((_, request, response)) = overrides.0.iter().rev().find(|(name, ..)| *name == command.name) {
            policy = Self {
                request: request.unwrap_or(policy.request),
                response: response.unwrap_or(policy.response),
                source: Source::Override,
            };
        }
        policy
    }
}

impl Policy {
    /// Tells whether nobody has said anything about the command.
    pub(super) fn is_silent(&self) -> bool {
        self.source == Source::Default
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request_policy:{} response_policy:{}", self.request.as_str(), self.response.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &str, tips: &[&str]) -> Description {
        let tips = tips.iter().map(|tip| (*tip).to_owned()).collect();
        Description { name: name.into(), tips, ..Description::default() }
    }

    fn policy(name: &str, tips: &[&str], overrides: &str) -> (String, Source) {
        let policy = Policy::of(&command(name, tips), &Overrides::parse(overrides).unwrap());
        (policy.to_string(), policy.source)
    }

    #[test]
    fn the_operator_comes_before_the_table_before_the_tips() {
        let sum = ["request_policy:all_shards", "response_policy:agg_sum"];
        let said = |request: &str, response: &str| format!("request_policy:{request} response_policy:{response}");
        assert_eq!(policy("dbsize", &sum, ""), (said("all_shards", "agg_sum"), Source::Tips));
        assert_eq!(
            policy("msetnx", &["request_policy:multi_shard"], ""),
            (said("default", "default"), Source::Correction)
        );
        let overridden = policy("dbsize", &sum, "x|y request_policy:special; DBSIZE response_policy:agg_max");
        assert_eq!(overridden, (said("all_shards", "agg_max"), Source::Override));
        assert_eq!(policy("get", &[], ""), (said("default", "default"), Source::Default));
    }

    #[test]
    fn a_bad_override_says_what_is_allowed() {
        let error = |text| Overrides::parse(text).unwrap_err();
        assert!(error("get request_policy:everywhere").contains("all_nodes, all_shards, all_primaries"));
        assert!(error("get all_nodes").ends_with("give request_policy:... or response_policy:..."));
        assert!(error("get").contains("has no policy"));
    }
}
