//! `INFO rmr`: what operators and dashboards read.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::local::spoiled;
use super::server::context::Ctx;
use super::server::info::Sections;
use super::server::paced;
use super::{events, gears, peer, proxy, server, state};
use crate::engine::Engine;
use crate::link::LinkState;

pub(super) fn register(ctx: Ctx<'_>) {
    server::info::register(ctx, info);
}

fn info(sections: Sections<'_>, for_crash_report: bool) {
    match (state::engine_if_started(), for_crash_report) {
        (Some(engine), false) => all(sections, &engine),
        // In a crash report nothing may be locked or allocated, so what needs either stays out of it.
        (Some(engine), true) => requests(sections, &engine),
        (None, _) => general(sections, c"stopped"),
    }
}

fn counters(to: Sections<'_>, counters: &[(&CStr, &AtomicU64)]) {
    counters.iter().for_each(|(name, counter)| to.number(name, counter.load(Relaxed)));
}

fn all(to: Sections<'_>, engine: &Engine) {
    general(to, c"running");
    topology(to, engine);
    links(to, engine);
    requests(to, engine);
    executions(to);
    registrations(to);
}

fn registrations(to: Sections<'_>) {
    if !to.section(c"registrations") {
        return;
    }
    let (registrations, pending, dropped) = gears::figures();
    to.number(c"registrations", registrations);
    to.number(c"registration_events_pending", pending);
    to.number(c"registration_events_dropped", dropped);
}

fn general(to: Sections<'_>, state: &CStr) {
    if to.section(c"general") {
        let version = CString::new(env!("CARGO_PKG_VERSION")).unwrap_or_default();
        to.text(c"version", &version);
        to.text(c"state", state);
        to.number(c"proxied_commands", proxy::REWRITTEN.load(Relaxed));
        to.number(c"refused_shares", spoiled::REFUSED_SHARES.load(Relaxed));
        let (kept, evicted) = events::counts();
        to.number(c"events_kept", kept);
        to.number(c"events_evicted", evicted);
    }
}

fn topology(to: Sections<'_>, engine: &Engine) {
    if !to.section(c"topology") {
        return;
    }
    if let Some(topology) = engine.topology() {
        let source = CString::new(topology.source()).unwrap_or_default();
        let covered: u32 = topology
            .shards()
            .iter()
            .flat_map(|shard| &shard.slots)
            .map(|&(first, last)| u32::from(last - first) + 1)
            .sum();
        to.text(c"source", &source);
        to.number(c"epoch", topology.epoch());
        to.number(c"age_ms", engine.topology_age().unwrap_or_default().as_millis() as u64);
        to.number(c"shards", topology.data_shards().count() as u64);
        to.number(c"nodes", topology.all_nodes().count() as u64);
        to.number(c"slots_covered", u64::from(covered));
    }
    let stats = engine.stats();
    counters(to, &[(c"refreshes", &stats.refreshes), (c"refresh_failures", &stats.refresh_failures)]);
    let error = engine.topology_error().map(|error| error.to_line()).unwrap_or_default();
    to.text(c"last_error", &CString::new(error).unwrap_or_default());
}

fn links(to: Sections<'_>, engine: &Engine) {
    if !to.section(c"links") {
        return;
    }
    let (mut connected, mut failed, mut idle, mut in_flight) = (0, 0, 0, 0);
    let (mut connects, mut failures, mut late_replies) = (0, 0, 0);
    engine.each_link(|_, link| {
        let stats = link.stats();
        match stats.state() {
            LinkState::Connected => connected += 1,
            LinkState::Failed => failed += 1,
            LinkState::Idle | LinkState::Connecting => idle += 1,
            LinkState::Local => {}
        }
        in_flight += stats.in_flight.load(Relaxed) as u64;
        connects += stats.connects.load(Relaxed);
        failures += stats.failures.load(Relaxed);
        late_replies += stats.late_replies.load(Relaxed);
    });
    to.number(c"connected", connected);
    to.number(c"idle", idle);
    to.number(c"failed", failed);
    to.number(c"batches_in_flight", in_flight);
    to.number(c"connects", connects);
    to.number(c"connect_failures", failures);
    to.number(c"late_replies", late_replies);
}

fn executions(to: Sections<'_>) {
    if !to.section(c"executions") {
        return;
    }
    let figures = state::executions().figures();
    to.number(c"executions_running", figures.running);
    to.number(c"executions_done", figures.done);
    to.number(c"executions_failed", figures.failed);
    to.number(c"executions_cancelled", figures.cancelled);
    to.number(c"kept_result_bytes", figures.kept_result_bytes);
}

/// Atomics only.
fn requests(to: Sections<'_>, engine: &Engine) {
    let stats = engine.stats();
    if to.section(c"requests") {
        counters(
            to,
            &[
                (c"total", &stats.requests),
                (c"partial", &stats.partial),
                (c"cancelled", &stats.cancelled),
                (c"retries_moved", &stats.moved),
                (c"retries_ask", &stats.ask),
                (c"retries_other", &stats.retries),
                (c"slot_checks", &stats.slot_checks),
                (c"slot_repairs", &stats.slot_repairs),
                (c"slots_unsettled", &stats.slots_unsettled),
                (c"inconsistent", &stats.inconsistent),
                (c"inner_shares", &stats.inner),
                (c"inner_declined", &stats.inner_declined),
            ],
        );
        to.number(c"inner_running", peer::UNDER_WAY.load(Relaxed) as u64);
        to.number(c"flow_turns", paced::TURNS.load(Relaxed));
        to.number(c"flow_waits", paced::WAITS.load(Relaxed));
        to.number(c"flow_usec", paced::BUSY.load(Relaxed) / 1000);
        to.number(c"inflight", stats.in_flight.load(Relaxed) as u64);
    }
    let errors = &stats.errors;
    if to.section(c"errors") {
        counters(
            to,
            &[
                (c"timeout", &errors.timeout),
                (c"node", &errors.node),
                (c"shard", &errors.shard),
                (c"topology", &errors.topology),
                (c"toobig", &errors.too_big),
                (c"busy", &errors.busy),
                (c"noperm", &errors.no_permission),
                (c"other", &errors.other),
            ],
        );
    }
    if to.section(c"memory") {
        to.number(c"largest_reply_bytes", stats.largest_replies.load(Relaxed) as u64);
    }
    if to.section(c"latency") {
        to.number(c"p50_usec", stats.latency.quantile(0.5));
        to.number(c"p99_usec", stats.latency.quantile(0.99));
    }
}
