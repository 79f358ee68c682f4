//! The part that maps and fan-outs have in common: they take options, `.await` gives the replies, and reducers that can be split
//! run where the data is.

/// Adds the common methods to a builder that has `options`, `gather` to send its commands, and `into_step` for a
/// reducer of its replies.
macro_rules! step_builder {
    ($builder:ty) => {
        impl $builder {
            /// Sets the most time that the request may take, counted from when it began: when this is sent, or where it
            /// is a step of a [`Request`] when that did. Default: the request's timeout.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.options.timeout = Some(timeout);
                self
            }

            /// Sets whether what has failed is left to whoever reads the replies. Default: `false`.
            pub fn partial(mut self, partial: bool) -> Self {
                self.options.partial = partial;
                self
            }

            /// Sets whether fan-outs may answer although slots move from node to node meanwhile, so that keys are
            /// counted twice or never. Default: `false`.
            pub fn allow_inconsistent(mut self, inconsistent: bool) -> Self {
                self.options.inconsistent = inconsistent;
                self
            }

            /// Sets all options at once.
            pub fn with_options(mut self, options: Options) -> Self {
                self.options = options;
                self
            }

            /// Reduces the replies, and runs the steps that the reducer starts.
            pub fn reduce(
                self,
                reducer: impl Reducer,
            ) -> crate::topology::BoxFuture<'static, Result<crate::reply::Reply, Error>> {
                Box::pin(async move {
                    let (whose, step, options) = self.into_step(Box::new(reducer));
                    super::steps::run(whose.begin(options.timeout), step, options).await
                })
            }

            /// Reduces the replies where they are: each node its own share, where it runs the same module, and here the
            /// rest. The place of a reply is that of its command in a map, and that of its node in a fan-out.
            ///
            /// # Errors
            /// As of the request itself; [`Error::Mixed`] for a reply that the reducer cannot take. With partial results
            /// allowed, failures are left out.
            pub fn combine<C: crate::combine::Combine>(
                self,
                combine: C,
            ) -> crate::topology::BoxFuture<'static, Result<C::Output, Error>> {
                Box::pin(async move { self.combine_beside_failures(combine).await.map(|(output, _)| output) })
            }

            /// Combines the replies, and returns the failures that partial results leave out as well.
            ///
            /// # Errors
            /// As of [`combine`](Self::combine).
            pub async fn combine_beside_failures<C: crate::combine::Combine>(
                self,
                combine: C,
            ) -> Result<(C::Output, super::replies::Replies), Error> {
                let combine = Arc::new(combine);
                let gather = std::pin::pin!(self.gather(Some(combine.clone())));
                super::outcomes::combined(&*combine, gather).await
            }
        }

        impl std::future::IntoFuture for $builder {
            type Output = Result<super::replies::Replies, Error>;
            type IntoFuture = crate::topology::BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(async move { Ok(self.gather(None).await?.0) })
            }
        }
    };
}

pub(super) use step_builder;
