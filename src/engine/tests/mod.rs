//! The rules of the engine, each by itself: see [`fake`](super::fake).

mod ahead;
mod deadline;
mod exact;
mod failures;
mod limits;
mod redirects;
mod refresh;
mod refusals;
mod shares;
