//! The deliveries of nodes to one request, in the order in which they come.
//!
//! The node that we live in has answered long before the others, and then only waits for which slots that was about. To be
//! woken for that costs as much as a good part of the request. So its delivery is looked at each time another one comes,
//! and [`Batch::others`](crate::link::Batch::others) tells it whether that is still to be.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// Deliveries that are waited for.
pub(super) struct Deliveries<F> {
    any: FuturesUnordered<F>,
    /// The delivery of the node that we live in, and the number of others that are still to come.
    own: Option<(Pin<Box<F>>, Arc<AtomicUsize>)>,
}

impl<F: Future> Deliveries<F> {
    /// Waits for these.
    pub(super) fn of(any: impl Iterator<Item = F>) -> Self {
        Self { any: any.collect(), own: None }
    }

    /// Waits for that of the node that we live in, too, which knows by `others` whether others are waited for.
    pub(super) fn and_own(self, own: F, others: Arc<AtomicUsize>) -> Self {
        Self { own: Some((Box::pin(own), others)), ..self }
    }

    /// Returns the next one; `None` if there is none left.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let next = self.any.poll_next_unpin(context);
        let Some((own, others)) = &mut self.own else { return next };
        if let Poll::Ready(Some(_)) = next {
            // Before the node's own is looked at for the last time, which is when the next one is asked for.
            others.fetch_sub(1, Ordering::AcqRel);
            return next;
        }
        let delivery = ready!(own.as_mut().poll(context));
        self.own = None;
        Poll::Ready(Some(delivery))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_own_one_is_looked_at_whenever_another_one_has_come() {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| oneshot::channel::<u8>()).unzip();
        let mut receivers = receivers.into_iter();
        let own = receivers.next().unwrap();
        let others = Arc::new(AtomicUsize::new(2));
        let mut deliveries = Deliveries::of(receivers).and_own(own, others.clone());
        let mut next = || poll_fn(|context| deliveries.poll_next(context)).now_or_never().map(Option::transpose);
        assert_eq!(next(), None);
        let mut senders = senders.into_iter();
        let own = senders.next().unwrap();
        for (left, sender) in [1, 0].into_iter().zip(senders) {
            sender.send(left).unwrap();
            assert_eq!((next(), others.load(Ordering::Acquire)), (Some(Ok(Some(left))), usize::from(left)));
            assert_eq!(next(), None);
        }
        own.send(7).unwrap();
        assert_eq!((next(), next()), (Some(Ok(Some(7))), Some(Ok(None))));
    }
}
