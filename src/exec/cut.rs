//! Cutting a command of many keys into commands of some of them.
//!
//! Arguments before the first key go to every part, and so do those behind the last; a count of keys is written anew.

use super::Request;
use super::plan::{Part, cross_slot};
use crate::command::Command;
use crate::describe::Find;
use crate::error::Error;

/// Cuts one command.
pub(super) struct Cutter<'a> {
    args: &'a [&'a [u8]],
    /// Where the first key stands.
    first: usize,
    /// How many arguments belong to a key, itself included.
    step: usize,
    /// Where what belongs to keys ends.
    end: usize,
    /// Where the number of keys stands, if it does.
    count_at: Option<usize>,
}

impl<'a> Cutter<'a> {
    /// Learns how the keys stand.
    ///
    /// # Errors
    /// Why the command cannot be cut.
    pub(super) fn of(request: &Request, args: &'a [&'a [u8]]) -> Result<Self, Error> {
        let [spec] = request.description.keys.as_slice() else {
            return Err(cross_slot(request, "cannot be split, since its keys stand in several places"));
        };
        let first = request.keys[0];
        let (step, count_at) = match spec.find {
            Find::Range { step } => (step, None),
            Find::KeyNum { back, step } => (step, first.checked_sub(back)),
            Find::Unknown => {
                return Err(cross_slot(request, "cannot be split, since the server does not say how its keys stand"));
            }
        };
        let in_a_row = request.keys.iter().enumerate().all(|(index, &at)| at == first + index * step);
        let end = first + request.keys.len() * step;
        if spec.is_uncertain || !in_a_row {
            let why = "cannot be split, since the server does not say for sure how its keys stand";
            return Err(cross_slot(request, why));
        }
        if end > args.len() {
            // A key without its value. These are the words of the server.
            let name = &request.description.name;
            return Err(Error::Invalid(format!("wrong number of arguments for '{name}' command")));
        }
        let is_condition = |option: &&[u8]| option.eq_ignore_ascii_case(b"NX") || option.eq_ignore_ascii_case(b"XX");
        if args[end..].iter().any(is_condition) {
            return Err(cross_slot(request, "with NX or XX sets a condition on all keys at once"));
        }
        Ok(Self { args, first, step, end, count_at })
    }

    /// The command for some of the keys.
    pub(super) fn part(&self, places: Vec<usize>) -> Part {
        let mut command = Command::new(self.args[0]);
        for (at, arg) in self.args.iter().enumerate().take(self.first).skip(1) {
            command = if Some(at) == self.count_at { command.arg(places.len()) } else { command.arg(arg) };
        }
        for place in &places {
            let at = self.first + place * self.step;
            command = command.key(self.args[at]);
            command = self.args[at + 1..at + self.step].iter().fold(command, Command::arg);
        }
        Part { command: self.args[self.end..].iter().fold(command, Command::arg), places }
    }
}
