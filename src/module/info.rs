//! `INFO rmr`: what operators and dashboards read.

use std::ffi::{CStr, CString, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use redis_module::raw;

use super::server::api::{Ctx, required};
use super::{peer, proxy, state};
use crate::engine::Engine;
use crate::link::LinkState;

pub(super) fn register(ctx: Ctx) {
    // SAFETY: a context of OnLoad; the callback lives until the module is unloaded.
    unsafe { required!(RedisModule_RegisterInfoFunc)(ctx.0, Some(info)) };
}

unsafe extern "C" fn info(ctx: *mut raw::RedisModuleInfoCtx, for_crash_report: c_int) {
    let sections = Sections(ctx);
    // A panic leaves the sections written so far.
    let _ = catch_unwind(AssertUnwindSafe(|| match (state::engine_if_started(), for_crash_report != 0) {
        (Some(engine), false) => sections.all(&engine),
        // In a crash report nothing may be locked or allocated, so what needs either stays out of it.
        (Some(engine), true) => sections.requests(&engine),
        (None, _) => sections.general(c"stopped"),
    }));
}

/// Where `INFO` goes. The server puts `rmr_` before the names of sections and fields.
#[derive(Clone, Copy)]
struct Sections(*mut raw::RedisModuleInfoCtx);

impl Sections {
    /// Opens a section. `false` if it was not asked for.
    fn section(self, name: &CStr) -> bool {
        // SAFETY: a context of the callback.
        unsafe { required!(RedisModule_InfoAddSection)(self.0, name.as_ptr()) == raw::REDISMODULE_OK as c_int }
    }

    fn number(self, name: &CStr, value: u64) {
        // SAFETY: as above.
        unsafe { required!(RedisModule_InfoAddFieldULongLong)(self.0, name.as_ptr(), value) };
    }

    fn text(self, name: &CStr, value: &CStr) {
        // SAFETY: as above; the server copies the text.
        unsafe { required!(RedisModule_InfoAddFieldCString)(self.0, name.as_ptr(), value.as_ptr().cast_mut()) };
    }

    fn counters(self, counters: &[(&CStr, &AtomicU64)]) {
        counters.iter().for_each(|(name, counter)| self.number(name, counter.load(Relaxed)));
    }

    fn all(self, engine: &Engine) {
        self.general(c"running");
        self.topology(engine);
        self.links(engine);
        self.requests(engine);
    }

    fn general(self, state: &CStr) {
        if self.section(c"general") {
            let version = CString::new(env!("CARGO_PKG_VERSION")).unwrap_or_default();
            self.text(c"version", &version);
            self.text(c"state", state);
            self.number(c"proxied_commands", proxy::REWRITTEN.load(Relaxed));
        }
    }

    fn topology(self, engine: &Engine) {
        if !self.section(c"topology") {
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
            self.text(c"source", &source);
            self.number(c"epoch", topology.epoch());
            self.number(c"age_ms", engine.topology_age().unwrap_or_default().as_millis() as u64);
            self.number(c"shards", topology.data_shards().count() as u64);
            self.number(c"nodes", topology.all_nodes().count() as u64);
            self.number(c"slots_covered", u64::from(covered));
        }
        let stats = engine.stats();
        self.counters(&[(c"refreshes", &stats.refreshes), (c"refresh_failures", &stats.refresh_failures)]);
        let error = engine.topology_error().map(|error| error.to_line()).unwrap_or_default();
        self.text(c"last_error", &CString::new(error).unwrap_or_default());
    }

    fn links(self, engine: &Engine) {
        if !self.section(c"links") {
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
        self.number(c"connected", connected);
        self.number(c"idle", idle);
        self.number(c"failed", failed);
        self.number(c"batches_in_flight", in_flight);
        self.number(c"connects", connects);
        self.number(c"connect_failures", failures);
        self.number(c"late_replies", late_replies);
    }

    /// Atomics only.
    fn requests(self, engine: &Engine) {
        let stats = engine.stats();
        if self.section(c"requests") {
            self.counters(&[
                (c"total", &stats.requests),
                (c"partial", &stats.partial),
                (c"cancelled", &stats.cancelled),
                (c"retries_moved", &stats.moved),
                (c"retries_ask", &stats.ask),
                (c"retries_other", &stats.retries),
                (c"inner_shares", &stats.inner),
                (c"inner_declined", &stats.inner_declined),
            ]);
            self.number(c"inner_running", peer::UNDER_WAY.load(Relaxed) as u64);
            self.number(c"inflight", stats.in_flight.load(Relaxed) as u64);
        }
        let errors = &stats.errors;
        if self.section(c"errors") {
            self.counters(&[
                (c"timeout", &errors.timeout),
                (c"node", &errors.node),
                (c"shard", &errors.shard),
                (c"topology", &errors.topology),
                (c"toobig", &errors.too_big),
                (c"busy", &errors.busy),
                (c"noperm", &errors.no_permission),
                (c"other", &errors.other),
            ]);
        }
        if self.section(c"memory") {
            self.number(c"largest_reply_bytes", stats.largest_replies.load(Relaxed) as u64);
        }
        if self.section(c"latency") {
            self.number(c"p50_usec", stats.latency.quantile(0.5));
            self.number(c"p99_usec", stats.latency.quantile(0.99));
        }
    }
}
