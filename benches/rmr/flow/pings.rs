//! Measures how long other clients of a shard wait while the work is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Case, Contender, data};
use crate::Failure;
use crate::common::{Cluster, Wire};
use crate::comparison::Limit;

/// The aim for the 99th percentile, in milliseconds.
pub const LIMIT: Limit = Limit::Below(2.0);

/// The longest that a ping may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the times of pings in their order, while a contender did the work again and again for about this long.
pub fn during(cluster: &Cluster, case: Case, contender: Contender, time: Duration) -> Result<Vec<Duration>, Failure> {
    let mut pings = Vec::new();
    let mut worked = Duration::ZERO;
    while worked < time {
        let began = Instant::now();
        pings.extend(during_one(cluster, case, contender)?);
        worked += began.elapsed();
        if case.removes {
            data::fill(cluster, data::KEYS)?;
        }
    }
    pings.sort_unstable();
    Ok(pings)
}

fn during_one(cluster: &Cluster, case: Case, contender: Contender) -> Result<Vec<Duration>, Failure> {
    // A shard that is not the one that the module's client asks.
    let mut wire = Wire::try_connect(cluster.node(1).port(), PATIENCE)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let pings = scope.spawn(|| {
            let mut pings = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                wire.try_call(&["PING"])?;
                pings.push(began.elapsed());
            }
            Ok::<_, Failure>(pings)
        });
        let done = contender.run_checked(cluster, case);
        is_over.store(true, Ordering::Relaxed);
        let pings = pings.join().map_err(|_| "the pings panicked")?;
        done.and(pings)
    })
}
