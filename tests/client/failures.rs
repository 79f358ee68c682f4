//! Hosts that are down or slow, and the time that this takes.

use std::time::{Duration, Instant};

use rmr::testing::Servers;
use rmr::{Command, Error};

use crate::figures::{ask, command, shown};

#[tokio::test]
async fn a_host_that_is_down_fails_its_own_commands() {
    let servers = Servers::start(4);
    let client = servers.client();
    let lines: Vec<String> = (0..100).map(|number| format!("SET key:{number} {number}")).collect();
    client.execute_all(lines.iter().map(|line| command(line))).await;
    let mut hosts = Vec::new();
    for number in 0..100 {
        hosts.push(client.host_of(format!("key:{number}")).await.unwrap());
    }
    servers.host(2).kill();
    let gets = (0..100).map(|number| Command::new("GET").arg(format!("key:{number}")));
    let began = Instant::now();
    for (number, result) in client.execute_all(gets).await.iter().enumerate() {
        match result {
            Ok(reply) => assert!(hosts[number] != 2 && reply.integer() == Some(number as i64)),
            Err(error) => assert!(hosts[number] == 2 && matches!(error, Error::Node { .. }), "{error}"),
        }
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let pings = client.fan_out(command("PING")).await.unwrap();
    assert_eq!(pings.iter().filter(|(_, result)| result.is_err()).map(|(id, _)| *id).collect::<Vec<_>>(), [2]);

    servers.host(2).restart();
    let pings = client.fan_out(command("PING")).await.unwrap();
    assert!(pings.values().all(Result::is_ok), "a host that is back is served at once");
}

#[tokio::test]
async fn what_is_known_of_commands_does_not_hang_on_one_host() {
    let servers = Servers::start(3);
    let client = servers.client().timeout(Duration::from_secs(2));
    client.engine().refresh().await.unwrap();
    servers.host(0).stop_signal();
    assert_eq!(client.host_of("foo").await.unwrap(), 1);
    let client = client.timeout(Duration::from_secs(10));
    let began = Instant::now();
    client.execute(command("SET foo 1")).await.unwrap();
    client.execute(command("SORT foo")).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    servers.host(0).cont_signal();
}

#[tokio::test]
async fn a_timeout_is_kept_and_costs_only_those_that_it_hits() {
    let servers = Servers::start(4);
    let client = servers.client();
    client.fan_out(command("PING")).await.unwrap();
    client.execute(command("SET foo 1")).await.unwrap();
    servers.host(3).stop_signal();
    for timeout in [100, 400] {
        let mut map = client.map().timeout(Duration::from_millis(timeout));
        let results: Vec<_> = (0..4).map(|host| map.send_to_host(host, command("INCR n"))).collect();
        let began = Instant::now();
        map.join().await;
        let took = began.elapsed().as_millis() as u64;
        assert!((timeout..timeout + 150).contains(&took), "{took} ms for {timeout}");
        assert!(results[..3].iter().all(rmr::client::Promise::is_resolved));
        match results[3].reason() {
            Some(Error::Timeout { timeout_ms, outcome_unknown: true, waiting_on, .. }) => {
                assert_eq!(timeout_ms, timeout);
                assert_eq!(waiting_on, servers.host(3).address().to_string());
            }
            other => panic!("{other:?}"),
        }
    }
    servers.host(3).cont_signal();
}

#[tokio::test]
async fn a_failure_of_a_merged_command_is_each_ones() {
    let servers = Servers::start(1);
    let client = servers.client().timeout(Duration::from_millis(200));
    client.execute_all(["SET a 1", "SET b 2", "GET a", "GET b"].map(command)).await;
    servers.host(0).stop_signal();
    let results = client.execute_all(["SET a 3", "SET b 4"].map(command)).await;
    assert!(results.iter().all(|result| result.as_ref().is_err_and(Error::is_outcome_unknown)), "{results:?}");
    servers.host(0).cont_signal();
    assert!(client.execute_all([command("PING x")]).await[0].is_err());
}

#[tokio::test]
async fn an_error_in_the_middle_is_one_commands_and_nobody_elses() {
    let servers = Servers::start(2);
    let client = servers.client();
    let lines = ["SET a 1", "LPUSH a x", "SADD key", "INCR a", "BLPOP a 0", "GET a", "NOSUCH x", "MGET a b", "INCR b"];
    let results = client.execute_all(lines.map(command)).await;
    let shown: Vec<String> = results.iter().map(shown).collect();
    assert_eq!([0, 3, 5, 8].map(|at| shown[at].as_str()), ["OK", "2", "2", "1"], "{shown:?}");
    for (at, words) in [(1, "WRONGTYPE"), (2, "wrong number"), (4, "it blocks"), (6, "do not know"), (7, "2 keys")] {
        assert!(shown[at].starts_with('!') && shown[at].contains(words), "{}", shown[at]);
    }
    assert_eq!(ask(servers.host(client.host_of("a").await.unwrap()), "GET a").to_string(), "2");
}
