//! Plain servers whose slots a configuration node knows, behind `rmr-proxy --placement`. A test names the statements of the
//! proposal of 2010 that it shows, by their numbers in `docs/reference/placement-store.md`.

#[path = "../common/mod.rs"]
mod common;

mod admission;
mod by_hand;
mod check;
mod clients;
mod clocks;
mod copies;
mod handover;
mod lease;
mod module;
mod moves;
mod one_to_three;
mod phases;
mod place;
mod remove;
mod serving;
mod takeover;
mod to_cluster;
mod watch;

use std::time::Duration;

use common::{RmrProxy, Server, eventually};

/// More than anything takes that does not wait for a fault.
const SOON: Duration = Duration::from_secs(20);

/// Starts plain servers, of which the first is the configuration node.
fn servers<const COUNT: usize>() -> [Server; COUNT] {
    std::array::from_fn(|_| Server::builder().module(false).start())
}

/// Starts a proxy that knows the address of the configuration node alone.
fn proxy(config: &Server) -> RmrProxy {
    RmrProxy::builder().set("placement", url(config)).start()
}

fn url(config: &Server) -> String {
    format!("redis://{}", config.address())
}

/// Pushes nodes at once, as an operator would.
fn push(config: &Server, nodes: &[Server]) {
    let mut words = vec!["LPUSH".to_owned(), "newnodes".to_owned()];
    words.extend(nodes.iter().map(Server::address));
    config.run::<u64>(&words.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Waits until proxies go by the newest table of the configuration node.
#[track_caller]
fn await_newest_table(config: &Server, proxies: &[&RmrProxy]) {
    eventually(SOON, "all proxies know the newest table", || {
        let line = format!("place_epoch:{}\\r", config.run::<String>(&["GET", "epoch"]));
        proxies.iter().all(|proxy| proxy.reply("INFO placement").contains(&line))
    });
}

/// Waits until the proxy serves, writes too.
#[track_caller]
fn await_served(proxy: &RmrProxy) {
    eventually(SOON, "slots are given out", || !proxy.reply("DEL nothing").starts_with('-'));
}
