//! A script or function runs once, whatever it says: what it says is its answer, also where it sounds like a refusal of the
//! server's own.

use rmr::Command;
use rmr::client::{Action, Script};
use rmr::testing::Servers;

use crate::common::Cluster;

/// The errors of servers that have not run a command; `SLOT`, `HERE` and `THERE` stand for the key's slot, its node and another
/// one.
const WORDS: [&str; 13] = [
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "TRYAGAIN x",
    "CLUSTERDOWN Hash slot not served",
    "CLUSTERDOWN The cluster is down",
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "MOVED SLOT THERE",
    "ASK SLOT THERE",
    "READONLY You can't write against a read only replica.",
    "NOSCRIPT x",
    "NOSCRIPT No matching script. Please use EVAL.",
    "NOSCRIPT No matching script.",
    "RMRNOTINPROCESS",
];

const BODY: &str = "redis.call('INCR', KEYS[1]) return redis.error_reply(ARGV[1])";

const LIBRARY: &str = "#!lua name=once
redis.register_function('once', function(keys, args)
    redis.call('INCR', keys[1]) return redis.error_reply(args[1])
end)";

/// `CALL` stands for the call of the code with its key and its words.
const ROADS: [(&str, &[&str]); 7] = [
    ("exec", &["RMR.EXEC", "TIMEOUT", "1500", "CALL"]),
    ("map", &["RMR.MAP", "PARTIAL", "LIST", "1", "KEY", "MAPPED"]),
    ("pushdown", &["RMR.MAP", "PARTIAL", "COUNT", "1", "KEY", "MAPPED"]),
    ("batch", &["RMR.BATCH", "KEY", "1", "5", "CALL"]),
    ("batch_without_merging", &["RMR.BATCH", "NOMERGE", "KEY", "1", "5", "CALL"]),
    ("fanout", &["RMR.FANOUT", "PARTIAL", "NODE", "AT", "CALL"]),
    ("proxy", &["CALL"]),
];

fn words<'a>(road: &[&'a str], code: &[&'a str; 2], key: &'a str, said: &'a str, at: &'a str) -> Vec<&'a str> {
    let mut words = Vec::new();
    for &word in road {
        match word {
            "CALL" => words.extend([code[0], code[1], "1", key, said]),
            "MAPPED" => words.extend([code[0], code[1], "1", "{}", said]),
            "KEY" => words.push(key),
            "AT" => words.push(at),
            word => words.push(word),
        }
    }
    words
}

#[test]
fn code_runs_once_whatever_it_says_by_exec_map_pushdown_batch_fanout_and_proxy() {
    let cluster = Cluster::builder().module_args(["pushdown", "on"]).start();
    let mut has_proxy_mode = true;
    for node in cluster.nodes() {
        node.run::<()>(&["FUNCTION", "LOAD", LIBRARY]);
        has_proxy_mode &= node.try_run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "on"]).is_ok();
    }
    let mut wire = cluster.node(0).wire();
    // A key of the node that is asked, and one of another.
    for shard in [0, 1] {
        let (key, there) = (cluster.key_for(shard, "k"), cluster.node(2).address());
        let slot = crate::common::slot_of(&key).to_string();
        let at = cluster.node(shard).address();
        for said in WORDS.map(|said| said.replace("SLOT", &slot).replace("THERE", &there)) {
            for code in [["EVAL", BODY], ["FCALL", "once"]] {
                for (road, line) in ROADS {
                    if road == "proxy" && !has_proxy_mode {
                        continue;
                    }
                    cluster.node(shard).run::<()>(&["DEL", &key]);
                    let reply = wire.reply_to(&words(line, &code, &key, &said, &at));
                    let runs: u64 = cluster.node(shard).run(&["GET", &key]);
                    assert_eq!(runs, 1, "{road} {} of {key} at {shard}: {said}: {reply}", code[0]);
                    assert!(reply.contains(&said), "{road} {}: {said}: {reply}", code[0]);
                }
            }
        }
    }
}

#[tokio::test]
async fn code_runs_once_whatever_it_says_by_the_library() {
    let servers = Servers::start(1);
    let client = servers.client();
    let script = Script::new(BODY);
    for said in WORDS {
        client.execute(Command::new("DEL").arg("k")).await.expect("deleted");
        let text = Command::new("EVAL").arg(BODY).arg(1).arg("k").arg(said);
        assert!(client.execute(text).await.expect_err("the script fails").to_string().contains(said));
        // By its digest: alone, and with something behind it that must keep its place.
        for list in [vec![script.call(["k"], [said]).into()], {
            vec![Action::from(script.call(["k"], [said])), Command::new("GET").arg("k").into()]
        }] {
            let results = client.execute_commands([("k", list)]).await;
            let error = results[0].1[0].as_ref().expect_err("the script fails").to_string();
            assert!(error.contains(said), "{error}");
        }
        let runs = client.execute(Command::new("GET").arg("k")).await.expect("a number").to_string();
        assert_eq!(runs, "3", "{said}");
    }
}

/// The script has the servers' words for a script that they do not know.
#[tokio::test]
async fn a_script_that_says_it_is_unknown_runs_once_by_the_library() {
    const BODY: &str =
        "redis.call('incr', KEYS[1]) return redis.error_reply('NOSCRIPT No matching script. Please use EVAL.')";
    let servers = Servers::start(1);
    let client = servers.client();
    let script = Script::new(BODY);
    let call = async |script: &Script| {
        let results = client.execute_commands([("k", [script.call(["k"], [0; 0]).into()])]).await;
        results[0].1[0].as_ref().expect_err("the script fails").to_string()
    };
    // Unknown to the server, known to it, lost by it, and known to it but not to this client.
    for runs in 1..=4 {
        let script = if runs == 4 { &Script::new(BODY) } else { &script };
        if runs == 3 {
            ask(&servers, "SCRIPT FLUSH");
        }
        let said = call(script).await;
        assert!(said.contains("NOSCRIPT No matching script. Please use EVAL."), "{said}");
        let counted = client.execute(Command::new("GET").arg("k")).await.expect("a number").to_string();
        assert_eq!(counted, runs.to_string());
    }
}

/// Whoever finds a script unknown must not take it for known because somebody else has brought it meanwhile.
#[tokio::test]
async fn a_script_that_is_new_is_called_by_many_at_once() {
    let servers = Servers::start(1);
    let client = servers.client();
    for round in 0..20 {
        let script = Script::new(format!("return redis.call('incr', KEYS[1]) -- {round}"));
        let calls = (0..50).map(|_| client.execute_commands([("k", [script.call(["k"], [0; 0]).into()])]));
        for results in futures_util::future::join_all(calls).await {
            results[0].1[0].as_ref().expect("the script runs");
        }
    }
    assert_eq!(client.execute(Command::new("GET").arg("k")).await.expect("a number").integer(), Some(1000));
}

/// A user who may not ask whether a server has a script calls it all the same, and is refused that once.
#[tokio::test]
async fn a_user_who_may_not_ask_for_scripts_calls_them_by_the_library() {
    let servers = Servers::start(1);
    let client = servers.client();
    ask(&servers, "ACL SETUSER default -script");
    let script = Script::new("return redis.call('incr', KEYS[1])");
    for round in 1..=3 {
        let results = client.execute_commands([("k", [script.call(["k"], [0; 0]).into()])]).await;
        assert_eq!(results[0].1[0].as_ref().expect("the script runs").integer(), Some(round));
    }
    let stats = ask(&servers, "INFO commandstats");
    let asked = stats.lines().find(|line| line.starts_with("cmdstat_script|exists:")).expect("it was asked for");
    assert!(asked.contains("rejected_calls=1,"), "{asked}");
}

fn ask(servers: &Servers, line: &str) -> String {
    let command = Command::from_args(line.split(' ')).expect("a command");
    servers.host(0).call(command).unwrap_or_else(|error| panic!("{line}: {error}")).to_string()
}
