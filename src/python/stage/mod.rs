//! The stages of a flow that workers run. The flow engine gives each stage its records; here they become requests to the worker
//! of the flow's session on this shard.
//!
//! - [`plan`]: the facts that all stages of a flow know
//! - [`run`]: the execution of a share, which its stages have in common
//! - [`code`]: a stage of a share

mod code;
mod plan;
mod run;

pub(crate) use code::open;
pub(crate) use plan::{GivenEvents, NAME, PythonStage, StageResults, passages};
pub(crate) use run::end_code;
