//! Tells what clients may see of a list that is in one place. That is what linearizable means here.

use stateright::semantics::SequentialSpec;

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Appends a number that no other write has.
    Append(u8),
    /// Reads the whole list.
    Read,
}

/// An answer to a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Returned {
    /// The write is acknowledged.
    Acknowledged,
    /// The list as it was read.
    List(Vec<u8>),
}

/// The list itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListSpec(Vec<u8>);

impl SequentialSpec for ListSpec {
    type Op = Operation;
    type Ret = Returned;

    fn invoke(&mut self, operation: &Operation) -> Returned {
        match operation {
            Operation::Append(number) => {
                self.0.push(*number);
                Returned::Acknowledged
            }
            Operation::Read => Returned::List(self.0.clone()),
        }
    }
}
