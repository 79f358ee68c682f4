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
        let mut asked: Vec<String> = Vec::new();
        let mut failure = None;
        loop {
            let topology = self.pinned_topology().await?;
            let nodes = topology.data_shards().map(|shard| shard.primary.clone());
            let nodes: Vec<Arc<Node>> = nodes.filter(|node| !asked.contains(&node.id)).collect();
            for nodes in nodes.chunks(ASKED_AT_ONCE) {
                match self.ask_first(nodes, &questions).await {
                    Ok(answers) => return Ok(answers),
                    Err(error) => failure = Some(error),
                }
            }
            // All are gone that were known: by now others may have taken their places.
            asked.extend(nodes.iter().map(|node| node.id.clone()));
            if nodes.is_empty() || !self.can_wait() || self.refresh().await.is_err() {
                return Err(failure.unwrap_or_else(|| Error::no_node(topology.source())));
            }
        }
    }

    /// Asks these servers at once, and returns what the first of them says.
    async fn ask_first(&self, nodes: &[Arc<Node>], questions: &[Command]) -> Result<Vec<Result<Reply, Error>>, Error> {
        let options = Options::keeping_failures(false);
        let mut answers: FuturesUnordered<_> = nodes
            .iter()
            .map(|node| {
                let questions = questions.iter().map(|question| (question.clone(), Some(node.clone()))).collect();
                self.addressed(questions, None, &options)
            })
            .collect();
        let mut failure = Error::Internal("nobody was asked".into());
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
        Err(failure)
    }
}

/// The servers of an engine, the first of which to answer is heard.
impl CommandSource for Request {
    async fn ask(&self, question: Command) -> Result<Reply, Error> {
        self.ask_any(vec![question]).await?.pop().unwrap_or(Ok(Reply::Null))
    }
}
