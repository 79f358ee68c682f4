//! Executions: asked for, waited for, ended, dropped, and how long they are remembered.

use std::time::{Duration, Instant};

use crate::common::{Wire, elements, eventually, show};
use crate::servers::{Answer, ENDLESS, Servers, WAITS, answer_of, call, one_record, records};
use crate::table::each;

const LONG: Duration = Duration::from_secs(60);

/// Returns the status that `RG.DUMPEXECUTIONS` shows.
fn status(servers: &Servers, id: &str) -> String {
    let list = servers.reply(&["RG.DUMPEXECUTIONS"]);
    let at = list.split_once(&format!("\"executionId\", \"{id}\", \"status\", \""));
    at.and_then(|(_, rest)| rest.split('"').next()).unwrap_or("none").to_owned()
}

fn await_status(servers: &Servers, id: &str, wanted: &str) {
    eventually(LONG, &format!("{id} is {wanted}"), || status(servers, id) == wanted);
}

fn answer(servers: &Servers, words: &[&str]) -> Answer {
    answer_of(&call(servers.first(), words), &words.join(" "))
}

#[test]
fn of_which_nothing_is_known() {
    for servers in Servers::both() {
        let rows: &[(&[&str], &str)] = &[
            (&["RG.GETRESULTS", "0-0"], "-execution plan does not exist"),
            (&["RG.GETRESULTS", "nonsense"], "-execution plan does not exist"),
            (&["RG.GETRESULTS", "0-0", "more", "words"], "-execution plan does not exist"),
            (&["RG.GETRESULTSBLOCKING", "0-0"], "-execution plan does not exist"),
            (&["RG.DROPEXECUTION", "0-0"], "-execution plan does not exist"),
            (&["RG.GETEXECUTION", "0-0"], "-execution plan does not exist"),
            (&["RG.ABORTEXECUTION", "0-0"], "-execution does not exist"),
            (&["RG.DUMPEXECUTIONS"], "[]"),
        ];
        each(rows.iter().map(|row| (row.0.join(" "), row)), |(words, expected)| {
            assert_eq!(servers.reply(words), *expected, "{}", servers.kind);
        });
        let arity: &[&[&str]] = &[
            &["RG.GETRESULTS"],
            &["RG.GETRESULTSBLOCKING"],
            &["RG.GETRESULTSBLOCKING", "0-0", "more"],
            &["RG.DROPEXECUTION"],
            &["RG.DROPEXECUTION", "0-0", "more"],
            &["RG.ABORTEXECUTION"],
            &["RG.ABORTEXECUTION", "0-0", "more"],
            &["RG.GETEXECUTION"],
            &["RG.GETEXECUTION", "0-0", "SHARD", "more"],
            &["RG.DUMPEXECUTIONS", "more"],
        ];
        each(arity.iter().map(|words| (words.join(" "), words)), |words| {
            let reply = servers.reply(words).to_lowercase();
            let expected = format!("-err wrong number of arguments for '{}' command", words[0].to_lowercase());
            assert_eq!(reply, expected, "{}", servers.kind);
        });
    }
}

#[test]
fn from_the_beginning_to_the_end() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let id = servers.begin(WAITS);
        assert!(matches!(&*status(&servers, &id), "created" | "running"), "{kind}: {}", status(&servers, &id));
        assert_eq!(servers.reply(&["RG.GETRESULTS", &id]), "-execution is still running", "{kind}");
        assert_eq!(
            servers.reply(&["RG.DROPEXECUTION", &id]),
            "-can not drop a not yet finished execution, abort it first.",
            "{kind}"
        );
        let mut waiting = Wire::connect_with_timeout(servers.first().port(), LONG);
        waiting.send(&["RG.GETRESULTSBLOCKING", &id]);
        assert!(!waiting.answers_within(Duration::from_millis(100)), "{kind}: it waits");
        servers.go();
        assert_eq!(show(&waiting.read_frame()), "[[\"1\"], []]", "{kind}");
        assert_eq!(status(&servers, &id), "done", "{kind}");
        let list = servers.reply(&["RG.DUMPEXECUTIONS"]);
        let expected = format!("[[\"executionId\", \"{id}\", \"status\", \"done\", \"registered\", 0]]");
        assert_eq!(list, expected, "{kind}");
        // As often as one asks, and at once.
        for words in [&["RG.GETRESULTS", &id][..], &["RG.GETRESULTS", &id, "more"], &["RG.GETRESULTSBLOCKING", &id]] {
            assert_eq!(servers.reply(words), "[[\"1\"], []]", "{kind}");
        }
        assert_eq!(servers.reply(&["RG.ABORTEXECUTION", &id]), "+OK", "{kind}: it is done already");
        assert_eq!(status(&servers, &id), "done", "{kind}");
        assert_eq!(servers.reply(&["RG.DROPEXECUTION", &id]), "+OK", "{kind}");
        assert_eq!(servers.reply(&["RG.DUMPEXECUTIONS"]), "[]", "{kind}");
        assert_eq!(servers.reply(&["RG.DROPEXECUTION", &id]), "-execution plan does not exist", "{kind}");
    }
}

#[test]
fn what_is_dropped_is_dropped_on_all_shards() {
    let servers = Servers::cluster();
    let id = servers.begin("GB('ShardsIDReader').run()");
    answer(&servers, &["RG.GETRESULTSBLOCKING", &id]);
    assert_eq!(servers.reply(&["RG.DROPEXECUTION", &id]), "+OK");
    for node in servers.nodes() {
        eventually(LONG, "nobody remembers it", || node.reply("RG.DUMPEXECUTIONS") == "[]");
    }
}

#[test]
fn ids_are_those_of_the_shard_and_count_up() {
    for servers in Servers::both() {
        for node in servers.nodes() {
            let shard = if servers.is_cluster() { node.run::<String>(&["CLUSTER", "MYID"]) } else { "0".repeat(40) };
            let begin = || show(&call(node, &["RG.PYEXECUTE", &one_record(""), "UNBLOCKING"]));
            let numbers = [begin(), begin(), begin()].map(|id| {
                let (prefix, number) = id.trim_matches('"').rsplit_once('-').expect("a shard and a number");
                assert_eq!(prefix, shard, "{}", servers.kind);
                number.parse::<u64>().expect("a number")
            });
            assert_eq!(numbers[0], 0, "{}: the first of a fresh server", servers.kind);
            assert!(numbers.is_sorted(), "{numbers:?}");
        }
    }
}

#[test]
fn an_endless_loop_is_aborted_and_done_with_one_error() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let id = servers.begin(ENDLESS);
        await_status(&servers, &id, "running");
        servers.await_loops();
        let began = Instant::now();
        assert_eq!(servers.reply(&["RG.ABORTEXECUTION", &id]), "+OK", "{kind}");
        let ended = answer(&servers, &["RG.GETRESULTSBLOCKING", &id]);
        assert!(began.elapsed() < Duration::from_secs(20), "{kind}: {:?}", began.elapsed());
        assert_eq!(status(&servers, &id), "done", "{kind}");
        assert!(ended.results.is_empty() && !ended.errors.is_empty(), "{kind}: {ended:?}");
        // Everything else goes on.
        assert_eq!(servers.result(&one_record("")), "1", "{kind}");
    }
}

#[test]
fn what_waits_for_a_future_is_aborted_at_once() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let script = "kept = []
def f(x):
    future = gearsFuture()
    kept.append(future)
    execute('SET', 'waits{%s}' % hashtag(), 1)
    return future
GB('PythonReader').map(f).run(lambda: (i for i in [1]), mode='async_local')";
        let id = servers.begin(script);
        eventually(LONG, "it waits", || servers.reply(&["RMR.MAP", "COUNT", "MATCH", "waits*"]) == "1");
        assert_eq!(servers.reply(&["RG.ABORTEXECUTION", &id]), "+OK", "{kind}");
        await_status(&servers, &id, "aborted");
        let partial = answer(&servers, &["RG.GETRESULTS", &id]);
        assert!(partial.results.is_empty(), "{kind}: {partial:?}");
        assert_eq!(servers.reply(&["RG.DROPEXECUTION", &id]), "+OK", "{kind}");
    }
}

/// A shard that has not heard of an execution has no error for it.
#[test]
fn a_local_execution_of_a_cluster_is_aborted_without_errors() {
    let servers = Servers::cluster();
    let script = records("iter(int, 1)", ".filter(lambda x: x)");
    let id = servers.begin(&script);
    await_status(&servers, &id, "running");
    assert_eq!(servers.reply(&["RG.ABORTEXECUTION", &id]), "+OK");
    answer(&servers, &["RG.GETRESULTSBLOCKING", &id]);
}

#[test]
fn a_blocked_client_gets_the_pair_when_its_execution_is_aborted() {
    let servers = Servers::single();
    let mut wire = Wire::connect_with_timeout(servers.first().port(), LONG);
    wire.send(&["RG.PYEXECUTE", ENDLESS]);
    servers.await_loops();
    let list = servers.reply(&["RG.DUMPEXECUTIONS"]);
    let id = list.split('"').nth(3).expect("an id").to_owned();
    assert_eq!(servers.reply(&["RG.ABORTEXECUTION", &id]), "+OK");
    let ended = answer_of(&wire.read_frame(), "the script");
    assert_eq!((ended.results.len(), ended.errors.len()), (0, 1), "{ended:?}");
    assert_eq!(servers.reply(&["RG.GETRESULTS", &id]), "-execution plan does not exist", "it is not kept");
}

/// Words and values of a flat array.
fn fields(frame: &[u8]) -> Vec<(String, Vec<u8>)> {
    let parts = elements(frame);
    parts.chunks(2).map(|pair| (show(pair[0]).trim_matches('"').to_owned(), pair[1].to_vec())).collect()
}

#[test]
fn plans_are_shown_step_by_step_the_last_one_first() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let script = "def big(r):\n  return True\nGB().filter(big).count().run()";
        servers.at_owner("SET a 1");
        servers.at_owner("SET b 2");
        let id = servers.begin(script);
        answer(&servers, &["RG.GETRESULTSBLOCKING", &id]);
        let shard = if servers.is_cluster() { servers.nodes().len() } else { 1 };
        for (words, entries) in [
            (vec!["RG.GETEXECUTION", &id], shard),
            (vec!["RG.GETEXECUTION", &id, "SHARD"], 1),
            (vec!["rg.getexecution", &id, "shard"], 1),
        ] {
            let reply = call(servers.first(), &words);
            assert_eq!(elements(&reply).len(), entries, "{kind}: {}", show(&reply));
            for entry in elements(&reply) {
                let entry = fields(entry);
                let names: Vec<&str> = entry.iter().map(|(name, _)| &**name).collect();
                assert_eq!(names, ["shard_id", "execution_plan"], "{kind}");
                assert_eq!(
                    show(&entry[0].1).trim_matches('"').len(),
                    if servers.is_cluster() { 40 } else { show(&entry[0].1).len() - 2 }
                );
                let plan = fields(&entry[1].1);
                let names: Vec<&str> = plan.iter().map(|(name, _)| &**name).collect();
                let expected = [
                    "status",
                    "shards_received",
                    "shards_completed",
                    "results",
                    "errors",
                    "total_duration",
                    "read_duration",
                    "steps",
                ];
                assert_eq!(names, expected, "{kind}");
                assert_eq!(show(&plan[0].1), "\"done\"", "{kind}");
                for (name, value) in plan[1..4].iter().chain(&plan[5..7]) {
                    assert!(value.starts_with(b":"), "{kind}: {name}: {}", show(value));
                }
                assert_eq!(show(&plan[4].1), "[]", "{kind}");
                let steps: Vec<Vec<(String, Vec<u8>)>> = elements(&plan[7].1).into_iter().map(fields).collect();
                for step in &steps {
                    let names: Vec<&str> = step.iter().map(|(name, _)| &**name).collect();
                    assert_eq!(names, ["type", "duration", "name", "arg"], "{kind}");
                    assert_eq!(show(&step[1].1), "0", "{kind}: no profile is kept");
                }
                let types: Vec<String> = steps.iter().map(|step| show(&step[0].1).trim_matches('"').into()).collect();
                let expected = ["collect", "map", "accumulate", "collect", "accumulate", "filter", "map"];
                assert_eq!(types, expected, "{kind}");
            }
        }
        let cluster = servers.reply(&["RG.GETEXECUTION", &id, "CLUSTER"]);
        if servers.is_cluster() {
            assert!(cluster.starts_with("[[\"shard_id\", "), "{cluster}");
        } else {
            assert_eq!(cluster, "-no cluster detected - use `RG.GETEXECUTION <id> [SHARD]` instead");
        }
        assert_eq!(servers.reply(&["RG.GETEXECUTION", &id, "FOO"]), "-unknown subcommand", "{kind}");
    }
}

/// Reads a duration of each shard.
fn durations(servers: &Servers, id: &str, name: &str) -> Vec<i64> {
    let reply = servers.reply(&["RG.GETEXECUTION", id]);
    let number = |rest: &str| rest.split(',').next().and_then(|number| number.parse().ok()).expect("a number");
    reply.split(&format!("\"{name}\", ")).skip(1).map(number).collect()
}

#[test]
fn how_long_reading_has_taken() {
    for servers in Servers::both() {
        let script = "
import time
def numbers():
    for x in range(3):
        time.sleep(0.01)
        yield x
GB('PythonReader').map(lambda x: time.sleep(0.02)).count().run(numbers)";
        let id = servers.begin(script);
        answer(&servers, &["RG.GETRESULTSBLOCKING", &id]);
        let (read, whole) = (durations(&servers, &id, "read_duration"), durations(&servers, &id, "total_duration"));
        assert_eq!(read.len(), servers.nodes().len());
        for (read, whole) in read.iter().zip(&whole) {
            assert!((30..=whole - 60).contains(read), "{}: {read} of {whole} ms", servers.kind);
        }
        let id = servers.begin(&WAITS.replace("i for i in [1]", "i for i in []"));
        answer(&servers, &["RG.GETRESULTSBLOCKING", &id]);
        assert!(durations(&servers, &id, "read_duration").iter().all(|&read| read < 30), "{}", servers.kind);
    }
}

/// The time in which the server reads keys counts as well.
#[test]
fn how_long_reading_of_keys_has_taken() {
    let servers = Servers::single();
    servers.first().run::<()>(&["DEBUG", "POPULATE", "200000"]);
    let id = servers.begin("GB('KeysReader').count().run()");
    assert_eq!(answer(&servers, &["RG.GETRESULTSBLOCKING", &id]).results, ["200000"]);
    let (read, whole) = (durations(&servers, &id, "read_duration"), durations(&servers, &id, "total_duration"));
    assert!(0 < read[0] && read[0] <= whole[0], "{read:?} of {whole:?} ms");
}

#[test]
fn plans_of_what_still_runs() {
    let servers = Servers::single();
    let id = servers.begin(WAITS);
    await_status(&servers, &id, "running");
    let plan = servers.reply(&["RG.GETEXECUTION", &id, "SHARD"]);
    assert!(plan.contains("\"status\", \"running\"") && plan.contains("\"results\", -1, \"errors\", []"), "{plan}");
    assert!(plan.contains("\"total_duration\", 0, \"read_duration\", 0"), "{plan}");
    servers.go();
    answer(&servers, &["RG.GETRESULTSBLOCKING", &id]);
    let plan = servers.reply(&["RG.GETEXECUTION", &id, "SHARD"]);
    assert!(plan.contains("\"status\", \"done\"") && plan.contains("\"results\", 1, "), "{plan}");
}

#[test]
fn the_oldest_one_is_forgotten() {
    for servers in Servers::both() {
        let kind = servers.kind;
        for node in servers.nodes() {
            assert_eq!(show(&call(node, &["RG.CONFIGSET", "MaxExecutions", "3"])), "[+OK]", "{kind}");
        }
        let ids: Vec<String> = (0..5)
            .map(|_| {
                let id = servers.begin(&one_record(""));
                answer(&servers, &["RG.GETRESULTSBLOCKING", &id]);
                id
            })
            .collect();
        let known = |id: &String| servers.reply(&["RG.GETRESULTS", id]) == "[[\"1\"], []]";
        assert_eq!(ids.iter().map(known).collect::<Vec<_>>(), [false, false, true, true, true], "{kind}");
        assert_eq!(servers.reply(&["RG.DUMPEXECUTIONS"]).matches("executionId").count(), 3, "{kind}");
    }
}

#[test]
fn what_runs_is_forgotten_only_when_it_has_ended() {
    let servers = Servers::single();
    assert_eq!(servers.reply(&["RG.CONFIGSET", "MaxExecutions", "2"]), "[+OK]");
    let oldest = servers.begin(WAITS);
    for _ in 0..3 {
        let id = servers.begin(&one_record(""));
        answer(&servers, &["RG.GETRESULTSBLOCKING", &id]);
    }
    assert_eq!(servers.reply(&["RG.GETRESULTS", &oldest]), "-execution is still running");
    servers.go();
    eventually(LONG, "it is forgotten", || {
        servers.reply(&["RG.GETRESULTS", &oldest]) == "-execution plan does not exist"
    });
}

#[test]
fn jobs_are_the_same_executions() {
    let servers = Servers::single();
    let id = servers.begin(WAITS);
    await_status(&servers, &id, "running");
    let jobs = servers.first().reply3("RMR.JOB LIST");
    assert!(jobs.contains("\"state\": \"running\"") && jobs.contains("RG.PYEXECUTE"), "{jobs}");
    servers.go();
    answer(&servers, &["RG.GETRESULTSBLOCKING", &id]);
}

#[test]
fn many_at_once() {
    for servers in Servers::both() {
        let ids: Vec<String> = (0..20).map(|_| servers.begin("GB('ShardsIDReader').count().run()")).collect();
        let expected = if servers.is_cluster() { "[[\"3\"], []]" } else { "[[\"1\"], []]" };
        for id in &ids {
            assert_eq!(servers.reply(&["RG.GETRESULTSBLOCKING", id]), expected, "{}", servers.kind);
        }
    }
}
