//! Questions that any server can answer: about commands, above all.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::options::Options;
use super::request::Request;
use crate::command::Command;
use crate::describe::CommandSource;
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::Node;

/// The number of servers that are asked at once.
const ASKED_AT_ONCE: usize = 3;

impl Request {
    /// Asks several servers at once and returns what the first of them says to these questions: one that is down or slow does
    /// not hold up the others.
    ///
    /// # Errors
    /// If no server has answered.
    pub(crate) async fn ask_any(&self, questions: Vec<Command>) -> Result<Vec<Result<Reply, Error>>, Error> {
        let topology = self.pinned_topology().await?;
        let nodes: Vec<Arc<Node>> = topology.data_shards().map(|shard| shard.primary.clone()).collect();
        let mut failure = Error::no_node(topology.source());
        for nodes in nodes.chunks(ASKED_AT_ONCE) {
            let options = Options::keeping_failures(false);
            let mut answers: FuturesUnordered<_> = nodes
                .iter()
                .map(|node| {
                    let questions = questions.iter().map(|question| (question.clone(), Some(node.clone()))).collect();
                    self.addressed(questions, None, &options)
                })
                .collect();
            while let Some(answered) = answers.next().await {
                match answered {
                    Ok(replies) => {
                        let replies: Vec<_> = replies.into_iter().map(|entry| entry.result).collect();
                        let said = |result: &Result<Reply, Error>| matches!(result, Ok(_) | Err(Error::Shard { .. }));
                        match replies.iter().find(|result| !said(result)) {
                            Some(Err(error)) => failure = error.clone(),
                            _ => return Ok(replies),
                        }
                    }
                    Err(error) => failure = error,
                }
            }
        }
        Err(failure)
    }
}

/// The servers of an engine, the first of which to answer is heard.
impl CommandSource for Request {
    async fn ask(&self, question: Command) -> Result<Reply, Error> {
        self.ask_any(vec![question]).await?.pop().unwrap_or(Ok(Reply::Null))
    }
}
