//! Splitting a command of many keys into commands of some of them.
//!
//! Arguments before the first key go to every part, and so do those behind the last; a count of keys is written anew.

use super::part::{Parts, keys_apart};
use super::request::DescribedCommand;
use crate::command::{Command, CommandSet, PerKey, integer};
use crate::describe::Find;
use crate::error::Error;
use crate::topology::Topology;

/// Splits one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splitter<'a> {
    args: Vec<&'a [u8]>,
    /// The position of the first key.
    first: usize,
    /// The number of arguments for each key, the key included.
    step: usize,
    /// The position behind the last argument that belongs to a key.
    end: usize,
    /// The position of the number of keys, if there is one.
    count_at: Option<usize>,
}

impl<'a> Splitter<'a> {
    /// Finds out how the keys stand.
    ///
    /// # Errors
    /// The error says why the command cannot be split.
    pub(super) fn of(topology: &Topology, described: &'a DescribedCommand) -> Result<Self, Error> {
        let args: Vec<&[u8]> = described.command.words().collect();
        let [spec] = described.description.keys.as_slice() else {
            return Err(keys_apart(topology, described, "cannot be split, since its keys stand in several places"));
        };
        let first = described.keys[0];
        let (step, count_at) = match spec.find {
            Find::Range { step } => (step, None),
            Find::KeyNum { back, step } => (step, first.checked_sub(back)),
            Find::Unknown => {
                return Err(keys_apart(
                    topology,
                    described,
                    "cannot be split, since the server does not say how its keys stand",
                ));
            }
        };
        if count_at.is_some_and(|at| integer(args[at]).is_none()) {
            // A count as in `+2`, which servers take for one when they look for keys, and refuse when they run the command.
            return Err(Error::Invalid("value is not an integer or out of range".into()));
        }
        let in_a_row = described.keys.iter().enumerate().all(|(index, &at)| at == first + index * step);
        let end = first + described.keys.len() * step;
        if spec.is_uncertain || !in_a_row {
            let why = "cannot be split, since the server does not say for sure how its keys stand";
            return Err(keys_apart(topology, described, why));
        }
        if end > args.len() {
            // A key without its value. These are the words of the server.
            let name = &described.description.name;
            return Err(Error::Invalid(format!("wrong number of arguments for '{name}' command")));
        }
        let is_condition = |option: &&[u8]| option.eq_ignore_ascii_case(b"NX") || option.eq_ignore_ascii_case(b"XX");
        if args[end..].iter().any(is_condition) {
            return Err(keys_apart(topology, described, "with NX or XX sets a condition on all keys at once"));
        }
        Ok(Self { args, first, step, end, count_at })
    }

    /// Returns the command for some of the keys.
    pub(super) fn part(&self, places: &[usize]) -> Command {
        let mut command = self.before_keys(places.len());
        for &place in places {
            let at = self.first + place * self.step;
            command = command.key(self.args[at]);
            command = self.args[at + 1..at + self.step].iter().fold(command, Command::arg);
        }
        self.args[self.end..].iter().fold(command, Command::arg)
    }

    /// Returns the commands for the parts. Those that differ in one key only are sent as one command for many keys.
    pub(super) fn commands(&self, parts: &Parts) -> CommandSet {
        if self.step > 1 || parts.has_several_keys_in_one() {
            return parts.iter().map(|places| self.part(places)).collect::<Vec<_>>().into();
        }
        let keys = parts.iter().flatten().map(|place| self.args[self.first + place]);
        let commands = PerKey::new(self.before_keys(1), keys);
        self.args[self.end..].iter().fold(commands, PerKey::arg).into()
    }

    /// Returns the name and what stands before so many keys.
    fn before_keys(&self, keys: usize) -> Command {
        let mut command = Command::new(self.args[0]);
        for (at, arg) in self.args.iter().enumerate().take(self.first).skip(1) {
            command = if Some(at) == self.count_at { command.arg(keys) } else { command.arg(arg) };
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::describe::Description;
    use crate::reply::Reply;

    /// Makes a request for a command of which `COMMAND INFO` says that its keys begin at `begin` and stand as `kind`
    /// does.
    fn request(
        line: &str,
        begin: i64,
        kind: &str,
        numbers: &[(&str, i64)],
        flags: &[&str],
        keys: &[usize],
    ) -> DescribedCommand {
        let map = |pairs: &[(&str, Reply)]| {
            Reply::Map(pairs.iter().map(|(name, value)| (Reply::from(*name), value.clone())).collect())
        };
        let list = |words: &[&str]| Reply::from(words.iter().map(|word| Reply::from(*word)).collect::<Vec<_>>());
        let numbers: Vec<(&str, Reply)> = numbers.iter().map(|&(name, value)| (name, value.into())).collect();
        let spec = map(&[
            ("flags", list(flags)),
            ("begin_search", map(&[("type", "index".into()), ("spec", map(&[("index", begin.into())]))])),
            ("find_keys", map(&[("type", kind.into()), ("spec", map(&numbers))])),
        ]);
        let command = Command::from_args(line.split(' ')).unwrap();
        let row = Reply::Array(vec![
            line.split(' ').next().unwrap_or_default().into(),
            (-4).into(),
            list(&["write", "movablekeys"]),
            begin.into(),
            (-1).into(),
            1.into(),
            list(&["@write"]),
            list(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
            vec![spec].into(),
            Reply::Array(vec![]),
        ]);
        let description = Arc::new(Description::parse(&row).unwrap());
        DescribedCommand { command, description, keys: keys.to_vec() }
    }

    /// Describes `MSETEX numkeys key value [key value ...] [NX | XX] [EX seconds ...]`, as Redis 8.4 describes it.
    fn msetex(line: &str, keys: &[usize]) -> DescribedCommand {
        request(line, 1, "keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 2)], &["OW", "UPDATE"], keys)
    }

    /// Makes the command for each of these groups of keys.
    fn cut(request: &DescribedCommand, groups: &[&[usize]]) -> Result<Vec<String>, String> {
        let args: Vec<&[u8]> = request.command.words().collect();
        let topology = Topology::with_slots("test", Vec::new());
        let splitter = Splitter::of(&topology, request).map_err(|error| String::from_utf8(error.to_line()).unwrap())?;
        let mut parts = Parts::default();
        groups.iter().for_each(|group| parts.push(group));
        let all = splitter.commands(&parts);
        assert_eq!(all.len(), groups.len());
        let shown = groups.iter().zip(all.iter()).map(|(group, command)| {
            let part = splitter.part(group);
            assert_eq!(part, command.command().into_owned(), "all at once they are what each is by itself");
            let first = request.keys[group[0]];
            assert_eq!(part.routing_key(), Some(args[first]), "a part is routed by its first key");
            part.to_string()
        });
        Ok(shown.collect())
    }

    #[test]
    fn a_count_of_keys_is_written_anew_and_options_go_to_every_part() {
        let three = msetex("MSETEX 3 a 1 b 2 c 3 EX 10", &[2, 4, 6]);
        let parts = cut(&three, &[&[0, 2], &[1]]).unwrap();
        assert_eq!(parts, ["MSETEX 2 a 1 c 3 EX 10", "MSETEX 1 b 2 EX 10"]);
        let none = msetex("msetex 2 a 1 b 2", &[2, 4]);
        assert_eq!(cut(&none, &[&[1], &[0]]).unwrap(), ["msetex 1 b 2", "msetex 1 a 1"]);
        let kept = msetex("MSETEX 2 a 1 b 2 KEEPTTL", &[2, 4]);
        assert_eq!(cut(&kept, &[&[0]]).unwrap(), ["MSETEX 1 a 1 KEEPTTL"]);
    }

    #[test]
    fn a_condition_on_all_keys_keeps_them_together() {
        let refusal = "with NX or XX sets a condition on all keys at once";
        for line in ["MSETEX 2 a 1 b 2 NX", "MSETEX 2 a 1 b 2 xx EX 10", "MSETEX 2 a 1 b 2 EX 10 NX"] {
            let error = cut(&msetex(line, &[2, 4]), &[&[0], &[1]]).unwrap_err();
            assert!(error.starts_with("CROSSSLOT ") && error.contains("MSETEX") && error.ends_with(refusal), "{error}");
        }
        // Values are what they are.
        let values = msetex("MSETEX 2 a NX XX XX EX 10", &[2, 4]);
        assert_eq!(cut(&values, &[&[0], &[1]]).unwrap(), ["MSETEX 1 a NX EX 10", "MSETEX 1 XX XX EX 10"]);
    }

    #[test]
    fn a_key_without_its_value_is_refused_in_the_servers_words() {
        let error = cut(&msetex("MSETEX 2 a 1 b", &[2, 4]), &[&[0]]).unwrap_err();
        assert_eq!(error, "ERR wrong number of arguments for 'msetex' command");
    }

    #[test]
    fn a_count_that_the_server_would_refuse_is_not_written_anew() {
        for line in ["MSETEX +2 a 1 b 2", "MSETEX 02 a 1 b 2"] {
            let error = cut(&msetex(line, &[2, 4]), &[&[0], &[1]]).unwrap_err();
            assert_eq!(error, "ERR value is not an integer or out of range", "{line}");
        }
    }

    #[test]
    fn what_stands_before_the_count_stays() {
        let numbers = [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)];
        let request = request("M.POP 0.5 3 a b c LEFT COUNT 2", 2, "keynum", &numbers, &["RW"], &[3, 4, 5]);
        let parts = cut(&request, &[&[0, 2], &[1]]).unwrap();
        assert_eq!(parts, ["M.POP 0.5 2 a c LEFT COUNT 2", "M.POP 0.5 1 b LEFT COUNT 2"]);
    }

    #[test]
    fn a_count_need_not_stand_beside_the_keys() {
        let numbers = [("keynumidx", 0), ("firstkey", 2), ("keystep", 1)];
        let request = request("M.GET 2 FAST a b", 1, "keynum", &numbers, &["RO"], &[3, 4]);
        assert_eq!(cut(&request, &[&[0], &[1]]).unwrap(), ["M.GET 1 FAST a", "M.GET 1 FAST b"]);
    }

    #[test]
    fn keys_in_a_range_are_split_without_a_count() {
        let numbers = [("lastkey", -1), ("keystep", 2), ("limit", 0)];
        let request = request("MSET a 1 b 2 c 3", 1, "range", &numbers, &["OW"], &[1, 3, 5]);
        assert_eq!(cut(&request, &[&[0, 1], &[2]]).unwrap(), ["MSET a 1 b 2", "MSET c 3"]);
    }

    #[test]
    fn what_the_server_does_not_know_for_sure_is_not_cut() {
        let numbers = [("keynumidx", 0), ("firstkey", 1), ("keystep", 2)];
        let unsure = request("MSETEX 2 a 1 b 2", 1, "keynum", &numbers, &["OW", "incomplete"], &[2, 4]);
        assert!(cut(&unsure, &[&[0]]).unwrap_err().ends_with("does not say for sure how its keys stand"));
        // Keys that do not stand as the description says.
        assert!(cut(&msetex("MSETEX 2 a 1 b 2", &[2, 5]), &[&[0]]).unwrap_err().contains("for sure"));
        let unknown = request("M.GET x a b", 1, "unknown", &[], &["RO"], &[2, 3]);
        assert!(cut(&unknown, &[&[0]]).unwrap_err().ends_with("does not say how its keys stand"));
    }
}
