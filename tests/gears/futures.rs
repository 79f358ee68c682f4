//! Coroutines, futures, and flows that run inside of flows.

use crate::servers::{Servers, records};
use crate::table::each;

const BEGIN: &str = "
async def later(value):
    await asyncio.sleep(0.01)
    return value
def soon(future, value):
    Thread(target=lambda: future.continueRun(value)).start()
    return future
async def slower(x):
    await asyncio.sleep(0.02 * (3 - x))
    return x
";

/// Items, steps and results in their order.
const IN_ORDER: &[(&str, &str, &[&str])] = &[
    ("[1, 2]", ".map(lambda x: later(x + 1))", &["2", "3"]),
    ("[1, 2]", ".filter(lambda x: later(x == 2))", &["2"]),
    ("[1, 2]", ".foreach(lambda x: later(None))", &["1", "2"]),
    ("[[1, 2]]", ".flatmap(lambda x: later(x))", &["2", "1"]),
    ("[1, 2]", ".accumulate(lambda a, x: later(x + (a or 0)))", &["3"]),
    ("[1, 2]", ".aggregate(0, lambda a, x: later(x + a), lambda a, x: a + x)", &["3"]),
    ("['a', 'a']", ".groupby(lambda x: x, lambda k, a, r: later((a or 0) + 1))", &["{'key': 'a', 'value': 2}"]),
    ("range(3)", ".map(lambda x: slower(x) if x != 1 else x)", &["0", "1", "2"]),
    ("range(50)", ".map(later).flatmap(lambda x: [x, x]).map(later).count().map(later)", &["100"]),
    ("range(2000)", ".map(later).count()", &["2000"]),
    ("[1, 2]", ".map(lambda x: soon(gearsFuture(), x + 1))", &["2", "3"]),
    ("[1, 2]", ".filter(lambda x: soon(gearsFuture(), x == 2))", &["2"]),
    ("[1, 2]", ".foreach(lambda x: soon(gearsFuture(), 5))", &["1", "2"]),
    ("[1, 2]", ".flatmap(lambda x: soon(gearsFuture(), [x, x]))", &["1", "1", "2", "2"]),
    ("[1, 2]", ".accumulate(lambda a, x: soon(gearsFuture(), x + (a or 0)))", &["3"]),
];

#[test]
fn results_in_order() {
    for servers in Servers::both() {
        each(
            IN_ORDER.iter().map(|row| (format!("{}, {}{}", servers.kind, row.0, row.1), row)),
            |(items, steps, expected)| {
                assert_eq!(servers.ordered(&format!("{BEGIN}{}", records(items, steps))), *expected);
            },
        );
    }
}

/// On every shard, before and after records have moved.
#[test]
fn on_all_shards() {
    for servers in Servers::both() {
        let script = format!(
            "{BEGIN}GB('ShardsIDReader').map(lambda x: later(1)).collect().map(later).aggregate(0, lambda a, x: later(a + x), lambda a, x: a + x).run()"
        );
        assert_eq!(servers.result(&script), servers.nodes().len().to_string(), "{}", servers.kind);
        let script =
            format!("{BEGIN}GB('ShardsIDReader').groupby(lambda x: 'k', lambda k, a, x: later((a or 0) + 1)).run()");
        assert_eq!(servers.result(&script), format!("{{'key': 'k', 'value': {}}}", servers.nodes().len()));
    }
}

/// Steps, and the error of their record.
const REFUSED: &[(&str, &str)] = &[
    (".groupby(later, lambda k, a, r: 1)", "coroutine are not allow on extractor"),
    (".repartition(later)", "coroutine are not allow on extractor"),
    (".batchgroupby(lambda x: x, lambda k, r: later(1))", "coroutine are not allow on reduce"),
];

#[test]
fn where_they_are_refused() {
    for servers in Servers::both() {
        each(REFUSED.iter().map(|row| (format!("{}, {}", servers.kind, row.0), row)), |(steps, text)| {
            let answer = servers.run(&format!("{BEGIN}{}", records("['a']", steps)));
            assert!(answer.errors.len() == 1 && answer.errors[0].contains(text), "{answer:?}");
        });
    }
}

#[test]
fn failures_are_only_their_text() {
    for servers in Servers::both() {
        let script = "async def f(x):\n  await asyncio.sleep(0)\n  raise Exception('no luck')\n";
        assert_eq!(servers.run(&format!("{script}{}", records("[1]", ".map(f)"))).errors, ["no luck"]);
        let script = "def f(x):\n  future = gearsFuture()\n  Thread(target=lambda: future.continueFailed(Exception('did not work'))).start()\n  return future\n";
        assert_eq!(servers.run(&format!("{script}{}", records("[1]", ".map(f)"))).errors, ["did not work"]);
        let script = "async def f(x):\n  with atomic():\n    await asyncio.sleep(0.1)\n";
        let answer = servers.run(&format!("{script}{}", records("[1]", ".map(f)")));
        assert_eq!(answer.errors, ["await is not allow inside atomic block"], "{}", servers.kind);
    }
}

#[test]
fn commands_between_awaits() {
    for servers in Servers::both() {
        let script = "
K = '{%s}' % hashtag()
async def f(x):
    await asyncio.sleep(0)
    with atomic():
        execute('INCR', K)
    await asyncio.sleep(0)
    return execute('GET', K)
";
        assert_eq!(servers.ordered(&format!("{script}{}", records("[1]", ".map(f)"))), ["1"], "{}", servers.kind);
    }
}

/// `await GB().run()` runs a flow on all shards and gives the records themselves.
#[test]
fn flows_inside_of_flows() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let shards = servers.nodes().len();
        for number in 0..30 {
            servers.at_owner(&format!("SET n:{number} {number}"));
        }
        let run = |flow: &str, then: &str| {
            let script = format!("async def f(x):\n  results, errors = await {flow}\n  return {then}\n");
            servers.ordered(&format!("{script}{}", records("[1]", ".map(f)")))
        };
        assert_eq!(run("GB().count().run('n:*')", "(results, errors)"), ["(['30'], [])"], "{kind}");
        assert_eq!(run("GB().count().run('n:*', convertToStr=False)", "(results, errors)"), ["([30], [])"], "{kind}");
        assert_eq!(run("GB('ShardsIDReader').run()", "len(results)"), [shards.to_string()], "{kind}");
        assert_eq!(
            run(
                "GB().map(lambda r: {'n': int(r['value'])}).run('n:*', convertToStr=False)",
                "sum(r['n'] for r in results)"
            ),
            ["435"],
            "{kind}"
        );
        assert_eq!(
            run("GB('ShardsIDReader').map(lambda x: 1/0).run()", "(results, len(errors))"),
            [format!("([], {shards})")],
            "{kind}"
        );
        // Two of them, one after the other.
        let script = "
async def f(x):
    first = await GB().count().run('n:1*')
    second = await GB().count().run('n:2*')
    return first[0] + second[0]
";
        assert_eq!(servers.ordered(&format!("{script}{}", records("[1]", ".map(f)"))), ["['11', '11']"], "{kind}");
        // A step may return the future itself.
        let answer = servers.ordered(&records("[1]", ".map(lambda x: GB().count().run('n:*'))"));
        assert_eq!(answer, ["(['30'], [])"], "{kind}");
    }
}

/// A future that one execution keeps and another one continues.
#[test]
fn futures_that_are_kept() {
    let servers = Servers::single();
    let script = "
kept = []
def f(x):
    if x == 1:
        kept.append(gearsFuture())
        return kept[0]
    if x == 2:
        kept.pop().continueRun('first')
    return x
";
    assert_eq!(servers.ordered(&format!("{script}{}", records("[1, 2]", ".map(f)"))), ["first", "2"]);
}
