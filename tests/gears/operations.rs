//! Every operation of the builder, over keys that are spread over the shards.

use crate::servers::{Servers, records};
use crate::table::each;

/// The number of times that each of the numbers 0 to 9 occurs.
const COPIES: usize = 4;

/// Puts keys `n:0` to `n:39` with the digits of their numbers.
fn filled() -> [Servers; 2] {
    let both = Servers::both();
    for servers in &both {
        for number in 0..10 * COPIES {
            servers.at_owner(&format!("SET n:{number} {}", number % 10));
        }
    }
    both
}

/// Steps behind a map to numbers; the results, sorted as texts.
const ON_NUMBERS: &[(&str, &[&str])] = &[
    (".filter(lambda x: x > 7)", &["8", "8", "8", "8", "9", "9", "9", "9"]),
    (".filter(lambda x: x == 3).map(lambda x: x * 2)", &["6", "6", "6", "6"]),
    (".filter(lambda x: x == 3).map(lambda x: None)", &["None", "None", "None", "None"]),
    (".filter(lambda x: x == 3).map(lambda x: (84, 2))", &["(84, 2)", "(84, 2)", "(84, 2)", "(84, 2)"]),
    (".filter(lambda x: '' if x else [1]).foreach(lambda x: 5)", &["0", "0", "0", "0"]),
    (
        ".filter(lambda x: x == 1).map(lambda x: {'n': x}).foreach(lambda d: d.update(m=2)).map(lambda d: d['m'])",
        &["2", "2", "2", "2"],
    ),
    (
        ".filter(lambda x: x < 2).flatmap(lambda x: [x, 'also'] if x else [])",
        &["1", "1", "1", "1", "also", "also", "also", "also"],
    ),
    (".filter(lambda x: x == 1).flatmap(lambda x: (x, x))", &["(1, 1)", "(1, 1)", "(1, 1)", "(1, 1)"]),
    (".filter(lambda x: x == 1).flatmap(lambda x: 'ab')", &["ab", "ab", "ab", "ab"]),
    (".collect().accumulate(lambda a, x: x + (a or 0))", &["180"]),
    (".accumulate(lambda a, x: x + (a or 0)).collect().accumulate(lambda a, x: x + (a or 0))", &["180"]),
    (".collect().limit(3).count()", &["3"]),
    (".collect().limit(7, 38).count()", &["2"]),
    (".collect().limit(0).count()", &[]),
    (".count()", &["40"]),
    (".filter(lambda x: x > 9).count()", &[]),
    (".avg()", &["4.5"]),
    (".map(lambda x: (x, x)).avg(lambda x: x[1] + 1)", &["5.5"]),
    (".filter(lambda x: x > 9).avg()", &[]),
    (".map(lambda x: x % 3).distinct()", &["0", "1", "2"]),
    (".aggregate(0, lambda a, x: a + x, lambda a, x: a + x)", &["180"]),
    (".aggregate([], lambda a, x: a + [x], lambda a, x: a + x).map(lambda x: sorted(x)[:5])", &["[0, 0, 0, 0, 1]"]),
    (".aggregate(0, max, max)", &["9"]),
    (
        ".localgroupby(lambda x: x % 2, lambda k, a, x: (a or 0) + 1).collect().localgroupby(lambda r: r['key'], lambda k, a, r: (a or 0) + r['value'])",
        &["{'key': '0', 'value': 20}", "{'key': '1', 'value': 20}"],
    ),
    (
        ".groupby(lambda x: x % 2, lambda k, a, x: (a or 0) + x)",
        &["{'key': '0', 'value': 80}", "{'key': '1', 'value': 100}"],
    ),
    (
        ".filter(lambda x: x < 3).batchgroupby(lambda x: 'a' if x else 'b', lambda k, l: (k, sorted(l)))",
        &["{'key': 'a', 'value': ('a', [1, 1, 1, 1, 2, 2, 2, 2])}", "{'key': 'b', 'value': ('b', [0, 0, 0, 0])}"],
    ),
    (
        ".aggregateby(lambda x: x % 2, 0, lambda k, a, x: a + x, lambda k, a, x: a + x)",
        &["{'key': '0', 'value': 80}", "{'key': '1', 'value': 100}"],
    ),
    (".countby(lambda x: x > 7)", &["{'key': 'False', 'value': 32}", "{'key': 'True', 'value': 8}"]),
    (".filter(lambda x: x > 7).countby()", &["{'key': '8', 'value': 4}", "{'key': '9', 'value': 4}"]),
    (".countby(lambda x: 3)", &["{'key': '3', 'value': 40}"]),
    (".countby(str).filter(lambda r: r['key'] == '3')", &["{'key': '3', 'value': 4}"]),
    (".countby(lambda x: (1, 'a'))", &["{'key': \"(1, 'a')\", 'value': 40}"]),
    (".repartition(lambda x: 'somewhere').count()", &["40"]),
    (".repartition(lambda x: 'somewhere').accumulate(lambda a, x: x + (a or 0))", &["180"]),
    (".repartition(lambda x: str(x)).localgroupby(lambda x: str(x), lambda k, a, x: (a or 0) + 1).count()", &["10"]),
    (".collect().collect().count()", &["40"]),
    (".repartition(lambda x: x).repartition(lambda x: 1).collect().repartition(lambda x: x).count()", &["40"]),
    (
        ".groupby(lambda x: x, lambda k, a, x: (a or 0) + 1).groupby(lambda r: 'all', lambda k, a, r: (a or 0) + r['value'])",
        &["{'key': 'all', 'value': 40}"],
    ),
];

#[test]
fn on_numbers() {
    for servers in filled() {
        each(ON_NUMBERS.iter().map(|row| (format!("{}, {}", servers.kind, row.0), row)), |(steps, expected)| {
            assert_eq!(servers.results(&format!("GB().map(lambda r: int(r['value'])){steps}.run('n:*')")), *expected);
        });
    }
}

#[test]
fn sorted_by_the_servers() {
    for servers in filled() {
        let numbers = "GB().map(lambda r: int(r['value'])).distinct()";
        let ascending: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let descending: Vec<String> = ascending.iter().rev().cloned().collect();
        assert_eq!(servers.ordered(&format!("{numbers}.sort().run('n:*')")), ascending, "{}", servers.kind);
        assert_eq!(servers.ordered(&format!("{numbers}.sort(True).run('n:*')")), ascending, "{}", servers.kind);
        assert_eq!(servers.ordered(&format!("{numbers}.sort(False).run('n:*')")), descending, "{}", servers.kind);
        assert_eq!(
            servers.ordered("GB().map(lambda r: int(r['value'])).sort().limit(2).run('n:*')"),
            ["0", "0"],
            "{}",
            servers.kind
        );
    }
}

/// Items of a reader in Python at one shard, in their order.
const IN_ORDER: &[(&str, &str, &[&str])] = &[
    ("[[3, 1, 2]]", ".flatmap(lambda x: x)", &["2", "1", "3"]),
    ("range(10)", ".limit(3)", &["0", "1", "2"]),
    ("range(10)", ".limit(3, 2)", &["2", "3", "4"]),
    ("range(10)", ".limit(5).limit(2, 1)", &["1", "2"]),
    ("range(5)", ".map(lambda x: x + 1).filter(lambda x: x % 2)", &["1", "3", "5"]),
    // Where an accumulator is false, it begins again.
    ("[-5, 1]", ".aggregate(5, lambda a, x: a + x, lambda a, x: x)", &["6"]),
    ("['a', 'b', 'a', 3, 3]", ".countby().map(lambda r: r['key']).sort()", &["3", "a", "b"]),
    ("['1', '2']", ".avg()", &["1.5"]),
    ("[1, 2]", ".accumulate(lambda a, x: a)", &["None"]),
];

#[test]
fn in_order() {
    for servers in Servers::both() {
        each(
            IN_ORDER.iter().map(|row| (format!("{}, {}{}", servers.kind, row.0, row.1), row)),
            |(items, steps, expected)| {
                assert_eq!(servers.ordered(&records(items, steps)), *expected);
            },
        );
    }
}

#[test]
fn nothing_comes_of_nothing() {
    for servers in Servers::both() {
        for steps in [
            "",
            ".count()",
            ".avg()",
            ".distinct()",
            ".sort()",
            ".countby()",
            ".accumulate(lambda a, r: 1)",
            ".aggregate(0, max, max)",
            ".groupby(lambda r: 1, lambda k, a, r: 1)",
            ".batchgroupby(lambda r: 1, lambda k, l: 1)",
            ".repartition(lambda r: 'x')",
            ".collect()",
            ".limit(5)",
        ] {
            assert_eq!(servers.results(&format!("GB(){steps}.run()")), [""; 0], "{}: {steps}", servers.kind);
        }
    }
}

#[test]
fn what_is_local_stays_on_its_shard() {
    let [single, cluster] = filled();
    for (steps, alone, on_three) in [
        (".accumulate(lambda a, x: 1)", 1, 3),
        (".limit(2)", 2, 6),
        (".localgroupby(lambda x: 'k', lambda k, a, x: 1)", 1, 3),
        (".collect().accumulate(lambda a, x: 1)", 1, 1),
        (".repartition(lambda x: 'k').accumulate(lambda a, x: 1)", 1, 1),
        (".collect().map(lambda x: hashtag()).distinct()", 1, 1),
        (".map(lambda x: hashtag()).distinct()", 1, 3),
    ] {
        let script = format!("GB().map(lambda r: int(r['value'])){steps}.run('n:*')");
        assert_eq!(single.results(&script).len(), alone, "{steps}");
        assert_eq!(cluster.results(&script).len(), on_three, "{steps}");
    }
}

/// Records go to the shard that owns the slot of the key, so that a command for that key can be run there.
#[test]
fn repartition_goes_where_the_key_is() {
    for servers in filled() {
        let script = "
def store(x):
    return execute('INCR', 'to:{%s}' % x)
GB().map(lambda r: r['value']).repartition(lambda x: x).foreach(store).repartition(lambda x: 'other{%s}' % x).foreach(store).count().run('n:*')";
        assert_eq!(servers.result(script), "40", "{}", servers.kind);
        for digit in 0..10 {
            assert_eq!(servers.at_owner(&format!("GET to:{{{digit}}}")), "\"8\"", "{}", servers.kind);
        }
    }
}

#[test]
fn how_a_flow_is_run() {
    let [single, cluster] = filled();
    for servers in [&single, &cluster] {
        let kind = servers.kind;
        let all = |run: &str| servers.results(&format!("GB().map(lambda r: r['key']){run}")).len();
        assert_eq!(all(".run('n:1*')"), 11, "{kind}");
        assert_eq!(all(".run('')"), 40, "{kind}: an empty pattern is the default");
        assert_eq!(all(".run()"), 40, "{kind}");
        assert_eq!(all(".run(unknown=5, another='x')"), 40, "{kind}");
        assert_eq!(all(".run(mode='async')"), 40, "{kind}");
        assert_eq!(servers.result("gb = GB()\ngb.count()\ngb.run('n:*')"), "40", "{kind}: the builder itself changes");
        assert_eq!(servers.result("GB('KeysReader', 'n:1*').count().run()"), "11", "{kind}");
        assert_eq!(
            servers.result("GB('KeysReader', defaultArg='n:1*', desc='words').count().run('n:2?')"),
            "10",
            "{kind}"
        );
        let numbers = "GB().map(lambda r: int(r['value'])).filter(lambda x: x == 7)";
        assert_eq!(servers.results(&format!("{numbers}.run('n:*', False)")), ["7", "7", "7", "7"], "{kind}: integers");
    }
    let here = |run: &str| cluster.results(&format!("GB(){run}")).len();
    let own = here(".run('n:*', collect=False)");
    assert!(own > 0 && own < 40, "{own}");
    assert_eq!(here(".run('n:*', mode='async_local')"), own);
    assert_eq!(here(".collect().run('n:*', collect=False)"), 40);
    assert_eq!(cluster.result("GB().count().run('n:*', mode='async_local')"), own.to_string());
    assert_eq!(single.results("GB().run('n:*', collect=False)").len(), 40);
}

#[test]
fn many_records() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let digits = "GB('PythonReader').flatmap(lambda x: list(range(1000)))";
        let run = ".run(lambda: (x for x in range(50)), mode='async_local')";
        assert_eq!(servers.result(&format!("{digits}.count(){run}")), "50000", "{kind}");
        assert_eq!(servers.ordered(&format!("{digits}{run}")).len(), 50_000, "{kind}");
        let everywhere =
            ".countby(lambda x: x).map(lambda r: r['value']).distinct().run(lambda: (x for x in range(50)))";
        let each = 50 * servers.nodes().len();
        assert_eq!(servers.results(&format!("{digits}{everywhere}")), [each.to_string()], "{kind}");
        let wide =
            "GB('ShardsIDReader').map(lambda x: 'x' * 3000000).repartition(lambda x: 'k').map(lambda x: len(x)).run()";
        assert_eq!(servers.results(wide), vec!["3000000".to_owned(); servers.nodes().len()], "{kind}");
    }
}
