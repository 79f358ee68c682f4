//! The page docs/how-to/from-plain-servers-to-a-redis-cluster.md, as it stands: each line with `redis-cli` is run, and answered as it
//! says.

use std::process::Command;

use super::{SOON, proxy, push, servers};
use crate::common::{Cluster, Server, eventually};

const PAGE: &str = include_str!("../../docs/how-to/from-plain-servers-to-a-redis-cluster.md");

/// Returns the arguments of each `redis-cli` of the page, with what stands below it.
fn typed() -> Vec<(&'static str, Option<&'static str>)> {
    let lines: Vec<&str> = PAGE.lines().collect();
    let typed = lines.windows(2).filter_map(|pair| {
        let said = Some(pair[1]).filter(|line| !line.starts_with("```") && !line.starts_with("redis-cli"));
        Some((pair[0].strip_prefix("redis-cli ")?, said))
    });
    typed.collect()
}

/// A store with two copies becomes a cluster, with all keys and their TTLs.
#[test]
fn the_page_holds() {
    let [config, nodes @ ..] = servers::<3>();
    for (name, value) in [("slots", "32"), ("copies", "2")] {
        config.run::<u64>(&["HSET", "settings", name, value]);
    }
    let proxy = proxy(&config);
    push(&config, &nodes);
    super::await_served(&proxy);
    let cluster = Cluster::builder().module(false).shards(3).start();
    let mut wire = proxy.wire();
    for key in 0..100 {
        assert_eq!(wire.reply(&format!("RPUSH list:{key} a {key}")), "2");
    }
    let [first, second] = &nodes;
    let ports = |line: &str| {
        let known =
            [("6380", proxy.port()), ("6391", first.port()), ("6392", second.port()), ("7000", cluster.node(0).port())];
        known.iter().fold(line.to_owned(), |line, (port, known)| line.replace(port, &known.to_string()))
    };
    let typed = typed();
    assert_eq!(typed.len(), 10);
    for (line, expected) in typed {
        if line.starts_with("--cluster create") {
            continue;
        }
        let words = ports(line);
        let output = Command::new("redis-cli").args(words.split(' ')).env("REDISCLI_NO_TTY", "1").output();
        let output = output.expect("redis-cli");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{words}: {said}");
        match expected {
            Some(expected) => assert_eq!(said.trim(), expected.trim_matches('"'), "{words}"),
            None if line.ends_with("CHECK") => {
                let figures: Vec<&str> = said.lines().collect();
                let figure = |name| figures[1 + figures.iter().position(|line| *line == name).expect(name)];
                assert_eq!((figure("differences"), figure("slots-unchecked")), ("0", "0"), "{said}");
            }
            None if line.ends_with("PLAN") => assert!(said.contains("moves"), "{said}"),
            None if line.ends_with("6380 DBSIZE") => assert_eq!(said.trim(), "101"),
            None => {}
        }
    }
    let keys = || cluster.primaries().iter().map(|node| node.run::<u64>(&["DBSIZE"])).sum::<u64>();
    eventually(SOON, "the cluster has all keys", || keys() == 101);
    let owner = |key: &str| -> &Server { cluster.node(cluster.owner_of(crate::common::slot_of(key))) };
    for key in 0..100 {
        let key = format!("list:{key}");
        let expected: Vec<String> = vec!["a".into(), key.trim_start_matches("list:").into()];
        assert_eq!(owner(&key).run::<Vec<String>>(&["LRANGE", &key, "0", "-1"]), expected, "{key}");
    }
    let left = owner("greeting").run::<i64>(&["TTL", "greeting"]);
    assert!((3000..=3600).contains(&left), "{left}");
}
