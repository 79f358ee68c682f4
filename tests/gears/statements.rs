//! The introduction to RedisGears, statement by statement, as release 1.2.13 holds it.
//!
//! The number of a row is its place in the table of statements of the reference (`the way a function is sent` is 1). Rows 18
//! to 21, which speak of functions that wait for events, are in `events/introduction.rs`, and so are 5, 13 and 22 as far as
//! they do; 3, 11 and 23, which explain words, are shown by the other rows.

use std::time::Duration;

use crate::common::{eventually, slot_of};
use crate::servers::{Servers, WAITS, one_record, records};
use crate::table::each;

type Row = (u32, fn(&Servers));

const ROWS: &[Row] = &[
    (1, |servers| {
        for command in ["RG.PYEXECUTE", "rg.pyexecute", "Rg.PyExecute"] {
            assert_eq!(
                servers.reply(&[command, "GB('ShardsIDReader').count().map(lambda x: 'ran').run()"]),
                "[[\"ran\"], []]"
            );
        }
    }),
    (2, |servers| assert_eq!(servers.reply(&["RG.PYEXECUTE", "GearsBuilder().run('none*')"]), "[[], []]")),
    (4, |servers| {
        let shown = ["{'key': 'foo', 'value': 'bar', 'type': 'string', 'event': None}"];
        for builder in ["GearsBuilder()", "GearsBuilder('KeysReader')", "GearsBuilder(reader='KeysReader')", "GB()"] {
            assert_eq!(servers.results(&format!("{builder}.run('foo')")), shown, "{builder}");
        }
        assert!(servers.refusal("GearsBuilder('Nothing').run()").contains("The given reader does not exists"));
    }),
    (5, |servers| {
        assert_eq!(servers.result("GB().map(lambda r: list(r)).run('foo')"), "['key', 'value', 'type', 'event']");
    }),
    (6, |servers| {
        assert_eq!(servers.result("GB().map(lambda r: type(r['value']).__name__).run('foo')"), "str");
        let types = "GB().map(lambda r: {type(x).__name__ for x in [r['value'], *r['value'].values()]} == {'dict', 'str'}).run('person:1')";
        assert_eq!(servers.result(types), "True");
    }),
    (7, |servers| {
        assert_eq!(servers.results("GB().run()").len(), 6);
        assert_eq!(servers.results("GB().run('*')").len(), 6);
        assert_eq!(servers.results("GB().run('person:*')").len(), 5);
        assert_eq!(servers.results("GB().run('person:[12]')").len(), 2);
        assert_eq!(servers.results("GB().filter(lambda x: x['key'].startswith('person:')).run()").len(), 5);
    }),
    (8, |servers| {
        assert_eq!(servers.value("GB is GearsBuilder"), "True");
        let script = "import math\ndef root(x):\n  return math.sqrt(x + 3)\n";
        assert_eq!(servers.result(&format!("{script}{}", one_record(".map(root)"))), "2.0");
        assert!(servers.refusal("GB().map(int)").contains("map argument must be a function"));
    }),
    (9, |servers| {
        let texts = records("['70', 14, (84, 2), 42.0]", "");
        assert_eq!(servers.ordered(&texts), ["70", "14", "(84, 2)", "42.0"]);
    }),
    (10, |servers| {
        assert_eq!(servers.ordered(&records("[1, 2]", ".map(lambda x: [x])")), ["[1]", "[2]"]);
        assert_eq!(servers.ordered(&records("[1, 2]", ".accumulate(lambda a, x: (a, x))")), ["((None, 1), 2)"]);
        assert_eq!(servers.ordered(&records("[1, 2]", ".filter(lambda x: x > 1)")), ["2"]);
        assert_eq!(servers.ordered(&records("[1, 2]", ".foreach(lambda x: x + 1)")), ["1", "2"]);
    }),
    (12, |servers| {
        assert_eq!(servers.result("GB().map(lambda x: x['value']['age']).avg().run('person:*')"), "44.6");
        let count = "GB().collect().accumulate(lambda a, _: 1 + (a if a else 0)).run('person:*')";
        assert_eq!(servers.result(count), "5");
    }),
    (13, |servers| {
        let waits = servers.begin(WAITS);
        assert_eq!(servers.first().reply("PING"), "+PONG");
        assert_eq!(servers.reply(&["RG.GETRESULTS", &waits]), "-execution is still running");
        servers.go();
        servers.reply(&["RG.GETRESULTSBLOCKING", &waits]);
        servers.reply(&["RG.DROPEXECUTION", &waits]);
        servers.stop();
    }),
    (14, |servers| {
        let id = servers.begin("GB().run()");
        let (shard, number) = id.rsplit_once('-').expect("a shard and a number");
        assert_eq!(shard.len(), 40);
        assert!(number.parse::<u64>().is_ok(), "{id}");
        servers.reply(&["RG.GETRESULTSBLOCKING", &id]);
        servers.reply(&["RG.DROPEXECUTION", &id]);
    }),
    (15, |servers| {
        let id = servers.begin("GB().count().run()");
        servers.reply(&["RG.GETRESULTSBLOCKING", &id]);
        let entry = format!("[\"executionId\", \"{id}\", \"status\", \"done\", \"registered\", 0]");
        assert_eq!(servers.reply(&["RG.DUMPEXECUTIONS"]), format!("[{entry}]"));
        servers.reply(&["RG.DROPEXECUTION", &id]);
    }),
    (16, |servers| {
        let id = servers.begin(WAITS);
        assert_eq!(servers.reply(&["RG.GETRESULTS", &id]), "-execution is still running");
        servers.go();
        assert_eq!(servers.reply(&["RG.GETRESULTSBLOCKING", &id]), "[[\"1\"], []]");
        assert_eq!(servers.reply(&["RG.GETRESULTS", &id]), "[[\"1\"], []]");
        servers.reply(&["RG.DROPEXECUTION", &id]);
        servers.stop();
    }),
    (17, |servers| {
        assert_eq!(servers.results("GB().run()").len(), 6);
        eventually(Duration::from_secs(20), "nothing is listed", || servers.reply(&["RG.DUMPEXECUTIONS"]) == "[]");
    }),
    (22, |servers| {
        assert_eq!(servers.value("execute('GET', 'none{%s}' % hashtag())"), "None");
        assert_eq!(
            servers.value("execute('SET', 'here{%s}' % hashtag(), 5), execute('GET', 'here{%s}' % hashtag())"),
            "('OK', '5')"
        );
        assert_eq!(servers.result("GB().foreach(lambda r: execute('DEL', r['key'])).count().run('here*')"), "1");
    }),
    (24, |servers| {
        let own = if servers.is_cluster() { 2 } else { 6 };
        assert_eq!(servers.results("GB().run(collect=False)").len(), own);
        assert_eq!(servers.results("GB().collect().run(collect=False)").len(), 6);
        assert_eq!(
            servers.results("GB().map(lambda r: r).collect().filter(lambda r: True).run(collect=False)").len(),
            6
        );
    }),
    (25, |servers| {
        let ages = "GB().map(lambda x: int(x['value']['age']))";
        let max = ".accumulate(lambda a, x: max(a or 0, x))";
        let local: &[&str] = if servers.is_cluster() { &["14", "35", "87"] } else { &["87"] };
        assert_eq!(servers.results(&format!("{ages}{max}.run('person:*')")), local);
        assert_eq!(servers.results(&format!("{ages}.collect(){max}.run('person:*')")), ["87"]);
        assert_eq!(servers.results(&format!("{ages}{max}.collect(){max}.run('person:*')")), ["87"]);
    }),
    (26, |servers| {
        let ages = "GB().map(lambda x: int(x['value']['age']))";
        let max = "lambda a, x: max(a, x)";
        assert_eq!(servers.results(&format!("{ages}.aggregate(0, {max}, {max}).run('person:*')")), ["87"]);
        let mean = ".aggregate((0, 0), lambda a, x: (a[0] + x, a[1] + 1), lambda a, x: (a[0] + x[0], a[1] + x[1])).map(lambda x: x[0]/x[1])";
        assert_eq!(servers.results(&format!("{ages}{mean}.run('person:*')")), ["44.6"]);
    }),
    (27, |servers| assert_eq!(servers.results(&families(".countby(fname)")), COUNTS)),
    (28, |servers| {
        let local = ".localgroupby(fname, lambda k, a, r: (a or 0) + 1)";
        let global = ".groupby(lambda x: x['key'], lambda k, a, r: (a or 0) + r['value'])";
        assert_eq!(servers.results(&families(&format!("{local}{global}"))), COUNTS);
        assert_eq!(servers.results(&families(".groupby(fname, lambda k, a, r: (a or 0) + 1)")), COUNTS);
        let parts = servers.results(&families(local)).len();
        assert_eq!(parts, if servers.is_cluster() { 4 } else { 3 });
    }),
    (29, |servers| {
        let flow = ".localgroupby(fname, lambda k, a, r: (a or 0) + 1).repartition(lambda x: x['key'])\
            .localgroupby(lambda x: x['key'], lambda k, a, r: (a or 0) + r['value'])\
            .foreach(lambda x: execute('SET', x['key'], x['value']))";
        assert_eq!(servers.results(&families(flow)), COUNTS);
        for (family, count) in [("Smith", "\"3\""), ("Sanchez", "\"1\""), ("Pibbles", "\"1\"")] {
            assert_eq!(servers.at_owner(&format!("GET {family}")), count);
            servers.at_owner(&format!("DEL {family}"));
        }
    }),
    (30, |servers| {
        let flow = ".aggregateby(fname, 0, lambda k, a, r: a + 1, lambda k, a, r: a + r)";
        assert_eq!(servers.results(&families(flow)), COUNTS);
    }),
    (31, |_| {
        let slots = [
            ("Smith", 14205),
            ("Sanchez", 9503),
            ("Pibbles", 169),
            ("foo", 12182),
            ("person:1", 1603),
            ("person:2", 13856),
            ("person:3", 9729),
            ("person:5", 1735),
        ];
        for (key, slot) in slots {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }),
];

const COUNTS: [&str; 3] =
    ["{'key': 'Pibbles', 'value': 1}", "{'key': 'Sanchez', 'value': 1}", "{'key': 'Smith', 'value': 3}"];

/// Returns a flow over all persons that knows how to find a family's name.
fn families(steps: &str) -> String {
    format!("def fname(x):\n  return x['value']['name'].split(' ')[1]\nGB(){steps}.run('person:*')")
}

#[test]
fn rows() {
    for servers in Servers::both() {
        servers.at_owner("SET foo bar");
        let people = [
            ("Rick Sanchez", 70),
            ("Morty Smith", 14),
            ("Summer Smith", 17),
            ("Beth Smith", 35),
            ("Shrimply Pibbles", 87),
        ];
        for (number, (name, age)) in (1..).zip(people) {
            servers.at_owner(&format!("HSET person:{number} name '{name}' age {age}"));
        }
        each(ROWS.iter().map(|(number, row)| (format!("row {number}, {}", servers.kind), row)), |row| row(&servers));
    }
}
