//! Errors of steps: what they say, how many there are, and what becomes of the other records.

use crate::common::{elements, show};
use crate::servers::{Servers, call, records};

#[test]
fn the_reader_stops_at_the_first_one() {
    for servers in Servers::both() {
        let answer = servers.run(&records("range(10)", ".map(lambda x: x if x < 3 else 1/0)"));
        assert_eq!(answer.errors.len(), 1, "{}: {answer:?}", servers.kind);
        assert_eq!(answer.results, ["0", "1", "2"], "{}: what was done before is there", servers.kind);
        let text = &answer.errors[0];
        assert!(text.starts_with("['Traceback (most recent call last):\\n', "), "{text}");
        assert!(text.contains("ZeroDivisionError: division by zero"), "{text}");
    }
}

/// Steps that fail for one record.
#[test]
fn each_kind_of_step() {
    for servers in Servers::both() {
        for steps in [
            ".map(lambda x: 1/0)",
            ".filter(lambda x: 1/0)",
            ".foreach(lambda x: 1/0)",
            ".flatmap(lambda x: 1/0)",
            ".accumulate(lambda a, x: 1/0)",
            ".groupby(lambda x: 1/0, lambda k, a, x: 1)",
            ".groupby(lambda x: 1, lambda k, a, x: 1/0)",
            ".batchgroupby(lambda x: 1/0, lambda k, l: 1)",
            ".batchgroupby(lambda x: 1, lambda k, l: 1/0)",
            ".localgroupby(lambda x: 1/0, lambda k, a, x: 1)",
            ".repartition(lambda x: 1/0)",
            ".aggregate(0, lambda a, x: 1/0, lambda a, x: 1)",
            ".aggregate(0, lambda a, x: 1, lambda a, x: 1/0)",
            ".avg(lambda x: 'x')",
            ".collect().map(lambda x: 1/0)",
            ".repartition(lambda x: 'somewhere').map(lambda x: 1/0)",
        ] {
            let answer = servers.run(&format!("GB('ShardsIDReader'){steps}.run()"));
            let (results, errors) = (answer.results.len(), answer.errors.len());
            assert!(errors > 0 && errors <= servers.nodes().len(), "{}: {steps}: {answer:?}", servers.kind);
            assert_eq!(results, 0, "{}: {steps}: {answer:?}", servers.kind);
        }
    }
}

#[test]
fn of_all_shards() {
    let servers = Servers::cluster();
    let answer = servers.run("GB('ShardsIDReader').map(lambda x: 1/0).run()");
    assert_eq!((answer.results.len(), answer.errors.len()), (0, 3), "{answer:?}");
    // One shard fails, and the others' records are there.
    let first: String = servers.first().run(&["CLUSTER", "MYID"]);
    let answer = servers.run(&format!("GB('ShardsIDReader').map(lambda x: 1/0 if x == '{first}' else 'fine').run()"));
    assert_eq!((&*answer.results, answer.errors.len()), (&["fine".to_owned(), "fine".to_owned()][..], 1), "{answer:?}");
    // They are not lost on the way of records to other shards.
    let script = "GB('ShardsIDReader').map(lambda x: 1/0).repartition(lambda x: 'k').collect().count().run()";
    assert_eq!(servers.run(script).errors.len(), 3);
}

/// Errors are bulk strings.
#[test]
fn their_form() {
    let servers = Servers::single();
    let reply = call(servers.first(), &["RG.PYEXECUTE", &records("[1]", ".map(lambda x: 1/0)")]);
    let lists = elements(&reply);
    assert!(elements(lists[1])[0].starts_with(b"$"), "{}", show(&reply));
    let text = show(elements(lists[1])[0]);
    let traceback = "['Traceback (most recent call last):\\n', '  File \"";
    assert!(text.starts_with(&format!("\"{traceback}")), "{text}");
    // A text of several lines, and in other letters.
    let answer = servers.run(&records("[1]", ".map(lambda x: flat_error('two\\r\\nlines \\u00e4'))"));
    assert_eq!(answer.errors, ["two\\r\\nlines \\xc3\\xa4"]);
}

#[test]
fn an_error_ends_in_the_list_of_what_is_kept() {
    for servers in Servers::both() {
        let id = servers.begin(&records("[1]", ".map(lambda x: flat_error('not today'))"));
        assert_eq!(servers.reply(&["RG.GETRESULTSBLOCKING", &id]), "[[], [\"not today\"]]", "{}", servers.kind);
        let list = servers.reply(&["RG.DUMPEXECUTIONS"]);
        assert!(list.contains("\"status\", \"done\""), "{}: {list}", servers.kind);
        let plan = servers.reply(&["RG.GETEXECUTION", &id, "SHARD"]);
        assert!(plan.contains("\"errors\", [\"not today\"]"), "{}: {plan}", servers.kind);
    }
}

/// A function that cannot be taken to another shard is an error of the script.
#[test]
fn functions_that_cannot_travel() {
    let servers = Servers::cluster();
    let error =
        servers.refusal("import threading\nlock = threading.Lock()\nGB('ShardsIDReader').map(lambda x: lock).run()");
    assert!(error.contains("Error occured when serialized a python callback, callback="), "{error}");
}

#[test]
fn globals_travel_by_value_and_modules_by_name() {
    for servers in Servers::both() {
        let script = "
import json
from collections import Counter
factor = 3
table = {'a': [1, 2]}
def helper(x):
    return json.dumps([x * factor, table['a'], Counter('aab')['a']])
class Thing:
    def __init__(self, n): self.n = n
    def twice(self): return self.n * 2
GB('ShardsIDReader').map(lambda x: (helper(1), Thing(4).twice())).distinct().run()";
        assert_eq!(servers.result(script), "('[3, [1, 2], 2]', 8)", "{}", servers.kind);
    }
}
