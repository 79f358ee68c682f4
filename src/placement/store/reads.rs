//! Asking copies of slots for the commands of one batch: another copy is asked where one fails or is late.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use super::copy_read::CopyRead;
use super::table::SlotTable;
use super::user_copies::CopyWay;
use crate::link::{Delivery, Failure, Link};
use crate::reply::Reply;
use crate::topology::BoxFuture;

/// The time after which another copy is asked as well.
const LATE: Duration = Duration::from_millis(100);

/// The copies that may be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Any,
    InTime,
}

/// The answer to commands that were sent together to one node.
struct ReadAnswer {
    share: Vec<usize>,
    delivery: Delivery,
}

impl CopyRead {
    /// Asks copies for what is not answered, until all is, or no copy is left to be asked. Returns the last failure.
    pub(super) async fn ask(&self, table: &SlotTable, replies: &mut [Option<Reply>]) -> Option<Failure> {
        let mut reads = ReadsUnderWay::new(self, table, replies);
        reads.ask(Who::Any, |_| true);
        let late = sleep(LATE);
        tokio::pin!(late);
        while !reads.is_over() {
            tokio::select! {
                Some(answer) = reads.under_way.next() => {
                    let failed = reads.take(answer);
                    if !failed.is_empty() {
                        reads.ask(Who::Any, |at| failed.contains(&at));
                    }
                }
                () = &mut late, if !late.is_elapsed() => {
                    reads.are_late();
                    // Where all are late, asking twice would make them later.
                    reads.ask(Who::InTime, |_| true);
                }
            }
        }
        reads.failure
    }
}

/// The commands of a batch, until each of them is answered or no copy is left to be asked.
struct ReadsUnderWay<'a> {
    read: &'a CopyRead,
    table: &'a SlotTable,
    replies: &'a mut [Option<Reply>],
    /// The places of the copies of each command that are still to be asked, the next one last.
    tries: Vec<Vec<usize>>,
    /// The place of the copy of each command that was asked last.
    asked: Vec<Option<usize>>,
    /// The number of answers that are still to be heard, of each command.
    awaited: Vec<usize>,
    under_way: FuturesUnordered<BoxFuture<'static, ReadAnswer>>,
    failure: Option<Failure>,
}

impl<'a> ReadsUnderWay<'a> {
    /// Prepares to ask for those replies that are not there yet.
    fn new(read: &'a CopyRead, table: &'a SlotTable, replies: &'a mut [Option<Reply>]) -> Self {
        let mut tries: Vec<Vec<usize>> = Vec::with_capacity(read.ways.len());
        for (way, reply) in read.ways.iter().zip(&mut *replies) {
            let mut copies = match way {
                CopyWay::Read(slot) if reply.is_none() => {
                    read.copies.to_ask(table, *slot, read.batch.reads).unwrap_or_else(|why| {
                        *reply = Some(Reply::Error(format!("RMRSLOTS {why}").into()));
                        Vec::new()
                    })
                }
                _ => Vec::new(),
            };
            copies.reverse();
            tries.push(copies);
        }
        let count = tries.len();
        let (asked, awaited) = (vec![None; count], vec![0; count]);
        Self { read, table, replies, tries, asked, awaited, under_way: FuturesUnordered::new(), failure: None }
    }

    /// Sends those commands that are still to be answered, and for which `wanted` says yes, to the next of their copies.
    fn ask(&mut self, who: Who, wanted: impl Fn(usize) -> bool) {
        let mut shares: Vec<(Arc<dyn Link>, Vec<usize>)> = Vec::new();
        for at in 0..self.tries.len() {
            if self.replies[at].is_some() || !wanted(at) {
                continue;
            }
            let Some(link) = self.next(who, at) else { continue };
            self.awaited[at] += 1;
            match shares.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &link)) {
                Some((_, share)) => share.push(at),
                None => shares.push((link, vec![at])),
            }
        }
        for (link, share) in shares {
            let delivery = link.send(self.read.part(&share));
            self.under_way.push(Box::pin(async move { ReadAnswer { share, delivery: delivery.await } }));
        }
    }

    /// Returns the link to which a command is to be sent next, if there is one.
    fn next(&mut self, who: Who, at: usize) -> Option<Arc<dyn Link>> {
        let CopyWay::Read(_) = self.read.ways[at] else {
            let is_first = self.awaited[at] == 0 && self.failure.is_none();
            return is_first.then(|| self.read.node.clone());
        };
        let copies = &self.read.copies;
        while let Some(&place) = self.tries[at].last() {
            let address = &self.table.nodes[place].address;
            if who == Who::InTime && copies.late.has(address) {
                return None;
            }
            self.tries[at].pop();
            if let Some(link) = copies.links.get(address) {
                self.asked[at] = Some(place);
                return Some(link);
            }
        }
        None
    }

    /// Takes the answer of a node. Returns the commands that it has not answered.
    fn take(&mut self, answer: ReadAnswer) -> Vec<usize> {
        let ReadAnswer { share, delivery } = answer;
        share.iter().for_each(|&at| self.awaited[at] -= 1);
        let answered = delivery.replies.len().min(share.len());
        for (&at, reply) in share.iter().zip(delivery.replies) {
            self.replies[at].get_or_insert(reply);
        }
        self.failure = delivery.failure.or(self.failure.take());
        share[answered..].to_vec()
    }

    /// Remembers the nodes that have not answered yet.
    fn are_late(&self) {
        let unanswered = (0..self.asked.len()).filter(|&at| self.replies[at].is_none());
        for place in unanswered.filter_map(|at| self.asked[at]) {
            self.read.copies.late.add(&self.table.nodes[place].address);
        }
    }

    /// Returns whether nobody is left who could answer.
    fn is_over(&self) -> bool {
        self.replies.iter().zip(&self.awaited).all(|(reply, awaited)| reply.is_some() || *awaited == 0)
    }
}
