//! The steps of one request: a reducer may start the next one.

use super::by_key::send_by_key;
use super::guard::guarded;
use super::options::Options;
use super::request::Request;
use super::step::Step;
use super::to_targets::send_to_targets;
use crate::error::Error;
use crate::reply::Reply;

/// Runs a step and those that it starts, until one replies. All of them share the request's deadline.
pub(super) async fn run(request: Request, mut step: Step, options: Options) -> Result<Reply, Error> {
    loop {
        let ((replies, _), reducer) = match step {
            Step::Reply(reply) => return Ok(reply),
            Step::Map { commands, reducer } => (send_by_key(&request, commands, &options, None).await?, reducer),
            Step::FanOut { command, targets, reducer } => {
                (send_to_targets(&request, command, &targets, &options, None).await?, reducer)
            }
        };
        step = guarded("reducer", || reducer.reduce(replies))?;
    }
}
