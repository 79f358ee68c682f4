//! Auto-batching: fewer commands, and the same answers.

use rmr::testing::{Server, Servers};
use rmr::{Client, Command, Engine, StaticList};

use crate::figures::{ask, calls, command, shown};

/// Runs the lines in one mapping, with and without auto-batching, each time from an empty server; gives what came out,
/// which has to be the same.
async fn run(lines: &[&str]) -> Vec<String> {
    let servers = Servers::start(1);
    let mut seen: Vec<Vec<String>> = Vec::new();
    for auto_batch in [false, true] {
        ask(servers.host(0), "FLUSHALL");
        let client = servers.client().auto_batch(auto_batch);
        let results = client.execute_all(lines.iter().map(|line| command(line))).await;
        let port = servers.host(0).address().to_string();
        let mut shown: Vec<String> = results.iter().map(shown).collect();
        shown.iter_mut().for_each(|result| *result = result.replace(&port, "host"));
        for key in ["a", "b", "c", "EX", "10"] {
            shown.push(format!(
                "{key}={} ttl {}",
                value(servers.host(0), key),
                ask(servers.host(0), &format!("TTL {key}"))
            ));
        }
        seen.push(shown);
    }
    assert_eq!(seen[0], seen[1], "{lines:?} alone, and batched");
    seen.remove(0)
}

fn value(server: &Server, key: &str) -> String {
    server.call(command(&format!("GET {key}"))).map_or_else(|_| "no string".into(), |reply| reply.to_string())
}

#[tokio::test]
async fn a_set_with_options_keeps_them() {
    let results = run(&["SET a v1 EX 10", "SET b v2", "SET c v3", "SET c v4 NX", "SET a x GET"]).await;
    assert_eq!(results[..5], ["OK", "OK", "OK", "(nil)", "v1"]);
    assert_eq!(
        results[5..],
        ["a=x ttl -1", "b=v2 ttl -1", "c=v4 ttl -1", "EX=(nil) ttl -2", "10=(nil) ttl -2"]
            .map(|line| line.replace("c=v4", "c=v3"))
    );
    let results = run(&["SET a v1 EX 10", "SET b v2"]).await;
    assert_eq!(results[2], "a=v1 ttl 10");
}

#[tokio::test]
async fn a_key_of_another_type_is_the_error_of_its_own_command() {
    let wrong = "!host: WRONGTYPE Operation against a key holding the wrong kind of value (key 'b')";
    let results = run(&["SET a 1", "RPUSH b x", "GET a", "GET b", "GET c", "GET b", "GET a"]).await;
    assert_eq!(results[2..7], ["1", wrong, "(nil)", wrong, "1"]);
    // Commands behind must not be seen by those before.
    let results = run(&["RPUSH b x", "GET a", "GET b", "GET c", "DEL b", "SET c 1", "GET b", "GET c"]).await;
    assert_eq!(results[1..8], ["(nil)", wrong, "(nil)", "1", "OK", "(nil)", "1"]);
    let hash = run(&["SET a 1", "HSET b f 1 g 2", "HGET b f", "HGET b x", "HGET b g", "HGET a f", "HGET a g"]).await;
    assert_eq!(hash[2..5], ["1", "(nil)", "2"]);
    assert!(hash[5..7].iter().all(|result| result.contains("WRONGTYPE")), "{hash:?}");
    let scores = ["ZADD b 1.5 x", "ZSCORE b x", "ZSCORE b y", "SADD c 1", "SISMEMBER c 1", "SISMEMBER c 2"];
    assert_eq!(run(&scores).await[..6], ["1", "1.5", "(nil)", "1", "1", "0"]);
}

#[tokio::test]
async fn names_come_in_any_case_and_errors_in_their_place() {
    let results = run(&["set a 1", "SeT b 2", "INCRBY a x", "get a", "GET b", "Get a", "LPUSH a x", "set c"]).await;
    assert_eq!(results[..2], ["OK", "OK"]);
    assert!(results[2].contains("not an integer") && results[6].contains("WRONGTYPE"), "{results:?}");
    assert_eq!(results[3..6], ["1", "2", "1"]);
    assert!(results[7].contains("wrong number of arguments"), "{results:?}");
}

#[tokio::test]
async fn a_cache_that_misses_costs_one_more_question_and_no_more() {
    let servers = Servers::start(1);
    let client = servers.client();
    let gets = || (0..100).map(|number| Command::new("GET").arg(number));
    let results = client.execute_all(gets()).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|reply| reply.is_null())));
    assert_eq!(["mget", "exists", "get"].map(|name| calls(&servers, name)), [1, 1, 0]);
    ask(servers.host(0), "RPUSH 7 x");
    let results = client.execute_all(gets()).await;
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    assert!(shown(&results[7]).contains("WRONGTYPE"));
    assert_eq!(["mget", "exists", "get"].map(|name| calls(&servers, name)), [2, 2, 100]);
}

#[tokio::test]
async fn a_merged_command_that_is_refused_harms_only_those_that_deserve_it() {
    let servers = Servers::start(1);
    let host = servers.host(0);
    ask(host, "ACL SETUSER limited on >secret +@all -mset ~open:*");
    let links = rmr::link::LinkOptions::new().credentials(rmr::link::Credentials::new("limited", "secret"));
    let list = StaticList::new(vec![host.address()]).unwrap();
    let client = Client::new(Engine::builder().provider(list).links(links).build());
    // MSET itself is forbidden.
    let sets = client.execute_all(["SET open:1 a", "SET open:2 b"].map(command)).await;
    assert_eq!(sets.iter().map(shown).collect::<Vec<_>>(), ["OK", "OK"]);
    // MGET is refused for one key.
    let gets = client.execute_all(["GET open:1", "GET closed", "GET open:2"].map(command)).await;
    let gets: Vec<String> = gets.iter().map(shown).collect();
    assert_eq!((gets[0].as_str(), gets[2].as_str()), ("a", "b"));
    assert!(gets[1].contains("NOPERM"), "{gets:?}");
}

#[tokio::test]
async fn on_a_redis_cluster_only_keys_of_one_slot_are_merged() {
    let cluster = crate::common::Cluster::builder().module(false).start();
    let seeds = vec![rmr::Address::parse(&cluster.node(0).address()).unwrap()];
    let client = Client::new(Engine::builder().cluster(seeds).build());
    let key =
        |number: usize| if number.is_multiple_of(2) { format!("{{tag}}:{number}") } else { format!("key:{number}") };
    let sets = (0..200).map(|number| Command::new("SET").arg(key(number)).arg(number));
    assert!(client.execute_all(sets).await.iter().all(Result::is_ok));
    let tagged = client.execute_all((0..200).step_by(2).map(|number| Command::new("GET").arg(key(number)))).await;
    let all = client.execute_all((0..200).map(|number| Command::new("GET").arg(key(number)))).await;
    let numbers = |results: &[Result<rmr::Reply, rmr::Error>]| -> Vec<i64> {
        results.iter().map(|result| result.as_ref().unwrap().integer().unwrap()).collect()
    };
    assert_eq!(numbers(&tagged), (0..200).step_by(2).collect::<Vec<_>>());
    assert_eq!(numbers(&all), (0..200).collect::<Vec<_>>());
    let owner = cluster.owner_of(crate::common::slot_of("{tag}:0"));
    let stats: String = cluster.node(owner).run(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_mget"), "neighbours of one slot were merged: {stats}");
}
