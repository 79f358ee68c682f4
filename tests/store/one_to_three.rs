//! The page docs/how-to/from-one-server-to-three.md, as it stands: each line with `redis-cli` is sent, and answered as it says.

use super::{SOON, proxy};
use crate::common::{Server, eventually};

const PAGE: &str = include_str!("../../docs/how-to/from-one-server-to-three.md");

/// Returns the lines for `redis-cli` in their order, each with its port, its words, and the reply that stands below it.
fn typed() -> Vec<(&'static str, &'static str, Option<&'static str>)> {
    let lines: Vec<&str> = PAGE.lines().collect();
    let parts = lines.windows(2).filter_map(|pair| {
        let (port, words) = pair[0].strip_prefix("redis-cli -p ")?.split_once(' ')?;
        Some((port, words, Some(pair[1]).filter(|reply| !reply.starts_with("```"))))
    });
    parts.collect()
}

/// B1, B43, B50: one server becomes three, by the words of the page; then one is killed.
#[test]
fn the_page_holds() {
    let start = || Server::builder().module(false).start();
    let (first, config, second, third) = (start(), start(), start(), start());
    // Fewer slots than the page has, so that they move soon.
    config.run::<u64>(&["HSET", "settings", "slots", "32"]);
    let proxy = proxy(&config);
    let with_ports = |line: &str| {
        let ports = [("6379", &first), ("6391", &second), ("6392", &third)];
        ports.iter().fold(line.to_owned(), |line, (port, server)| line.replace(port, &server.port().to_string()))
    };
    eventually(SOON, "there are settings", || config.run::<bool>(&["HEXISTS", "settings", "version"]));
    let typed = typed();
    assert_eq!(typed.len(), 10);
    for (number, (port, words, reply)) in typed.into_iter().enumerate() {
        let words = with_ports(words);
        let said = || match port {
            "6379" => first.reply(&words),
            _ => proxy.reply(&words),
        };
        match reply {
            Some(expected) => assert_eq!(said().trim_start_matches('+'), expected, "{words}"),
            None => eventually(SOON * 3, "all slots have two copies", || {
                let status = said();
                status.contains("\"slots-ok\", 32") && status.contains("\"slots-short\", 0")
            }),
        }
        if number == 7 {
            first.kill();
        }
    }
}
