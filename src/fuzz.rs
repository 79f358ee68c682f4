//! The functions that the fuzzer runs, and the property tests with it: bytes of other nodes, read with every reducer there is,
//! and bytes of the clients of a proxy.
//!
//! It stands at the root because it needs both what travels ([`crate::peer`]) and the reducers, which are above that.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::combine;
use crate::combine::Combine;
use crate::flow::messages::{self, NextReport, Report, RunShare, TakenRecords};
use crate::flow::plan::StepPlan;
use crate::peer::{Envelope, Kind, Outcome, Reduction};
use crate::reduce::{Builtin, Prefix};
use crate::reply::Reply;

/// Reads bytes as the request and as the answer of an inner command: whatever they are, they do no harm.
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "only the fuzzer reaches it from outside"))]
pub fn fuzz_inner(bytes: &[u8]) {
    match Envelope::decode(bytes).map(|envelope| envelope.kind) {
        Ok(Kind::Reduce(request)) => {
            let (commands, places) = (request.commands().len(), request.places().len());
            assert!(places == 0 || places == commands);
        }
        Ok(Kind::RunFlow(message)) => read_plan(message),
        Ok(Kind::NextReport(message)) => drop(messages::decode::<NextReport>(message)),
        Ok(Kind::TakeRecords(message)) => drop(messages::decode::<TakenRecords>(message)),
        Ok(Kind::Jobs(_) | Kind::Gears(_) | Kind::Events(_) | Kind::GiveUp) | Err(_) => {}
    }
    read_plan(bytes);
    if let Ok(report) = messages::decode::<Report>(bytes) {
        report.records.replies().for_each(drop);
    }
    let reply = Reply::Bulk(Bytes::copy_from_slice(bytes));
    Builtin::ALL.into_iter().for_each(|reducer| read_with(reducer, &reply));
    Builtin::ALL.into_iter().for_each(|reducer| read_with(Prefix::new(":", reducer), &reply));
    let _ = Outcome::of_bytes(reply);
}

/// Reads a share of a flow, and makes the commands of its plan.
fn read_plan(message: &[u8]) {
    let Ok(share) = messages::decode::<RunShare>(message) else { return };
    for step in share.plan.stages.iter().flat_map(|stage| &stage.steps) {
        if let StepPlan::Command(command) = step {
            assert!(command.for_keys([&b"k"[..]]).len() == 1);
        }
    }
}

/// Reads bytes as what a client of a proxy sends: whatever they are, and in whatever pieces they come, they do no harm.
#[cfg(fuzzing)]
pub fn fuzz_requests(bytes: &[u8]) {
    crate::serve::read_requests(bytes);
}

fn read_with(reducer: impl Combine + Clone, reply: &Reply) {
    let (places, time_left) = (vec![0, 7, 3], Duration::ZERO);
    let reduction = Reduction { combine: Arc::new(reducer.clone()), places, time_left };
    if let Outcome::Done(partial) = Outcome::of_share(reply, &reduction, 3) {
        // The result may be an error, as of a sum that is too large.
        let _ = combine::finish(&reducer, partial.reduced);
    }
}
