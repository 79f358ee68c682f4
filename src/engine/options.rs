//! [`Options`]: how the steps of a request are carried out.

use std::time::Duration;

/// Says how a request is carried out.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    pub(super) timeout: Option<Duration>,
    pub(super) partial: bool,
    pub(super) inconsistent: bool,
    pub(super) on_failure: OnFailure,
    has_begun: bool,
}

/// Says who handles a failure of a node: the engine, or the reader of the replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum OnFailure {
    /// The engine retries where that is sound. A command that fails all the same fails the request, unless partial
    /// results are allowed.
    #[default]
    FailRequest,
    /// The engine retries where that is sound. A failure that stays stands among the replies, and the reader decides
    /// whether the request has failed.
    Keep,
    /// Does as [`Keep`](Self::Keep), and counts `TRYAGAIN` as such a failure, instead of waiting.
    KeepTryAgain,
    /// The engine never sends anything again. Redirects stand among the replies too.
    KeepUntried,
}

impl OnFailure {
    pub(super) fn fails_request(self) -> bool {
        self == Self::FailRequest
    }

    pub(super) fn retries(self) -> bool {
        self != Self::KeepUntried
    }

    pub(super) fn waits_on_tryagain(self) -> bool {
        !matches!(self, Self::KeepTryAgain | Self::KeepUntried)
    }
}

impl Options {
    /// Makes the default options: the engine's timeout, complete or an error.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most time that the whole request may take: queueing, connecting, sending, waiting, reducing. Default:
    /// the engine's timeout.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Leaves failures to whoever reads the replies; with `hands_back_tryagain`, `TRYAGAIN` too, at once.
    pub(crate) fn keeping_failures(hands_back_tryagain: bool) -> Self {
        Self::on_failure(if hands_back_tryagain { OnFailure::KeepTryAgain } else { OnFailure::Keep })
    }

    /// Says that other parts of the same have run: these are sent even if the node that we live in will refuse its own.
    pub(crate) fn going_on(self) -> Self {
        Self { has_begun: true, ..self }
    }

    /// Tells whether nothing is to be sent if the node that we live in would refuse its share: what is done in part is no
    /// success then.
    pub(super) fn is_all_or_nothing(&self) -> bool {
        !self.partial && !self.has_begun && self.on_failure.retries()
    }

    pub(super) fn on_failure(on_failure: OnFailure) -> Self {
        Self { on_failure, ..Self::default() }
    }

    /// Sets whether a fan-out may answer although slots move from node to node meanwhile, so that keys are counted
    /// twice or never. With partial results too, what may be wrong is said beside them. Default: `false`, and such an
    /// answer is an error, unless [the engine](super::Engine::set_consistent) is told otherwise.
    #[must_use]
    pub fn allow_inconsistent(mut self, inconsistent: bool) -> Self {
        self.inconsistent = inconsistent;
        self
    }

    /// Sets whether failures of some nodes are left to the reducer. Default: `false`, and any failure is the request's.
    #[must_use]
    pub fn partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }
}
