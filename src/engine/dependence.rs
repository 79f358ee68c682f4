//! Tells whether the answer to a command depends on the keys that a node has, by what the server says of the command.
//!
//! Only such answers can be wrong while slots move. Reports about nodes (`INFO`, `CONFIG GET`, `SLOWLOG`) have no slots.

use crate::command::Command;
use crate::describe::Description;

/// Says how the answer to a command depends on keys that it does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dependence {
    /// The command changes nothing, and may be sent again.
    pub(super) only_reads: bool,
    /// The command enumerates keys in a way that can be put right slot by slot.
    pub(super) enumerates: Option<Enumeration>,
}

/// The facts about all keys of a node that a command tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enumeration {
    /// Their number: `DBSIZE`.
    Count,
    /// The names that fit a pattern: `KEYS`.
    Names,
}

impl Dependence {
    /// Returns what is to be thought of a command that nobody describes: that it depends on keys, and may write unless its
    /// sender knows better.
    pub(super) fn of_undescribed(command: &Command) -> Self {
        let enumerates = Enumeration::of(&command.name().to_ascii_lowercase());
        Self { only_reads: command.is_read_only() || enumerates.is_some(), enumerates }
    }

    /// Returns how a command depends on keys that it does not name; `None` if it does not.
    pub(super) fn of(description: &Description, command: &Command) -> Option<Self> {
        let has_category = |name: &str| description.categories.iter().any(|category| category == name);
        let only_reads = description.has_flag("readonly");
        let is_of_module = description.has_flag("module");
        let may_look_at_keys = match description.may_run_code() {
            true => !is_of_module || only_reads || description.has_flag("write"),
            false => has_category("@keyspace") && !description.name.ends_with("|help"),
        };
        // A key that a node has picked was there, wherever its slot goes.
        if !may_look_at_keys || description.name == "randomkey" {
            return None;
        }
        let args: Vec<&[u8]> = command.words().collect();
        if description.keys_by_specs(&args).is_some_and(|keys| !keys.is_empty()) {
            return None;
        }
        let enumerates = Enumeration::of(description.name.as_bytes());
        Some(Self { only_reads: only_reads || command.is_read_only(), enumerates })
    }
}

impl Enumeration {
    /// Returns what the command of this name, in small letters, says of all keys.
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"dbsize" => Some(Self::Count),
            b"keys" => Some(Self::Names),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;

    /// Describes a command as `COMMAND INFO` does: its name, flags, categories, and where its first key stands.
    fn described(name: &str, flags: &[&str], categories: &[&str], key_at: Option<i64>) -> Description {
        let list = |words: &[&str]| Reply::from(words.iter().map(|word| Reply::from(*word)).collect::<Vec<_>>());
        let map = |pairs: &[(&str, Reply)]| {
            Reply::Map(pairs.iter().map(|(name, value)| (Reply::from(*name), value.clone())).collect())
        };
        let spec = |at: i64| {
            let range = map(&[("lastkey", 0.into()), ("keystep", 1.into()), ("limit", 0.into())]);
            map(&[
                ("flags", list(&["RO"])),
                ("begin_search", map(&[("type", "index".into()), ("spec", map(&[("index", at.into())]))])),
                ("find_keys", map(&[("type", "range".into()), ("spec", range)])),
            ])
        };
        let row = Reply::Array(vec![
            name.into(),
            (-1).into(),
            list(flags),
            key_at.unwrap_or(0).into(),
            0.into(),
            0.into(),
            list(categories),
            Reply::Array(vec![]),
            Reply::Array(key_at.into_iter().map(spec).collect()),
            Reply::Array(vec![]),
        ]);
        Description::parse(&row).unwrap()
    }

    fn dependence(name: &str, flags: &[&str], category: &str, key_at: Option<i64>) -> Option<Dependence> {
        let line = name.replace('|', " ") + " x y";
        let command = Command::from_args(line.split(' ')).unwrap();
        Dependence::of(&described(name, flags, &[category, "@slow"], key_at), &command)
    }

    #[test]
    fn what_looks_at_keys_it_does_not_name_depends_on_them() {
        let reads = |enumerates| Some(Dependence { only_reads: true, enumerates });
        assert_eq!(dependence("dbsize", &["readonly"], "@keyspace", None), reads(Some(Enumeration::Count)));
        assert_eq!(dependence("keys", &["readonly"], "@keyspace", None), reads(Some(Enumeration::Names)));
        assert_eq!(dependence("scan", &["readonly"], "@keyspace", None), reads(None));
        assert_eq!(dependence("eval_ro", &["noscript", "readonly"], "@scripting", None), reads(None));
        assert_eq!(dependence("ft.search", &["module", "readonly"], "@read", None), reads(None));
        let writes = Some(Dependence { only_reads: false, enumerates: None });
        for (name, flags, category) in [
            ("flushall", &["write"][..], "@keyspace"),
            ("eval", &["noscript"], "@scripting"),
            ("fcall", &["noscript"], "@scripting"),
            ("m.purge", &["module", "write"], "@write"),
        ] {
            assert_eq!(dependence(name, flags, category, None), writes, "{name}");
        }
    }

    #[test]
    fn reports_about_nodes_and_commands_with_keys_do_not() {
        for (name, flags, category) in [
            ("info", &["loading"][..], "@dangerous"),
            ("config|get", &["admin"], "@admin"),
            ("script|load", &["noscript"], "@scripting"),
            ("function|list", &["noscript"], "@scripting"),
            ("object|help", &[], "@keyspace"),
            ("lolwut", &["readonly"], "@read"),
            ("randomkey", &["readonly"], "@keyspace"),
            ("m.info", &["module", "admin"], "@admin"),
            ("ping", &[], "@connection"),
        ] {
            assert_eq!(dependence(name, flags, category, None), None, "{name}");
        }
        assert_eq!(dependence("exists", &["readonly"], "@keyspace", Some(1)), None);
        assert_eq!(dependence("eval", &["noscript"], "@scripting", Some(2)), None);
    }

    #[test]
    fn what_nobody_describes_is_taken_for_a_write_that_depends_on_keys() {
        let of = |name: &str| Dependence::of_undescribed(&Command::new(name).arg("x"));
        assert_eq!(of("FT.NEW"), Dependence { only_reads: false, enumerates: None });
        assert_eq!(of("Keys"), Dependence { only_reads: true, enumerates: Some(Enumeration::Names) });
        assert!(Dependence::of_undescribed(&Command::new("FT.NEW").read_only(true)).only_reads);
    }

    #[test]
    fn a_program_may_say_that_a_command_only_reads() {
        let eval = described("eval", &["noscript"], &["@scripting"], None);
        let command = Command::new("EVAL").arg("return 1").arg(0).read_only(true);
        assert!(Dependence::of(&eval, &command).is_some_and(|dependence| dependence.only_reads));
    }
}
