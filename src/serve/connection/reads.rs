//! `RMR.READS`: which copy of a key the client reads from now on.

use super::client_connection::ClientConnection;
use crate::command::{Command, printable};
use crate::link::ReadFrom;
use crate::reply::Reply;

const WORDS: [(&str, ReadFrom); 3] =
    [("any", ReadFrom::AnyCopy), ("ordered", ReadFrom::Ordered), ("first", ReadFrom::FirstCopy)];

impl<S> ClientConnection<S> {
    /// Takes the word of the client; without one tells which it was.
    pub(super) fn set_reads(&mut self, command: &Command) {
        let args: Vec<&[u8]> = command.args().collect();
        match args[..] {
            [] => {
                let said = WORDS.iter().find(|(_, from)| *from == self.reads).map_or("", |(word, _)| word);
                self.push(&Reply::Bulk(said.into()));
            }
            [word] => match WORDS.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(word)) {
                Some((_, from)) => {
                    self.reads = *from;
                    self.push(&Reply::OK);
                }
                None => self.refuse(&format!("ERR RMR.READS any, ordered or first, not '{}'", printable(word))),
            },
            _ => self.refuse("ERR wrong number of arguments for 'rmr.reads' command"),
        }
    }
}
