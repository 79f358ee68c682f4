//! A connection that one conversation with a node has to itself: request and answer in turns, for as long as it takes.
//!
//! A node that hears its end takes the conversation for over, whatever was still under way; and whoever talks to a node that
//! dies hears of it at once, since nobody else's replies are on the way. The next request is only sent when the last one is
//! answered, so that a connection on which an answer is missing is good for nothing more.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::batch::Failure;
use super::budget::Budget;
use super::call::call_all;
use super::dial::{Dialler, Offer};
use super::pool::Links;
use super::stats::LinkStats;
use super::stream::Stream;
use crate::command::Command;
use crate::peer::{Envelope, Outcome};
use crate::reply::Reply;
use crate::resp::Protocol;
use crate::topology::Endpoint;

/// An open connection of its own. Dropped, it is closed.
pub(crate) struct Session {
    /// The stream. It is missing from the begin of a request until the answer, so that a session whose answer nobody
    /// has awaited is of no more use.
    stream: Option<Box<dyn Stream>>,
    /// The inner command, if the node has it in our version.
    inner_command: Option<String>,
}

impl Links {
    /// Connects, and asks whether the node takes inner commands.
    pub(crate) async fn open_session(&self, endpoint: Endpoint, protocol: Protocol) -> Result<Session, Failure> {
        let offer = Arc::new(Offer::new(self.inner_command().map(str::to_owned)));
        let dialler = Dialler { inner: Some(offer.clone()), ..self.dialler(endpoint, protocol) };
        let stream = dialler.dial(&LinkStats::default()).await.map_err(Failure::Unreachable)?;
        let inner_command = offer.is_offered().then(|| offer.command().map(str::to_owned)).flatten();
        Ok(Session { stream: Some(stream), inner_command })
    }
}

impl Session {
    /// Returns whether the node takes inner commands of our version, as it said when the session was opened.
    pub(crate) fn offers_inner(&self) -> bool {
        self.inner_command.is_some()
    }

    /// Sends a command, and waits for the reply until the deadline. Given up or failed, the session is over: the node hears
    /// that it is closed, and each later call fails.
    pub(crate) async fn call(
        &mut self,
        command: &Command,
        budget: &Budget,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let replies = self.call_all(std::slice::from_ref(command), budget, deadline).await?;
        let reply = replies.into_iter().next().ok_or_else(|| Failure::Lost("the node did not answer".into()))?;
        Ok(reply)
    }

    /// Sends commands in one write, and waits for all their replies until the deadline. As [`call`](Self::call) otherwise.
    pub(crate) async fn call_all(
        &mut self,
        commands: &[Command],
        budget: &Budget,
        deadline: Instant,
    ) -> Result<Vec<Reply>, Failure> {
        let mut stream = self.stream.take().ok_or_else(|| Failure::Lost("the session is over".into()))?;
        let began = Instant::now();
        let called = tokio::time::timeout_at(deadline, call_all(&mut *stream, commands.iter(), budget)).await;
        let replies =
            called.map_err(|_| Failure::Lost(format!("no answer within {} ms", began.elapsed().as_millis())))??;
        self.stream = Some(stream);
        Ok(replies)
    }

    /// Returns the connection itself, for a conversation that is not request and answer in turns; `None` if it is over.
    pub(crate) fn into_stream(self) -> Option<Box<dyn Stream>> {
        self.stream
    }

    /// Returns whether the session can be used: the node has answered all that was asked, and has not hung up.
    pub(crate) fn is_sound(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| !stream.has_pending_input())
    }

    /// Sends an inner command, and waits for its end until the deadline. As [`call`](Self::call) otherwise.
    pub(crate) async fn ask(
        &mut self,
        envelope: &Envelope<'_>,
        budget: &Budget,
        deadline: Instant,
    ) -> Result<Outcome<Bytes>, Failure> {
        let Some(name) = &self.inner_command else {
            return Ok(Outcome::Declined("the node takes no inner commands of this version".into()));
        };
        let Ok(command) = envelope.command(name) else {
            return Ok(Outcome::Declined("the request cannot be encoded".into()));
        };
        Ok(Outcome::of_bytes(self.call(&command, budget, deadline).await?))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Makes a session with a node that answers each request with the next one of these answers, and is then silent or
    /// hangs up.
    async fn with(answers: Vec<&'static [u8]>, hangs_up: bool) -> Session {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            for answer in answers {
                // A request comes in one write.
                client.read_buf(&mut Vec::with_capacity(1024)).await.unwrap();
                client.write_all(answer).await.unwrap();
            }
            if !hangs_up {
                std::future::pending::<()>().await;
            }
        });
        let stream = TcpStream::connect(address).await.unwrap();
        Session { stream: Some(Box::new(stream)), inner_command: Some("RMR.INNER".into()) }
    }

    async fn call(session: &mut Session, patience: Duration) -> Result<Reply, Failure> {
        session.call(&Command::new("PING"), &Budget::new(1000), Instant::now() + patience).await
    }

    const LONG: Duration = Duration::from_secs(10);

    fn is_over(result: &Result<Reply, Failure>) -> bool {
        matches!(result, Err(Failure::Lost(why)) if why == "the session is over")
    }

    #[tokio::test]
    async fn requests_and_answers_take_turns() {
        let mut session = with(vec![b"+one\r\n", b"$4\r\n\x04\x00\x01a\r\n", b"-NOPERM no\r\n"], true).await;
        assert_eq!(call(&mut session, LONG).await.unwrap(), Reply::Simple("one".into()));
        let give_up = Envelope::give_up(1);
        let budget = Budget::new(1000);
        let done = session.ask(&give_up, &budget, Instant::now() + LONG).await.unwrap();
        assert_eq!(done, Outcome::Done("a".into()));
        let declined = session.ask(&give_up, &budget, Instant::now() + LONG).await.unwrap();
        assert_eq!(declined, Outcome::Declined("NOPERM no".into()));
        assert!(matches!(call(&mut session, LONG).await, Err(Failure::Lost(_))), "the node has hung up");
        assert!(is_over(&call(&mut session, LONG).await));
    }

    #[tokio::test]
    async fn a_session_that_lacks_an_answer_is_over() {
        let mut session = with(vec![b"+one\r\n"], false).await;
        call(&mut session, LONG).await.unwrap();
        let late = call(&mut session, Duration::from_millis(20)).await;
        assert!(matches!(late, Err(Failure::Lost(why)) if why.starts_with("no answer within ")));
        assert!(is_over(&call(&mut session, LONG).await));

        let mut session = with(Vec::new(), false).await;
        let given_up = tokio::time::timeout(Duration::from_millis(20), call(&mut session, LONG)).await;
        assert!(given_up.is_err());
        assert!(is_over(&call(&mut session, LONG).await));

        let mut session = with(vec![b"$100000\r\n"], false).await;
        let _ = call(&mut session, Duration::from_millis(20)).await;
        assert!(is_over(&call(&mut session, LONG).await));
    }
}
