//! B32: any proxy serves any query; a client lists them at the configuration node, and goes on at the next when one fails.

use std::time::{Duration, Instant};

use rmr::placement::Proxies;
use rmr::{Client, Command, Engine, Error};
use tokio::runtime::Runtime;

use super::{SOON, await_served, proxy, push, servers, url};
use crate::common::{RmrProxy, Server, eventually};

/// Returns a client that knows the address of the configuration node alone, and what it runs on.
fn client(config: &Server) -> (Client, Runtime) {
    let runtime = Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    let proxies = Proxies::new(&[url(config)], None).expect("a configuration node");
    let client = Client::new(Engine::builder().provider(proxies).build());
    drop(_entered);
    (client, runtime)
}

/// Returns the number of the proxy that a client speaks to.
fn spoken_to(client: &Client, proxies: &[RmrProxy]) -> usize {
    let topology = client.engine().topology().expect("a topology");
    let port = topology.shards()[0].primary.address.port();
    proxies.iter().position(|proxy| Some(proxy.port()) == port).expect("one of the proxies")
}

fn served(config: &Server, nodes: &[Server]) -> Vec<RmrProxy> {
    let proxies: Vec<RmrProxy> = (0..2).map(|_| proxy(config)).collect();
    push(config, nodes);
    proxies.iter().for_each(await_served);
    let are_listed = || config.run::<u64>(&["ZCARD", "proxies"]) == 2;
    eventually(SOON, "both are listed", are_listed);
    proxies
}

#[test]
fn a_client_goes_on_at_the_next_proxy() {
    let [config, nodes @ ..] = servers::<3>();
    let mut proxies = served(&config, &nodes);
    let (client, runtime) = client(&config);
    let run = |words: &[&str]| {
        let command = Command::from_args(words.iter().copied()).expect("a command");
        runtime.block_on(client.execute(command))
    };
    assert_eq!(run(&["SET", "key", "1"]).expect("served").bytes(), Some(&b"OK"[..]));
    // Killed while nothing is on its way: what comes next was not sent, and goes on at the other one.
    let first = spoken_to(&client, &proxies);
    drop(proxies.remove(first));
    assert_eq!(run(&["INCR", "key"]).expect("served by the other one").integer(), Some(2));
    // One that came later is found.
    let later = proxy(&config);
    await_served(&later);
    eventually(SOON, "it is listed", || {
        let listed: Vec<String> = config.run(&["ZRANGE", "proxies", "0", "-1"]);
        listed.contains(&format!("127.0.0.1:{}", later.port()))
    });
    drop(proxies);
    eventually(SOON, "it is spoken to", || run(&["GET", "key"]).is_ok());
    // Without the configuration node the proxies that were known do.
    config.kill();
    assert_eq!(run(&["GET", "key"]).expect("served").bytes(), Some(&b"2"[..]));
    drop(later);
    assert!(run(&["GET", "key"]).is_err());
}

/// H17: a write that was sent is not sent again; its error says that nobody knows. A command that only reads is.
#[test]
fn a_write_that_was_sent_is_not_sent_again() {
    let [config, nodes @ ..] = servers::<3>();
    let proxies = served(&config, &nodes);
    let (client, runtime) = client(&config);
    let run = |command: Command| runtime.block_on(client.execute(command));
    run(Command::new("SET").arg("key").arg(4)).expect("served");
    assert_eq!(run(Command::new("INCR").arg("key")).expect("served").integer(), Some(5));
    let stopped = spoken_to(&client, &proxies);
    proxies[stopped].stop_signal();
    let began = Instant::now();
    let error = run(Command::new("INCR").arg("key")).expect_err("nobody knows");
    assert!(began.elapsed() < Duration::from_secs(20));
    let unknown = match &error {
        Error::Timeout { outcome_unknown, .. } | Error::Node { outcome_unknown, .. } => *outcome_unknown,
        _ => false,
    };
    assert!(unknown, "{error}");
    eventually(SOON, "the other one answers", || run(Command::new("GET").arg("key")).is_ok());
    assert_ne!(spoken_to(&client, &proxies), stopped);
    proxies[stopped].cont_signal();
    // It may run now, and once at most.
    let count = run(Command::new("GET").arg("key")).expect("served").integer().expect("a number");
    assert!(count == 5 || count == 6, "{count}");
}
