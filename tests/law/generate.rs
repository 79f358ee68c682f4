//! Arguments for a command, from the tree that the server documents.

use super::forms;
use super::keys::{Whence, kind_of};
use super::listed::{Arg, Listed};
use super::scripts::Stock;
use super::words::{self, word};
use crate::common::Random;

/// A command with its arguments.
pub type Argv = Vec<Vec<u8>>;

/// Makes arguments for one command.
pub struct Generator<'a> {
    command: &'a Listed,
    stock: &'a Stock,
    whence: Whence,
    argv: Argv,
}

/// A call of the command: mostly one that makes sense.
pub fn generate(command: &Listed, stock: &Stock, random: &mut Random) -> Argv {
    let argv = command.words().collect();
    let mut generator = Generator { command, stock, whence: Whence::draw(random), argv };
    let form = if command.is_container { Some(&forms::NO_SUBCOMMAND) } else { forms::of(&command.name) };
    match form {
        Some(form) if form.only || command.args.is_empty() || random.chance(50) => {
            generator.fill(random.pick(form.lines), random);
        }
        _ => generator.list(&command.args, random),
    }
    let may_be_odd = form.is_none_or(|form| !form.only) && !command.has_flag("admin");
    let mut argv = generator.argv;
    if random.chance(10) {
        spoil(command, &mut argv, may_be_odd, random);
    }
    if random.chance(5) {
        argv[0].make_ascii_uppercase();
    }
    argv
}

impl Generator<'_> {
    /// Fills in a form that was given by hand.
    fn fill(&mut self, line: &str, random: &mut Random) {
        for text in line.split_whitespace() {
            let word = match text.split_at(1) {
                ("@", kind) => self.whence.exactly(kind, random),
                ("%", name) => self.stock.word(name, random).unwrap_or_else(|| panic!("no word {text}")),
                _ => text.as_bytes().to_vec(),
            };
            self.argv.push(word);
        }
    }

    /// Arguments that follow each other.
    fn list(&mut self, args: &[Arg], random: &mut Random) {
        // Keys of streams, and as many ids.
        if let [keys, ids] = args
            && keys.is_multiple
            && ids.is_multiple
        {
            let count = 1 + random.below(3);
            (0..count).for_each(|_| self.once(keys, random));
            (0..count).for_each(|_| self.once(ids, random));
            return;
        }
        let mut args = args.iter().peekable();
        while let Some(arg) = args.next() {
            match args.peek() {
                Some(counted) if counted.is_multiple && arg.name.starts_with("num") => {
                    self.counted(counted, random);
                    args.next();
                }
                _ => self.argument(arg, random),
            }
        }
    }

    /// Generates arguments that a count stands before.
    fn counted(&mut self, arg: &Arg, random: &mut Random) {
        let is_there = !arg.is_optional || random.chance(70);
        let count = if is_there { 1 + random.below(3) } else { 0 };
        let said = if random.chance(4) { count + random.below(3) } else { count };
        self.argv.push(said.to_string().into_bytes());
        (0..count).for_each(|_| self.once(arg, random));
    }

    fn argument(&mut self, arg: &Arg, random: &mut Random) {
        if arg.is_optional && !random.chance(35) {
            return;
        }
        let count = if arg.is_multiple { 1 + random.below(3) } else { 1 };
        if let Some(token) = arg.token.as_ref().filter(|_| !arg.repeats_token) {
            self.argv.push(token.clone().into_bytes());
        }
        for _ in 0..count {
            if let Some(token) = arg.token.as_ref().filter(|_| arg.repeats_token) {
                self.argv.push(token.clone().into_bytes());
            }
            self.once(arg, random);
        }
    }

    /// Generates the argument itself, without its token.
    fn once(&mut self, arg: &Arg, random: &mut Random) {
        match arg.kind.as_str() {
            "pure-token" => {}
            "oneof" => self.argument(&random.pick(&arg.of), random),
            "block" => self.list(&arg.of, random),
            "key" => {
                let is_target = ["dest", "new", "dst", "store"].iter().any(|known| arg.name.starts_with(known));
                let kind = if is_target && random.chance(60) { "new" } else { kind_of(&self.command.group, random) };
                let key = self.whence.key(kind, random);
                self.argv.push(key);
            }
            _ => self.argv.push(word(self.command, arg, self.stock, random)),
        }
    }
}

/// Makes something wrong with it.
fn spoil(command: &Listed, argv: &mut Argv, may_be_odd: bool, random: &mut Random) {
    let first = command.words().count();
    if argv.len() <= first || !may_be_odd || random.chance(30) {
        argv.truncate(argv.len().saturating_sub(1 + random.below(2)).max(first));
        return;
    }
    let at = first + random.below(argv.len() - first);
    let odd: &[&str] = if sets_times(&command.args) { &words::ODD_WITHOUT_NUMBERS } else { &words::ODD };
    let odd = random.pick(odd).as_bytes().to_vec();
    match random.below(3) {
        0 => argv[at] = odd,
        1 => argv.insert(at, odd),
        _ => argv.push(odd),
    }
}

/// Returns whether one of the arguments sets a time at which something ends.
fn sets_times(args: &[Arg]) -> bool {
    let is_time = |name: &str| ["seconds", "ttl", "unix-time", "idle", "ms"].iter().any(|part| name.contains(part));
    args.iter().any(|arg| is_time(&arg.name) || sets_times(&arg.of))
}
