//! The introduction to RedisGears, example by example, as it stands there, on a server without a cluster and on three shards.
//!
//! It describes release 0.9. Where release 1.2.13 differs that one holds: records of keys have a type and an event,
//! `RG.DUMPEXECUTIONS` has a third pair. The examples that end in `register()` are in `events/introduction.rs`.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::{Server, show, slot_of};
use crate::servers::Servers;

/// `data.txt` of the introduction.
pub const DATA: &str = r#"SET foo bar
HSET person:1 name "Rick Sanchez" age 70
HSET person:2 name "Morty Smith" age 14
HSET person:3 name "Summer Smith" age 17
HSET person:4 name "Beth Smith" age 35
HSET person:5 name "Shrimply Pibbles" age 87
"#;

const FOO: &str = "{'key': 'foo', 'value': 'bar', 'type': 'string', 'event': None}";

/// Returns the record of a person, as release 1.2.13 shows it.
fn person(number: u32, name: &str, age: u32) -> String {
    format!(
        "{{'key': 'person:{number}', 'value': {{'name': '{name}', 'age': '{age}'}}, 'type': 'hash', 'event': None}}"
    )
}

fn rick_and_morty() -> [String; 2] {
    [person(1, "Rick Sanchez", 70), person(2, "Morty Smith", 14)]
}

fn everybody() -> Vec<String> {
    let others =
        [person(3, "Summer Smith", 17), person(4, "Beth Smith", 35), person(5, "Shrimply Pibbles", 87), FOO.into()];
    sorted(rick_and_morty().into_iter().chain(others).collect())
}

fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort();
    records
}

/// Types lines into redis-cli; returns what it shows but for how long what takes long has taken.
pub fn redis_cli(node: &Server, options: &[&str], lines: &str) -> String {
    let mut cli = Command::new("redis-cli")
        .args(["--no-raw", "-p", &node.port().to_string()])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli, which comes with the server");
    cli.stdin.take().expect("its input").write_all(lines.as_bytes()).expect("redis-cli reads");
    let output = cli.wait_with_output().expect("redis-cli ends");
    let output = String::from_utf8(output.stdout).expect("text");
    let is_time = |line: &&str| line.starts_with('(') && line.ends_with("s)") && line.contains('.');
    output.lines().filter(|line| !is_time(line)).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// Returns what redis-cli shows as the two lists of a result, without numbers and quotes, the first one sorted.
fn pair_shown(output: &str) -> (Vec<String>, Vec<String>) {
    let is_second = |line: &&str| line.starts_with("2) ");
    let at = output.lines().position(|line| is_second(&line)).expect("a second list");
    let items = |lines: &mut dyn Iterator<Item = &str>| {
        let item = |line: &str| {
            let mut rest = line.trim_start();
            while let Some((number, after)) = rest.split_once(") ") {
                let Ok(_) = number.trim().parse::<u32>() else { break };
                rest = after;
            }
            rest.trim_matches('"').to_owned()
        };
        let all: Vec<String> = lines.map(item).filter(|item| item != "(empty array)").collect();
        sorted(all)
    };
    let lines: Vec<&str> = output.lines().collect();
    (items(&mut lines[..at].iter().copied()), items(&mut lines[at..].iter().copied()))
}

/// Types a line, and returns the results, sorted, of which no errors are shown.
fn typed(node: &Server, line: &str) -> Vec<String> {
    let (results, errors) = pair_shown(&redis_cli(node, &[], line));
    assert!(errors.is_empty(), "{line}: {errors:?}");
    results
}

/// Runs a script from a file, as in `cat mygear.py | redis-cli -x RG.PYEXECUTE`.
fn from_file(servers: &Servers, script: &str) -> Vec<String> {
    let (results, errors) = pair_shown(&redis_cli(servers.first(), &["-x", "RG.PYEXECUTE"], script));
    assert!(errors.is_empty(), "{}: {script}: {errors:?}", servers.kind);
    results
}

pub fn put(servers: &Servers, lines: &str) {
    let shown = redis_cli(servers.first(), &["-c"], lines);
    assert!(!shown.contains("error"), "{shown}");
}

/// Returns the lines of `data.txt` that the first part of the text has typed.
pub fn beginning() -> String {
    DATA.lines().take(3).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_simplest_example_and_input_data() {
    for servers in Servers::both() {
        let node = servers.first();
        let simplest = r#"RG.PYEXECUTE "GearsBuilder().run()""#;
        assert_eq!(redis_cli(node, &[], simplest), "1) (empty array)\n2) (empty array)", "{}", servers.kind);
        put(&servers, "SET foo bar");
        assert_eq!(redis_cli(node, &[], simplest), format!("1) 1) \"{FOO}\"\n2) (empty array)"), "{}", servers.kind);
        for builder in ["GearsBuilder()", "GearsBuilder('KeysReader')", "GearsBuilder(reader='KeysReader')"] {
            assert_eq!(from_file(&servers, &format!("{builder}.run()")), [FOO], "{}: {builder}", servers.kind);
        }
        put(&servers, &beginning());
        let [rick, morty] = rick_and_morty();
        assert_eq!(typed(node, simplest), [FOO.to_owned(), rick, morty], "{}", servers.kind);
        assert_eq!(typed(node, r#"RG.PYEXECUTE "GearsBuilder().run('person:*')""#), rick_and_morty());
    }
}

#[test]
fn flow_steps() {
    for servers in Servers::both() {
        put(&servers, &beginning());
        let filtered = r#"RG.PYEXECUTE "GB().filter(lambda x: x['key'].startswith('person:')).run()""#;
        assert_eq!(typed(servers.first(), filtered), rick_and_morty(), "{}", servers.kind);
        for script in [
            "GB() \\\n  .filter(lambda x: x['key'].startswith('person:')) \\\n  .run()\n",
            "# A utility function
def isperson(x):
    ''' Checks if the record's key looks like a person '''
    return x['key'].startswith('person:')

# A RedisGears function
gb = GB()
gb.filter(isperson)
gb.run()
",
        ] {
            assert_eq!(from_file(&servers, script), rick_and_morty(), "{}: {script}", servers.kind);
        }
    }
}

/// `maximum()` of the introduction.
pub const MAXIMUM: &str = "
def maximum(a, x):
  ''' Returns the maximum '''
  a = a if a else 0  # initialize the accumulator
  return max(a, x)
";

const PREPARE_AVG: &str = "
def prepare_avg(a, x):
  ''' Accumulates sum and count of records '''
  a = a if a else (0, 0)    # accumulator is a tuple of sum and count
  a = (a[0] + x, a[1] + 1)
  return a
";

#[test]
fn processing_data() {
    let servers = Servers::single();
    put(&servers, &beginning());
    for (script, expected) in [
        (
            "gb = GearsBuilder()                       # declare a function builder
gb.map(lambda x: int(x['value']['age']))  # map each record to just an age
gb.run('person:*')                        # run it
"
            .to_owned(),
            vec!["14", "70"],
        ),
        (
            format!(
                "{MAXIMUM}
gb = GearsBuilder()
gb.map(lambda x: int(x['value']['age']))
gb.accumulate(maximum)
gb.run('person:*')
"
            ),
            vec!["70"],
        ),
        (
            "def count(a, _):
    ''' Accumulates a count of records '''
    return 1 + (a if a else 0)

GB().accumulate(count).run('person:*')
"
            .to_owned(),
            vec!["2"],
        ),
        (
            format!(
                "{PREPARE_AVG}
gb = GearsBuilder()
gb.map(lambda x: int(x['value']['age']))
gb.accumulate(prepare_avg)
gb.run('person:*')
"
            ),
            vec!["(84, 2)"],
        ),
        (
            format!(
                "{PREPARE_AVG}
def compute_avg(x):
  ''' Returns the average '''
  # average is quotient of sum and count
  return x[0]/x[1]

gb = GearsBuilder()
gb.map(lambda x: int(x['value']['age']))
gb.accumulate(prepare_avg)
gb.map(compute_avg)
gb.run('person:*')
"
            ),
            vec!["42.0"],
        ),
    ] {
        assert_eq!(from_file(&servers, &script), expected, "{script}");
    }
    // redis-cli shows it so.
    let ages = "gb = GearsBuilder()\ngb.map(lambda x: int(x['value']['age']))\ngb.accumulate(lambda a, x: max(a or 0, x))\ngb.run('person:*')";
    let shown = redis_cli(servers.first(), &["-x", "RG.PYEXECUTE"], ages);
    assert_eq!(shown, "1) 1) \"70\"\n2) (empty array)");
}

#[test]
fn blocking_and_nonblocking_execution() {
    for servers in Servers::both() {
        put(&servers, &beginning());
        let node = servers.first();
        let shard = if servers.is_cluster() { node.run::<String>(&["CLUSTER", "MYID"]) } else { "0".repeat(40) };
        let id = format!("{shard}-0");
        assert_eq!(redis_cli(node, &[], r#"RG.PYEXECUTE "GB().run()" UNBLOCKING"#), format!("\"{id}\""));
        // Waits; and it is the first execution of the server, since nothing else has been run.
        let [rick, morty] = rick_and_morty();
        let expected = [FOO.to_owned(), rick, morty];
        assert_eq!(typed(node, &format!("RG.GETRESULTSBLOCKING {id}")), expected, "{}", servers.kind);
        assert_eq!(
            redis_cli(node, &[], "RG.DUMPEXECUTIONS"),
            format!(
                "1) 1) \"executionId\"\n   2) \"{id}\"\n   3) \"status\"\n   4) \"done\"\n   5) \"registered\"\n   6) (integer) 0"
            ),
            "{}",
            servers.kind
        );
        assert_eq!(typed(node, &format!("RG.GETRESULTS {id}")), expected, "{}", servers.kind);
        // Functions that are executed in blocking mode are not added to the lists.
        typed(node, r#"RG.PYEXECUTE "GB().run()""#);
        let list = node.reply("RG.DUMPEXECUTIONS");
        assert_eq!(list.matches("executionId").count(), 1, "{}: {list}", servers.kind);
    }
}

#[test]
fn writing_data() {
    let servers = Servers::single();
    const SCRIPT: &str = "
def age(x):
  ''' Extracts the age from a person's record '''
  return int(x['value']['age'])

def cas(x):
  ''' Checks and sets the current maximum '''
  k = 'age:maximum'
  v = execute('GET', k)   # read key's current value
  v = int(v) if v else 0  # initialize to 0 if None
  if x > v:               # if a new maximum found
    execute('SET', k, x)  # set key to new value

gb = GearsBuilder()
gb.map(age)
gb.foreach(cas)
gb.run('person:*')
";
    assert_eq!(servers.first().reply("GET age:maximum"), "nil");
    put(&servers, "HSET person:4 name \"Beth Smith\" age 35");
    assert_eq!(from_file(&servers, SCRIPT), ["35"]);
    assert_eq!(servers.first().reply("GET age:maximum"), "\"35\"");
    put(&servers, "HSET person:5 name \"Shrimply Pibbles\" age 87");
    assert_eq!(from_file(&servers, SCRIPT), ["35", "87"]);
    assert_eq!(servers.first().reply("GET age:maximum"), "\"87\"");
}

#[test]
fn cluster_101_and_distributed_processing() {
    let servers = Servers::cluster();
    let shown = redis_cli(servers.first(), &["-c"], DATA);
    let redirected: Vec<u16> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("-> Redirected to slot [")?.split_once(']')?.0.parse().ok())
        .collect();
    assert_eq!(redirected, [12182, 1603, 13856, 9729, 1735], "{shown}");
    for (key, slot) in [
        ("Smith", 14205),
        ("Sanchez", 9503),
        ("Pibbles", 169),
        ("foo", 12182),
        ("person:1", 1603),
        ("person:2", 13856),
        ("person:3", 9729),
        ("person:5", 1735),
    ] {
        assert_eq!(slot_of(key), slot, "{key}");
    }
    let node = servers.first();
    assert_eq!(typed(node, r#"RG.PYEXECUTE "GB().run()""#), everybody());
    assert_eq!(
        typed(node, r#"RG.PYEXECUTE "GB().run(collect=False)""#),
        [person(1, "Rick Sanchez", 70), person(5, "Shrimply Pibbles", 87)]
    );
    assert_eq!(typed(node, r#"RG.PYEXECUTE "GB().collect().run(collect=False)""#), everybody());
    // From any shard, and on a single server the same.
    for node in servers.nodes() {
        assert_eq!(typed(node, r#"RG.PYEXECUTE "GB().run()""#), everybody());
    }
    let single = Servers::single();
    put(&single, DATA);
    assert_eq!(typed(single.first(), r#"RG.PYEXECUTE "GB().run()""#), everybody());
}

#[test]
fn cluster_map_and_reduce() {
    const AGES: &str = "gb = GearsBuilder()\ngb.map(lambda x: int(x['value']['age']))\n";
    const RUN: &str = "gb.run('person:*')\n";
    for servers in Servers::both() {
        put(&servers, DATA);
        let local = format!(
            "{MAXIMUM}\n# Original, non-reduced, maximum function version\n{AGES}gb.accumulate(maximum)\n{RUN}"
        );
        let maxima: &[&str] = if servers.is_cluster() { &["14", "35", "87"] } else { &["87"] };
        assert_eq!(from_file(&servers, &local), maxima, "{}", servers.kind);
        let reduced = format!(
            "{MAXIMUM}\n# Reduced maximum function\n{AGES}gb.accumulate(maximum)\ngb.collect()\ngb.accumulate(maximum)\n{RUN}"
        );
        assert_eq!(from_file(&servers, &reduced), ["87"], "{}", servers.kind);
        let aggregated = format!(
            "# Aggregated maximum version
{AGES}gb.aggregate(0,
             lambda a, x: max(a, x),
             lambda a, x: max(a, x))
{RUN}"
        );
        assert_eq!(from_file(&servers, &aggregated), ["87"], "{}", servers.kind);
        let average = format!(
            "# Aggregated average
{AGES}gb.aggregate((0, 0),
             lambda a, x: (a[0] + x, a[1] + 1),
             lambda a, x: (a[0] + x[0], a[1] + x[1]))
gb.map(lambda x: x[0]/x[1])
{RUN}"
        );
        assert_eq!(from_file(&servers, &average), ["44.6"], "{}", servers.kind);
        assert_eq!(from_file(&servers, &format!("{AGES}gb.avg()\n{RUN}")), ["44.6"], "{}", servers.kind);
    }
}

/// The code that the functions of the last part have in common.
const FAMILIES: &str = "
def fname(x):
  ''' Extracts the family name from a person's record '''
  return x['value']['name'].split(' ')[1]

def key(x):
  ''' Extracts the key of a record '''
  return x['key']

def counter(k, a, r):
  ''' Counts records '''
  return (a if a else 0) + 1

def summer(k, a, r):
  ''' Sums record values '''
  return (a if a else 0) + r['value']
";

const COUNTS: [&str; 3] =
    ["{'key': 'Pibbles', 'value': 1}", "{'key': 'Sanchez', 'value': 1}", "{'key': 'Smith', 'value': 3}"];

#[test]
fn local_and_global() {
    for servers in Servers::both() {
        put(&servers, DATA);
        for flow in [
            "# Count family members\ngb = GearsBuilder()\ngb.countby(fname)\ngb.run('person:*')\n",
            "# Use local and global groupby operations
gb = GearsBuilder()
gb.localgroupby(fname, counter)
gb.groupby(key, summer)
gb.run('person:*')
",
            "# Use only global groupby - NON-RECOMMENDED
gb = GearsBuilder()
gb.groupby(fname, counter)
gb.run('person:*')
",
            "gb = GearsBuilder()
gb.aggregateby(fname, 0, lambda k, a, r: a + 1, lambda k, a, r: a + r)
gb.run('person:*')
",
        ] {
            assert_eq!(from_file(&servers, &format!("{FAMILIES}\n{flow}")), COUNTS, "{}: {flow}", servers.kind);
        }
    }
}

#[test]
fn families_are_stored_where_their_keys_belong() {
    for servers in Servers::both() {
        put(&servers, DATA);
        let script = format!(
            "{FAMILIES}
# Repartition for storing counts
gb = GearsBuilder()
gb.localgroupby(fname, counter)
gb.repartition(key)
gb.localgroupby(key, summer)
gb.foreach(lambda x: execute('SET', x['key'], x['value']))
gb.run('person:*')
"
        );
        assert_eq!(from_file(&servers, &script), COUNTS, "{}", servers.kind);
        let gets = redis_cli(servers.first(), &["-c"], "GET Smith\nGET Sanchez\nGET Pibbles\n");
        let values: Vec<&str> = gets.lines().filter(|line| !line.starts_with("-> Redirected to slot [")).collect();
        assert_eq!(values, ["\"3\"", "\"1\"", "\"1\""], "{}: {gets}", servers.kind);
    }
}

/// A reply is flat in either protocol, never a map.
#[test]
fn replies_are_the_same_in_resp3() {
    let servers = Servers::single();
    put(&servers, DATA);
    let words = ["RG.PYEXECUTE", "GB().count().run()"];
    assert_eq!(show(&servers.first().wire3().call(&words)), "[[\"6\"], []]");
    assert_eq!(servers.reply(&words), "[[\"6\"], []]");
}
