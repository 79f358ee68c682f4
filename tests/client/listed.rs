//! Lists of commands by routing key, with scripts among them.

use rmr::client::{Action, Script};
use rmr::testing::Servers;
use rmr::{Command, Error, Reply};

use crate::figures::{ask, calls, command, shown};

fn action(line: &str) -> Action {
    command(line).into()
}

fn texts(results: &[Result<Reply, Error>]) -> Vec<String> {
    results.iter().map(shown).collect()
}

#[tokio::test]
async fn each_routing_key_has_the_results_of_its_list_in_order() {
    let servers = Servers::start(4);
    let client = servers.client();
    let script = Script::new("return {KEYS, ARGV}");
    let call = |keys: [&str; 2], args: std::ops::Range<i64>| Action::from(script.call(keys, args));
    let results = client
        .execute_commands([
            ("foo", vec![action("SET foo 1"), call(["key:1", "key:2"], 0..3), action("GET foo")]),
            ("bar", vec![action("SET bar 2"), call(["key:3", "key:4"], 3..6), action("GET bar")]),
            ("foo", vec![action("INCR foo")]),
            ("none", vec![]),
        ])
        .await;
    let shown: Vec<(&str, Vec<String>)> = results.iter().map(|(key, list)| (*key, texts(list))).collect();
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(shown[0], ("foo", texts(&["OK", "[[key:1, key:2], [0, 1, 2]]", "1"])));
    assert_eq!(shown[1], ("bar", texts(&["OK", "[[key:3, key:4], [3, 4, 5]]", "2"])));
    assert_eq!(shown[2], ("foo", texts(&["2"])));
    assert_eq!(shown[3], ("none", vec![]));
}

#[tokio::test]
async fn a_script_is_called_by_its_text_at_each_host_that_lacks_it() {
    let servers = Servers::start(3);
    let client = servers.client();
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    let lists =
        || (0..30).map(|number| (format!("key:{number}"), [script.call([format!("key:{number}")], [0]).into()]));
    let check = |round: i64, results: Vec<(String, Vec<Result<Reply, Error>>)>| {
        assert!(results.iter().all(|(_, list)| list[0].as_ref().is_ok_and(|reply| reply.integer() == Some(round))));
    };
    check(1, client.execute_commands(lists()).await);
    assert_eq!(calls(&servers, "eval"), 30);
    check(2, client.execute_commands(lists()).await);
    assert_eq!(calls(&servers, "eval"), 30, "known by now");
    // A host that has lost it is told again.
    ask(servers.host(1), "SCRIPT FLUSH");
    check(3, client.execute_commands(lists()).await);
    assert!((31..60).contains(&calls(&servers, "eval")));
    assert_eq!(calls(&servers, "script|load"), 0, "which it would keep for ever");
    assert_eq!(calls(&servers, "incr"), 90, "each ran once each time");
}

#[tokio::test]
async fn a_script_that_is_not_the_last_keeps_its_place() {
    let servers = Servers::start(1);
    let client = servers.client();
    let script = Script::new("return redis.call('APPEND', KEYS[1], ARGV[1])");
    for round in 0..2 {
        ask(servers.host(0), "SCRIPT FLUSH");
        ask(servers.host(0), "DEL k");
        let list = [action("APPEND k a"), script.call(["k"], ["b"]).into(), action("APPEND k c"), action("GET k")];
        let results = client.execute_commands([("k", list)]).await;
        assert_eq!(texts(&results[0].1), ["1", "2", "3", "abc"], "round {round}");
    }
    // Lost just before its call, by a command of the list itself.
    let list = [action("SCRIPT FLUSH"), script.call(["k"], ["d"]).into()];
    let results = client.execute_commands([("k", list)]).await;
    assert_eq!(texts(&results[0].1), ["OK", "4"]);
}

#[tokio::test]
async fn errors_stand_in_their_place() {
    let servers = Servers::start(2);
    let client = servers.client();
    let broken = Script::new("this is no lua");
    let failing = Script::new("return redis.error_reply('MINE no')");
    let list = [
        action("SET foo x"),
        action("INCR foo"),
        broken.call(["foo"], [0]).into(),
        failing.call(["foo"], [0]).into(),
        action("GET foo"),
        Command::new("BLPOP").arg("foo").arg(0).into(),
    ];
    let results = client.execute_commands([("foo", list.to_vec()), ("bar", vec![action("INCR bar")])]).await;
    let foo = texts(&results[0].1);
    assert_eq!((foo[0].as_str(), foo[4].as_str()), ("OK", "x"), "{foo:?}");
    assert!(foo[1].contains("not an integer"), "{foo:?}");
    assert!(foo[3].contains("MINE no"), "{foo:?}");
    assert_eq!(texts(&results[1].1), ["1"]);
}
