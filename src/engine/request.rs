//! What maps and fan-outs do alike: they take options, `.await` gives the replies, and reducers that can be split run
//! where the data is.

use std::future::IntoFuture;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::{FanOut, Map, Options, Replies, step};
use crate::combine::Combine;
use crate::error::Error;
use crate::topology::BoxFuture;

/// For a builder with `options`, and `gather` that sends what it says.
macro_rules! request {
    ($builder:ty) => {
        impl $builder {
            /// The most that the request may take. Default: the engine's timeout.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.options.timeout = Some(timeout);
                self
            }

            /// Whether what has failed is left to whoever reads the replies. Default: `false`.
            pub fn partial(mut self, partial: bool) -> Self {
                self.options.partial = partial;
                self
            }

            /// All options at once.
            pub fn with_options(mut self, options: Options) -> Self {
                self.options = options;
                self
            }

            /// Reduces the replies where they are: each node its own share, where it runs the same module, and here the
            /// rest. The place of a reply is that of its command in a map, and that of its node in a fan-out.
            ///
            /// # Errors
            /// As of the request itself; [`Error::Mixed`] for a reply that the reducer cannot take. With partial results
            /// allowed, failures are left out.
            pub fn combine<C: Combine>(self, combine: C) -> BoxFuture<'static, Result<C::Output, Error>> {
                Box::pin(async move { self.combine_beside_failures(combine).await.map(|(output, _)| output) })
            }

            /// The same, with the failures that partial results leave out.
            ///
            /// # Errors
            /// As of [`combine`](Self::combine).
            pub async fn combine_beside_failures<C: Combine>(self, combine: C) -> Result<(C::Output, Replies), Error> {
                let combine = Arc::new(combine);
                let gathered = AssertUnwindSafe(self.gather(Some(combine.clone()))).catch_unwind().await;
                step::combined(&*combine, gathered)
            }
        }

        impl IntoFuture for $builder {
            type Output = Result<Replies, Error>;
            type IntoFuture = BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(async move { Ok(self.gather(None).await?.0) })
            }
        }
    };
}

request!(Map);
request!(FanOut);
