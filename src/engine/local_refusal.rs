//! A look at the node that we live in before a write to several nodes leaves: what that node would refuse is done at none.
//!
//! To ask the others would cost a round trip. The own node is asked in process, in about a microsecond, and only for requests
//! that write here and elsewhere. A state that ends by itself, such as a pause of writes, is waited out, as a server lets its
//! clients wait.

use bytes::Bytes;
use tokio::time::Instant;

use super::redirect::{Verdict, judge};
use super::request::Request;
use super::retry::{Backoff, SHORTEST_TRY};
use super::route::Destination;
use crate::error::Error;
use crate::link::Batch;

/// Returns the words with which the node that we live in would refuse the writes of a batch; `None` if it would take them,
/// or only tells when it gets them. Waits until the deadline for what ends by itself.
///
/// # Errors
/// [`Error::Timeout`] if the node does not say in time. Nothing has been sent.
pub(super) async fn local_refusal(request: &Request, at: &Destination, batch: Batch) -> Result<Option<Bytes>, Error> {
    let (mut backoff, mut last) = (Backoff::default(), None);
    loop {
        let said = tokio::time::timeout_at(request.deadline.at, at.link.refusal(batch.clone()));
        let words = match said.await {
            Ok(Some(words)) => words,
            Ok(None) => return Ok(None),
            Err(_) if last.is_some() => return Ok(last),
            Err(_) => return Err(request.deadline.missed_by(at.node.to_string(), false)),
        };
        let goes_on = Instant::now() + backoff.next_pause();
        let is_for_now = judge(&words, at.node.address.host(), None) == Verdict::Later;
        if !is_for_now || !request.can_wait() || goes_on + SHORTEST_TRY >= request.deadline.at {
            return Ok(Some(words));
        }
        last = Some(words);
        tokio::time::sleep_until(goes_on).await;
    }
}
