//! [`StoreSettings`]: what all proxies of a store have agreed on, as the configuration node has it.

use std::collections::HashMap;
use std::time::Duration;

use crate::error::Error;
use crate::placement::slot::{SlotFunc, SlotHash};

/// The settings of a store for which nobody has stored others, name and value by turns.
pub(super) const DEFAULTS: [&str; 22] = [
    "version",
    "1",
    "slots",
    "1024",
    "copies",
    "1",
    "hash",
    "sha1",
    "hash-tags",
    "yes",
    "min-copies",
    "1",
    "coverage",
    "full",
    "node-timeout-ms",
    "1000",
    "lease-ms",
    "2000",
    "grace-ms",
    "30000",
    "balance",
    "even",
];

/// The settings on which all proxies of a store have agreed.
#[derive(Debug, Clone)]
pub(super) struct StoreSettings {
    pub(super) func: SlotFunc,
    /// The number of nodes that are to hold each slot.
    pub(super) copies: usize,
    /// With fewer copies than these a slot takes no writes.
    pub(super) min_copies: usize,
    /// Nothing is served while one slot is lost.
    pub(super) needs_full_coverage: bool,
    /// For how long a node may be silent that has been asked something, if others have what it has.
    pub(super) node_timeout: Duration,
    /// For how long a proxy is known without being heard of.
    pub(super) lease: Duration,
    /// For how long a slot stays short of a copy after a node was lost: the node may come back.
    pub(super) grace: Duration,
    /// Slots move: a write that is not ordered by its slot's sequencer could be lost.
    pub(super) is_moving: bool,
    /// The secret by which proxies know each other. Empty before a handler has made it up.
    pub(super) secret: String,
}

impl StoreSettings {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that cannot be served, with the reason.
    pub(super) fn read(settings: &HashMap<String, String>) -> Result<Self, Error> {
        let setting = |name: &str| {
            let known = DEFAULTS.chunks(2).find(|pair| pair[0] == name).map_or("", |pair| pair[1]);
            settings.get(name).map_or(known, String::as_str)
        };
        let refused = |name: &str, why: &str| {
            Error::Invalid(format!("the setting {name} of the configuration node is '{}': {why}", setting(name)))
        };
        let number = |name: &str, least: u64, most: u64| {
            let number = setting(name).parse().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| refused(name, &format!("a number from {least} to {most} is needed")))
        };
        if setting("version") != "1" {
            return Err(refused("version", "this is version 1"));
        }
        let hash = SlotHash::named(setting("hash")).ok_or_else(|| refused("hash", "sha1, crc16 and md5 are known"))?;
        let slots = setting("slots").parse().map_err(|_| refused("slots", "this is no number of slots"))?;
        let tags = match setting("hash-tags") {
            "yes" => true,
            "no" => false,
            _ => return Err(refused("hash-tags", "yes and no are known")),
        };
        let needs_full_coverage = match setting("coverage") {
            "full" => true,
            "slot" => false,
            _ => return Err(refused("coverage", "full and slot are known")),
        };
        if !["even", "by-hand"].contains(&setting("balance")) {
            return Err(refused("balance", "even and by-hand are known"));
        }
        let copies = number("copies", 1, 16)?;
        Ok(Self {
            func: SlotFunc::new(hash, slots)?.hash_tags(tags),
            copies: copies as usize,
            min_copies: number("min-copies", 1, copies)? as usize,
            needs_full_coverage,
            node_timeout: Duration::from_millis(number("node-timeout-ms", 10, 600_000)?),
            lease: Duration::from_millis(number("lease-ms", 100, 600_000)?),
            grace: Duration::from_millis(number("grace-ms", 0, 86_400_000)?),
            is_moving: settings.contains_key("moving"),
            secret: settings.get("secret").cloned().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<StoreSettings, Error> {
        StoreSettings::read(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn settings_that_cannot_be_served_are_refused_with_the_reason() {
        for (name, value, why) in [
            ("version", "2", "this is version 1"),
            ("balance", "odd", "even and by-hand are known"),
            ("copies", "0", "from 1 to 16"),
            ("copies", "two", "from 1 to 16"),
            ("min-copies", "2", "from 1 to 1"),
            ("hash", "crc32", "sha1, crc16 and md5"),
            ("slots", "many", "no number"),
            ("slots", "16385", "1 to 16384"),
            ("hash-tags", "perhaps", "yes and no"),
            ("coverage", "half", "full and slot"),
            ("node-timeout-ms", "1", "from 10 to 600000"),
            ("lease-ms", "-5", "from 100 to 600000"),
            ("grace-ms", "soon", "from 0 to 86400000"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn what_nobody_has_set_is_as_the_proposal_has_it() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.func, SlotFunc::default());
        assert_eq!((settings.copies, settings.min_copies, settings.needs_full_coverage), (1, 1, true));
        let settings = read(&[("copies", "3"), ("min-copies", "2"), ("node-timeout-ms", "300")]).unwrap();
        assert_eq!((settings.copies, settings.min_copies), (3, 2));
        assert_eq!(settings.node_timeout, Duration::from_millis(300));
    }
}
