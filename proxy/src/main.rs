//! `rmr-proxy`: one address at which any client of a single Redis finds a whole cluster, or a list of servers.
//!
//! The work is done by [`rmr::serve`]; here stand its arguments, its listeners and its end.

mod arguments;
mod exposition;
mod listeners;
mod metrics;
mod nodes;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rmr::placement::Store;
use rmr::serve::{Proxy, ProxyOptions};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use arguments::Arguments;

/// The longest time for handing slots over to other proxies, and for saying at last that this is no proxy any more.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(5);
const SIGN_OFF_LIMIT: Duration = Duration::from_secs(2);

/// The longest time for answering what other proxies have sent at last.
const PEERS_LIMIT: Duration = Duration::from_secs(1);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("RMR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Colours are for people, not for files and journals.
    log.with_ansi(std::io::stderr().is_terminal()).init();
    match arguments.with_file().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            error!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal ends it.
fn run(arguments: Arguments) -> Result<(), String> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = arguments.threads {
        if threads == 0 {
            return Err("--threads 0: at least one is needed".into());
        }
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().thread_name("rmr-proxy").build();
    let runtime = runtime.map_err(|error| format!("the threads cannot be started: {error}"))?;
    let served = runtime.block_on(serve(&arguments));
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

async fn serve(arguments: &Arguments) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let store = nodes::store(arguments)?;
    let proxy = Proxy::new(nodes::engine(arguments, store.clone())?, options(arguments, store.clone())?);
    let opened = listeners::open(arguments).await?;
    if let (Some(store), Some(address)) = (store.clone(), opened.iter().find_map(listeners::address)) {
        tokio::spawn(async move { store.serve_as(&address).await });
    }
    for listener in opened {
        let proxy = proxy.clone();
        tokio::spawn(async move { proxy.listen(listener).await });
    }
    if let Some(address) = arguments.metrics {
        metrics::open(address, proxy.clone()).await?;
    }
    info!("rmr-proxy {} is ready", env!("CARGO_PKG_VERSION"));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let limit = Duration::from_millis(arguments.drain_ms.unwrap_or(10_000));
    info!("ending: clients have {} ms to take their last replies", limit.as_millis());
    if let Some(store) = &store
        && tokio::time::timeout(HAND_OVER_LIMIT, store.hand_over()).await.is_err()
    {
        info!("slots are not handed over in time");
    }
    if !proxy.drain(limit).await {
        info!("some clients were still busy");
    }
    if let Some(store) = &store {
        let _ = tokio::time::timeout(SIGN_OFF_LIMIT, store.sign_off()).await;
        // Until then others may have sent something here.
        proxy.end_peers(PEERS_LIMIT).await;
    }
    if let Some(path) = &arguments.unix {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

fn options(arguments: &Arguments, store: Option<Store>) -> Result<ProxyOptions, String> {
    let defaults = nodes::with_links(ProxyOptions::new(), arguments, store)?;
    let millis = Duration::from_millis;
    let mut options = defaults.splits_writes(arguments.split_writes);
    if let Some(timeout) = arguments.timeout_ms {
        options = options.timeout(millis(timeout));
    }
    if let Some(clients) = arguments.max_clients {
        options = options.max_clients(clients);
    }
    if let Some(bytes) = arguments.max_request_bytes {
        options = options.max_request_bytes(bytes);
    }
    if let Some(bytes) = arguments.max_reply_bytes {
        options = options.max_reply_bytes(bytes);
    }
    if let Some(bytes) = arguments.max_output_bytes {
        options = options.max_output_bytes(bytes);
    }
    if let Some(timeout) = arguments.write_timeout_ms {
        options = options.write_timeout(millis(timeout));
    }
    let idle = arguments.idle_timeout_s.filter(|&seconds| seconds > 0).map(Duration::from_secs);
    Ok(options.idle_timeout(idle))
}
