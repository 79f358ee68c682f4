//! The introduction to RedisGears where it speaks of functions that wait for events: its examples as they stand there, and its
//! statements (rows 18 to 21, and 5, 13 and 22 as far as they are about events) as release 1.2.13 holds them.

use super::{Counts, HELD, PATIENCE, Shown, await_reply, list, note, settled};
use crate::common::{Server, eventually, slot_of};
use crate::introduction::{DATA, MAXIMUM, beginning, put, redis_cli};
use crate::servers::Servers;

/// The first example, behind [`MAXIMUM`].
const REGISTERED_MAXIMUM: &str = "
gb = GearsBuilder()
gb.map(lambda x: int(x['value']['age']))
gb.accumulate(maximum)
gb.register('person:*')                   # register to keyspace events
";

/// The second example.
const EVENT_DRIVEN_MAXIMUM: &str = "
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

# Event handling function registration
gb = GearsBuilder()
gb.map(age)
gb.foreach(cas)
gb.register('person:*')
";

/// The second example, so that it works on shards, and for several events at once: what belongs together meets where its
/// key is, and nobody comes between the look and the change.
const EVENT_DRIVEN_MAXIMUM_OF_SHARDS: &str = "
def age(x):
  return int(x['value']['age'])

def cas(x):
  k = 'age:maximum'
  with atomic():
    v = execute('GET', k)
    v = int(v) if v else 0
    if x > v:
      execute('SET', k, x)

gb = GearsBuilder()
gb.map(age)
gb.repartition(lambda x: 'age:maximum')
gb.foreach(cas)
gb.register('person:*')
";

/// Registers a script from a file, as in `cat mygear.py | redis-cli -x RG.PYEXECUTE`.
#[track_caller]
fn register_from_file(servers: &Servers, script: &str) {
    assert_eq!(redis_cli(servers.first(), &["-x", "RG.PYEXECUTE"], script), "OK", "{}: {script}", servers.kind);
}

/// Returns the server whose event a change of the key is.
fn owner<'a>(servers: &'a Servers, key: &str) -> &'a Server {
    match servers.is_cluster() {
        true => servers.as_cluster().node(servers.as_cluster().owner_of(slot_of(key))),
        false => servers.first(),
    }
}

#[test]
fn event_processing() {
    for servers in Servers::both() {
        let kind = servers.kind;
        put(&servers, &beginning());
        register_from_file(&servers, &format!("{MAXIMUM}{REGISTERED_MAXIMUM}"));
        for node in servers.nodes() {
            assert_eq!(Shown::of(node, 0).counts(), Counts::of_successes(0), "{kind}: registering runs nothing");
        }
        let node = owner(&servers, "person:3");
        let set = redis_cli(node, &[], "HSET person:3 name \"Summer Smith\" age 17");
        assert_eq!(set, "(integer) 2", "{kind}");
        assert_eq!(settled(node, 0), Counts::of_successes(1), "{kind}");
        // Nobody else has had the event.
        let triggered: u64 = servers.nodes().iter().map(|node| Shown::of(node, 0).counts().triggered).sum();
        assert_eq!(triggered, 1, "{kind}");
        // A string, as with release 1.2.13: results are converted where nothing else is said.
        let executions = redis_cli(node, &[], "RG.DUMPEXECUTIONS");
        assert_eq!(executions.matches("executionId").count(), 1, "{kind}: {executions}");
        let id = executions.split('"').nth(3).expect("an id");
        let results = redis_cli(node, &[], &format!("RG.GETRESULTS {id}"));
        assert_eq!(results, "1) 1) \"17\"\n2) (empty array)", "{kind}");
    }
}

#[test]
fn writing_data() {
    let servers = Servers::single();
    put(&servers, &beginning());
    let node = servers.first();
    register_from_file(&servers, EVENT_DRIVEN_MAXIMUM);
    assert_eq!(redis_cli(node, &[], "GET age:maximum"), "(nil)");
    for (line, maximum) in [
        ("HSET person:4 name \"Beth Smith\" age 35", "\"35\""),
        ("HSET person:5 name \"Shrimply Pibbles\" age 87", "\"87\""),
        ("HSET person:1 name \"Rick Sanchez\" age 70", "\"87\""),
    ] {
        redis_cli(node, &[], line);
        settled(node, 0);
        assert_eq!(redis_cli(node, &[], "GET age:maximum"), maximum, "{line}");
    }
    assert_eq!(settled(node, 0), Counts::of_successes(3));
}

/// As with release 1.2.13, the example works on shards only where the person is a neighbour of the maximum.
#[test]
fn writing_data_of_another_shard_is_not_permitted() {
    let servers = Servers::cluster();
    register_from_file(&servers, EVENT_DRIVEN_MAXIMUM);
    put(&servers, DATA);
    let home = owner(&servers, "age:maximum").port();
    for key in ["person:1", "person:2", "person:3", "person:4", "person:5"] {
        let node = owner(&servers, key);
        let counts = settled(node, 0);
        assert_eq!((counts.failed > 0, counts.succeeded > 0), (node.port() != home, node.port() == home), "{key}");
        if node.port() != home {
            assert!(Shown::of(node, 0).field("lastError").contains("Operation not permitted"), "{key}");
        }
    }
    // Of the neighbours Beth is the oldest one.
    assert_eq!(servers.at_owner("GET age:maximum"), "\"35\"");
}

#[test]
fn writing_data_where_its_key_is() {
    for servers in Servers::both() {
        register_from_file(&servers, EVENT_DRIVEN_MAXIMUM_OF_SHARDS);
        put(&servers, DATA);
        let counts: Vec<Counts> = servers.nodes().iter().map(|node| settled(node, 0)).collect();
        assert_eq!(counts.iter().map(|counts| counts.succeeded).sum::<u64>(), 5, "{}: {counts:?}", servers.kind);
        assert_eq!(servers.at_owner("GET age:maximum"), "\"87\"", "{}", servers.kind);
    }
}

/// Row 5: a record of an event has its name, and row 18: `register()` answers nothing but `OK`, runs nothing on what is there,
/// and its argument is a prefix and no pattern.
#[test]
fn rows_5_and_18() {
    let servers = Servers::single();
    put(&servers, &beginning());
    note(&servers, "','.join(r) + ' ' + r['event']", "'person:*', mode='async_local'");
    servers.ok("GB().register('person:?')\nGB().register('p*:1')");
    for lines in ["HSET person:1 age 71", "SET foo bar", "DEL person:2"] {
        put(&servers, lines);
        settled(servers.first(), 0);
    }
    assert_eq!(settled(servers.first(), 0), Counts::of_successes(2));
    let expected = ["key,value,type,event hset", "key,value,type,event del"];
    assert_eq!(list(servers.first(), "log"), expected);
    for place in [1, 2] {
        assert_eq!(settled(servers.first(), place), Counts::of_successes(0), "{place}");
    }
}

/// Rows 13 and 19: who changes a key does not wait for the function, nor does anybody else; and row 20: what runs is an
/// execution of the shard that has the key, with an id of its own.
#[test]
fn rows_13_19_and_20() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let held = HELD.replace("'begun'", "'begun{%s}' % hashtag()").replace("'ended'", "'ended{%s}' % hashtag()");
        let held = held.replace("'go'", "'go{%s}' % hashtag()");
        servers.ok(&format!("{held}GB().foreach(held).register('person:*', mode='async_local')"));
        let node = owner(&servers, "person:3");
        let set = redis_cli(node, &[], "HSET person:3 name \"Summer Smith\" age 17");
        assert_eq!(set, "(integer) 2", "{kind}");
        eventually(PATIENCE, "it runs", || node.reply("KEYS begun*") != "[]");
        assert_eq!(node.reply("HGET person:3 age"), "\"17\"", "{kind}");
        let shard = match servers.is_cluster() {
            true => node.run::<String>(&["CLUSTER", "MYID"]),
            false => "0".repeat(40),
        };
        let running = node.reply("RG.DUMPEXECUTIONS");
        let number = running.strip_prefix(&format!("[[\"executionId\", \"{shard}-"));
        let number = number.and_then(|rest| rest.strip_suffix("\", \"status\", \"running\", \"registered\", 1]]"));
        assert!(number.is_some_and(|number| number.parse::<u64>().is_ok()), "{kind}: {running}");
        let go = node.reply("KEYS begun*").replace("begun", "go");
        assert_eq!(node.reply(&format!("SET {} 1", go.trim_matches(|c| "[]\"".contains(c)))), "+OK", "{kind}");
        assert_eq!(settled(node, 0), Counts::of_successes(1), "{kind}");
    }
}

/// Row 21: results are texts, unless they are asked for as they are; and row 22: a key that is not there is `None`.
#[test]
fn rows_21_and_22() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("GB('CommandReader').map(lambda x: 17).register(trigger='text')
GB('CommandReader').map(lambda x: 17).register(trigger='number', convertToStr=False)");
    assert_eq!(redis_cli(node, &[], "RG.TRIGGER text"), "1) \"17\"");
    assert_eq!(redis_cli(node, &[], "RG.TRIGGER number"), "1) (integer) 17");
    note(&servers, "repr(execute('GET', 'none'))", "'person:*', mode='async_local'");
    put(&servers, "HSET person:3 age 17");
    await_reply(node, "LRANGE log 0 -1", r#"["None"]"#);
}
