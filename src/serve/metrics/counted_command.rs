//! [`CountedCommand`]: which command the next reply of a connection belongs to.

use std::sync::Arc;

use super::command_counts::CommandCounts;

/// The command that a connection is about to answer, and those that go to the nodes together with others.
#[derive(Debug, Default)]
pub(in crate::serve) struct CountedCommand {
    current: Option<Arc<CommandCounts>>,
    /// Runs of the same command, in their order.
    together: Vec<(Arc<CommandCounts>, usize)>,
}

impl CountedCommand {
    /// Says that what is answered from now on is this command, which has come once.
    pub(in crate::serve) fn begin(&mut self, counts: &Arc<CommandCounts>) {
        counts.sent(1);
        self.current = Some(counts.clone());
    }

    /// Says that what is answered from now on is a command that nobody may know. Only its errors are counted.
    pub(in crate::serve) fn begin_unknown(&mut self, counts: &Arc<CommandCounts>) {
        self.current = Some(counts.clone());
    }

    /// Says that a command has joined those that go together.
    pub(in crate::serve) fn join(&mut self, counts: &Arc<CommandCounts>) {
        match self.together.last_mut() {
            Some((last, length)) if Arc::ptr_eq(last, counts) => *length += 1,
            _ => self.together.push((counts.clone(), 1)),
        }
    }

    /// Counts those that go together, and returns them. Empty for a command that goes by itself.
    pub(in crate::serve) fn take_together(&mut self) -> TogetherCounts {
        self.together.iter().for_each(|(counts, length)| counts.sent(*length));
        TogetherCounts(std::mem::take(&mut self.together).into_iter())
    }

    /// Says that what is answered next is the next of those that went together.
    pub(in crate::serve) fn next_of(&mut self, together: &mut TogetherCounts) {
        let Some((counts, length)) = together.0.as_mut_slice().first_mut() else { return };
        *length -= 1;
        let is_last = *length == 0;
        if self.current.as_ref().is_none_or(|current| !Arc::ptr_eq(current, counts)) {
            self.current = Some(counts.clone());
        }
        if is_last {
            together.0.next();
        }
    }

    /// Counts an error that is the answer.
    pub(in crate::serve) fn failed(&self, error: &[u8]) {
        if let Some(current) = &self.current {
            current.failed(error);
        }
    }
}

/// Runs of commands that have gone together and are answered in their order.
pub(in crate::serve) struct TogetherCounts(std::vec::IntoIter<(Arc<CommandCounts>, usize)>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::metrics::OUTCOMES;

    #[test]
    fn errors_belong_to_their_command_in_a_row_of_others() {
        let [get, set]: [Arc<CommandCounts>; 2] = Default::default();
        let mut counted = CountedCommand::default();
        for counts in [&get, &get, &set, &get] {
            counted.join(counts);
        }
        let mut together = counted.take_together();
        for is_error in [false, true, true, false] {
            counted.next_of(&mut together);
            if is_error {
                counted.failed(b"ERR no");
            }
        }
        counted.begin(&set);
        counted.failed(b"WRONGTYPE no");
        let outcomes = |counts: &CommandCounts| {
            let mut outcomes = [0; OUTCOMES.len()];
            counts.add_to(&mut outcomes);
            outcomes[..3].to_vec()
        };
        assert_eq!((outcomes(&get), outcomes(&set)), (vec![2, 1, 0], vec![0, 1, 1]));
    }
}
